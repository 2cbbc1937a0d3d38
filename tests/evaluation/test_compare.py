import json

import numpy as np
import pytest

from mets_ecg.evaluation.compare import run_compare
from mets_ecg.evaluation.evaluate import run_evaluate
from mets_ecg_cli.compare import CompareArguments
from mets_ecg_cli.evaluate import EvaluateArguments


@pytest.fixture(scope="module")
def reports(ptb_xl_source, tmp_path_factory):
    from pathlib import Path

    checkpoint = Path(__file__).parents[1] / "fixtures" / "tiny-checkpoint"
    folder = tmp_path_factory.mktemp("reports")
    where = {"model": str(checkpoint), "source": str(ptb_xl_source), "train": ["none"], "num_resamples": 5}
    for name, changes in (("all", {}), ("II", {"leads": ["II"]}), ("other", {"test": ["1-3"]})):
        run_evaluate(EvaluateArguments(**{**where, "test": ["8"], **changes}, output=str(folder / name)))
    return folder


def arguments(reports, one, other, **changes):
    return CompareArguments(first=str(reports / one), second=str(reports / other), num_resamples=50, **changes)


def test_the_difference_is_that_of_the_figures_with_its_interval(reports, capsys):
    document = run_compare(arguments(reports, "all", "II"))
    macros = [
        json.loads((reports / name / "report.json").read_text())["lines"]["phrases"]["auroc"]["macro"]
        for name in ("all", "II")
    ]
    difference = document["difference"]
    assert difference["macro"] == pytest.approx(macros[1] - macros[0])
    assert difference["macro_low"] <= difference["macro_high"]
    printed = capsys.readouterr().out
    assert f"{difference['macro']:+.3f}" in printed and "| NORM |" in printed


def test_a_report_does_not_differ_from_itself(reports):
    difference = run_compare(arguments(reports, "all", "all"))["difference"]
    assert difference["macro_low"] == difference["macro"] == difference["macro_high"] == 0
    assert difference["share_above"] == 0.5


def test_lines_of_one_report_are_compared(reports):
    document = run_compare(arguments(reports, "all", "all", lines=["template", "phrases"]))
    assert document["first"]["line"] == "template"
    one, other = (np.array(document[which]["per_class"]) for which in ("first", "second"))
    assert np.allclose(document["difference"]["per_class"], other - one)


@pytest.mark.parametrize(
    ("one", "other", "changes", "message"),
    [
        ("all", "other", {}, "only figures of the same records"),
        ("all", "II", {"lines": ["phrases", "probe"]}, "has no line 'probe': it has scores of phrases, template"),
        ("all", "nowhere", {}, "there is no report.json in"),
    ],
)
def test_what_cannot_be_compared_is_refused(reports, one, other, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_compare(arguments(reports, one, other, **changes))


def test_lines_are_two():
    with pytest.raises(ValueError, match="--lines takes two names"):
        CompareArguments(first="a", second="b", lines=["phrases"])
