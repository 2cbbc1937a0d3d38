"""The one rule for cells of text: which of them are empty, and how a misread encoding is repaired.

It holds for the tables of publishers, the columns of a corpus row and the files that users give by `--reports`. Tables
that were written by pandas or a spreadsheet spell an empty cell in several ways, and some were saved as UTF-8, read as
Latin-1 or Windows-1252 and saved again, so that "unbestätigter" is "unbestÃ¤tigter".
"""

from __future__ import annotations

_EMPTY = frozenset(("", "nan", "none", "null", "<na>"))

# The byte that a character was read from. Windows-1252 leaves five bytes undefined, which Latin-1 then gives.
_BYTES = {chr(byte): byte for byte in range(256)}
_BYTES |= {char: byte for byte in range(128, 160) if (char := bytes([byte]).decode("cp1252", errors="ignore"))}


def is_empty(cell: str | None) -> bool:
    """Return whether a cell is blank or says `nan`, `None`, `null` or `<NA>`, in any case."""
    return cell is None or cell.strip().lower() in _EMPTY


def repair_encoding(text: str) -> str:
    """Return a text as it was before its UTF-8 was read as Latin-1 or Windows-1252, any other text unchanged.

    The whole text must be valid UTF-8 when it is turned back into bytes. A single letter that was read correctly, as
    the "ä" of "unbestätigter", makes it invalid, so a text that is not certainly damaged is left as it is.

    Example:
        >>> repair_encoding("unbestÃ¤tigter bericht")
        'unbestätigter bericht'
    """
    while not text.isascii():
        try:
            text = bytes(_BYTES[char] for char in text).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            break
    return text


def read_text(cell: str | None) -> str | None:
    """Return the text of a cell, its encoding repaired; None where the cell is empty."""
    text = None if cell is None else repair_encoding(cell)
    return None if is_empty(text) else text
