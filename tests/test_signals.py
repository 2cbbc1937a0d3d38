"""Pure functions on recordings, against numbers by hand and against scipy called directly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal as scipy_signal

from mets_ecg.io import read_wfdb
from mets_ecg.signals import (
    canonical_unit,
    decode_signal,
    detect_qrs,
    fill_gaps,
    filter_signal,
    lead_status,
    recorded_span,
    resample,
    scale_signal,
    to_millivolt,
    window_starts,
)

NOTHING = {"bandpass": None, "order": 3, "notch_frequency": None, "notch_quality": 30.0}


def noise(leads=3, samples=701, seed=0):
    return np.random.default_rng(seed).standard_normal((leads, samples)).astype(np.float32)


def filtered(signal, rate, **fields):
    return filter_signal(signal, sampling_rate=rate, **{**NOTHING, **fields})


def test_decode_signal_subtracts_the_baseline_and_divides_by_the_gain():
    row = {
        "record_id": "7",
        "signal": [[100, 300, -32768], [10, -10, 0]],
        "gain": [200.0, 10.0],
        "baseline": [100, 0],
        "lead_names": ["I", "II"],
    }
    signal = decode_signal(row)
    assert signal.dtype == np.float32
    np.testing.assert_array_equal(signal, np.array([[0.0, 1.0, np.nan], [1.0, -1.0, 0.0]], dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": [200.0, 0.0]}, "gain must be above 0"),
        ({"gain": [200.0]}, "1 gains"),
        ({"lead_names": ["I"]}, "1 lead names"),
        ({"baseline": None}, "has no baseline"),
        ({"lead_names": None}, "has no lead_names"),
    ],
)
def test_decode_signal_names_the_row_and_what_is_wrong(change, message):
    row = {
        "record_id": "7",
        "signal": [[1, 2], [3, 4]],
        "gain": [1.0, 1.0],
        "baseline": [0, 0],
        "lead_names": ["I", "II"],
    }
    with pytest.raises(ValueError, match=f"'7'.*{message}"):
        decode_signal(row | change)


def test_decode_signal_reads_a_row_of_pandas_whose_signal_is_an_array_of_arrays():
    leads = np.empty(2, dtype=object)
    leads[:] = [np.array([1, 2, 3], dtype=np.int16), np.array([4, 5, -32768], dtype=np.int16)]
    row = {"signal": leads, "gain": np.array([1.0, 2.0]), "baseline": np.array([0, 1]), "lead_names": ["I", "II"]}
    np.testing.assert_array_equal(decode_signal(row), np.float32([[1, 2, 3], [1.5, 2, np.nan]]))


def test_to_millivolt_by_the_unit_of_each_lead():
    ones = np.array([[2.0, -2.0]] * 3)
    each = to_millivolt(ones, ["mV", "uV", "V"])
    np.testing.assert_allclose(each[:, 0], [2.0, 0.002, 2000.0], rtol=1e-6)
    assert to_millivolt(np.array([[3, 4]], dtype=np.int16), ["uV"]).dtype == np.float32


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="unknown unit 'kV'.*mV, uV, V"):
        canonical_unit("kV")


NAN = np.nan


def test_fill_gaps_interpolates_and_keeps_the_ends():
    signal = np.array(
        [[0.0, 1.0, NAN, NAN, 4.0, 5.0, 6.0], [NAN, NAN, 2.0, 3.0, np.inf, 5.0, NAN], [NAN] * 7, [1.0] * 7]
    )
    before = signal.copy()
    filled = fill_gaps(signal)
    np.testing.assert_allclose(filled[0], np.arange(7.0))
    np.testing.assert_allclose(filled[1], [2, 2, 2, 3, 4, 5, 5])
    assert not filled[2].any() and (filled[3] == 1).all()
    np.testing.assert_array_equal(signal, before)


def test_leads_are_judged_by_their_gaps_and_their_range():
    signal = np.tile(np.arange(10.0), (7, 1))
    signal[1, 3:5] = NAN
    signal[2, 3:6] = NAN
    signal[3, [0, 3, 6, 9]] = NAN
    signal[4] = NAN
    signal[5, :] = 0.3
    signal[6, 1:9] = NAN
    status = lead_status(signal, max_gap=2, max_missing=0.3, min_range=1e-3)
    assert status == ["recorded", "recorded", "gaps", "gaps", "missing", "constant", "gaps"]
    assert lead_status(signal[1:2], max_gap=0, max_missing=0.3, min_range=1e-3) == ["gaps"]


def test_what_was_recorded_by_any_lead_is_the_span():
    signal = np.full((2, 6), NAN)
    assert recorded_span(signal) == (0, 0)
    signal[0, 1], signal[1, 4] = 0.0, 1.0
    assert recorded_span(signal) == (1, 5)


@pytest.mark.parametrize("rate", [50, 100, 360, 500, 2000])
def test_the_band_pass_is_scipys_with_three_time_constants_of_padding(rate):
    signal = noise(samples=10 * rate)
    sos = scipy_signal.butter(3, (0.5, 20), "bandpass", fs=rate, output="sos")
    padlen = int(np.ceil(3 / (2 * np.pi * 0.5) * rate)) + 1  # 96 samples at 100 Hz, by hand
    assert rate != 100 or padlen == 97
    expected = scipy_signal.sosfiltfilt(sos, signal.astype(np.float64), axis=1, padlen=padlen)
    ours, left_out = filtered(signal, rate, bandpass=(0.5, 20))
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert ours.dtype == np.float32 and not left_out


@pytest.mark.parametrize(("edges", "kind", "edge"), [((0.5, None), "highpass", 0.5), ((None, 30), "lowpass", 30)])
def test_one_edge_alone_is_a_high_pass_or_a_low_pass(edges, kind, edge):
    signal = noise(samples=1000)
    sos = scipy_signal.butter(2, edge, kind, fs=100, output="sos")
    padlen = int(np.ceil(3 / (2 * np.pi * edge) * 100)) + 1
    expected = scipy_signal.sosfiltfilt(sos, signal.astype(np.float64), axis=1, padlen=padlen)
    np.testing.assert_allclose(filtered(signal, 100, bandpass=edges, order=2)[0], expected, atol=1e-6)


def test_the_notch_is_scipys_after_the_band_pass_in_one_run():
    signal = noise(samples=5000)
    sos = np.concatenate(
        [
            scipy_signal.butter(3, (0.5, 80), "bandpass", fs=500, output="sos"),
            scipy_signal.tf2sos(*scipy_signal.iirnotch(50, 30, fs=500)),
        ]
    )
    expected = scipy_signal.sosfiltfilt(sos, signal.astype(np.float64), axis=1, padlen=479)  # 3 / pi * 500 + 1
    ours, _ = filtered(signal, 500, bandpass=(0.5, 80), notch_frequency=50, notch_quality=30)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_the_notch_takes_the_mains_and_leaves_the_rest():
    times = np.arange(5000) / 500
    heart, mains = np.sin(2 * np.pi * 5 * times), np.sin(2 * np.pi * 50 * times)
    ours = filtered((heart + mains)[None].astype(np.float32), 500, notch_frequency=50)[0][0]
    assert np.abs(ours - heart)[500:-500].max() < 0.01


def test_the_filter_shifts_no_peak():
    times = np.arange(1000) / 100
    pulse = np.exp(-(((times - 4) / 0.05) ** 2))[None].astype(np.float32)
    assert filtered(pulse, 100, bandpass=(0.5, 40))[0].argmax() == 400


def test_an_offset_and_a_slow_drift_do_not_ring_at_the_edges():
    times = np.arange(1000) / 100
    offset = np.full(1000, 5.0)
    ramp = times  # 10 mV in 10 s
    wander = np.sin(2 * np.pi * 0.05 * times)
    signal = np.stack([offset, ramp, wander]).astype(np.float32)
    left = np.abs(filtered(signal, 100, bandpass=(0.5, 40))[0]).max(axis=1)
    assert left[0] < 1e-6 and left[1] < 0.02 and left[2] < 0.006
    sos = scipy_signal.butter(3, (0.5, 40), "bandpass", fs=100, output="sos")
    unpadded = np.abs(scipy_signal.sosfiltfilt(sos, signal.astype(np.float64), axis=1, padtype=None)).max(axis=1)
    assert unpadded[1] > 0.1  # what the padding is for


def test_a_recording_shorter_than_the_padding_is_filtered():
    ours, _ = filtered(noise(samples=50), 100, bandpass=(0.5, 40))
    assert ours.shape == (3, 50) and np.isfinite(ours).all()


def test_what_lies_at_the_inputs_nyquist_is_left_out_and_named():
    signal = noise(samples=1000)
    ours, left_out = filtered(signal, 100, bandpass=(0.5, 47.5), notch_frequency=60)
    assert left_out == ["upper edge 47.5 Hz", "notch 60 Hz"]
    np.testing.assert_array_equal(ours, filtered(signal, 100, bandpass=(0.5, None))[0])
    assert not filtered(signal, 100, bandpass=(0.5, 47.4))[1]


def test_a_lower_edge_above_all_that_the_input_holds_is_an_error():
    with pytest.raises(ValueError, match="50 Hz holds nothing above .* 30 Hz"):
        filtered(noise(), 50, bandpass=(30, None))


def test_no_filter_gives_the_signal_back_unchanged():
    signal = noise()
    assert filtered(signal, 100)[0] is signal
    assert filtered(signal, 100, bandpass=(None, None))[0] is signal


@pytest.mark.parametrize(("rate", "up", "down"), [(500, 1, 5), (360, 5, 18), (250, 2, 5), (257, 100, 257), (50, 2, 1)])
def test_resampling_is_scipys_polyphase_at_the_exact_ratio(rate, up, down):
    signal = noise(samples=10 * rate)
    expected = scipy_signal.resample_poly(signal.astype(np.float64), up, down, axis=1, padtype="line")
    np.testing.assert_allclose(resample(signal, sampling_rate=rate, target_rate=100), expected, atol=1e-6)


@pytest.mark.parametrize("target", [50, 100, 240, 500, 2000])
def test_samples_out_are_the_rounded_product(target):
    for rate in (50, 100, 128, 250, 257, 333.3, 360, 500, 977, 1000, 2000):
        for samples in (51, 100, 499, 1000, 1003):
            out = resample(np.ones((1, samples), np.float32), sampling_rate=rate, target_rate=target)
            assert out.shape[1] == max(1, round(samples * target / rate)), (rate, samples)
            assert np.isfinite(out).all()


def test_resampling_does_not_ring_at_the_edges_of_an_offset():
    out = resample(np.full((1, 5000), 3.0, np.float32), sampling_rate=500, target_rate=100)
    np.testing.assert_allclose(out, 3.0, atol=1e-5)


def test_resampling_moves_no_sample_in_time():
    for rate in (250, 360, 500, 1000):
        times = np.arange(10 * rate) / rate
        pulse = np.exp(-(((times - 4) / 0.05) ** 2))[None].astype(np.float32)
        assert resample(pulse, sampling_rate=rate, target_rate=100).argmax() == 400


def test_where_windows_begin():
    assert window_starts(7, 4, crop="start") == [0]
    assert window_starts(7, 4, crop="center") == [1]
    assert window_starts(7, 4, crop="windows", stride=2) == [0, 2, 3]
    assert window_starts(8, 4, crop="windows", stride=4) == [0, 4]
    assert window_starts(3, 4, crop="center") == window_starts(4, 4, crop="windows", stride=1) == [0]


def test_a_random_crop_is_the_generators_and_reaches_both_ends():
    starts = [window_starts(7, 5, crop="random", rng=np.random.default_rng(seed)) for seed in range(40)]
    again = [window_starts(7, 5, crop="random", rng=np.random.default_rng(seed)) for seed in range(40)]
    assert starts == again and {start for (start,) in starts} == {0, 1, 2}
    with pytest.raises(ValueError, match="pass rng"):
        window_starts(7, 5, crop="random")


@pytest.mark.parametrize(
    "name", ["records100/00000/00012_lr", "records500/00000/00012_hr", "records100/18000/18767_lr"]
)
def test_qrs_complexes_are_found_in_recordings(name, ptb_xl_source):
    record = read_wfdb(ptb_xl_source / name)
    for signal in (record.signal, record.signal[[1]]):
        peaks = detect_qrs(signal, record.sampling_rate)
        assert 5 <= len(peaks) <= 25 and np.diff(peaks).min() >= 0.25 * record.sampling_rate


def test_qrs_complexes_are_where_they_were_put():
    times = np.arange(5000) / 500
    beats = np.arange(0.6, 9.5, 0.8)
    signal = np.exp(-(((times[:, None] - beats) / 0.02) ** 2)).sum(axis=1)[None]
    np.testing.assert_allclose(detect_qrs(signal, 500) / 500, beats, atol=0.05)
    artefact = signal + 30 * np.exp(-(((times - 5.1) / 0.02) ** 2))
    assert len(detect_qrs(artefact, 500)) >= 8


@pytest.mark.parametrize("rate", [100, 500])
def test_noise_waves_and_flat_lines_have_no_qrs(rate):
    times = np.arange(10 * rate) / rate
    assert not any(len(detect_qrs(noise(12, 10 * rate, seed), rate)) for seed in range(20))
    for frequency in (1, 10):
        assert not len(detect_qrs(np.sin(2 * np.pi * frequency * times)[None], rate))
    assert not len(detect_qrs(np.zeros((12, 10 * rate)), rate))


SCALED = np.array([[1.0, 3.0], [5.0, 5.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("scaling", "per", "expected"),
    [
        ("none", "record", [[1, 3], [5, 5]]),
        ("constant", "record", [[0.5, 1.5], [2.5, 2.5]]),
        ("z-score", "lead", [[-1, 1], [0, 0]]),
        ("z-score", "record", [[-1.5075567, -0.30151135], [0.904534, 0.904534]]),  # mean 3.5, std sqrt(2.75)
        ("min-max", "lead", [[0, 1], [0, 0]]),
        ("min-max", "record", [[0, 0.5], [1, 1]]),
    ],
)
def test_scaling_by_hand_and_a_constant_lead_gives_0(scaling, per, expected):
    scaled = scale_signal(SCALED, scaling=scaling, per=per, constant=2.0, epsilon=1e-9)
    np.testing.assert_allclose(scaled, expected, atol=1e-6)
    assert scaled.dtype == np.float32


def test_epsilon_is_added_to_the_spread():
    scaled = scale_signal(SCALED[:1], scaling="z-score", per="lead", constant=1.0, epsilon=1.0)
    np.testing.assert_allclose(scaled, [[-0.5, 0.5]])
