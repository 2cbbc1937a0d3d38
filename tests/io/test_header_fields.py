"""Age, sex and start of a recording, as headers of public corpora write them."""

from __future__ import annotations

import pytest

from mets_ecg.data.rows import age_columns
from mets_ecg.io import age_and_sex, parse_age, parse_sex
from mets_ecg.io.header_fields import parse_start_time


@pytest.mark.parametrize(
    ("text", "age", "over_89"),
    [
        ("74", 74.0, False),
        ("0", 0.0, False),
        ("0.5", 0.5, False),
        ("89", 89.0, False),
        ("92", 92.0, True),
        ("300", None, True),
        ("90+", None, True),
        ("60+", None, None),
        ("NaN", None, None),
        ("nan", None, None),
        ("-1", None, None),
        ("Unknown", None, None),
        ("", None, None),
        ("999", None, None),
        ("inf", None, None),
    ],
)
def test_an_age_is_kept_or_hidden_or_not_known(text, age, over_89):
    assert parse_age(text) == {"age": age, "age_over_89": over_89}


def test_an_age_follows_the_rule_of_corpus_rows():
    for text, known in (("74", {"age": 74.0}), ("92", {"age": 92.0}), ("", {"age": None})):
        assert parse_age(text) == age_columns(**known)
    assert parse_age("300") == age_columns(None, hidden=True)


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        ("Male", "male"),
        (" F ", "female"),
        ("m", "male"),
        ("FEMALE", "female"),
        ("Unknown", None),
        ("?", None),
        ("", None),
    ],
)
def test_a_sex_is_known_or_not(text, sex):
    assert parse_sex(text) == sex


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        (["Age: 56", "Sex: Female", "Dx: 426783006"], 56.0, "female"),
        (["age: 81", "sex: female", "ECG date: 01/10/1990"], 81.0, "female"),
        (["<age>: 25  <sex>: M  <diagnoses>: (none)  <medications>: (none)"], 25.0, "male"),
        (["<age>: ?? <sex>: ?"], None, None),
        (["69 M 1085 1629 x1", "Aldomet, Inderal"], 69.0, "male"),
        (["23 F 2546 N/A x1", "None"], 23.0, "female"),
        (["-1 M 1960 2851 x1"], None, "male"),
        (["made by xform", "69 M 1085 1629 x1"], 69.0, "male"),
        (["3 M electrodes were used"], None, None),
        (["Age: 40", "Age: 50"], 40.0, None),
        (["Name: Age 56", "Sex: Female patient"], None, None),
        ([], None, None),
    ],
)
def test_age_and_sex_of_comments(comments, age, sex):
    assert age_and_sex(comments) == {**parse_age("" if age is None else str(age)), "sex": sex}


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("10:36:00", "10:36:00"),
        ("8:26:04 26/10/1994", "1994-10-26T08:26:04"),
        ("10:44:18.529 04/05/2704", "2704-05-04T10:44:18.529000"),
        ("16:57:09.000 26/10/2137", "2137-10-26T16:57:09"),
        ("23/07/2180 08:44:00", "2180-07-23T08:44:00"),
        ("05-May-2020 14:50:55", "2020-05-05T14:50:55"),
        ("2020-05-05 14:50:55", "2020-05-05T14:50:55"),
        ("15/08/1994", "1994-08-15"),
        ("", None),
        ("2006", None),
        ("24:00:00", None),
        ("10:36:00 22/8/61", None),
        ("10:36:00 31/02/1994", None),
        ("10:36:00 05-Mai-2020", None),
        ("10:36:00 11:00:00", None),
        ("10:36", None),
        ("Mr Smith", None),
    ],
)
def test_a_start_time_is_iso_8601_or_not_known(text, start):
    assert parse_start_time(text) == start
