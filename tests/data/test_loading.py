import pytest

from mets_ecg.data.corpora import check_patients_apart, load_corpus, parse_folds, select_folds


@pytest.mark.parametrize(
    ("words", "folds"),
    [(["1-3"], (1, 2, 3)), (["9", "2", "2"], (2, 9)), (["1-2,7"], (1, 2, 7)), (["none"], ()), ([], ()), (None, ())],
)
def test_folds_are_read_from_numbers_and_ranges(words, folds):
    assert parse_folds(words) == folds


@pytest.mark.parametrize("word", ["x", "1-", "-3", "1.5", "9-8"])
def test_what_names_no_fold_is_refused(word):
    with pytest.raises(ValueError, match="names no folds"):
        parse_folds([word])


def test_the_rows_of_the_folds_are_taken_in_order(simulated_corpus):
    chosen = select_folds(simulated_corpus, (9, 2))
    assert set(chosen["fold"]) == {2, 9}
    expected = [
        row for row, fold in zip(simulated_corpus["record_id"], simulated_corpus["fold"], strict=True) if fold in (2, 9)
    ]
    assert chosen["record_id"][:] == expected


def test_folds_that_are_not_there_are_named(simulated_corpus):
    with pytest.raises(ValueError, match=r"no record in folds 11, 12: the corpus has folds 1, 2, 3"):
        select_folds(simulated_corpus, (11, 12))


def test_a_source_is_read_at_the_rate_that_the_model_wants(ptb_xl_source):
    assert len(select_folds(load_corpus(source=str(ptb_xl_source), sampling_rate=100), (8,))) == 11
    at_500 = load_corpus(source=str(ptb_xl_source), sampling_rate=250)
    assert set(at_500["sampling_rate"]) == {500}


def test_a_saved_corpus_is_read_back(simulated_corpus, tmp_path):
    simulated_corpus.save_to_disk(tmp_path / "corpus")
    rows = load_corpus(data=str(tmp_path / "corpus"), sampling_rate=100)
    assert rows["report"][:] == simulated_corpus["report"][:]


@pytest.mark.parametrize("where", [{}, {"source": "a", "data": "b"}])
def test_exactly_one_place_is_needed(where):
    with pytest.raises(ValueError, match="--source .* or --data"):
        load_corpus(**where, sampling_rate=100)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_corpus(data=str(tmp_path / "nowhere"), sampling_rate=100)


def test_a_patient_in_two_parts_is_named(simulated_corpus):
    parts = {
        "training": select_folds(simulated_corpus, (1, 2)),
        "test": select_folds(simulated_corpus, (3,)),
        "more": None,
    }
    check_patients_apart(parts)
    shared = parts["test"]["patient_id"][0]
    crossed = parts["training"].map(
        lambda row, i: {"patient_id": shared if i == 0 else row["patient_id"]}, with_indices=True
    )
    with pytest.raises(ValueError, match=f"1 patients have records both for training and for test, '{shared}'"):
        check_patients_apart(parts | {"training": crossed})
