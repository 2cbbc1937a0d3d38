"""The corpus row: its features, and that a recording survives the way into a row and back."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from mets_ecg.data.rows import age_columns, corpus_features, encode_signal, statements_of
from mets_ecg.signals import INVALID_SAMPLE, decode_signal


def row(signal_mv: np.ndarray, **columns) -> dict:
    encoded = encode_signal(signal_mv, **columns)
    return {"record_id": "1", "lead_names": ["II", "V1", "V5"][: len(signal_mv)], **encoded}


def test_millivolts_become_integers_at_the_gain():
    encoded = encode_signal(np.array([[0.001, -1.5, 0.0004], [2.0, 0.0, -0.0006]], dtype=np.float32))
    np.testing.assert_array_equal(encoded["signal"], [[1, -1500, 0], [2000, 0, -1]])
    assert encoded["signal"].dtype == np.int16
    assert encoded["gain"] == [1000.0, 1000.0]
    assert encoded["baseline"] == [0, 0]
    assert encoded["num_samples"] == 3


def test_another_gain_is_kept_in_the_row():
    encoded = encode_signal(np.array([[1.0, -0.5]]), gain=200.0)
    np.testing.assert_array_equal(encoded["signal"], [[200, -100]])
    assert encoded["gain"] == [200.0]


def test_a_recording_comes_back_to_half_a_microvolt_with_its_gaps():
    signal_mv = np.random.default_rng(0).normal(0.0, 2.0, (3, 701)).astype(np.float32)
    signal_mv[1, 5:9] = np.nan
    decoded = decode_signal(row(signal_mv))
    assert decoded.dtype == np.float32 and decoded.shape == (3, 701)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(signal_mv))
    assert np.nanmax(np.abs(decoded - signal_mv)) <= 0.000501


def test_a_gap_is_written_as_the_invalid_sample():
    encoded = encode_signal(np.array([[np.nan, 1.0]]))
    np.testing.assert_array_equal(encoded["signal"], [[INVALID_SAMPLE, 1000]])


def test_an_amplitude_beyond_16_bits_is_refused():
    with pytest.raises(ValueError, match="40.0 mV does not fit 16 bits at 1000 units per mV"):
        encode_signal(np.array([[0.0, -40.0]]))
    assert encode_signal(np.array([[0.0, -40.0]]), gain=200.0)["signal"][0, 1] == -8000


def test_no_amplitude_may_become_the_invalid_sample():
    with pytest.raises(ValueError, match="does not fit"):
        encode_signal(np.array([[-32.768]]))


def test_the_row_has_the_columns_of_the_design_and_the_label_names():
    features = corpus_features({"labels_super": ["NORM", "MI"], "labels_rhythm": ["SR"]})
    assert {"record_id", "patient_id", "signal", "gain", "baseline", "num_samples", "sampling_rate"} <= set(features)
    assert {"lead_names", "report", "statements", "age", "age_over_89", "sex", "device", "fold"} <= set(features)
    assert features["labels_super"].feature.names == ["NORM", "MI"]
    assert features["labels_rhythm"].feature.names == ["SR"]
    assert features["signal"].feature.feature.dtype == "int16"


@pytest.mark.parametrize(
    ("age", "over_89"), [(0.0, False), (56.0, False), (89.0, False), (89.5, True), (95.0, True), (None, None)]
)
def test_an_age_is_kept_as_it_is_given_above_89_too(age, over_89):
    assert age_columns(age) == {"age": age, "age_over_89": over_89}


@pytest.mark.parametrize("age", [None, 300.0])
def test_a_hidden_age_is_no_number_but_over_89(age):
    assert age_columns(age, hidden=True) == {"age": None, "age_over_89": True}


def test_rows_of_other_lengths_and_lead_numbers_share_a_data_set():
    features = corpus_features({"labels_super": ["NORM", "MI"]})
    rest = dict.fromkeys(features)
    signals = [np.full((2, 5), 0.5), np.full((3, 7), -0.25)]
    rows = [
        {**rest, **row(signal), "labels_super": labels} for signal, labels in zip(signals, (["MI"], []), strict=True)
    ]
    dataset = Dataset.from_list(rows, features=features)
    assert dataset[0]["labels_super"] == [1] and dataset[1]["labels_super"] == []
    for saved, signal in zip(dataset, signals, strict=True):
        np.testing.assert_array_equal(decode_signal(saved), signal.astype(np.float32))


def test_codes_become_statements_without_likelihood_and_none_stays_none():
    assert statements_of(["1", "2"]) == [{"code": "1", "likelihood": None}, {"code": "2", "likelihood": None}]
    assert statements_of([]) == [] and statements_of(None) is None
