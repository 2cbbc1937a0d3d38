"""What is cut from a report, what is left, and which reports are not worth training on."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from mets_ecg.data.reports.cleaning import clean_report, is_trainable
from mets_ecg.data.statements import STATEMENTS

PTB_XL = Path(__file__).parents[2] / "fixtures" / "ptb-xl"


def fixture_reports() -> dict[str, str]:
    with (PTB_XL / "ptbxl_database.csv").open(encoding="utf-8", newline="") as file:
        return {row["ecg_id"]: row["report"] for row in csv.DictReader(file)}


def test_an_edit_is_cut_with_all_that_follows_it():
    report = "sinus rhythm. normal ecg. Edit: NORM 100, schlechte Qualität V2,V3 sinus rhythm"
    assert clean_report(report) == "sinus rhythm. normal ecg."


@pytest.mark.parametrize("edit", ["edit:", "EDIT:", "Edit :", "Edit", "Edit:NORM"])
def test_an_edit_is_found_however_it_is_written(edit):
    assert clean_report(f"normales ekg {edit} NORM 100") == "normales ekg"


def test_an_edit_without_a_space_before_it_is_found():
    assert clean_report("normales ekg.Edit: NORM 100") == "normales ekg."


@pytest.mark.parametrize(
    "codes", ["(NORM 100, IVCB)", "(IMI 50)", "[LVH 100, ISC_]", "(1AVB,PRC(S))", "(LAO/LAE 35, )"]
)
def test_codes_in_brackets_are_cut_wherever_they_stand(codes):
    assert clean_report(f"sinusrhythmus {codes} linkstyp") == "sinusrhythmus linkstyp"
    assert clean_report(f"sinusrhythmus linkstyp {codes}") == "sinusrhythmus linkstyp"


def test_codes_in_a_bracket_that_the_end_of_the_report_cut_open_are_cut():
    assert clean_report("sinusrhythmus (NORM 100, IRBBB") == "sinusrhythmus"
    assert clean_report("sinusrhythmus (NORM 100, IR") == "sinusrhythmus"
    assert clean_report("sinusrhythmus (normaler lagetyp") == "sinusrhythmus (normaler lagetyp"


@pytest.mark.parametrize(
    "text", ["qrs(t) abnorm", "extrasystole(n)", "block [complete heart block].", "(rate = 82/min.)"]
)
def test_brackets_that_hold_words_stay(text):
    assert clean_report(text) == text


def test_the_device_s_note_is_cut_at_the_end_and_in_the_middle():
    note = "4.46                          unbestÄtigter bericht"
    assert clean_report(f"normales ekg {note}") == "normales ekg"
    assert clean_report(f"normales ekg {note} linkstyp") == "normales ekg linkstyp"
    assert clean_report(f"normales ekg {note} Edit: NORM 100") == "normales ekg"
    assert clean_report("normales ekg unbesta\u0308tigter bericht") == "normales ekg"  # decomposed umlaut


@pytest.mark.parametrize(
    "rest", ["4.4", "4.46", "4.46      ", "4.46      u", "4.46   unbestÄtig", "4.46   unbestÄtigter ber"]
)
def test_a_note_that_was_cut_short_is_cut(rest):
    assert clean_report(f"linksbelastung {rest}") == "linksbelastung"


def test_text_that_resembles_the_note_stays():
    assert clean_report("inferiorer infarkt     alter unbest.") == "inferiorer infarkt alter unbest."
    assert clean_report("pq 4.46 sec in ii") == "pq 4.46 sec in ii"
    assert clean_report("av-block i (0.22 sec) pq 0.22") == "av-block i (0.22 sec) pq 0.22"


def test_case_and_white_space_are_made_even():
    assert clean_report("SinusRhythmus  mÄssige\n ST-HEBUNG Über v1") == "sinusrhythmus mässige st-hebung über v1"


def test_stray_punctuation_goes_and_full_stops_stay():
    assert clean_report("linkstyp , t neg in v1,") == "linkstyp, t neg in v1"
    assert clean_report("otherwise normal. .") == "otherwise normal."
    assert clean_report("sinus rhythm. normal ecg.") == "sinus rhythm. normal ecg."
    assert clean_report("poor r wave -") == "poor r wave"


def test_cleaning_twice_changes_nothing():
    for report in fixture_reports().values():
        cleaned = clean_report(report)
        assert clean_report(cleaned) == cleaned


def test_no_fixture_report_keeps_a_leak():
    any_code = "|".join(re.escape(code.lower()) for code in STATEMENTS)
    raw = fixture_reports()
    assert sum("Edit:" in report for report in raw.values()) == 2  # else this test would test nothing
    for cleaned in map(clean_report, raw.values()):
        assert "edit" not in cleaned
        assert "unbestätig" not in cleaned and "4.46" not in cleaned
        assert not re.search(rf"\b({any_code}) \d+", cleaned)


def test_real_reports_by_hand():
    raw = fixture_reports()
    assert clean_report(raw["4401"]) == "tachykardes vorhofflimmern lagetyp normal"
    assert clean_report(raw["4561"]).endswith("t abnorm in anterolateralen ableitungen")
    assert clean_report(raw["310"]).endswith("possible old inferior myocardial infarction.")
    assert clean_report(raw["138"]) == "sinusrytm vänster kammarhypertrofi"


@pytest.mark.parametrize(
    "report",
    [
        "",
        "   ",
        ".",
        "trace only requested.",
        "Trace only.",
        "TRACE ONLY REQUESTED",
        "ECG trace only requested.",
    ],
)
def test_reports_that_say_nothing_are_not_trainable(report):
    assert not is_trainable(clean_report(report))


def test_a_trace_request_with_an_edit_says_nothing_once_cleaned():
    assert not is_trainable(clean_report("trace only requested. Edit: NORM 100, TOR, (NORM 100)"))


@pytest.mark.parametrize(
    "report", ["ekg", "trace only requested. atrial fibrillation.", "progress trace advised", "1 av-block"]
)
def test_reports_that_say_something_are_trainable(report):
    assert is_trainable(clean_report(report))


def test_two_of_the_fixture_s_reports_are_not_trainable():
    untrainable = {ecg_id for ecg_id, report in fixture_reports().items() if not is_trainable(clean_report(report))}
    assert untrainable == {"292", "443"}
