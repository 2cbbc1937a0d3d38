"""Tasks and the words for their classes."""

from __future__ import annotations

import dataclasses

import pytest

from mets_ecg.data.corpora import CORPORA
from mets_ecg.evaluation.tasks import Task, get_task, read_task, task_of
from mets_ecg_cli.evaluate import task_names

TASKS = [*task_names(), "simulated"]


@pytest.fixture(params=sorted(TASKS))
def task(request) -> Task:
    return get_task(request.param)


def test_tasks_are_found_by_their_name_and_fit_their_corpus(task):
    assert task == get_task(task.name)
    if task.name != "simulated":
        builder = CORPORA[task.corpus]
        configs = [task.config] if task.config else builder.configs
        for config in configs:
            columns = builder.__new__(builder)
            columns.config = config
            assert set(task.classes) <= set(columns.label_columns[task.label_column])


def test_the_superclass_task_uses_the_words_of_mets():
    task = get_task("ptbxl-super")
    assert task.label_column == "labels_super"
    assert {code: described.name for code, described in task.classes.items()} == {
        "NORM": "Normal ECG",
        "CD": "Conduction Disturbance",
        "MI": "Myocardial Infarction",
        "HYP": "Hypertrophy",
        "STTC": "ST/T change",
    }
    assert task.template_prompts()["STTC"] == ("The ECG of ST/T change, a type of diagnostic.",)


def test_every_class_has_distinct_lower_case_phrases(task):
    for described in task.classes.values():
        phrases = described.phrases_in()
        assert len(set(phrases)) == len(phrases)
        assert all(phrase and phrase == " ".join(phrase.lower().split()) for phrase in phrases)


def test_no_phrase_stands_for_two_classes(task):
    phrases = [phrase for described in task.classes.values() for phrase in described.phrases_in()]
    assert len(set(phrases)) == len(phrases)


def test_every_class_speaks_the_same_languages(task):
    assert len({frozenset(described.phrases_by_language) for described in task.classes.values()}) == 1


@pytest.mark.parametrize(
    ("code", "findings"),
    [
        ("NORM", ["normal ecg"]),
        ("CD", ["left bundle", "right bundle", "incomplete right", "left anterior fascicular"]),
        ("CD", ["first degree av", "intraventricular"]),
        ("MI", ["inferior", "anterior", "anteroseptal", "lateral"]),
        ("HYP", ["left ventricular hypertrophy", "strain", "voltage", "left atrial enlargement"]),
        ("STTC", ["t wave", "depressed", "ischemia", "non-specific st"]),
    ],
)
def test_english_phrases_cover_the_frequent_findings(code, findings):
    phrases = get_task("ptbxl-super").classes[code].phrases_in("en")
    for finding in findings:
        assert any(finding in phrase for phrase in phrases), finding


def test_languages_are_chosen_by_name():
    task = get_task("ptbxl-super")
    english, everything = task.phrase_prompts("en"), task.phrase_prompts()
    assert "linksschenkelblock" in everything["CD"]
    assert "linksschenkelblock" not in english["CD"]
    assert "left bundle branch block" in english["CD"]
    assert task.phrase_prompts("sv", "en")["HYP"][0] == "vänster kammarhypertrofi"
    with pytest.raises(ValueError, match=r"language 'fr'.*en, de, sv"):
        task.phrase_prompts("fr")


def test_template_takes_exactly_one_name(task):
    assert task.template.count("{}") == 1
    for template in ("The ECG of a heart.", "{} and {}"):
        with pytest.raises(ValueError, match="exactly one"):
            dataclasses.replace(task, template=template)


def test_a_task_needs_classes(task):
    with pytest.raises(ValueError, match="no classes"):
        dataclasses.replace(task, classes={})


def test_unknown_task_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown task 'ptbxl-sup': known tasks are .*ptbxl-super"):
        get_task("ptbxl-sup")


def test_tasks_cannot_be_changed(task):
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.template = "{}"
    with pytest.raises(TypeError):
        task.classes["NEW"] = None


OWN = """
corpus: cinc
label_column: labels_cinc2021
template: "{} of a {x} heart"
classes:
  AF: AFIB
  NSR: {name: Normal sinus rhythm, en: ["sinus rhythm", "normal sinus rhythm"]}
  LQT: {name: Long QT}
"""


def test_a_user_s_own_task_is_a_yaml_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN)
    task = get_task(str(tmp_path / "mine.yaml"))
    assert (task.name, task.corpus, task.problem_type, task.unit) == ("mine", "cinc", "multi-label", "record")
    assert task.phrase_prompts()["AF"] == get_task("ptbxl-rhythm").phrase_prompts()["AFIB"]
    assert task.phrase_prompts("en")["LQT"] == ("long qt",)
    assert task.template_prompts()["LQT"] == ("Long QT of a {x} heart",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("label_column", "label_colum"), "no field 'label_colum' .did you mean 'label_column'"),
        (("corpus: cinc", ""), "a task needs corpus"),
        (("AF: AFIB", "AF: AFIBB"), "class AF: descriptions.yaml has no concept 'AFIBB', did you mean 'AFIB'"),
        (("name: Long QT", "nam: Long QT"), "class LQT: a description has a name"),
        (('["sinus rhythm", "normal sinus rhythm"]', "3"), "class NSR: phrases in 'en' must be a list of texts"),
        (("corpus: cinc", "corpus: cinc\nunit: beats"), "unit must be one of record, beat, window, got 'beats'"),
        (("{} of a", "of a"), "exactly one"),
    ],
)
def test_a_wrong_task_file_is_refused_with_the_field(tmp_path, change, message):
    (tmp_path / "mine.yaml").write_text(OWN.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_task(tmp_path / "mine.yaml")


def test_the_task_of_a_corpus_is_found_by_its_columns():
    assert task_of("ptb-xl", ["labels_super", "labels_rhythm"]).name == "ptbxl-super"
    assert task_of("mit-bih", ["labels_rhythm"]).name == "mit-bih-rhythm"
    assert task_of("mit-bih", ["labels_beat"]).name == "mit-bih-beats"
    assert task_of("cinc", ["labels_cinc2021"]).name == "physionet2021-dx"
    assert task_of("sph", ["statements"]) is None
