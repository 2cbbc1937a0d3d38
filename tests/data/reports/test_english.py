"""Reports in English: wording from PTB-XL (folds 1 to 8), and what must hold for any of it."""

from __future__ import annotations

import re
import time

import pytest

from mets_ecg.data.reports import english as reports_english
from mets_ecg.data.reports.english import render_english, report_language, split_findings
from mets_ecg.data.statements import STATEMENTS

RENDERINGS = {
    # the recorders' German, in which findings follow each other without punctuation
    "sinusrhythmus lagetyp normal normales ekg": "sinus rhythm. normal axis. normal ecg.",
    "sinusrhythmus linkstyp sonst normales ekg": "sinus rhythm. leftward axis. otherwise normal ecg.",
    "sinusrhythmus verdacht auf p-sinistrocardiale lagetyp normal": "sinus rhythm. suspected left atrial p wave. "
    "normal axis.",
    "sinusrhythmus lagetyp normal qrs(t) abnorm inferiorer infarkt alter unbest.": "sinus rhythm. normal axis. "
    "abnormal qrs. inferior infarct, age undetermined.",
    "vorhofflimmern/-flattern ueberdrehter linkstyp linksschenkelblock linkshypertrophie möglich": (
        "atrial fibrillation/flutter. marked left axis deviation. left bundle branch block. "
        "possible left ventricular hypertrophy."
    ),
    "tachykardes vorhofflimmern lagetyp normal mÄssige amplitudenkriterien fÜr linkshypertrophie": (
        "atrial fibrillation with rapid ventricular response. normal axis. "
        "moderate amplitude criteria for left ventricular hypertrophy."
    ),
    "supraventrikulÄre extrasystole(n) sinusrhythmus a-v block i unvollstÄndiger rechtsschenkelblock": (
        "premature supraventricular contractions. sinus rhythm. first degree av block. "
        "incomplete right bundle branch block."
    ),
    "sinusrhythmus r-s #bergang in v ableitungen nach rechts verschoben sonst normales ekg": (
        "sinus rhythm. r-s transition zone in v leads displaced to the right. otherwise normal ecg."
    ),
    "sinusrhythmus linkstyp t abnorm in anterolateralen ableitungen inferolateralen ableitungen": (
        "sinus rhythm. leftward axis. abnormal t wave in anterolateral and inferolateral leads."
    ),
    # free German, with the readers' own abbreviations
    "sinusrhythmus slt chronischer anteriorer inferiorer infarkt möglich kammerhypertrophie lvh sicher "
    "q in iii,avf,v1 r verlust in v2,v3,v4 t negativ in i,ii,iii,v5,v6,avf,avl": (
        "sinus rhythm. vertical axis. possible old anterior inferior infarct. definite left ventricular hypertrophy. "
        "q waves in iii, avf, v1. loss of r waves in v2-v4. t wave inversion in i, ii, iii, v5, v6, avf, avl."
    ),
    "sinusrhythmus mlt st-hebung in v1-2-3 st- senkung v5 - v6 verzoegerte r-progression pathologsiches ekg": (
        "sinus rhythm. normal axis. st segment elevation in v1-v3. st segment depression in v5, v6. "
        "delayed r wave progression. abnormal ecg."
    ),
    # Swedish
    "sinusrytm vänster el-axel eljest normalt ekg": "sinus rhythm. leftward axis. otherwise normal ecg.",
    "förmaksflimmer med hög kammarfrekvens avvikande qrs(t) förlopp anterior infarkt möjligen färsk "
    "inferior infarkt sannolikt äldre": (
        "atrial fibrillation with rapid ventricular response. abnormal qrs. anterior infarct, possibly recent. "
        "inferior infarct, probably old."
    ),
    "sinusrytm t-förändring, såsom vid anterior myokardaffektion hög lateral myokardaffektion": (
        "sinus rhythm. t wave changes consistent with anterior myocardial involvement. "
        "t wave changes consistent with high lateral myocardial involvement."
    ),
    # English
    "sinus rhythm normal ecg": "sinus rhythm. normal ecg.",
    "sinus rhythm. voltages are high in chest leads suggesting lvh. otherwise normal ecg.": (
        "sinus rhythm. voltages are high in chest leads suggesting left ventricular hypertrophy. otherwise normal ecg."
    ),
    "premature ventricular contraction(s). sinus rhythm. st segments are depressed in i, avl, v4,5,6. this may be due "
    "to lv strain or isc": (
        "premature ventricular contractions. sinus rhythm. st segments are depressed in i, avl, v4-v6. "
        "this may be due to left ventricular strain or ischemia."
    ),
    "sinus rhythm. left bundle branch block, this is most commonly due to ischaemic heart disease.": (
        "sinus rhythm. left bundle branch block. this is most commonly due to ischemic heart disease."
    ),
    "sinus rhythm. t waves are low or flat in limb leads and v5,6. findings are likely to be du": (
        "sinus rhythm. t waves are low or flat in limb leads and v5, v6."
    ),
}

MORE = """
sinus rhythm. q waves in v2, old anteroseptal infarct cannot be entirely excluded. t waves are flat in i, v5,6.
sinusrhythmus lagetyp normal st & t abnormal, möglicherweise neuer anteroseptaler myokard- oder perikardschaden
sinusrhythmus p-verbreiterung lagetyp in anbetracht des alters normal unspezifische abnorme st-senkung qt-verlängerung
regelmässiger rhythmus, keine p-welle erkannt extrem ueberdrehter rechtstyp linksposteriorer hemiblock
beschleunigter av-rhythmus schwierig bestimmbare qrs-achse periphere niederspannung wpw, typ a
sinustachykardie llt chron. inferiorer infarkt wahrscheinlich (q in iii,avf) st-senkung lateral t neg in avl path. ekg
sinusrytm extrem vänster el-axel, såsom vid vänster främre hemiblock gammal anteroseptal infarkt och hög lateral infarkt
sinus rhythm. qs complexes in v2 and tiny r waves in v3 consistent with old anteroseptal myocardial infarction.
atrial fibrillation. one paced beat noted. pacemaker spikes noted. apparently normal pacemaker function.
normokardes vorhofflimmern linkstyp ves uniform kompl. lsb pathologisches ekg
sinusbradykardi inkomplett hgersidigt skänkelblock patologisk q-våg i avl, såsom vid gammal hög lateral myokardskada.
sinustachykardie lagetyp normal vorhofüberlastung links möglich diskrete st-senkung in v6 t flach in v1,avl, neg in avr
mitteltyp av- block i.grades t- veraenderungen neg v1 - v6 st- veraenderungen wegen vollst. lsb ekg pathologisch
schlechte r-progression v1-3 / st-hebung / t-veraenderungen st.n. anteriorem infarkt vor 12 tagen rsb
sinus rhythm lef antetior fasicular block. possable old inferior infarct. t waves are low or flat in limb le
rhythm is atrial flutter with a variable a:v block. compared with tracing of 4:9:91, rate is slower, consider ischaemia.
""".strip().splitlines()


@pytest.mark.parametrize(("report", "text"), RENDERINGS.items(), ids=range(len(RENDERINGS)))
def test_real_wording_reads_as_english(report, text):
    rendered = render_english(report)
    assert rendered.text == text
    assert rendered.unknown_words == ()
    assert rendered.text == " ".join(f"{finding}." for finding in rendered.findings)


@pytest.mark.parametrize(
    ("report", "finding"),
    [
        ("inferiorer myokardschaden möglich", "possible inferior myocardial damage"),
        ("inferiorer infarkt wahrscheinlich alt", "inferior infarct, probably old"),
        ("inferiorer infarkt mögl. akut", "inferior infarct, possibly acute"),
        ("septaler infarkt nicht auszuschliessen", "septal infarct cannot be ruled out"),
        ("verdacht auf p-sinistrocardiale", "suspected left atrial p wave"),
        ("möglicherweise wpw typ b", "possible wolff-parkinson-white syndrome type b"),
        ("kammerhypertrophie lvh, moeglich", "possible left ventricular hypertrophy"),
        ("infarkt inferior chronisch moeglich", "possible old inferior infarct"),
        ("ekg wahrscheinlich normal", "probably normal ecg"),
        ("si/qiii-typ", "s1q3 pattern"),
        ("fragl. si/qiii-typ", "questionable s1q3 pattern"),
        ("lateral myokardskada kan ej uteslutas", "lateral myocardial damage cannot be ruled out"),
        ("hög lateral infarkt bör övervägas", "high lateral infarct should be considered"),
        ("misstänkt vänster kammarhypertrofi", "suspected left ventricular hypertrophy"),
        ("old inferior infarct cannot be excluded", "old inferior infarct cannot be ruled out"),
        ("anterior infarct, probably old", "anterior infarct, probably old"),
        ("consider lateral ischaemia", "consider lateral ischemia"),
    ],
)
def test_hedges_are_kept(report, finding):
    assert split_findings(report) == (finding,)


def test_what_may_be_is_said_of_all_that_it_was_said_of():
    either = "ischämie oder linksbelastung"
    report = f"st & t abnorm, wahrscheinlich anterolaterale {either} laterale {either}"
    assert render_english(report).findings == (
        "abnormal st and t",
        "probable anterolateral ischemia or left ventricular strain",
        "probable lateral ischemia or left ventricular strain",
    )


@pytest.mark.parametrize(
    ("leads", "even"),
    [
        ("v4,5,6", "v4-v6"),
        ("v4 - v6", "v4-v6"),
        ("v1-2-3", "v1-v3"),
        ("v5,6", "v5, v6"),
        ("v2 +v3", "v2, v3"),
        ("i,avl,v5-6", "i, avl, v5, v6"),
        ("i - iii, r,l,f", "i, ii, iii, avr, avl, avf"),
        ("ii, iii, avf, v3-6", "ii, iii, avf, v3-v6"),
    ],
)
def test_leads_are_written_in_one_way(leads, even):
    assert split_findings(f"st-senkung in {leads} t flach") == (f"st segment depression in {even}", "flat t waves")


@pytest.mark.parametrize("report", ["", " ", ".", "trace only requested.", "Trace only.", "ECG trace only requested."])
def test_reports_that_say_nothing_have_no_findings(report):
    rendered = render_english(report)
    assert (rendered.text, rendered.findings, rendered.unknown_words) == ("", (), ())


def test_a_trace_request_beside_findings_goes():
    assert split_findings("trace only requested. atrial fibrillation.") == ("atrial fibrillation",)


def test_a_finding_stands_once():
    assert split_findings("sinus rhythm. normal ecg. sinus rhythm.") == ("sinus rhythm", "normal ecg")


def test_unknown_words_pass_and_are_counted():
    rendered = render_english("sinusrhythmus quuxitis möglich, quuxitis")
    assert rendered.unknown_words == ("quuxitis", "quuxitis")
    assert rendered.num_words == 4
    assert "quuxitis" in rendered.text


def test_numbers_are_no_words_and_leads_are():
    assert render_english("prolonged pr interval (0.22 sec), v4,5,6").num_words == 5


@pytest.mark.parametrize(
    ("report", "language"),
    [
        ("sinusrhythmus linkstyp", "de"),
        ("sinusrytm vänster el-axel", "sv"),
        ("sinus rhythm. normal ecg.", "en"),
        ("quuxitis", None),
        ("", None),
    ],
)
def test_the_language_of_a_report(report, language):
    assert report_language(report) == language


@pytest.mark.parametrize("report", [*RENDERINGS, *MORE])
def test_english_stays_as_it_is(report):
    rendered = render_english(report)
    again = render_english(rendered.text)
    assert again.findings == rendered.findings
    assert again.unknown_words == () == rendered.unknown_words
    assert report_language(rendered.text) == "en"


@pytest.mark.parametrize("report", [*RENDERINGS, *MORE])
@pytest.mark.parametrize(
    "leak",
    [
        "4.46  unbestÄtigter bericht",
        "4.46   unbest",
        "4.46",
        "Edit: NORM 100, schlechte Qualität",
        "(IMI 50, LVH 100)",
        "[1AVB",
    ],
)
def test_no_leak_and_no_residue_is_left(report, leak):
    rendered = render_english(f"{report} {leak}")
    assert rendered.findings == render_english(report).findings
    assert not re.search(r"edit|unbest|bericht|4\.46|[äöüå]", rendered.text)
    assert rendered.text == rendered.text.lower() and "\n" not in rendered.text
    any_code = "|".join(re.escape(code.lower()) for code in STATEMENTS)
    assert not re.search(rf"\b({any_code}) \d+", rendered.text)


def test_the_glossary_is_well_formed():
    lines = (reports_english.FOLDER / "glossary.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "language\tkind\tsource\tenglish"
    rows = [line.split("\t") for line in lines[1:]]
    assert {len(row) for row in rows} == {4}
    assert {row[0] for row in rows} == set(reports_english.LANGUAGES)
    assert {row[1] for row in rows} == set(reports_english.GLOSSARY_KINDS)
    assert len({row[2] for row in rows}) == len(rows)
    for _, kind, source, english in rows:
        assert ("{}" in english) == (kind in ("qualifier", "hedge")), source
        assert source == source.lower().strip() and english == english.lower().strip(), source
        assert english.isascii() and (english or kind in ("drop", "joiner", "word")), source


def test_every_entry_is_rendered_in_words_that_are_known():
    lines = (reports_english.FOLDER / "glossary.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        english = line.split("\t")[3].replace("{}", "")
        assert render_english(english).unknown_words == (), line


def test_a_broken_line_of_the_glossary_is_named(tmp_path, monkeypatch):
    (tmp_path / "glossary.tsv").write_text("language\tkind\tsource\tenglish\nde\tfindign\ta\tb\n", encoding="utf-8")
    monkeypatch.setattr(reports_english, "FOLDER", tmp_path)
    reports_english._glossary.cache_clear()
    try:
        with pytest.raises(ValueError, match="glossary.tsv, line 2: .*'findign'"):
            render_english("a report of which no rendering is kept")
    finally:
        monkeypatch.undo()
        reports_english._glossary.cache_clear()


@pytest.fixture
def read_glossary(tmp_path, monkeypatch):
    """Read a glossary of these lines in place of the package's."""

    def read(*lines):
        text = "\n".join(["language\tkind\tsource\tenglish", *lines])
        (tmp_path / "glossary.tsv").write_text(text, encoding="utf-8")
        (tmp_path / "english_words.txt").write_text("", encoding="utf-8")
        monkeypatch.setattr(reports_english, "FOLDER", tmp_path)
        reports_english._glossary.cache_clear()
        return reports_english._glossary()

    yield read
    monkeypatch.undo()
    reports_english._glossary.cache_clear()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("de\tfinding\tpuls\tpulse", "sv\tfinding\tpuls\theart rate"),
        ("de\tfinding\tpuls\tpulse", "sv\tword\tpuls\tpulse"),
        ("de\tfinding\tüber\tabove", "sv\tfinding\tueber\tover"),  # one spelling, once folded
        ("de\tfinding\tunbest. typ\tunknown axis", "de\tfinding\tunbest typ\tno axis"),  # once its full stop is gone
    ],
)
def test_two_lines_that_disagree_about_a_source_are_an_error_that_names_both(read_glossary, first, second):
    with pytest.raises(ValueError, match="glossary.tsv, lines 2 and 4: .*all languages share one tree"):
        read_glossary(first, "en\tfinding\tother\tother", second)


def test_two_languages_may_agree_about_a_source(read_glossary):
    tree = read_glossary("de\tfinding\tpuls\tpulse", "sv\tfinding\tpuls\tpulse")
    assert tree["puls"][None].english == "pulse"


@pytest.mark.parametrize("text", ["v1" + "," * 50000, "v1 - " * 20000, "(" * 50000, "i, " * 30000, "v" * 50000])
def test_odd_text_takes_no_longer_than_its_length(text):
    started = time.perf_counter()
    render_english(text)
    assert time.perf_counter() - started < 10


def test_rendering_is_fast():
    render_english("sinusrhythmus")  # reads the glossary
    started = time.perf_counter()
    for _ in range(20):
        for report in RENDERINGS:
            render_english(report)
    # 2,000 reports a second are aimed at; a busy machine may be slower.
    assert 20 * len(RENDERINGS) / (time.perf_counter() - started) > 500
