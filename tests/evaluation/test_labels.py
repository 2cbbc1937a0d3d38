import dataclasses

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, List

from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.evaluation.labels import TaskLabels, draw_balanced, draw_patients, load_labels
from mets_ecg.evaluation.tasks import get_task, read_task, simulated_task


@pytest.fixture(scope="module")
def rows(simulated_corpus, tiny_processor):
    return load_prepared_rows(tiny_processor.feature_extractor, corpus=simulated_corpus)


def test_the_labels_of_a_multi_label_task_are_those_of_the_rows(rows, simulated_corpus):
    names = simulated_corpus.features["labels_findings"].feature.names
    classes = ["right bundle branch block", "sinus tachycardia"]

    truth = load_labels(rows, simulated_task(classes))

    expected = [[names.index(code) in own for code in classes] for own in simulated_corpus["labels_findings"]]
    assert truth.labels.tolist() == expected and truth.excluded == {}  # records of other classes are negatives
    assert truth.patients.tolist() == [f"/{patient}" for patient in simulated_corpus["patient_id"]]


def test_a_corpus_without_the_labels_is_refused(simulated_corpus):
    with pytest.raises(ValueError, match="needs the column labels_findings; the corpus has statements"):
        load_labels(simulated_corpus.remove_columns("labels_findings"), simulated_task())
    ludb = Dataset.from_dict({"corpus": ["ludb"], "labels_rhythm": [[]]})
    with pytest.raises(ValueError, match="the corpus has labels_rhythm. A task of ludb is ludb-rhythm"):
        load_labels(ludb, simulated_task())


def with_labels(rows, labels):
    feature = rows.features["labels_findings"]
    return (
        rows.columns.select(range(len(labels)))
        .remove_columns("labels_findings")
        .add_column("labels_findings", labels, feature=feature)
    )


def test_unknown_labels_do_not_count_and_none_of_the_classes_is_a_negative(rows):
    truth = load_labels(with_labels(rows, [None, [], [0], [1, 2]]), simulated_task())
    assert truth.rows.tolist() == [1, 2, 3]
    assert truth.excluded == {"labels not known": 1}
    assert truth.labels.sum(axis=1).tolist() == [0, 1, 2]


def test_rows_of_a_single_label_task_have_exactly_one_of_its_classes(rows):
    names = rows.features["labels_findings"].feature.names
    task = dataclasses.replace(simulated_task(names[:2]), problem_type="single-label")
    truth = load_labels(with_labels(rows, [None, [], [0], [1, 2], [0, 1], [5]]), task)
    assert truth.rows.tolist() == [2, 3]
    assert truth.excluded == {"labels not known": 1, "not exactly one of the classes": 3}


def test_codes_of_statements_can_be_the_classes(tmp_path):
    codes = [["22", "23"], None, ["30+310"], ["1"]]
    rows = Dataset.from_dict(
        {
            "record_id": list("abcd"),
            "patient_id": list("1234"),
            "statements": [own and [{"code": code, "likelihood": None} for code in own] for own in codes],
        }
    )
    path = tmp_path / "sph.yaml"
    path.write_text(
        "corpus: sph\nlabel_column: statements\nclasses: {22: STACH, '30': {name: atrial premature beat}}\n"
    )
    truth = load_labels(rows, read_task(path))
    assert truth.rows.tolist() == [0, 2, 3]
    assert truth.labels.tolist() == [[True, False], [False, True], [False, False]]
    assert load_labels(rows.select([2, 3]), read_task(path)).labels.tolist() == [[False, True], [False, False]]
    with pytest.raises(ValueError, match="statements has no class '22', '30'; it has 1$"):
        load_labels(rows.select([3]), read_task(path))


@pytest.fixture
def beats():
    """Rows of the corpus, and the task over three of its classes; the sixth beat begins the recording."""
    names = ["normal beat", "atrial premature beat", "premature ventricular contraction", "other"]
    windows = ["NNN", "NAN", "NVN", "AVN", "NVN", "VVN", "NNE"]
    own = "NANAVVN"
    rows = Dataset.from_dict(
        {
            "record_id": list(map(str, range(7))),
            "patient_id": ["1"] * 7,
            "statements": [[{"code": code, "likelihood": None}] for code in own],
            "window_symbols": [list(window) for window in windows],
            "beat_sample": [1800] * 5 + [90, 1800],
            "labels_beat": [[{"N": 0, "A": 1, "V": 2}[code]] for code in own],
        }
    ).cast_column("labels_beat", List(ClassLabel(names=names)))
    return rows, dataclasses.replace(get_task("mit-bih-beats"), classes={name: None for name in names[:3]})


def test_windows_with_a_second_kind_of_abnormal_beat_are_left_out_and_counted(beats):
    rows, task = beats
    labels = load_labels(rows, dataclasses.replace(task, seconds=None))
    assert labels.rows.tolist() == [0, 1, 4, 5]
    assert labels.excluded == {"a second kind of abnormal beat in the window": 3}


def test_a_beat_that_is_not_in_the_middle_is_left_out_where_the_middle_is_read(beats):
    rows, task = beats
    assert task.seconds == 3
    labels = load_labels(rows, task)
    assert labels.rows.tolist() == [0, 1, 4]
    assert labels.excluded["not in the middle of its window"] == 1


@pytest.fixture
def truth():
    """30 records of 12 patients: 14 of a alone, 8 of b alone, 4 of both, 4 of none."""
    labels = np.array([[1, 0]] * 14 + [[0, 1]] * 8 + [[1, 1]] * 4 + [[0, 0]] * 4, dtype=bool)
    patients = np.array([f"p{i % 12}" for i in range(30)])
    return TaskLabels(("a", "b"), labels, patients, np.arange(30).astype(str), np.arange(30), {})


def test_balanced_draws_have_as_many_records_of_each_class_and_none_of_two(truth):
    draws = draw_balanced(truth, 5, 3, seed=0)
    for rows in draws:
        assert truth.labels[rows].sum(axis=0).tolist() == [5, 5]
        assert (truth.labels[rows].sum(axis=1) == 1).all() and len(set(rows)) == 10
    assert draws[0].tolist() != draws[1].tolist()
    assert [own.tolist() for own in draw_balanced(truth, 5, 3, seed=0)] == [own.tolist() for own in draws]
    assert truth.labels[draw_balanced(truth, 100, 1, seed=0)[0]].sum(axis=0).tolist() == [8, 8]  # all of the rarer one
    only_a = dataclasses.replace(truth, labels=truth.labels & [True, False])
    with pytest.raises(ValueError, match="two classes that have records of their own"):
        draw_balanced(only_a, 5, 1, seed=0)


def test_a_part_of_the_patients_has_all_records_of_each(truth):
    rows = draw_patients(truth, 0.25, [0, 1])
    drawn = set(truth.patients[rows])
    assert len(drawn) == 3
    assert set(rows) == {i for i, patient in enumerate(truth.patients) if patient in drawn}
    assert draw_patients(truth, 1, [0]).tolist() == list(range(30))
    assert len(set(truth.patients[draw_patients(truth, 0.001, [0])])) == 1


def test_the_fingerprint_tells_records_and_labels_apart(truth):
    same = dataclasses.replace(truth, rows=truth.rows + 5)
    assert same.fingerprint == truth.fingerprint
    for changes in ({"labels": ~truth.labels}, {"records": truth.records[::-1]}, {"classes": ("a", "c")}):
        assert dataclasses.replace(truth, **changes).fingerprint != truth.fingerprint
