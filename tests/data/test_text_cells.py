"""Empty cells in all their spellings, and text whose encoding was misread."""

import pytest

from mets_ecg.data.text_cells import is_empty, read_text, repair_encoding


@pytest.mark.parametrize(
    "cell", [None, "", " \t\n", "\xa0", "nan", "NaN", " NAN ", "None", "none", "null", "NULL", "<NA>", "Â\xa0"]
)
def test_an_empty_cell_is_null_however_it_is_written(cell):
    assert read_text(cell) is None


@pytest.mark.parametrize("cell", ["0", "-", "nan.", "no", "nano", "none seen", "sinus rhythm"])
def test_a_cell_with_something_in_it_is_not_empty(cell):
    assert not is_empty(cell) and read_text(cell) == cell


@pytest.mark.parametrize(
    "text", ["4.46 unbestätigter bericht", "UNBESTÄTIGTER", "förmaksflimmer", "Á Í Ï Ð Ý", "100 µV"]
)
def test_text_that_was_encoded_twice_is_repaired(text):
    def misread(text: str) -> str:
        """As Windows-1252, or as Latin-1 for the bytes that it leaves undefined."""
        return "".join(bytes([b]).decode("cp1252", errors="ignore") or chr(b) for b in text.encode())

    latin_1 = text.encode().decode("latin-1")
    assert misread(text) != text != latin_1
    for damaged in (misread(text), latin_1, misread(misread(text))):
        assert repair_encoding(damaged) == text == repair_encoding(text)


@pytest.mark.parametrize(
    "text", ["unbestätigter ó½", "Ã¤ und ä", "Â", "unbestÃ", "Ã¤ 漢", "sinus rhythm", "vÄnster", "vorhofflimmern ß"]
)
def test_text_that_is_not_certainly_damaged_is_left_alone(text):
    assert repair_encoding(text) == text
