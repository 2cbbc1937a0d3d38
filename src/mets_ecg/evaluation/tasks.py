"""Zero-shot tasks: which label column holds the truth, and how each class is put into words.

A class has METS' word for it, which goes into METS' template, and phrases as reports put the finding. The
phrases were written from frequent wordings in PTB-XL reports of folds 1-7 and chosen by the text oracle (a record's
own report scored against the phrases) on folds 1-8; folds 9 and 10 were not looked at. Whoever changes a phrase
changes the phrase set's version too, so that results name what they were computed with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..data.simulator.report_phrases import FINDINGS, PHRASES
from ..processing_ecg import METS_TEMPLATE, check_template


@dataclass(frozen=True)
class ClassDescription:
    """One class in words.

    Attributes:
        name: the word that goes into the task's template.
        phrases_by_language: report-like phrases by language code; lower case, as cleaned reports are.
    """

    name: str
    phrases_by_language: Mapping[str, tuple[str, ...]]

    @property
    def phrases(self) -> tuple[str, ...]:
        """All phrases, of all languages."""
        return self.phrases_in(*self.phrases_by_language)

    def phrases_in(self, *languages: str) -> tuple[str, ...]:
        """Return the phrases in the languages named, for example `"en"` where reports are in English.

        Raises:
            ValueError: there are no phrases in a language.
        """
        for language in languages:
            if language not in self.phrases_by_language:
                known = ", ".join(self.phrases_by_language)
                raise ValueError(f"no phrases for {self.name!r} in language {language!r}: there are some in {known}")
        return tuple(phrase for language in languages for phrase in self.phrases_by_language[language])


@dataclass(frozen=True)
class Task:
    """A classification task on a corpus.

    Attributes:
        name: as commands and results spell it.
        label_column: the column of corpus rows that holds the classes of a record.
        classes: description by class code; the codes are the column's class names, matched by name and not by
            order.
        template: sentence with one `{}` for a class's name.
        phrases_version: names the wording of the phrases in results.
        source: where classes, template and phrases come from.
    """

    name: str
    label_column: str
    classes: Mapping[str, ClassDescription]
    template: str
    phrases_version: str
    source: str

    def __post_init__(self) -> None:
        check_template(self.template, f"template of task {self.name!r}")
        if not self.classes:
            raise ValueError(f"task {self.name!r} has no classes: expected at least one")

    def template_prompts(self) -> dict[str, tuple[str, ...]]:
        """Return METS' prompts: the template filled with each class's name, by class code."""
        return {code: (self.template.format(described.name),) for code, described in self.classes.items()}

    def phrase_prompts(self, *languages: str) -> dict[str, tuple[str, ...]]:
        """Return the report-like phrases by class code, in all languages unless some are named.

        Raises:
            ValueError: there are no phrases in a language.
        """
        return {
            code: described.phrases_in(*languages) if languages else described.phrases
            for code, described in self.classes.items()
        }


def get_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ValueError: there is no such task; the message names those there are.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: known tasks are {', '.join(sorted(TASKS))}")
    return TASKS[name]


def _described(name: str, **phrases: tuple[str, ...]) -> ClassDescription:
    return ClassDescription(name, MappingProxyType(phrases))


# English: the frequent findings of a class, and what a search by the text oracle on folds 1-7 added to them of some
# twenty wordings a class (MiniLM, mean-pooled and centred, phrases averaged, softmax with scale 20). On fold 8 the
# oracle has .903 for whole English reports and .900 for the mean of their findings, .890 and .884 with the phrases of
# version 1; METS trained on findings of folds 1-7 has .890 there, .885 with version 1. German and Swedish: version 1.
_SUPERCLASSES = {
    "NORM": _described(
        "Normal ECG",
        en=(
            "sinus rhythm. normal axis. normal ecg.",
            "sinus bradycardia. normal axis. normal ecg.",
            "sinus rhythm. normal axis. low limb lead voltage. normal ecg.",
        ),
        de=(
            "sinusrhythmus lagetyp normal normales ekg",
            "sinusrhythmus normales ekg",
            "sinusrhythmus linkstyp sonst normales ekg",
        ),
        sv=("sinusrytm normalt ekg", "sinusrytm eljest normalt ekg"),
    ),
    "CD": _described(
        "Conduction Disturbance",
        en=(
            "left bundle branch block",
            "incomplete right bundle branch block",
            "first degree av block",
            "left anterior fascicular block",
            "non-specific intraventricular block",
            "sinus rhythm. left axis deviation. left anterior fascicular block. abnormal ecg.",
            "non-specific intraventricular block. left axis deviation.",
        ),
        de=(
            "linksschenkelblock",
            "rechtsschenkelblock",
            "unvollständiger rechtsschenkelblock",
            "ueberdrehter linkstyp linksanteriorer hemiblock",
            "a-v block i",
            "unspezifischer intraventrikulärer block",
        ),
        sv=("vänstersidigt skänkelblock", "inkomplett högersidigt skänkelblock"),
    ),
    "MI": _described(
        "Myocardial Infarction",
        en=(
            "inferior infarct, probably old",
            "anteroseptal infarct, probably old",
            "lateral infarct, age undetermined",
            "anterior infarct, age undetermined",
            "q waves in ii, iii, avf consistent with old inferior myocardial infarction",
            "poor r wave progression suggesting old anteroseptal myocardial infarction",
            "possible inferior myocardial damage",
        ),
        de=(
            "qrs abnorm inferiorer infarkt alter unbest.",
            "qrs abnorm inferiorer myokardschaden möglich",
            "qrs abnorm anteroseptaler infarkt wahrscheinlich alt",
            "qrs abnorm anteriorer infarkt alter unbest.",
            "qrs abnorm hochlateraler infarkt möglich",
        ),
        sv=(
            "avvikande qrs förlopp inferior infarkt ålder ej bestämmbar",
            "avvikande qrs förlopp anteroseptal infarkt ålder ej bestämmbar",
        ),
    ),
    "HYP": _described(
        "Hypertrophy",
        en=(
            "voltage criteria for left ventricular hypertrophy",
            "left ventricular hypertrophy with strain",
            "left atrial enlargement",
            "left ventricular hypertrophy. probable anterolateral ischemia or left ventricular strain.",
        ),
        de=(
            "linkshypertrophie möglich",
            "mässige amplitudenkriterien für linkshypertrophie",
            "linkshypertrophie mit linksbelastung",
        ),
        sv=("vänster kammarhypertrofi", "amplitudkriterier för vänster kammarhypertrofi"),
    ),
    "STTC": _described(
        "ST/T change",
        en=(
            "non-specific st-t wave changes",
            "abnormal st and t",
            "st segments are depressed in i, avl, v4-v6",
            "t wave changes are probably due to ischemia",
            "abnormal st and t. probable anterolateral ischemia or left ventricular strain.",
            "atrial fibrillation. non-specific st-t wave changes.",
            "probable anterolateral ischemia",
            "sinus rhythm. normal axis. non-specific t wave abnormality.",
        ),
        de=(
            "unspezifisches abnormes t",
            "unspezifisch abnormes st-t",
            "t abnorm in lateralen ableitungen",
            "st & t abnorm, wahrscheinlich anterolaterale ischämie",
        ),
        sv=("ospecifik t-förändring", "st-t sänkning, såsom vid anterolateral ischemi"),
    ),
}


def simulated_task(findings: Sequence[str] = FINDINGS) -> Task:
    """Return the task of the simulator's corpus, over some of its findings."""
    return Task(
        name="simulated",
        label_column="labels_findings",
        classes=MappingProxyType({name: _described(name, en=tuple(PHRASES[name])) for name in findings}),
        template=METS_TEMPLATE,
        phrases_version="simulated-phrases-1",
        source="classes and phrases: the simulator's own; template: METS (arXiv 2303.12311)",
    )


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "simulated": simulated_task(),
        "ptbxl-super": Task(
            name="ptbxl-super",
            label_column="labels_super",
            classes=MappingProxyType(_SUPERCLASSES),
            template=METS_TEMPLATE,
            phrases_version="ptbxl-super-phrases-2",
            source="classes: PTB-XL 1.0.3 diagnostic superclasses; class words and template: METS "
            "(arXiv 2303.12311); phrases: written for this package from PTB-XL reports of folds 1-7",
        ),
    }
)
