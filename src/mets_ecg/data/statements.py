"""The SCP-ECG statements of PTB-XL: what each code means and which classes it belongs to.

The table is `scp_statements.csv` of PTB-XL 1.0.3 (Wagner et al., PhysioNet, DOI 10.13026/kfzx-aw45, licence
CC BY 4.0): its 71 rows in its order and, of its columns, the description, the diagnostic class and subclass,
and the form and rhythm flags, wording unchanged. 44 statements are diagnostic, 19 describe form and 12
rhythm; four are diagnostic and form.

A statement counts whatever its likelihood. PTB-XL writes 0 for "no likelihood given", never for "absent", and
a threshold would drop findings that the cardiologist did write down (a quarter of the infarctions at 50).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


@dataclass(frozen=True)
class Statement:
    """One SCP-ECG statement; `superclass` and `subclass` are None where it is not a diagnostic one."""

    description: str
    superclass: str | None = None
    subclass: str | None = None
    form: bool = False
    rhythm: bool = False


# fmt: off
STATEMENTS = {
    "NDT": Statement("non-diagnostic T abnormalities", "STTC", "STTC", form=True),
    "NST_": Statement("non-specific ST changes", "STTC", "NST_", form=True),
    "DIG": Statement("digitalis-effect", "STTC", "STTC", form=True),
    "LNGQT": Statement("long QT-interval", "STTC", "STTC", form=True),
    "NORM": Statement("normal ECG", "NORM", "NORM"),
    "IMI": Statement("inferior myocardial infarction", "MI", "IMI"),
    "ASMI": Statement("anteroseptal myocardial infarction", "MI", "AMI"),
    "LVH": Statement("left ventricular hypertrophy", "HYP", "LVH"),
    "LAFB": Statement("left anterior fascicular block", "CD", "LAFB/LPFB"),
    "ISC_": Statement("non-specific ischemic", "STTC", "ISC_"),
    "IRBBB": Statement("incomplete right bundle branch block", "CD", "IRBBB"),
    "1AVB": Statement("first degree AV block", "CD", "_AVB"),
    "IVCD": Statement("non-specific intraventricular conduction disturbance (block)", "CD", "IVCD"),
    "ISCAL": Statement("ischemic in anterolateral leads", "STTC", "ISCA"),
    "CRBBB": Statement("complete right bundle branch block", "CD", "CRBBB"),
    "CLBBB": Statement("complete left bundle branch block", "CD", "CLBBB"),
    "ILMI": Statement("inferolateral myocardial infarction", "MI", "IMI"),
    "LAO/LAE": Statement("left atrial overload/enlargement", "HYP", "LAO/LAE"),
    "AMI": Statement("anterior myocardial infarction", "MI", "AMI"),
    "ALMI": Statement("anterolateral myocardial infarction", "MI", "AMI"),
    "ISCIN": Statement("ischemic in inferior leads", "STTC", "ISCI"),
    "INJAS": Statement("subendocardial injury in anteroseptal leads", "MI", "AMI"),
    "LMI": Statement("lateral myocardial infarction", "MI", "LMI"),
    "ISCIL": Statement("ischemic in inferolateral leads", "STTC", "ISCI"),
    "LPFB": Statement("left posterior fascicular block", "CD", "LAFB/LPFB"),
    "ISCAS": Statement("ischemic in anteroseptal leads", "STTC", "ISCA"),
    "INJAL": Statement("subendocardial injury in anterolateral leads", "MI", "AMI"),
    "ISCLA": Statement("ischemic in lateral leads", "STTC", "ISCA"),
    "RVH": Statement("right ventricular hypertrophy", "HYP", "RVH"),
    "ANEUR": Statement("ST-T changes compatible with ventricular aneurysm", "STTC", "STTC"),
    "RAO/RAE": Statement("right atrial overload/enlargement", "HYP", "RAO/RAE"),
    "EL": Statement("electrolytic disturbance or drug (former EDIS)", "STTC", "STTC"),
    "WPW": Statement("Wolf-Parkinson-White syndrome", "CD", "WPW"),
    "ILBBB": Statement("incomplete left bundle branch block", "CD", "ILBBB"),
    "IPLMI": Statement("inferoposterolateral myocardial infarction", "MI", "IMI"),
    "ISCAN": Statement("ischemic in anterior leads", "STTC", "ISCA"),
    "IPMI": Statement("inferoposterior myocardial infarction", "MI", "IMI"),
    "SEHYP": Statement("septal hypertrophy", "HYP", "SEHYP"),
    "INJIN": Statement("subendocardial injury in inferior leads", "MI", "IMI"),
    "INJLA": Statement("subendocardial injury in lateral leads", "MI", "AMI"),
    "PMI": Statement("posterior myocardial infarction", "MI", "PMI"),
    "3AVB": Statement("third degree AV block", "CD", "_AVB"),
    "INJIL": Statement("subendocardial injury in inferolateral leads", "MI", "IMI"),
    "2AVB": Statement("second degree AV block", "CD", "_AVB"),
    "ABQRS": Statement("abnormal QRS", form=True),
    "PVC": Statement("ventricular premature complex", form=True),
    "STD_": Statement("non-specific ST depression", form=True),
    "VCLVH": Statement("voltage criteria (QRS) for left ventricular hypertrophy", form=True),
    "QWAVE": Statement("Q waves present", form=True),
    "LOWT": Statement("low amplitude T-waves", form=True),
    "NT_": Statement("non-specific T-wave changes", form=True),
    "PAC": Statement("atrial premature complex", form=True),
    "LPR": Statement("prolonged PR interval", form=True),
    "INVT": Statement("inverted T-waves", form=True),
    "LVOLT": Statement("low QRS voltages in the frontal and horizontal leads", form=True),
    "HVOLT": Statement("high QRS voltage", form=True),
    "TAB_": Statement("T-wave abnormality", form=True),
    "STE_": Statement("non-specific ST elevation", form=True),
    "PRC(S)": Statement("premature complex(es)", form=True),
    "SR": Statement("sinus rhythm", rhythm=True),
    "AFIB": Statement("atrial fibrillation", rhythm=True),
    "STACH": Statement("sinus tachycardia", rhythm=True),
    "SARRH": Statement("sinus arrhythmia", rhythm=True),
    "SBRAD": Statement("sinus bradycardia", rhythm=True),
    "PACE": Statement("normal functioning artificial pacemaker", rhythm=True),
    "SVARR": Statement("supraventricular arrhythmia", rhythm=True),
    "BIGU": Statement("bigeminal pattern (unknown origin, SV or Ventricular)", rhythm=True),
    "AFLT": Statement("atrial flutter", rhythm=True),
    "SVTAC": Statement("supraventricular tachycardia", rhythm=True),
    "PSVT": Statement("paroxysmal supraventricular tachycardia", rhythm=True),
    "TRIGU": Statement("trigeminal pattern (unknown origin, SV or Ventricular)", rhythm=True),
}
# fmt: on

# The classes of each task, in the table's order but for the superclasses.
SUBCLASSES = tuple(dict.fromkeys(row.subclass for row in STATEMENTS.values() if row.subclass))
DIAGNOSTIC_STATEMENTS = tuple(code for code, row in STATEMENTS.items() if row.superclass)
FORM_STATEMENTS = tuple(code for code, row in STATEMENTS.items() if row.form)
RHYTHM_STATEMENTS = tuple(code for code, row in STATEMENTS.items() if row.rhythm)
TASK_CLASSES = {
    "super": SUPERCLASSES,
    "sub": SUBCLASSES,
    "form": FORM_STATEMENTS,
    "rhythm": RHYTHM_STATEMENTS,
    "diagnostic": DIAGNOSTIC_STATEMENTS,
    "all": tuple(STATEMENTS),
}


def task_labels(codes: Iterable[str]) -> dict[str, list[str] | None]:
    """Return the classes of a recording's statement codes by task, each once and in the order of `TASK_CLASSES`.

    Args:
        codes: codes as PTB-XL writes them (`"NST_"` with its underscore): the keys of a `scp_codes` cell.

    Returns:
        Class names by the keys of `TASK_CLASSES`; None for a task that no statement belongs to, because a recording
        without a statement of that kind was not described in that respect.

    Raises:
        ValueError: a code is not one of the 71 statements.
        TypeError: `codes` is a single string, which would otherwise be read letter by letter.
    """
    if isinstance(codes, str):
        raise TypeError(f"codes must be a list of statement codes, got the string {codes!r}: write [{codes!r}]")
    codes = set(codes)
    unknown = sorted(str(code) for code in codes - STATEMENTS.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], STATEMENTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known codes are {', '.join(STATEMENTS)}"
        raise ValueError(f"unknown statement {unknown[0]!r}: PTB-XL has {len(STATEMENTS)} SCP codes; {hint}")
    rows = [STATEMENTS[code] for code in codes]
    found = {"super": {row.superclass for row in rows}, "sub": {row.subclass for row in rows}}
    return {
        task: [name for name in names if name in found.get(task, codes)] or None for task, names in TASK_CLASSES.items()
    }
