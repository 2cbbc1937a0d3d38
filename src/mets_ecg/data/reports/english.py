"""Reports in plain English: German and Swedish rendered, English made even, each report split into its findings.

PTB-XL's reports are telegraphic, their vocabulary is small and closed, so a glossary renders them: the longest
phrase of `glossary.tsv` that fits, then the next. It holds words as well as phrases, and the repair of every typo
that was met; nothing is guessed at run time. `english_words.txt` lists the English words that stand as they are. A
word in neither passes unchanged and is counted. Both files were written from folds 1 to 8, and hold no code: a
reader of ECGs can correct them.

A source is matched whatever its case, hyphens and spelling of umlauts; the full stop of an abbreviation may lack.
German reports have no punctuation between findings. What an entry's kind says decides where one ends:

- `finding` names a finding ("sinusrhythmus"), `opener` what stands before its name ("unvollständiger"); each begins
  a finding, unless the word before it asks for more;
- `joiner` asks for more ("oder", "in"), as openers do; English words that have no entry of their own are joiners;
- `start` begins a finding after a comma only ("left bundle branch block, this is probably ...");
- `qualifier` is about the finding before it, which takes the place of `{}` ("{}, age undetermined"); `hedge` is
  either a qualifier or an opener, by what follows;
- `word` is neither, and `drop` is no finding at all.

All languages share one tree, because reports mix them: a source means the same in each, and two lines that disagree
about one are an error. So a new language needs, besides its rows in `glossary.tsv`:

- its code in `LANGUAGES`, and its letters in `_FOLDED` where they are spelled in several ways;
- a look at its short words: what reads as a lead or a wave (`_SWEDISH_IN`, where "i" is "in", no lead I; `_SHORT_LEAD`,
  whose "r" is a wave before "verlust") is told apart before the tree is asked, and may need a case of its own;
- in `reports.py`, the note that its recorder prints (`_DEVICE_NOTE`) and how it says that only a trace was requested;
- in `mets_ecg.evaluation.tasks`, phrases of each class (`phrases_by_language`), for a model trained on its reports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .cleaning import clean_report

GLOSSARY_KINDS = ("finding", "opener", "joiner", "start", "qualifier", "hedge", "word", "drop")
LANGUAGES = ("de", "sv", "en")
FOLDER = Path(__file__).parent

_BEGINS = {"finding", "opener", "hedge", "drop"}
_ASKS_FOR_MORE = {"opener", "joiner", "start"}


@dataclass(frozen=True)
class EnglishReport:
    """A report rendered in English.

    Attributes:
        text: the findings as sentences on one line, lower case; empty where the report says nothing.
        findings: the findings, each once, in the order of the report.
        num_words: words of the cleaned report, names of leads included, numbers not.
        unknown_words: those that neither the glossary nor the English vocabulary has, as often as they occur.
    """

    text: str
    findings: tuple[str, ...]
    num_words: int
    unknown_words: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    kind: str
    english: str
    language: str | None  # None: a number, a lead, a word that is not known
    line: int | None = None  # of glossary.tsv


@lru_cache(maxsize=10_000)  # half of PTB-XL's reports, and most of what machines write, are there more than once
def render_english(report: str) -> EnglishReport:
    """Render a report, in German, Swedish or English, as findings in plain English.

    Args:
        report: the source's text, cleaned or not: `clean_report` is applied.

    Example:
        >>> render_english("sinusrhythmus linkstyp qrs(t) abnorm inferiorer infarkt alter unbest.").text
        'sinus rhythm. leftward axis. abnormal qrs. inferior infarct, age undetermined.'
    """
    cleaned = clean_report(report)
    findings, unknown = _Findings(), []
    for text, entry in _entries(cleaned):
        if entry is None:
            unknown.append(text)
        findings.add(text, entry)
    found = findings.finish()
    return EnglishReport(
        "".join(f"{one}. " for one in found).strip(), found, len(_WORD.findall(cleaned)), tuple(unknown)
    )


def split_findings(text: str) -> tuple[str, ...]:
    """Return the findings of an English text from elsewhere, worded as `render_english` words them."""
    return render_english(text).findings


def report_words(report: str) -> tuple[str, ...]:
    """Return the words of a report that `render_english` counts, as the cleaned report spells them."""
    return tuple(_WORD.findall(clean_report(report)))


def english_texts() -> list[str]:
    """Return what the glossary's entries say in English, and the English words that stand as they are."""
    lines = (FOLDER / "glossary.tsv").read_text(encoding="utf-8").splitlines()[1:]
    words = (FOLDER / "english_words.txt").read_text(encoding="utf-8").splitlines()
    return [*(line.split("\t")[3] for line in lines), *(line for line in words if not line.startswith("#"))]


def report_language(report: str) -> str | None:
    """Return the language of most of a report's words: `"de"`, `"sv"` or `"en"`; None where no word tells."""
    entries = (entry for _, entry in _entries(clean_report(report)))
    counts = Counter(entry.language for entry in entries if entry is not None and entry.language)
    return max(LANGUAGES, key=lambda language: counts[language]) if counts else None


# Umlauts as they are meant, however they came: "ueberdrehter", "f#r", and "{" for "ä" as in old Swedish 7-bit text.
_FOLDED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ß": "ss"})
_SEVEN_BIT = {"{": "ä", "|": "ö", "}": "å", "#": "ü"}
_DAMAGED = re.compile(r"[{|}](?=\w)|#(?=\w)")
_A_V = re.compile(r"(?<!\w)a\s?[-:]\s?v(?!\w)")
_SWEDISH_IN = re.compile(r"(?<=våg )i(?= a?v)|(?<= r )i(?= v)")  # no lead I: "q-våg i avl"
_GLUED = re.compile(r"(?<!\w)in(?=v\s?\d)")  # "inv5,6"
_MOJIBAKE = re.compile(r"ó[^\w\s]?|½")

_V_LEADS = r"v\s?[1-9](?:[-,/+\s]*[-,/+]\s*v?\s?[1-9](?![\d:]|\.\d))*"
_LEAD = rf"(?:iii|ii|i|av[rlf]|{_V_LEADS})(?![^\W_])"
# R, L and F stand for aVR, aVL and aVF in a list of leads, and only there: "r" alone is a wave.
_SHORT_LEAD = r"[rlf](?![^\W_]|\s*-|\s+(?:progr|verlust|wave|zuwachs))"
_LEADS = rf"(?:{_SHORT_LEAD}\s*,\s*)*{_LEAD}(?:(?:\s*[-,/&+]+\s*|\s+){_LEAD}|\s*,+\s*{_SHORT_LEAD})*"
_TOKEN = re.compile(
    rf"(?P<leads>(?<![^\W_]){_LEADS})|(?P<number>\d+(?:[.,:/-]\d+)*)"
    r"|(?P<word>[^\W\d_]+(?:\d[^\W\d_]+)*)|(?P<comma>,|\s[-/]\s)|(?P<stop>[.;!?])|(?P<mark>[():/&+<>=%])"
)
_ONE_LEAD = re.compile(r"([^a-z\d]*)(iii|ii|i|av[rlf]|[rlf](?![a-z])|v?\s?\d)")
_WORD = re.compile(r"[^\W\d_]+")
_ROMAN = ("i", "ii", "iii")
_MARKS = {"&": "and", "+": "and"}


def _tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each token's kind, key in the glossary and text. A hyphen is none: "st- hebung" is "st hebung"."""
    text = _MOJIBAKE.sub(" ", _DAMAGED.sub(lambda match: _SEVEN_BIT[match[0]], text))
    text = _GLUED.sub("in ", _SWEDISH_IN.sub("in", _A_V.sub("av", text)))
    for match in _TOKEN.finditer(text):
        kind, own = match.lastgroup, match[0]
        if kind == "leads":
            own = _even_leads(own)
        elif kind == "comma":
            own = ","
        yield kind, own.translate(_FOLDED), own


def _even_leads(text: str) -> str:
    """Return a list of leads in one way of writing: "v4,5,6" and "v4 - v6" are "v4-v6", "r,l,f" "avr, avl, avf"."""
    leads: list[str] = []
    for separator, lead in _ONE_LEAD.findall(text):
        lead = f"av{lead}" if lead in "rlf" else lead.replace(" ", "")
        lead = f"v{lead}" if lead.isdigit() else lead
        if "-" in separator and leads:
            first, last = leads[-1], lead
            if first in _ROMAN and last in _ROMAN:
                leads += _ROMAN[_ROMAN.index(first) + 1 : _ROMAN.index(last)]
            elif first[0] == last[0] == "v":
                leads += [f"v{number}" for number in range(int(first[1:]) + 1, int(last[1:]))]
        leads.append(lead)
    runs: list[list[str]] = []
    for lead in dict.fromkeys(leads):
        if runs and lead[0] == "v" and runs[-1][-1][0] == "v" and int(lead[1:]) == int(runs[-1][-1][1:]) + 1:
            runs[-1].append(lead)
        else:
            runs.append([lead])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _entries(cleaned: str) -> Iterator[tuple[str, _Entry | None]]:
    """Yield what a cleaned report is read as: an entry each, or None for an unknown word, with its text."""
    tokens = list(_tokens(cleaned))
    glossary = _glossary()
    position = 0
    while position < len(tokens):
        kind, _, text = tokens[position]
        end, entry = position + 1, None
        node = glossary
        for reached in range(position, len(tokens)):
            node = node.get(tokens[reached][1])
            if node is None:
                break
            if None in node:
                end, entry = reached + 1, node[None]
        if entry is None and kind != "word":
            entry = _Entry(kind, _MARKS.get(text, text), None)
        yield text, entry
        position = end


@lru_cache(maxsize=1)
def _glossary() -> dict:
    """Return the glossary as a tree of tokens; a node's entry is under None."""
    root: dict = {}
    for number, line in enumerate((FOLDER / "glossary.tsv").read_text(encoding="utf-8").splitlines()[1:], start=2):
        try:
            language, kind, source, english = line.split("\t")
            if language not in LANGUAGES or kind not in GLOSSARY_KINDS or not source:
                raise ValueError(f"{language!r}, {kind!r} or the source {source!r} is none that there is")
        except ValueError as error:
            raise ValueError(
                f"glossary.tsv, line {number}: {error}; a line is language, kind, source, english"
            ) from None
        _plant(root, source, _Entry(kind, english, language, number))
    words = (FOLDER / "english_words.txt").read_text(encoding="utf-8")
    for word in re.sub(r"(?m)#.*$", "", words).split():
        if None not in root.setdefault(word, {}):
            root[word][None] = _Entry("joiner", word, "en")
    return root


def _plant(root: dict, source: str, entry: _Entry) -> None:
    """Add a source to the tree, with and without the full stops of its abbreviations.

    Raises:
        ValueError: it is there already, and means something else.
    """
    nodes = [root]
    for _, key, _ in _tokens(source):
        grown = [node.setdefault(key, {}) for node in nodes]
        nodes = nodes + grown if key == "." else grown
    for node in nodes:
        if node is root:
            continue
        there = node.setdefault(None, entry)
        if (there.kind, there.english) != (entry.kind, entry.english):
            raise ValueError(
                f"glossary.tsv, lines {there.line} and {entry.line}: {source!r} is {there.kind} {there.english!r} in "
                f"{there.language!r} and {entry.kind} {entry.english!r} in {entry.language!r}, but all languages share "
                "one tree: word one of them longer, or make them agree"
            )


_LOCATED = "changes?|complex(?:es)?|delay|depression|disturbance|elevation|flattening|inversion|progression|waves?"


def _in_leads(match: re.Match) -> str:
    return f"{match['what']} in " if match["what"] else "in "


# What is put right in a finding once its words are English, in this order.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?:,\s*)+(?=,)|\s+(?=[,:)%])|(?<=\()\s+|\s*(?=/)|(?<=/)\s*", ""),
        (r"\b(\w+) leads (?=(?:high )?\w+ leads\b)", r"\1, "),
        (r",((?: high)? \w+ leads\b)", r" and\1"),
        (rf"\b(?:over|(?P<what>{_LOCATED})) (?=(?:i|ii|iii|av[lrf]|v\d)\b)", _in_leads),
        (r"\b(v\d|i|av[lrf]) (?=(?:flat|flattened|inverted|biphasic|tall|peaked)\b)", r"\1, "),
    )
)
_PLACE = r"(?:anterior|inferior|lateral|high lateral|septal|posterior|(?:antero|infero)(?:septal|lateral|posterior))"
_RESTS = r"(?P<rest>ischemia or left ventricular strain|subendocardial injury|myocardial involvement)"
_LED = re.compile(rf"(?P<lead>.+?) {_PLACE} {_RESTS}")
_BARE = re.compile(rf"{_PLACE} {_RESTS}")
# What a report that was cut short may end in without saying anything.
_DANGLING = frozenset(
    "a an and are as at be by cannot consistent due for has have in is may most non of on or suggest suggests "
    "suggesting that the this these they to was which with".split()
)
_SAYS_NOTHING = frozenset(
    "|avf|avl|findings|findings are likely|it|left|minor|non-specific|possible|probable|q|right|st|st segments|t"
    "|t waves|the age|the age of the changes".split("|")
)


class _Findings:
    """Findings being put together from what a report is read as."""

    def __init__(self):
        self._done: list[str] = []
        self._parts: list[str] = []
        self._asks_for_more = False
        self._comma = False
        self._hedge: _Entry | None = None

    def add(self, word: str, entry: _Entry | None) -> None:
        kind = entry.kind if entry else "joiner"
        self._settle_hedge(kind)
        if kind == "stop":
            self._end()
        elif kind == "comma":
            self._comma = bool(self._parts)
        elif kind == "hedge" and self._parts and not self._comma and not self._asks_for_more:
            self._hedge = entry
        elif kind == "qualifier" and self._parts and not self._asks_for_more:
            self._qualify(entry)
        else:
            begins = kind in _BEGINS or (kind == "start" and self._comma)
            if begins and not self._asks_for_more:
                self._end()
            if kind != "drop":
                self._append(entry.english if entry else word, kind)

    def finish(self) -> tuple[str, ...]:
        self._settle_hedge("stop")
        self._end()
        if self._done:
            words = self._done.pop().split()
            while words and (words[-1] in _DANGLING or re.fullmatch("[c-hj-ovw]", words[-1])):
                words.pop()
            last = " ".join(words).rstrip(" ,:")
            if last not in _SAYS_NOTHING and not re.fullmatch(_PLACE, last):
                self._done.append(last)
        return tuple(dict.fromkeys(self._done))

    def _append(self, english: str, kind: str) -> None:
        if self._comma:
            self._parts.append(",")
            self._comma = False
        self._parts.append(english.replace("{}", "").strip(" ,"))
        self._asks_for_more = kind in _ASKS_FOR_MORE or kind == "hedge" or (kind == "mark" and english != ")")

    def _qualify(self, entry: _Entry) -> None:
        self._parts = [entry.english.format(" ".join(self._parts))]
        self._comma = False

    def _settle_hedge(self, following: str) -> None:
        """A hedge is about the finding before it, unless more of another finding follows."""
        if self._hedge is None:
            return
        entry, self._hedge = self._hedge, None
        if following in ("opener", "start", "word"):
            self._end()
            self._append(entry.english, "hedge")
        else:
            self._qualify(entry)

    def _end(self) -> None:
        text = " ".join(filter(None, self._parts))
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
        if text.count("(") != text.count(")"):
            text = " ".join(re.sub(r"[()]", " ", text).split())
        text = text.strip(" ,:/-")
        self._parts, self._asks_for_more, self._comma = [], False, False
        bare, led = _BARE.fullmatch(text), _LED.fullmatch(self._done[-1]) if self._done else None
        if bare and led and bare["rest"] == led["rest"]:
            text = f"{led['lead']} {text}"  # "probable anterior ischemia ... lateral ischemia ...": both are probable
        if text:
            self._done.append(f"{text} ecg" if text in ("normal", "abnormal") else text)
