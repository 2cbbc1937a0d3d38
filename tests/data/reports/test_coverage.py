"""The command that says how much of a file's reports is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mets_ecg.data.reports.coverage import run_reports
from mets_ecg_cli.reports import ReportsArguments

PTB_XL = Path(__file__).parents[2] / "fixtures" / "ptb-xl" / "ptbxl_database.csv"


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "reports.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ecg_id", "report", "strat_fold"])
        writer.writerow(["1", "sinusrhythmus lagetyp normal normales ekg", "1"])
        writer.writerow(["2", "sinusrhythmus lagetyp normal normales ekg Edit: NORM 100", "2.0"])
        writer.writerow(["3", "sinus rhythm. possible quuxitis, quuxitis.", "2"])
        writer.writerow(["4", "sinusrytm vänster el-axel eljest normalt ekg", "3"])
        writer.writerow(["5", "trace only requested.", "3"])
        writer.writerow(["6", "", "9"])
    return path


def test_what_is_known_is_counted(table, capsys):
    coverage = run_reports(ReportsArguments(file=str(table)))
    assert (coverage.num_reports, coverage.num_empty) == (6, 2)
    assert coverage.languages == {"de": 2, "en": 1, "sv": 1}
    assert coverage.unknown_words == {"quuxitis": 2}
    assert coverage.num_words - coverage.num_known_words == 2
    assert (coverage.num_distinct_words, coverage.num_distinct_unknown_words) == (18, 1)
    printed = capsys.readouterr().out
    assert "6 reports, 2 of them empty or trace only; de 2, en 1, sv 1" in printed
    assert "      2  quuxitis" in printed


def test_empty_and_misread_reports_of_a_file_are_read_as_those_of_a_corpus(tmp_path):
    path = tmp_path / "reports.csv"
    path.write_text("report\nnan\nNone\nsinusrhythmus unbestÃ¤tigter bericht\n", encoding="utf-8")
    coverage = run_reports(ReportsArguments(file=str(path)))
    assert (coverage.num_reports, coverage.num_empty, coverage.unknown_words) == (3, 2, {})


def test_folds_are_chosen_as_everywhere(table):
    assert run_reports(ReportsArguments(file=str(table), folds=["1-2"])).num_reports == 3


def test_json_and_sample(table, capsys):
    run_reports(ReportsArguments(file=str(table), json=True, sample=3, seed=1, top=0))
    printed = json.loads(capsys.readouterr().out)
    assert printed["num_reports"] == 6 and printed["unknown_words"] == {} and len(printed["sample"]) == 3
    run_reports(ReportsArguments(file=str(table), sample=9))
    printed = capsys.readouterr().out
    assert "sinusrytm vänster el-axel eljest normalt ekg\n  -> sinus rhythm. leftward axis." in printed
    assert "trace only requested.\n  -> (no finding)" in printed


def test_the_renderings_are_written(table, tmp_path):
    output = tmp_path / "english.csv"
    run_reports(ReportsArguments(file=str(table), output=str(output)))
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["record_id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[1]["report_en"] == "sinus rhythm. normal axis. normal ecg."
    assert rows[1]["findings"] == "sinus rhythm|normal axis|normal ecg"
    assert rows[4]["report_en"] == rows[4]["findings"] == ""
    with pytest.raises(FileExistsError, match="is there already"):
        run_reports(ReportsArguments(file=str(table), output=str(output)))


def test_a_txt_holds_a_report_a_line(tmp_path):
    path = tmp_path / "reports.txt"
    path.write_text("sinusrhythmus\nvorhofflimmern/-flattern\n", encoding="utf-8")
    coverage = run_reports(ReportsArguments(file=str(path)))
    assert (coverage.num_reports, coverage.num_findings, coverage.languages) == (2, 2, {"de": 2})
    with pytest.raises(ValueError, match="is a txt and has no folds"):
        run_reports(ReportsArguments(file=str(path), folds=["1"]))


def test_the_fixtures_are_known():
    coverage = run_reports(ReportsArguments(file=str(PTB_XL)))
    assert coverage.num_empty == 2
    assert coverage.num_known_words == coverage.num_words > 200


@pytest.mark.parametrize(
    ("content", "arguments", "error", "message"),
    [
        (None, {}, FileNotFoundError, "there is no file"),
        (b"", {}, ValueError, "has no column 'report', it has none"),
        (b"id,text\n1,sinusrhythmus\n", {}, ValueError, "has no column 'report', it has id, text.*--column"),
        (b"report\nsinusrhythmus\n", {"folds": ["1"]}, ValueError, "no column strat_fold or fold"),
        (b"report,fold\nsinusrhythmus,x\n", {"folds": ["1"]}, ValueError, "row 1: the fold 'x' is not a number"),
        (b"report,fold\nsinusrhythmus,2\n", {"folds": ["1"]}, ValueError, "holds no report in folds 1"),
        (b"report\n", {}, ValueError, "holds no report"),
        ("report\nlinkshypertrophie m\u00f6glich\n".encode("latin-1"), {}, ValueError, "is no UTF-8 .byte 0xf6.*iconv"),
        (b"report\nsinusrhythmus\n", {"top": -1}, ValueError, "--top is -1"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, content, arguments, error, message):
    path = tmp_path / "reports.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        run_reports(ReportsArguments(file=str(path), **arguments))
