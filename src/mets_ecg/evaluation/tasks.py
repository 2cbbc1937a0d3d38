"""Zero-shot tasks: which label column of which corpus has the classes, and how each class is put into words.

A task is a YAML file, those of the package in `task_files/`; a user's own is given by its path. Classes are described
in the file itself or by a concept of `descriptions.yaml`, which tasks share: a word, which goes into the template, and
phrases as reports put the finding.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from mets_ecg_cli.evaluate import task_names
from mets_ecg_cli.parser import read_yaml

from ..data.simulator.report_phrases import FINDINGS, PHRASES
from ..processing_ecg import METS_TEMPLATE, check_template

FOLDER = Path(__file__).parent
PROBLEM_TYPES = ("multi-label", "single-label")
UNITS = ("record", "beat", "window")


@dataclass(frozen=True)
class ClassDescription:
    """One class in words.

    Attributes:
        name: the word that goes into the task's template.
        phrases_by_language: report-like phrases by language code; lower case, as cleaned reports are.
    """

    name: str
    phrases_by_language: Mapping[str, tuple[str, ...]]

    def phrases_in(self, *languages: str) -> tuple[str, ...]:
        """Return the phrases in the languages named, for example `"en"`; in all languages if none is named.

        Raises:
            ValueError: there are no phrases in a language.
        """
        for language in languages:
            if language not in self.phrases_by_language:
                known = ", ".join(self.phrases_by_language)
                raise ValueError(f"no phrases for {self.name!r} in language {language!r}: there are some in {known}")
        languages = languages or tuple(self.phrases_by_language)
        return tuple(phrase for language in languages for phrase in self.phrases_by_language[language])


@dataclass(frozen=True)
class Task:
    """A classification task on a corpus.

    Attributes:
        name: as commands and results spell it.
        corpus: whose label column it is.
        config: which version of the corpus; None for any.
        label_column: the column of corpus rows that has the classes of a record: `labels`, a `labels_...` column, or
            `statements`, where each code is a class.
        problem_type: `"multi-label"`, or `"single-label"`: a row counts that has exactly one of the classes.
        unit: what a row is: `"record"`, `"window"`, or `"beat"`: a beat is scored on its window, and windows with a
            second kind of abnormal beat are left out.
        seconds: s in the middle of a row's recording that are read, where the model's own window is longer; None for
            the model's window.
        positive: what a positive needs, in words.
        classes: description by class code; the codes are the column's class names or the statements' codes (without
            modifiers after a `+`), matched by name and not by order.
        template: sentence with one `{}` for a class's name.
        phrases_version: names the wording of the phrases in results.
        source: where classes, template and phrases come from.
    """

    name: str
    corpus: str
    label_column: str
    classes: Mapping[str, ClassDescription]
    template: str
    phrases_version: str
    source: str
    config: str | None = None
    problem_type: str = "multi-label"
    unit: str = "record"
    seconds: float | None = None
    positive: str = ""

    def __post_init__(self) -> None:
        check_template(self.template, f"template of task {self.name!r}")
        if not self.classes:
            raise ValueError(f"task {self.name!r} has no classes: expected at least one")
        for field, known in (("problem_type", PROBLEM_TYPES), ("unit", UNITS)):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"task {self.name!r}: {field} must be one of {', '.join(known)}, got {getattr(self, field)!r}"
                )

        if self.seconds is not None and not (isinstance(self.seconds, (int, float)) and self.seconds > 0):
            raise ValueError(f"task {self.name!r}: seconds must be a length in s, got {self.seconds!r}")

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several of the classes, so that each is judged on its own."""
        return self.problem_type == "multi-label"

    def template_prompts(self) -> dict[str, tuple[str, ...]]:
        """Return METS' prompts: the template filled with each class's name, by class code."""
        return {code: (self.template.replace("{}", described.name),) for code, described in self.classes.items()}

    def phrase_prompts(self, *languages: str) -> dict[str, tuple[str, ...]]:
        """Return the report-like phrases by class code, in all languages unless some are named.

        Raises:
            ValueError: there are no phrases in a language.
        """
        return {code: described.phrases_in(*languages) for code, described in self.classes.items()}


def get_task(name: str) -> Task:
    """Return a task.

    Args:
        name: of one of the package, or the path of a YAML file.

    Raises:
        ValueError: there is no such task, or the file is wrong; the message names the field.
        FileNotFoundError: there is no such file.
    """
    if name == "simulated":
        return simulated_task()
    if name in task_names():
        return read_task(FOLDER / "task_files" / f"{name}.yaml")
    if not str(name).endswith((".yaml", ".yml")):
        raise ValueError(f"unknown task {name!r}: known tasks are {', '.join(task_names())}, or a YAML file's path")
    return read_task(name)


def read_task(path: str | Path) -> Task:
    """Read a task from a YAML file; its name is the file's.

    Raises:
        ValueError: a field is unknown, missing or wrong.
        FileNotFoundError: there is no such file.
    """
    fields = read_yaml(path)
    known = [name for name in Task.__dataclass_fields__ if name != "name"]
    for name in fields:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise ValueError(f"{path}: a task has no field {name!r}{hint}; its fields are {', '.join(known)}")
    missing = [name for name in ("corpus", "label_column", "classes") if name not in fields]
    if missing:
        raise ValueError(f"{path}: a task needs {', '.join(missing)}")
    if not isinstance(fields["classes"], dict):
        raise ValueError(f"{path}: classes must be a mapping of the column's classes to their descriptions")
    classes = {
        str(code): _describe(described, f"{path}, class {code}") for code, described in fields["classes"].items()
    }
    defaults = {"template": METS_TEMPLATE, "phrases_version": Path(path).stem, "source": str(Path(path).name)}
    try:
        return Task(**{**defaults, **fields, "name": Path(path).stem, "classes": MappingProxyType(classes)})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _describe(described, where: str) -> ClassDescription:
    """Return a class's description, from a concept's name or from its own fields."""
    if isinstance(described, str):
        if described not in _concepts():
            nearest = difflib.get_close_matches(described, _concepts(), n=1)
            hint = f", did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"{where}: descriptions.yaml has no concept {described!r}{hint}")
        described = _concepts()[described]
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise ValueError(f"{where}: a description has a name and phrases by language, got {described!r}")
    phrases = {language: own for language, own in described.items() if language != "name"}
    for language, own in phrases.items():
        if not isinstance(own, list) or not own or not all(isinstance(phrase, str) and phrase for phrase in own):
            raise ValueError(f"{where}: phrases in {language!r} must be a list of texts, got {own!r}")
    if not phrases:
        phrases = {"en": [described["name"].lower()]}
    return ClassDescription(described["name"], MappingProxyType({name: tuple(own) for name, own in phrases.items()}))


@cache
def _concepts() -> dict:
    return read_yaml(FOLDER / "descriptions.yaml")


def simulated_task(findings: Sequence[str] = FINDINGS) -> Task:
    """Return the task of the simulator's corpus, over some of its findings."""
    return Task(
        name="simulated",
        corpus="simulated",
        label_column="labels_findings",
        classes=MappingProxyType(
            {name: _describe({"name": name, "en": list(PHRASES[name])}, name) for name in findings}
        ),
        template=METS_TEMPLATE,
        phrases_version="simulated-phrases-1",
        source="classes and phrases: the simulator's own; template: METS (arXiv 2303.12311)",
    )


def task_of(corpus: str, columns: Sequence[str]) -> Task | None:
    """Return the first task of a corpus that its columns serve; None if there is none."""
    for name in ["ptbxl-super", *task_names(), "simulated"]:
        task = get_task(name)
        if task.corpus == corpus and task.label_column in columns:
            return task
    return None
