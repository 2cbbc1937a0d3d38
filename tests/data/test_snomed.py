"""The table of SNOMED CT codes and the Challenge's classes, by hand and against the Challenge's own files."""

import csv
import os
from pathlib import Path

import pytest

from mets_ecg.data.snomed import CODES, SCORED_2021, scored_classes

LABELS = os.environ.get("METS_ECG_LABELS")
needs_labels = pytest.mark.skipif(not LABELS, reason="METS_ECG_LABELS names no folder of reference labels")


def table(name: str) -> list[dict[str, str]]:
    with (Path(LABELS) / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_codes_by_hand():
    assert CODES["164889003"].name == "atrial fibrillation"
    assert (CODES["164889003"].abbreviation, CODES["164889003"].acronyms) == ("AF", ("AFIB",))
    assert (CODES["164890007"].abbreviation, CODES["164890007"].acronyms) == ("AFL", ("AF",))  # flutter!
    assert CODES["55827005"].name == "left ventricular high voltage" and CODES["55827005"].acronyms == ()
    assert (CODES["28189009"].abbreviation, CODES["28189009"].acronyms) == (None, ("2AVB2",))


def test_a_code_keeps_all_its_acronyms_in_order():
    assert CODES["164909002"].acronyms == ("LBBB", "LBBBB", "LFBBB")
    assert CODES["164865005"].acronyms == ("MI", "MIBW", "MIFW", "MILW", "MISW")
    assert CODES["698252002"].acronyms == ("IDC", "IVB")
    assert CODES["195101003"].acronyms == ("WAVN", "SAAWR")


def test_the_table_is_whole():
    assert len(CODES) == 137
    assert all(code.isdecimal() and own.name for code, own in CODES.items())
    abbreviations = [own.abbreviation for own in CODES.values() if own.abbreviation]
    acronyms = [acronym for own in CODES.values() for acronym in own.acronyms]
    assert len(abbreviations) == len(set(abbreviations)) == 133
    assert len(acronyms) == len(set(acronyms)) == 63


def test_classes_are_named_by_the_abbreviations_of_their_codes():
    assert len(SCORED_2021) == 26
    for name, codes in SCORED_2021.items():
        assert name == "|".join(CODES[code].abbreviation for code in codes)


def test_scored_classes_by_hand():
    assert scored_classes(["426783006", "164889003"]) == ["AF", "NSR"]  # the classes' order, not the codes'
    assert scored_classes(["59118001"]) == scored_classes(["713427006", "59118001"]) == ["CRBBB|RBBB"]
    assert scored_classes(["164909002"]) == ["CLBBB|LBBB"]
    assert scored_classes(["63593006", "17338001"]) == ["PAC|SVPB", "PVC|VPB"]
    assert scored_classes(["55827005", "1"]) == scored_classes([]) == []


def test_a_string_of_codes_is_refused():
    with pytest.raises(TypeError, match=r"write \['164889003'\]"):
        scored_classes("164889003")


@needs_labels
@pytest.mark.parametrize(("year", "code"), [("cinc2020", "SNOMED CT Code"), ("cinc2021", "SNOMEDCTCode")])
def test_the_table_equals_the_challenge_s(year, code):
    lines = table(f"{year}/dx_mapping_scored.csv") + table(f"{year}/dx_mapping_unscored.csv")
    assert len(lines) == {"cinc2020": 111, "cinc2021": 133}[year]
    for line in lines:
        own = CODES[line[code]]
        assert (own.abbreviation, own.name) == (line["Abbreviation"], " ".join(line["Dx"].split()))


@needs_labels
def test_classes_equal_the_challenge_s_weights():
    weights = list(table("cinc2021/weights.csv")[0])[1:]
    abbreviations = list(table("cinc2021/weights_abbreviations.csv")[0])[1:]
    assert list(SCORED_2021) == abbreviations
    assert ["|".join(codes) for codes in SCORED_2021.values()] == weights
    scored = {line["SNOMEDCTCode"] for line in table("cinc2021/dx_mapping_scored.csv")}
    assert {code for codes in SCORED_2021.values() for code in codes} == scored


@needs_labels
def test_the_scored_codes_of_2020_give_the_same_classes():
    for line in table("cinc2020/dx_mapping_scored.csv"):
        (name,) = scored_classes([line["SNOMED CT Code"]])
        assert line["Abbreviation"] in name.split("|")
