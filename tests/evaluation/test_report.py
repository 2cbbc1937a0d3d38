import json

import pyarrow.parquet as pq
import pytest

from mets_ecg.evaluation import report as report_module
from mets_ecg.evaluation.evaluate import run_evaluate
from mets_ecg_cli.evaluate import EvaluateArguments


@pytest.fixture
def report(tiny_checkpoint, ptb_xl_source, tmp_path):
    (tmp_path / "report").mkdir()  # an empty folder may be there
    arguments = EvaluateArguments(
        model=str(tiny_checkpoint),
        source=str(ptb_xl_source),
        test=["8"],
        train=["none"],
        num_resamples=5,
        output=str(tmp_path / "report"),
    )
    return tmp_path / "report", run_evaluate(arguments)


def test_a_report_has_what_a_reader_needs_to_check_it(report):
    folder, table = report
    found = sorted(path.name for path in folder.iterdir())
    assert found == ["auroc.png", "confusion.png", "reliability.png", "report.json", "report.md", "scores.parquet"]
    document = json.loads((folder / "report.json").read_text())
    assert document["records_fingerprint"] == table.labels.fingerprint
    assert {"mets-ecg", "torch", "transformers"} < document["versions"].keys()
    assert document["settings"]["num_resamples"] == 5
    assert "source" not in document["settings"]  # a path of this machine
    text = (folder / "report.md").read_text()
    assert text.startswith("# ptbxl-super on ptb-xl 8: 11 records of 10 patients")
    assert "| NORM | 4 |" in text and "![AUROC of each class" in text
    scores = pq.read_table(folder / "scores.parquet")
    assert scores.num_rows == 11
    assert scores.column("label:NORM").to_pylist() == table.labels.labels[:, 0].tolist()
    assert scores.column("phrases:MI").to_pylist() == table.lines["phrases"].scores[:, 2].tolist()


def test_a_report_that_fails_leaves_nothing(report, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(report_module.pq, "write_table", fail)
    with pytest.raises(OSError, match="disk is full"):
        report_module.write_report(str(tmp_path / "other"), {}, report[1])
    assert sorted(tmp_path.iterdir()) == before
