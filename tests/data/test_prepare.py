import numpy as np
import pytest
import torch

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.prepare import PreparedRows, prepare


@pytest.fixture(scope="module")
def extractor():
    return ECGFeatureExtractor(sampling_rate=100, bandpass=(0.5, 40.0), max_duration=12.0)


@pytest.fixture(scope="module")
def prepared(simulated_corpus, extractor):
    return prepare(simulated_corpus, extractor)


def test_prepared_rows_are_what_the_feature_extractor_gives(simulated_corpus, prepared, extractor):
    for i in (0, 7, 159):
        direct = extractor(simulated_corpus[i])
        batch = PreparedRows(prepared)[i]
        assert np.array_equal(batch["input_values"][0].numpy(), direct["input_values"][0])
        assert np.array_equal(batch["ecg_attention_mask"][0].numpy(), direct["ecg_attention_mask"][0] != 0)
        assert np.array_equal(batch["lead_mask"][0].numpy(), direct["lead_mask"][0] != 0)
    assert prepared["report"][:] == simulated_corpus["report"][:]
    assert "signal" not in prepared.column_names


def test_a_selection_reads_the_rows_it_names(prepared):
    whole, chosen = PreparedRows(prepared), PreparedRows(prepared.select([31, 4, 150, 4]))
    batch = chosen.__getitems__([2, 0, 3])
    assert torch.equal(batch["input_values"], whole.__getitems__([150, 31, 4])["input_values"])
    assert batch["index"].tolist() == [2, 0, 3]


def test_a_batch_without_padding_has_no_mask(simulated_corpus):
    rows = PreparedRows(prepare(simulated_corpus, ECGFeatureExtractor(sampling_rate=100, bandpass=None)))
    assert "ecg_attention_mask" not in rows.__getitems__([0, 1])


def test_rows_of_any_length_are_refused(simulated_corpus):
    with pytest.raises(ValueError, match="prepared rows have one length"):
        prepare(simulated_corpus, ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=None))


def test_rows_that_other_code_prepared_do_not_come_back_from_the_cache(simulated_corpus, extractor, monkeypatch):
    first, again = (prepare(simulated_corpus, extractor) for _ in range(2))
    monkeypatch.setattr("mets_ecg.data.prepare.code_digest", lambda *modules: "other code")
    other = prepare(simulated_corpus, extractor)
    assert first._fingerprint == again._fingerprint != other._fingerprint
