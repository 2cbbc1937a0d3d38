"""The SCP vocabulary: the published table's size, and classes by hand."""

from __future__ import annotations

import pytest

from mets_ecg.data.statements import (
    DIAGNOSTIC_STATEMENTS,
    FORM_STATEMENTS,
    RHYTHM_STATEMENTS,
    STATEMENTS,
    SUBCLASSES,
    SUPERCLASSES,
    TASK_CLASSES,
    task_labels,
)


def test_the_table_has_the_published_numbers_of_statements():
    rows = STATEMENTS.values()
    assert len(rows) == 71
    assert sum(row.superclass is not None for row in rows) == 44
    assert sum(row.form for row in rows) == 19
    assert sum(row.rhythm for row in rows) == 12
    assert {code for code, row in STATEMENTS.items() if row.form and row.superclass} == {
        "NDT",
        "NST_",
        "DIG",
        "LNGQT",
    }
    assert {row.superclass for row in rows} == {*SUPERCLASSES, None}
    assert len({row.subclass for row in rows} - {None}) == 23


def test_every_statement_is_diagnostic_or_form_or_rhythm():
    for code, row in STATEMENTS.items():
        assert row.superclass or row.form or row.rhythm, code
        assert (row.superclass is None) == (row.subclass is None), code
        assert row.description, code


def test_single_statements_by_hand():
    assert (STATEMENTS["1AVB"].superclass, STATEMENTS["1AVB"].subclass) == ("CD", "_AVB")
    assert (STATEMENTS["INJAS"].superclass, STATEMENTS["INJAS"].subclass) == ("MI", "AMI")
    assert (STATEMENTS["LAO/LAE"].superclass, STATEMENTS["LAO/LAE"].subclass) == ("HYP", "LAO/LAE")
    assert STATEMENTS["AFIB"].rhythm and STATEMENTS["AFIB"].superclass is None
    assert STATEMENTS["CLBBB"].description == "complete left bundle branch block"


def test_superclasses_come_once_and_in_order_whatever_the_order_of_the_codes():
    assert task_labels(["LVH", "SR", "IMI", "AMI", "NST_"])["super"] == ["MI", "STTC", "HYP"]
    assert task_labels(["NST_", "AMI", "IMI", "LVH", "SR"])["super"] == ["MI", "STTC", "HYP"]


def test_a_likelihood_of_zero_counts():
    assert task_labels({"NST_": 0.0, "SR": 0.0})["super"] == ["STTC"]


def test_statements_without_a_diagnosis_have_no_superclass():
    assert task_labels(["AFIB", "PVC"])["super"] is None
    assert task_labels([])["super"] is None


def test_an_unknown_code_is_an_error_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown statement 'NST'.*did you mean 'NST_'"):
        task_labels(["NST"])


def test_a_string_of_codes_is_an_error():
    with pytest.raises(TypeError, match=r"write \['SR'\]"):
        task_labels("SR")


def test_classes_of_the_tasks_have_the_published_numbers():
    assert {task: len(names) for task, names in TASK_CLASSES.items()} == {
        "super": 5,
        "sub": 23,
        "form": 19,
        "rhythm": 12,
        "diagnostic": 44,
        "all": 71,
    }
    for task, names in TASK_CLASSES.items():
        assert len(set(names)) == len(names), task
    assert SUBCLASSES[:3] == ("STTC", "NST_", "NORM")
    assert RHYTHM_STATEMENTS[0] == "SR" and FORM_STATEMENTS[:2] == ("NDT", "NST_")
    assert set(FORM_STATEMENTS) & set(DIAGNOSTIC_STATEMENTS) == {"NDT", "NST_", "DIG", "LNGQT"}
    assert not set(RHYTHM_STATEMENTS) & {*FORM_STATEMENTS, *DIAGNOSTIC_STATEMENTS}


def test_labels_of_all_tasks_by_hand():
    assert task_labels({"SR": 0.0, "ASMI": 50.0, "INJAS": 15.0, "NST_": 0.0}) == {
        "super": ["MI", "STTC"],
        "sub": ["NST_", "AMI"],  # two statements, one subclass
        "form": ["NST_"],
        "rhythm": ["SR"],
        "diagnostic": ["NST_", "ASMI", "INJAS"],
        "all": ["NST_", "ASMI", "INJAS", "SR"],
    }
    assert task_labels([]) == dict.fromkeys(TASK_CLASSES)
    # Subclass "STTC" is not the superclass of that name, nor "NORM" the statement.
    assert task_labels(["NDT"])["sub"] == ["STTC"] and task_labels(["ISC_"])["sub"] == ["ISC_"]


def test_every_statement_gets_its_classes_alone():
    for code, row in STATEMENTS.items():
        labels = task_labels([code])
        assert labels["all"] == [code]
        assert labels["super"] == ([row.superclass] if row.superclass else None)
        assert labels["sub"] == ([row.subclass] if row.subclass else None)
        assert (bool(labels["form"]), bool(labels["rhythm"])) == (row.form, row.rhythm)
