"""Parts of corpora by splits, folds, all and none."""

import logging

import pytest
from datasets import Dataset

from mets_ecg.data.parts import check_patients_disjoint, named_parts, parse_folds, select_part

ROWS = Dataset.from_dict(
    {
        "record_id": list("abcdefgh"),
        "patient_id": ["1", "1", "2", "3", "4", "5", None, None],
        "split": ["ds1"] * 4 + ["ds2"] * 4,
        "fold": [1, 1, 2, 3, 9, 10, None, None],
        "corpus": ["mit-bih"] * 8,
    }
)


@pytest.mark.parametrize(
    ("words", "records"),
    [
        (["ds1"], "abcd"),
        (["1-2"], "abc"),
        (["9", "1"], "abe"),
        (["1,3"], "abd"),
        (["ds1", "10"], "abcdf"),
        (["all"], "abcdefgh"),
        (["mit-bih:ds2", "ptb-xl:1-8"], "efgh"),
    ],
)
def test_rows_are_chosen_by_splits_and_folds_in_their_order(words, records):
    assert "".join(select_part(ROWS, words, corpus="mit-bih")["record_id"]) == records


@pytest.mark.parametrize("words", [["none"], ["ptb-xl:1-8"]])
def test_nothing_is_chosen(words):
    assert select_part(ROWS, words, corpus="mit-bih") is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("7", "--test 7: mit-bih has the splits ds1, ds2 and the folds 1, 2, 3, 9, 10"),
        ("ds3", "--test ds3: mit-bih has the splits ds1, ds2 and the folds 1, 2, 3, 9, 10"),
        ("3-1", "--test 3-1: mit-bih has"),
    ],
)
def test_a_word_that_names_nothing_says_what_there_is(word, message):
    with pytest.raises(ValueError, match=message):
        select_part(ROWS, [word], corpus="mit-bih", flag="--test")


@pytest.mark.parametrize(("word", "folds"), [("1-3", [1, 2, 3]), ("9", [9])])
def test_folds_are_read_from_numbers_and_ranges(word, folds):
    assert parse_folds(word) == folds


@pytest.mark.parametrize("word", ["x", "1-", "-3", "1.5", "9-8", ""])
def test_what_names_no_fold_is_refused(word):
    with pytest.raises(ValueError, match="is not fold numbers such as 9 or 1-8"):
        parse_folds(word)


def test_ranges_of_folds_are_taken_apart_and_words_of_other_corpora_passed_over():
    words = ["1-3,9", "ptb-xl:train", "cinc:georgia", "none"]
    assert named_parts(words, "ptb-xl") == {"fold 1", "fold 2", "fold 3", "fold 9", "train"}


def test_a_patient_in_two_parts_is_named_but_for_those_of_the_customary_split(caplog):
    parts = {"train": ROWS.select([0, 2]), "validation": None, "test": ROWS.select([1, 3, 6])}
    with pytest.raises(ValueError, match="1 patients have rows both for train and for test, '1' of mit-bih"):
        check_patients_disjoint(parts)
    with caplog.at_level(logging.WARNING):
        check_patients_disjoint(parts, [("mit-bih", "1")])
    assert "the customary split has a patient both for train and for test: 1 of mit-bih" in caplog.text
    check_patients_disjoint({"train": ROWS.select([6]), "test": ROWS.select([7])})  # unknown patients are not one
    other = ROWS.remove_columns("corpus").add_column("corpus", ["ptb-xl"] * 8)
    check_patients_disjoint({"train": ROWS, "test": other})
