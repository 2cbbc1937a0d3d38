"""`ECGFeatureExtractor`: every kind of input, every step, every refusal, and the file it is saved as."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
import wfdb

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.rows import encode_signal
from mets_ecg.io import ECGRecord, read_wfdb
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import filter_signal, resample

LIMBS = STANDARD_LEADS[:6]


@pytest.fixture(scope="module")
def plain() -> ECGFeatureExtractor:
    """At 100 Hz, with nothing filtered or scaled: what comes out is what went in."""
    return ECGFeatureExtractor(sampling_rate=100, bandpass=None)


@pytest.fixture(scope="module")
def usual() -> ECGFeatureExtractor:
    return ECGFeatureExtractor(sampling_rate=100, max_duration=7.0, bandpass=(0.5, 40.0))


@pytest.fixture(scope="module")
def record_path(ptb_xl_source):
    return ptb_xl_source / "records100" / "00000" / "00012_lr"


@pytest.fixture(scope="module")
def record(record_path) -> ECGRecord:
    return read_wfdb(record_path)


def heartbeat(rate: float, duration: float = 10.0) -> np.ndarray:
    """Twelve leads of one rhythm in different sizes, the same curve at every rate."""
    times = np.arange(round(duration * rate)) / rate
    phase = times % 0.9
    wave = 1.2 * np.exp(-(((phase - 0.4) / 0.02) ** 2)) + 0.3 * np.exp(-(((phase - 0.65) / 0.06) ** 2))
    return np.outer(np.linspace(0.5, 1.6, 12), wave).astype(np.float32)


def noise(leads: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((leads, samples)).astype(np.float32)


def assert_same(left, right) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


# What goes in.


def test_shapes_types_and_masks_of_a_whole_recording(plain, record):
    features = plain(record)
    assert {name: (value.shape, str(value.dtype)) for name, value in features.items()} == {
        "input_values": ((1, 12, 1000), "float32"),
        "ecg_attention_mask": ((1, 1000), "int64"),
        "lead_mask": ((1, 12), "int64"),
    }
    np.testing.assert_array_equal(features["input_values"][0], record.signal)
    assert features["ecg_attention_mask"].all() and features["lead_mask"].all()


def test_every_kind_of_input_gives_the_same_bits(usual, record, record_path):
    digital = wfdb.rdrecord(str(record_path), physical=False)
    array = record.signal
    by_hand = {"sampling_rate": 100, "lead_names": list(record.lead_names)}
    expected = usual(record)
    assert_same(usual(record_path), expected)
    assert_same(usual(str(record_path)), expected)
    for suffix in (".hea", ".dat"):
        assert_same(usual(f"{record_path}{suffix}"), expected)
    assert_same(usual(wfdb.rdrecord(str(record_path))), expected)
    assert_same(usual(array, **by_hand), expected)
    assert_same(usual(array, 100.0, lead_names=record.lead_names), expected)
    assert_same(usual(array, 100), expected)  # as many rows as the model has leads: the model's order
    assert_same(usual(torch.from_numpy(array.copy()), **by_hand), expected)
    assert_same(usual({"signal": array, **by_hand}), expected)
    assert_same(usual({"signal": array, **by_hand, "units": None}), expected)
    assert_same(usual({"signal": array}, 100), expected)
    assert_same(usual({"signal": array.tolist(), **by_hand, "units": "mV"}), expected)
    row = {"signal": digital.d_signal.T, "gain": digital.adc_gain, "baseline": digital.baseline, **by_hand}
    assert_same(usual(row), expected)
    assert_same(usual(row | {"signal": row["signal"].tolist()}), expected)


def test_a_corpus_row_from_encode_signal_is_read_to_half_a_microvolt(plain, record):
    row = {**encode_signal(record.signal), "sampling_rate": 100.0, "lead_names": list(record.lead_names)}
    np.testing.assert_allclose(plain(row)["input_values"][0], record.signal, atol=5.1e-4)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int16, np.int64])
def test_the_type_of_numbers_does_not_matter(plain, kind):
    signal = np.random.default_rng(0).integers(-4, 5, (12, 1000)).astype(kind)
    np.testing.assert_array_equal(plain(signal, 100, units="mV")["input_values"][0], signal.astype(np.float32))


def test_units_of_the_call_and_of_each_lead(plain):
    signal = noise(12, 1000)
    expected = plain(signal, 100)["input_values"]
    np.testing.assert_allclose(plain(signal * 1000, 100, units="uV")["input_values"], expected, rtol=1e-5)
    np.testing.assert_allclose(plain(signal / 1000, 100, units="V")["input_values"], expected, rtol=1e-5)
    each = ["uV"] + ["mV"] * 11
    mixed = np.concatenate([signal[:1] * 1000, signal[1:]])
    np.testing.assert_allclose(plain(mixed, 100, units=each)["input_values"], expected, rtol=1e-5)
    record = ECGRecord(mixed, 100.0, STANDARD_LEADS, tuple(each))
    np.testing.assert_allclose(plain(record)["input_values"], expected, rtol=1e-5)


@pytest.mark.parametrize("unit", ["mv", "uV", "UV", "\N{MICRO SIGN}V", "\N{GREEK SMALL LETTER MU}V", "V", "v"])
def test_the_spellings_of_units_in_headers_are_read(plain, unit):
    signal = noise(12, 1000)
    factor = {"m": 1.0, "v": 1e-3}.get(unit[0].lower(), 1e3)
    header = wfdb.Record(
        record_name="r", p_signal=signal.T * factor, fs=100, sig_name=list(STANDARD_LEADS), units=[unit] * 12
    )
    np.testing.assert_allclose(plain(header)["input_values"][0], signal, rtol=1e-5)


def test_samples_by_leads_is_refused_without_names_and_transposed_with_them(plain):
    signal = noise(12, 1000)
    with pytest.raises(ValueError, match="1000 rows.*pass lead_names.*looks like .samples, leads.*transpose"):
        plain(signal.T, 100)
    assert_same(plain(signal.T, 100, lead_names=STANDARD_LEADS), plain(signal, 100))


def test_an_array_of_other_than_the_models_leads_needs_names(plain):
    with pytest.raises(ValueError, match="3 rows, and the model has 12 leads: pass lead_names="):
        plain(noise(3, 1000), 100)
    with pytest.raises(ValueError, match="2 lead names for an array of shape .3, 1000."):
        plain(noise(3, 1000), 100, lead_names=["I", "II"])
    features = plain(noise(3, 1000), 100, lead_names=["V1", "V3", "V5"])
    assert features["lead_mask"][0].tolist() == [0] * 6 + [1, 0, 1, 0, 1, 0]


def test_a_model_of_few_leads_takes_its_own(plain):
    two = ECGFeatureExtractor(sampling_rate=100, bandpass=None, lead_names=["MLII", "v5"])
    assert two.lead_names == ["II", "V5"]
    signal = noise(12, 1000)
    np.testing.assert_array_equal(two(signal, 100, lead_names=STANDARD_LEADS)["input_values"][0], signal[[1, 10]])
    single = ECGFeatureExtractor(sampling_rate=100, bandpass=None, lead_names=["I"])
    np.testing.assert_array_equal(single(signal[0], 100)["input_values"][0], signal[:1])  # a rank-1 array is one lead


def test_permuted_lead_names_give_identical_output(usual):
    signal = heartbeat(500)
    expected = usual(signal, 500)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(12)
        assert_same(usual(signal[order], 500, lead_names=[STANDARD_LEADS[i].upper() for i in order]), expected)


def test_a_batch_equals_its_records_bit_for_bit(usual, ptb_xl_source):
    paths = sorted((ptb_xl_source / "records100" / "00000").glob("*.hea"))[:3]
    many = [*paths, {"signal": heartbeat(360), "sampling_rate": 360}, {"signal": noise(12, 300), "sampling_rate": 100}]
    batch = usual(many)
    assert batch["input_values"].shape == (5, 12, 700)
    for i, one in enumerate(many):
        single = usual(one)
        for name in batch:
            np.testing.assert_array_equal(batch[name][i : i + 1], single[name])
    assert_same(usual(tuple(many)), batch)
    assert_same(usual(many), batch)  # again: nothing is random


def test_an_array_of_rank_3_is_a_batch(usual):
    signals = np.stack([noise(12, 1000, seed) for seed in range(3)])
    assert_same(usual(signals, 100), usual(list(signals), 100))
    assert_same(usual(torch.from_numpy(signals), 100), usual(list(signals), 100))


def test_the_input_is_left_as_it_was(usual):
    signal = noise(12, 1000)
    signal[2, 10:12] = np.nan
    before = signal.copy()
    usual(signal, 100)
    np.testing.assert_array_equal(signal, before)


def test_tensors_on_request(usual):
    features = usual(noise(12, 1000), 100, return_tensors="pt")
    assert features["input_values"].dtype == torch.float32 and features["lead_mask"].dtype == torch.int64


# The steps.


@pytest.mark.parametrize("rate", [100, 250, 360, 1000, 50, 2000])
def test_versions_of_one_signal_at_all_rates_agree(usual, rate):
    reference = usual(heartbeat(500), 500)["input_values"].ravel()
    version = usual(heartbeat(rate), rate)["input_values"].ravel()
    cosine = reference @ version / np.linalg.norm(reference) / np.linalg.norm(version)
    assert cosine > (0.97 if rate == 50 else 0.99)  # 50 Hz holds less of a 40 ms wave


def test_real_recordings_at_500_hz_agree_with_the_publishers_100_hz(usual, ptb_xl_source):
    for record_id in ("00012", "00338"):
        low = usual(ptb_xl_source / "records100" / "00000" / f"{record_id}_lr")["input_values"].ravel()
        high = usual(ptb_xl_source / "records500" / "00000" / f"{record_id}_hr")["input_values"].ravel()
        assert low @ high / np.linalg.norm(low) / np.linalg.norm(high) > 0.99


def test_the_steps_are_filter_resample_crop_scale_in_this_order():
    signal = heartbeat(250, duration=10.0) + 0.7
    extractor = ECGFeatureExtractor(
        sampling_rate=100, max_duration=4.0, bandpass=(0.5, 40), scaling="z-score", scale_per="lead", clip=2.0
    )
    filtered, _ = filter_signal(
        signal, sampling_rate=250, bandpass=(0.5, 40), order=3, notch_frequency=None, notch_quality=30
    )
    cropped = resample(filtered, sampling_rate=250, target_rate=100)[:, 300:700].astype(np.float64)
    expected = (cropped - cropped.mean(1, keepdims=True)) / (cropped.std(1, keepdims=True) + 1e-6)
    ours = extractor(signal, 250)["input_values"][0]
    np.testing.assert_allclose(ours, expected.clip(-2, 2), atol=1e-5)
    assert ours.max() == 2.0


def test_a_mains_notch_and_the_input_rates_nyquist(transformers_log):
    extractor = ECGFeatureExtractor(sampling_rate=500, bandpass=(0.5, 150), notch_frequency=50)
    low = heartbeat(100)
    for _ in range(2):
        extractor(low, 100)
    said = [entry.getMessage() for entry in transformers_log.records if "left out" in entry.getMessage()]
    assert said == [
        "recordings at 100 Hz have nothing that the upper edge 150 Hz and notch 50 Hz would remove: left out"
    ]
    mains = np.sin(2 * np.pi * 50 * np.arange(5000) / 500)
    left = extractor(heartbeat(500) + mains, 500)["input_values"][0] - extractor(heartbeat(500), 500)["input_values"][0]
    inside = slice(1000, 4000)  # whole periods
    assert (left[:, inside] @ mains[inside] / (mains[inside] @ mains[inside]) < 0.01).all()


def test_a_short_gap_is_interpolated_a_long_one_makes_the_lead_missing(plain):
    signal = np.tile(np.arange(1000, dtype=np.float32) / 100, (12, 1))
    v1 = STANDARD_LEADS.index("V1")
    short, long = signal.copy(), signal.copy()
    short[v1, 200:205] = np.nan  # 5 samples are 0.05 s, the default limit
    long[v1, 200:206] = np.nan
    assert plain(short, 100)["lead_mask"].all()
    np.testing.assert_allclose(plain(short, 100)["input_values"][0], signal, atol=1e-5)
    assert plain(long, 100)["lead_mask"][0].tolist() == [int(i != v1) for i in range(12)]
    assert not plain(long, 100)["input_values"][0, v1].any()


def test_the_longest_gap_is_not_lost_to_rounding():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_gap=0.29)  # 0.29 * 100 is 28.999999999999996
    signal = noise(12, 1000)
    signal[0, 100:129] = np.nan
    signal[7, 100:130] = np.nan
    assert extractor(signal, 100)["lead_mask"][0].tolist() == [1] * 7 + [0] + [1] * 4


def test_a_missing_limb_lead_is_derived_and_other_leads_are_masked(plain):
    two = np.stack([np.full(1000, 0.6), np.full(1000, 1.0)])
    two[:, 500:] += 1.0  # not flat
    features = plain(two, 100, lead_names=["I", "II"])
    assert features["lead_mask"][0].tolist() == [1] * 6 + [0] * 6
    np.testing.assert_allclose(features["input_values"][0, :6, 0], [0.6, 1.0, 0.4, -0.8, 0.1, 0.7], atol=1e-6)
    assert not features["input_values"][0, 6:].any()


def test_a_limb_lead_lost_to_a_gap_is_derived_from_the_others(plain):
    signal = noise(12, 1000)
    signal[1] = np.nan
    features = plain(signal, 100)
    assert features["lead_mask"].all()
    np.testing.assert_allclose(features["input_values"][0, 1], signal[0] + signal[2], atol=1e-5)


def test_recorded_leads_that_break_the_law_stay(plain, ptb_xl_source):
    record = read_wfdb(ptb_xl_source / "records100" / "18000" / "18767_lr")
    law = record.signal[1] - record.signal[0]
    assert np.abs(record.signal[2] - law).max() > 5  # README: by 5.9 mV
    np.testing.assert_array_equal(plain(record)["input_values"][0], record.signal)


@pytest.mark.parametrize("scaling", ["z-score", "min-max"])
@pytest.mark.parametrize("per", ["record", "lead"])
def test_missing_leads_and_padding_do_not_enter_the_scale_and_stay_0(scaling, per):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, scaling=scaling, scale_per=per)
    signal = noise(3, 400) + 5.0
    features = extractor(signal, 100, lead_names=["V1", "V3", "V5"])
    values, axis = features["input_values"][0], 1 if per == "lead" else None
    recorded = values[[6, 8, 10], :400]
    wide = signal.astype(np.float64)
    if scaling == "z-score":
        expected = (wide - wide.mean(axis, keepdims=True)) / wide.std(axis, keepdims=True)
    else:
        low, high = wide.min(axis, keepdims=True), wide.max(axis, keepdims=True)
        expected = (wide - low) / (high - low)
    np.testing.assert_allclose(recorded, expected, atol=1e-4)
    assert not values[[0, 1, 2, 3, 4, 5, 7, 9, 11]].any()
    assert not values[:, 400:].any()
    assert features["ecg_attention_mask"][0].tolist() == [1] * 400 + [0] * 600


def test_a_constant_lead_is_masked_and_named(plain, transformers_log):
    signal = noise(12, 1000)
    signal[6:] = 0.3  # V1 to V6: the electrodes are off
    features = plain(signal, 100)
    assert features["lead_mask"].tolist() == [[1] * 6 + [0] * 6]
    assert not features["input_values"][0, 6:].any()
    assert "leads V1, V2, V3, V4, V5, V6 are constant in a recording: they are masked" in transformers_log.text


def test_nothing_is_derived_from_a_constant_lead(plain):
    signal = noise(2, 1000)
    signal[0] = 0
    features = plain(signal, 100, lead_names=["I", "II"])
    assert features["lead_mask"].tolist() == [[0, 1] + [0] * 10]
    three = np.concatenate([signal, noise(1, 1000, seed=1)])
    features = plain(three, 100, lead_names=["I", "II", "aVF"])
    assert features["lead_mask"].tolist() == [[1] * 6 + [0] * 6]
    np.testing.assert_allclose(features["input_values"][0, 0], 2 * (three[1] - three[2]), atol=1e-5)


def test_a_lead_that_is_constant_in_the_part_that_is_read_alone_is_masked():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=(0.5, 40), max_duration=4.0)
    signal = noise(12, 1000)
    signal[7, 250:750] = 0.1  # what the filter makes of it is not constant
    assert extractor(signal, 100)["lead_mask"][0].tolist() == [1] * 7 + [0] + [1] * 4
    assert extractor(signal, 100, crop="start")["lead_mask"].all()


def test_gaps_outside_the_part_that_is_read_cost_nothing():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=4.0)
    signal = noise(12, 1000)
    signal[3, 100:180] = np.nan
    assert extractor(signal, 100)["lead_mask"].all()
    np.testing.assert_array_equal(extractor(signal, 100)["input_values"][0], signal[:, 300:700])
    windows = extractor(signal, 100, crop="windows")
    assert windows["lead_mask"].tolist() == [[1] * 12, [1] * 12, [1] * 12]  # aVR is derived in the first
    signal[6, 100:180] = np.nan
    assert extractor(signal, 100, crop="windows")["lead_mask"][:, 6].tolist() == [0, 1, 1]


def test_unrecorded_ends_are_trimmed(plain):
    signal = noise(12, 700)
    padded = np.pad(signal, ((0, 0), (200, 100)), constant_values=np.nan)
    assert_same(plain(padded, 100), plain(signal, 100))
    assert_same(plain(np.concatenate([padded, padded * np.nan], axis=1), 100), plain(signal, 100))


def test_many_short_gaps_are_too_many(plain):
    signal = noise(12, 1000)
    sparse = np.full_like(signal[7], np.nan)
    sparse[::5] = signal[7, ::5]  # every gap is shorter than max_gap, and 80 % are missing
    signal[7] = sparse
    assert plain(signal, 100)["lead_mask"][0].tolist() == [1] * 7 + [0] + [1] * 4
    with pytest.raises(ValueError, match="no usable lead .V2 gaps. from 0 to 9.96 s"):
        plain(sparse, 100, lead_names=["V2"])


def test_windows_without_a_usable_lead_are_left_out_with_a_warning(transformers_log):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=3.0, crop="windows")
    signal = noise(12, 900)
    signal[:, 300:600] = 0.0
    features = extractor(signal, 100)
    assert features["record_index"].tolist() == [0, 0]
    np.testing.assert_array_equal(features["input_values"][1], signal[:, 600:])
    assert "every lead is flat from 3 to 6 s" in transformers_log.text
    with pytest.raises(ValueError, match="every lead is flat from 3 to 6 s"):
        extractor(signal, 100, crop="center")


@pytest.mark.parametrize("size", [300.0, 1e5])
def test_an_impossible_amplitude_outside_the_part_that_is_read_does_not_ring_into_it(size):
    extractor = ECGFeatureExtractor(sampling_rate=100, max_duration=7.0)
    signal = heartbeat(500)
    damaged = signal.copy()
    damaged[:, 100:600] = size  # 0.2 to 1.2 s; what is read begins at 1.5 s
    change = extractor(damaged, 500)["input_values"] - extractor(signal, 500)["input_values"]
    assert np.abs(change).max() < 0.5


def test_an_amplitude_outside_the_part_that_is_read_is_not_judged():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=4.0)
    signal = noise(12, 1000)
    signal[0, 10] = 80.0
    extractor(signal, 100)
    with pytest.raises(ValueError, match="cannot be in mV"):
        extractor(signal, 100, crop="start")


def test_constant_scale_and_clip():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, scaling="constant", scale_constant=2.0, clip=0.5)
    signal = noise(12, 1000)
    np.testing.assert_allclose(extractor(signal, 100)["input_values"][0], (signal / 2).clip(-0.5, 0.5), atol=1e-6)


@pytest.mark.parametrize(("crop", "start"), [("start", 0), ("center", 150)])
def test_a_longer_recording_is_cropped(crop, start):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=7.0, crop=crop)
    signal = noise(12, 1000)
    np.testing.assert_array_equal(extractor(signal, 100)["input_values"][0], signal[:, start : start + 700])


def test_a_random_crop_follows_its_seed():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=7.0, crop="random")
    signal = np.tile(np.arange(1000, dtype=np.float32) / 100, (12, 1))
    starts = [extractor(signal, 100, rng=np.random.default_rng(seed))["input_values"][0, 0, 0] for seed in (1, 1, 2, 3)]
    assert starts[0] == starts[1] and len(set(starts)) > 1
    with pytest.raises(ValueError, match="pass rng"):
        extractor(signal, 100)


@pytest.mark.parametrize(
    ("stride", "samples", "starts"),
    [
        (None, 1000, [0, 300, 600, 700]),
        (None, 900, [0, 300, 600]),
        (1.5, 1000, [0, 150, 300, 450, 600, 700]),
        (4.0, 1000, [0, 400, 700]),
        (None, 300, [0]),
    ],
)
def test_windows_tile_the_recording_and_the_last_one_ends_with_it(stride, samples, starts):
    extractor = ECGFeatureExtractor(
        sampling_rate=100, bandpass=None, max_duration=3.0, crop="windows", window_stride=stride
    )
    signal = noise(12, samples)
    features = extractor([signal, signal[:, :200]], 100)
    assert features["record_index"].tolist() == [0] * len(starts) + [1]
    for window, start in zip(features["input_values"], starts, strict=False):
        np.testing.assert_array_equal(window, signal[:, start : start + 300])
    assert features["ecg_attention_mask"][-1].tolist() == [1] * 200 + [0] * 100


def test_without_a_duration_any_length_goes_in_and_a_batch_is_padded_to_its_longest():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=None)
    assert extractor.num_samples is None
    features = extractor([noise(12, 1234), noise(12, 701)], 100)
    assert features["input_values"].shape == (2, 12, 1234)
    assert features["ecg_attention_mask"].sum(axis=1).tolist() == [1234, 701]
    assert not features["input_values"][1, :, 701:].any()


def test_two_second_and_thirty_second_recordings(usual):
    assert usual(heartbeat(500, 2.0), 500)["ecg_attention_mask"].sum() == 200
    assert usual(heartbeat(500, 30.0), 500)["ecg_attention_mask"].sum() == 700


# What is refused.


@pytest.mark.parametrize(
    ("ecg", "fields", "message"),
    [
        (noise(12, 1000), {}, "pass sampling_rate="),
        ({"signal": noise(12, 1000)}, {}, "pass sampling_rate="),
        ({"signal": [[1, 2]], "gain": [1.0], "baseline": [0], "lead_names": ["I"]}, {}, "pass sampling_rate="),
        ({"signal": [[1, 2]], "gain": [1.0], "sampling_rate": 100}, {}, "has no baseline, lead_names"),
        (noise(2, 1000), {"sampling_rate": 100, "lead_names": ["I", "X9"]}, "unknown lead 'X9'"),
        (noise(2, 1000), {"sampling_rate": 100, "lead_names": ["II", "mlii"]}, "duplicate lead II"),
        (noise(12, 1000), {"sampling_rate": 100, "units": "kV"}, "unknown unit 'kV'"),
        (noise(12, 1000) * 1000, {"sampling_rate": 100}, "cannot be in mV.*units='uV'.*gain"),
        (noise(12, 1000) / 1000, {"sampling_rate": 100}, "cannot be in mV.*units='V'"),
        (np.full((12, 1000), np.nan), {"sampling_rate": 100}, "no usable lead"),
        (np.full((12, 1000), np.inf), {"sampling_rate": 100}, "no usable lead"),
        (np.full((12, 1000), 0.7), {"sampling_rate": 100}, "every lead is flat"),
        (np.zeros((12, 1000)), {"sampling_rate": 100}, "every lead is flat"),
        (noise(12, 49), {"sampling_rate": 100}, "49 samples at 100 Hz are 0.49 s, shorter than the 0.5 s"),
        (noise(12, 1000), {"sampling_rate": 49}, "from 50 to 2000 Hz, got 49"),
        (noise(12, 5000), {"sampling_rate": 2001}, "from 50 to 2000 Hz, got 2001"),
        (noise(12, 5000), {"sampling_rate": float("nan")}, "sampling_rate must be above 0 Hz, got nan"),
        (np.empty((12, 0)), {"sampling_rate": 100}, "shape .12, 0."),
        (np.ones((2, 2, 2, 2)), {"sampling_rate": 100}, "shape .2, 2, 2, 2."),
        ([], {"sampling_rate": 100}, "the list is empty"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_what_to_do(usual, ecg, fields, message):
    with pytest.raises(ValueError, match=message):
        usual(ecg, **fields)


def test_a_recording_at_the_limits_is_read(usual):
    usual(noise(12, 25), 50)
    usual(noise(12, 1000), 2000)
    usual(noise(12, 50), 100)


def test_none_of_the_models_leads(usual):
    two = ECGFeatureExtractor(sampling_rate=100, lead_names=["V1", "V2"], bandpass=None)
    with pytest.raises(ValueError, match="none of the model's leads V1, V2 is in I, II"):
        two(noise(2, 1000), 100, lead_names=["I", "II"])


def test_the_bad_record_of_a_batch_is_named(usual):
    with pytest.raises(ValueError, match="recording 1: every lead is flat"):
        usual([noise(12, 1000), np.zeros((12, 1000))], 100)
    with pytest.raises(ValueError, match="patient-7: every lead is flat"):
        usual([{"signal": np.zeros((12, 1000)), "sampling_rate": 100, "record_id": "patient-7"}])


def test_a_digital_wfdb_record_and_a_missing_file(usual, record_path):
    with pytest.raises(ValueError, match="physical=True"):
        usual(wfdb.rdrecord(str(record_path), physical=False))
    with pytest.raises(FileNotFoundError, match="no-such-record"):
        usual("no-such-record")


def test_integers_without_their_gain_are_refused(usual, record_path):
    digital = wfdb.rdrecord(str(record_path), physical=False).d_signal.T
    with pytest.raises(ValueError, match="gain"):
        usual(digital, 100)


# Fields and file.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling_rate": 0}, "sampling_rate must be a number above 0"),
        ({"sampling_rate": "100"}, "sampling_rate"),
        ({"sampling_rate": True}, "sampling_rate"),
        ({"lead_names": ["I", "Z"]}, "unknown lead 'Z'"),
        ({"lead_names": []}, "lead_names is empty"),
        ({"max_duration": -1}, "max_duration"),
        ({"max_duration": 0.0001}, "shorter than a sample"),
        ({"min_duration": 0}, "min_duration"),
        ({"max_gap": -0.1}, "max_gap"),
        ({"max_gap": float("nan")}, "max_gap"),
        ({"crop": "middle"}, "crop must be one of start, center, random, windows"),
        ({"crop": "windows", "max_duration": None}, "needs max_duration"),
        ({"scaling": "zscore"}, "scaling must be one of"),
        ({"scale_per": "batch"}, "scale_per"),
        ({"scale_epsilon": 0}, "scale_epsilon"),
        ({"clip": 0}, "clip"),
        ({"filter_order": 2.5}, "filter_order must be a whole number"),
        ({"bandpass": (0.5, 47.5)}, "upper edge.*between 0 and 47.5 Hz.*Nyquist"),
        ({"bandpass": (0.0, 40)}, "lower edge"),
        ({"bandpass": (40, 0.5)}, "must rise"),
        ({"bandpass": 40}, "two edges"),
        ({"bandpass": (0.5, 40, 45)}, "two edges"),
        ({"bandpass": ("0.5", 40)}, "two edges"),
        ({"notch_frequency": 50}, "notch must lie between"),
        ({"amplitude_range": (5, 1)}, "amplitude_range"),
        ({"amplitude_range": 5}, "amplitude_range"),
    ],
)
def test_a_field_out_of_range_is_an_error_at_the_models_own_rate(fields, message):
    with pytest.raises(ValueError, match=message):
        ECGFeatureExtractor(**{"sampling_rate": 100, "bandpass": None} | fields)


@pytest.mark.parametrize(("name", "value"), [("crop", "window"), ("max_duration", -1), ("lead_names", ["I", "Z"])])
def test_a_field_is_checked_when_it_is_set_and_keeps_its_value(name, value):
    extractor = ECGFeatureExtractor()
    before = getattr(extractor, name)
    with pytest.raises(ValueError, match=name if name != "lead_names" else "unknown lead 'Z'"):
        setattr(extractor, name, value)
    assert getattr(extractor, name) == before


def test_a_misspelt_field_cannot_be_set():
    with pytest.raises(AttributeError, match="'corp' .did you mean 'crop'"):
        ECGFeatureExtractor().corp = "windows"


def test_a_crop_of_the_call_works_and_is_checked():
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=3.0)
    signal = noise(12, 1000)
    assert len(extractor(signal, 100, crop="windows")["input_values"]) == 4
    np.testing.assert_array_equal(extractor(signal, 100, crop="start")["input_values"][0], signal[:, :300])
    with pytest.raises(ValueError, match="crop must be one of start, center, random, windows, got 'window'"):
        extractor(signal, 100, crop="window")
    with pytest.raises(ValueError, match="max_duration"):
        ECGFeatureExtractor(max_duration=None)(signal, 100, crop="windows")


def test_an_unknown_field_raises_in_python_with_the_nearest_known_one():
    with pytest.raises(TypeError, match="'samplingrate' .did you mean 'sampling_rate'"):
        ECGFeatureExtractor(samplingrate=100)


def test_save_load_save_is_byte_identical_and_reads_the_same(tmp_path, record):
    extractor = ECGFeatureExtractor(
        sampling_rate=250, lead_names=["II", "V1"], max_duration=3, crop="windows", window_stride=1.5, clip=2,
        bandpass=(0.5, None), notch_frequency=50, scaling="z-score", scale_per="lead", amplitude_range=(0.01, 30),
    )  # fmt: skip
    extractor.save_pretrained(tmp_path / "first")
    loaded = ECGFeatureExtractor.from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    files = [(tmp_path / name / "preprocessor_config.json").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    assert_same(loaded(record), extractor(record))


def test_the_file_holds_every_field_and_nothing_of_this_machine(tmp_path):
    ECGFeatureExtractor().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved.pop("feature_extractor_type") == "ECGFeatureExtractor"
    assert saved.pop("auto_map") == {"AutoFeatureExtractor": "feature_extraction_ecg.ECGFeatureExtractor"}
    assert saved == {
        "sampling_rate": 500,
        "lead_names": list(STANDARD_LEADS),
        "max_duration": 10.0,
        "min_duration": 0.5,
        "crop": "center",
        "window_stride": None,
        "bandpass": [0.5, 45.0],
        "filter_order": 3,
        "notch_frequency": None,
        "notch_quality": 30.0,
        "max_gap": 0.05,
        "max_missing": 0.1,
        "min_range": 0.0005,
        "scaling": "none",
        "scale_per": "record",
        "scale_constant": 1.0,
        "scale_epsilon": 1e-6,
        "clip": None,
        "amplitude_range": [0.02, 50.0],
    }


def test_an_unknown_field_in_a_file_is_left_out_with_a_warning(tmp_path, transformers_log):
    ECGFeatureExtractor(sampling_rate=250).save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"from_the_future": 1}))
    assert ECGFeatureExtractor.from_pretrained(tmp_path).sampling_rate == 250
    assert "from_the_future" in transformers_log.text


def test_a_field_can_be_overridden_on_loading_and_is_checked(tmp_path):
    ECGFeatureExtractor().save_pretrained(tmp_path)
    assert ECGFeatureExtractor.from_pretrained(tmp_path, crop="start").crop == "start"
    with pytest.raises(ValueError, match="crop must be"):
        ECGFeatureExtractor.from_pretrained(tmp_path, crop="middle")


def test_a_rate_that_contradicts_the_recording_is_refused(ptb_xl_source):
    path = ptb_xl_source / "records500" / "00000" / "00338_hr"
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
    with pytest.raises(ValueError, match="00338_hr: the recording says 500 Hz and the call 100 Hz"):
        extractor(path, 100)
    extractor(path, 500)


def test_missing_leads_are_said_once(caplog):
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
    signal = np.random.default_rng(0).normal(size=(11, 1000))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            extractor(signal, 100, lead_names=STANDARD_LEADS[:-1])
    assert [r.getMessage() for r in caplog.records].count("leads V6 are absent in a recording: they are masked") <= 1


def test_a_unit_of_the_call_that_cannot_be_is_doubted_itself():
    with pytest.raises(ValueError, match="The unit was stated, by the recording or by units=: is it right"):
        extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None)
        extractor(np.random.default_rng(0).normal(size=(12, 1000)), 100, units="uV")
