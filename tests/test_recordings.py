"""Whatever a user passes as a recording: the same recording in every form is the same, and what cannot be read right is
refused by name."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import wfdb
from datasets import Dataset

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.rows import encode_signal
from mets_ecg.io import ECGRecord, read_wfdb
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.recordings import read_recording, recordings_in

LEADS = list(STANDARD_LEADS)


@pytest.fixture(scope="module")
def path(ptb_xl_source) -> str:
    return str(ptb_xl_source / "records100" / "00000" / "00012_lr")


@pytest.fixture(scope="module")
def signal(path) -> np.ndarray:
    """`(12, 1000)`, mV, in steps of 1 uV."""
    return read_wfdb(path).signal


def noise(leads=12, samples=1000, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((leads, samples)).astype(np.float32)


def assert_reads(signal, ecg, sampling_rate=None, leads=LEADS, **call):
    """Reading `ecg` gives this signal under these names."""
    recording = read_recording(ecg, sampling_rate, **call)
    assert recording.lead_names == tuple(leads)
    assert recording.sampling_rate == 100.0
    np.testing.assert_allclose(recording.signal_mv, signal, atol=1e-6)
    return recording


# One recording, many forms.


def forms(signal: np.ndarray, path: str) -> dict:
    """The same recording in all forms: name -> (what is passed, what the call says beside it)."""
    rate = {"sampling_rate": 100}
    row = {**encode_signal(signal), "sampling_rate": 100.0, "lead_names": LEADS, "record_id": "7", "fold": 3}
    frame = pd.DataFrame(signal.T, columns=LEADS)
    shuffled = np.random.default_rng(0).permutation(12)
    other_order = [LEADS[i] for i in shuffled]
    return {
        "path": (path, {}),
        "record of our reader": (read_wfdb(path), {}),
        "record of wfdb": (wfdb.rdrecord(path), {}),
        "corpus row": (row, {}),
        "corpus row of lists": (json.loads(json.dumps(row, default=lambda array: array.tolist())), {}),
        "corpus row of tensors": (Dataset.from_list([row]).with_format("torch")[0], {}),
        "array": (signal, rate),
        "array, samples first": (signal.T, {**rate, "lead_names": LEADS}),
        "array in uV": (signal * 1000, {**rate, "units": "uV"}),
        "nested list": (signal.tolist(), rate),
        "tensor": (torch.from_numpy(signal.copy()), rate),
        "dict": ({"signal": signal, "sampling_rate": 100}, {}),
        "dict from JSON": (json.loads(json.dumps({"signal": signal.tolist(), "sampling_rate": 100})), {}),
        "dict with a path": ({"path": path}, {}),
        "frame, leads as columns": (frame, rate),
        "frame, leads as rows": (frame.T, rate),
        "frame, other order": (frame[other_order], rate),
        "frame of objects": (frame.astype(object), rate),
        "array, other order": (signal[shuffled], {**rate, "lead_names": other_order}),
        "array, names as a sorted Series": (signal, {**rate, "lead_names": pd.Series(LEADS).sort_values()}),
        "rate in brackets": (signal, {"sampling_rate": [[100]]}),
        "rate as a tensor": (signal, {"sampling_rate": torch.tensor(100)}),
    }


def test_the_same_recording_in_every_form_has_the_same_scores(signal, path, tiny_model, tiny_processor):
    from transformers import pipeline

    pipe = pipeline("zero-shot-classification", model=tiny_model, processor=tiny_processor, device="cpu")
    labels = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]
    expected = {entry["label"]: entry["score"] for entry in pipe(path, candidate_labels=labels)}
    for name, (ecg, call) in forms(signal, path).items():
        got = {entry["label"]: entry["score"] for entry in pipe(ecg, candidate_labels=labels, **call)}
        assert got == pytest.approx(expected, abs=1e-5), name
        many = pipe([ecg, ecg], candidate_labels=labels, **call)
        assert {entry["label"]: entry["score"] for entry in many[1]} == pytest.approx(expected, abs=1e-5), name


def test_the_same_recording_in_every_form_is_the_same_model_input(signal, path):
    extractor = ECGFeatureExtractor(sampling_rate=100)
    expected = extractor(path)["input_values"]
    for name, (ecg, call) in forms(signal, path).items():
        np.testing.assert_allclose(extractor(ecg, **call)["input_values"], expected, atol=1e-5, err_msg=name)


def test_a_15_lead_record_is_read_as_its_12_leads(signal, transformers_log):
    more = np.concatenate([signal, noise(3), 90 + noise(1)])
    names = [name.lower() for name in LEADS] + ["vx", "vy", "vz", "ABP"]
    record = ECGRecord(more, 100.0, tuple(names), ("mV",) * 15 + ("mmHg",))
    recording = assert_reads(signal, record)
    assert recording.dropped_channels == ("vx", "vy", "vz", "ABP")
    assert_reads(signal, more[:15], 100, lead_names=names[:15])
    assert "vx, vy, vz" in transformers_log.text


def test_what_was_assumed_is_written_down(signal, path):
    assert read_recording(signal, 100).assumed == {"units": "mV", "lead_names": ", ".join(LEADS)}
    assert read_recording(signal, 100, lead_names=LEADS, units="mV").assumed == {}
    assert read_recording(path).assumed == {}
    assert read_recording({"signal": signal, "sampling_rate": 100, "units": None}).assumed.keys() == {
        "units",
        "lead_names",
    }


# Labelled rows.


def test_a_filtered_series_of_names_leaves_the_other_rows_out(signal):
    channels = pd.DataFrame({"name": ["ABC", *LEADS], "kind": ["other"] + ["ecg"] * 12})
    rows = np.concatenate([noise(1), signal])
    names = channels[channels["kind"] == "ecg"]["name"]
    assert_reads(signal, rows, 100, lead_names=names)
    assert_reads(signal, rows.T, 100, lead_names=names)
    with pytest.raises(ValueError, match="index of the Series in lead_names.*12 is not among.*pass a list"):
        read_recording(signal, 100, lead_names=names)
    assert_reads(signal, signal, 100, lead_names=list(names))


def test_a_series_of_names_finds_the_columns_of_a_table(signal):
    frame = pd.DataFrame(signal.T, columns=[f"ch{i}" for i in range(12)])
    names = pd.Series({f"ch{i}": LEADS[i] for i in reversed(range(12))})
    assert_reads(signal, frame, 100, lead_names=names)
    with pytest.raises(ValueError, match="unknown lead 'ch0'"):
        read_recording(frame, 100)
    assert_reads(signal, frame, 100, lead_names=LEADS)


def test_a_series_of_samples_is_one_lead_by_its_name():
    samples = pd.Series(noise(1)[0], name="V3")
    assert_reads(samples.to_numpy()[None], samples, 100, leads=["V3"])
    with pytest.raises(ValueError, match="unknown lead 'left'"):
        read_recording(samples.rename("left"), 100)


def test_a_table_that_is_not_of_numbers_alone_is_refused_with_the_column():
    frame = pd.DataFrame(noise(12, 9).T, columns=LEADS)
    frame["time"] = [f"0:{i}" for i in range(9)]
    with pytest.raises(ValueError, match="not of numbers.*'0:0'"):
        read_recording(frame, 100)
    frame["time"] = np.arange(9) / 100
    with pytest.raises(ValueError, match="unknown lead 'time'"):
        read_recording(frame, 100)
    both = pd.DataFrame(noise(2, 2), columns=["I", "II"], index=["I", "II"])
    with pytest.raises(ValueError, match="both the columns and the rows"):
        read_recording(both, 100)


@pytest.mark.parametrize(
    ("key", "right"),
    [
        *((key, "lead_names") for key in ("channels", "ch_names", "sig_names", "sig_name", "lead_name", "leads")),
        *((key, "sampling_rate") for key in ("fs", "sample_rate", "sfreq", "samplingrate")),
        ("Units", "units"),
        ("unit", "units"),
        ("array", "signal"),
    ],
)
def test_a_dict_that_names_its_parts_otherwise_is_refused_and_not_ignored(key, right):
    row = {"signal": noise(), "sampling_rate": 100, key: LEADS[::-1]}
    with pytest.raises(ValueError, match=f"unknown: '{key}' .write '{right}'"):
        read_recording(row)


def test_a_dict_with_other_keys_is_refused_and_a_corpus_row_is_not(signal):
    with pytest.raises(ValueError, match="patient-7: a recording's dict has.*unknown: 'diagnosis'"):
        read_recording({"signal": signal, "sampling_rate": 100, "record_id": "patient-7", "diagnosis": "AF"})
    with pytest.raises(ValueError, match="needs a 'signal' or a 'path', got sampling_rate"):
        read_recording({"sampling_rate": 100})


@pytest.mark.parametrize("names", [{"I": 0}, {"I", "II"}, 12, [1, 2]])
def test_lead_names_without_an_order_are_refused(names):
    with pytest.raises(TypeError, match="lead_names must be"):
        read_recording(noise(2), 100, lead_names=names)


def test_names_of_rows_that_are_not_known_are_not_ignored(signal):
    mirrored = [f"{name}*" for name in LEADS[::-1]]
    for names in (mirrored, pd.MultiIndex.from_product([["record"], LEADS[::-1]]), [n.encode() for n in LEADS[::-1]]):
        with pytest.raises((ValueError, TypeError), match="unknown lead|lead_names must be texts"):
            read_recording(pd.DataFrame(signal[::-1], index=names), 100)


def test_a_unit_in_the_name_of_a_column_is_read(signal):
    frame = pd.DataFrame(signal.T * 1000, columns=[f"{name} (uV)" for name in LEADS])
    assert_reads(signal, frame, 100)
    assert_reads(signal, frame.T.rename(lambda name: name.replace("(uV)", "[\N{MICRO SIGN}V]")), 100)
    with pytest.raises(ValueError, match="I is in uV and the call mV"):
        read_recording(frame, 100, units="mV")


def test_a_table_in_a_dict_keeps_its_names(signal):
    frame = pd.DataFrame(signal[::-1], index=LEADS[::-1])
    assert_reads(signal[::-1], {"signal": frame, "sampling_rate": 100}, leads=LEADS[::-1])
    assert_reads(signal[::-1], {"signal": frame.T, "sampling_rate": 100}, leads=LEADS[::-1])
    with pytest.raises(ValueError, match="the dict has lead_names and its signal, a table, too"):
        read_recording({"signal": frame, "sampling_rate": 100, "lead_names": LEADS})
    with pytest.raises(TypeError, match="a list of Series: join them"):
        read_recording({"signal": [frame.loc[name] for name in LEADS], "sampling_rate": 100})
    with pytest.raises(ValueError, match="of leads by name make a table"):
        read_recording({"I": signal[0], "II": signal[1]})


def test_rows_of_a_frame_are_recordings(signal, tmp_path):
    row = {"signal": signal.tolist(), "sampling_rate": 100.0, "lead_names": LEADS, "units": "mV", "record_id": "7"}
    pd.DataFrame([row, row]).to_parquet(tmp_path / "rows.parquet")
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    assert len(recordings_in(frame)) == 2
    for recording in (*recordings_in(frame), frame.iloc[0]):
        assert assert_reads(signal, recording).record_id == "7"
    assert len(recordings_in(frame["signal"])) == 2
    assert_reads(signal, frame["signal"][0], 100)
    batch = Dataset.from_list([row, row])[:2]
    with pytest.raises(TypeError, match="a batch of rows .7, 7.: pass the data set itself"):
        read_recording(batch)


def test_what_wfdb_rdsamp_returns_is_read(signal, path):
    assert_reads(signal, wfdb.rdsamp(path))
    assert ECGFeatureExtractor(sampling_rate=100)(wfdb.rdsamp(path))["input_values"].shape == (1, 12, 1000)


def test_an_order_that_was_assumed_and_does_not_fit_the_limb_leads_is_warned_about(signal, transformers_log):
    limbs = LEADS[:6]  # the warning is said once for each order
    read_recording(signal[:6], 100, default_leads=limbs)
    assert "do not fit each other" not in transformers_log.text
    read_recording(signal[[0, 1, 2, 3, 5, 4]], 100, default_leads=limbs)  # aVF before aVL
    assert "do not fit each other in the order that was assumed" in transformers_log.text


# Samples that are missing.


def test_a_list_of_masked_rows_keeps_its_masks(signal):
    rows = [np.ma.masked_array(row, mask=np.arange(1000) < 500) for row in signal]
    recording = read_recording({"signal": rows, "sampling_rate": 100})
    assert np.isnan(recording.signal_mv[:, :500]).all() and np.isfinite(recording.signal_mv[:, 500:]).all()


def test_a_null_is_missing_wherever_it_is(signal):
    nested = signal.astype(float).tolist()
    nested[0] = None
    nested[1][0] = None
    expected = signal.copy()
    expected[0] = expected[1, 0] = np.nan
    assert_reads(expected, nested, 100)
    assert_reads(expected, {"signal": nested, "sampling_rate": 100})


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, list])
def test_the_marker_of_samples_that_were_not_recorded_is_no_voltage(signal, kind):
    digital = np.round(signal * 1000)
    digital[:, 200:400] = -32768
    digital = digital.tolist() if kind is list else digital.astype(kind)
    recording = read_recording(digital, 100, units="uV")
    assert np.isnan(recording.signal_mv[:, 200:400]).all()
    np.testing.assert_allclose(recording.signal_mv[:, :200], signal[:, :200], atol=1e-6)


def test_a_masked_sample_does_not_enter_the_model(signal):
    artefact = signal.copy()
    artefact[3, 500:503] = 9.0
    masked = np.ma.masked_array(artefact, mask=artefact == 9.0)
    assert np.isnan(read_recording(masked, 100).signal_mv[3, 500:503]).all()
    batch = np.ma.stack([masked, masked])
    values = ECGFeatureExtractor(sampling_rate=100, bandpass=None)(batch, 100)["input_values"]
    assert values[1].max() < 5


def test_missing_samples_of_tables_and_of_json_are_missing(signal):
    gap = signal.astype(float)
    gap[3, 500] = np.nan
    assert_reads(gap, pd.DataFrame(gap.T, columns=LEADS, dtype="Float64"), 100)
    as_json = json.loads(json.dumps([[None if np.isnan(x) else x for x in row] for row in gap.tolist()]))
    assert_reads(gap, as_json, 100)


# Rates, units and names that contradict each other, or that nobody states.


def test_a_rate_is_compared_as_single_precision_stores_it():
    rate = 333.33
    row = {"signal": noise(), "sampling_rate": np.float32(rate)}
    assert read_recording(row, rate).sampling_rate == pytest.approx(rate)
    with pytest.raises(ValueError, match="says 333.33 Hz and the call 333 Hz"):
        read_recording(row, 333)


@pytest.mark.parametrize("rate", ["100", True, [100, 100], None])
def test_a_rate_that_is_not_one_number_is_refused(rate):
    with pytest.raises((TypeError, ValueError), match="sampling_rate.*Hz"):
        read_recording(noise(), rate)


def test_a_rate_that_a_file_does_not_state_may_be_given_and_is_not_guessed(tmp_path):
    (tmp_path / "odd.hea").write_text("odd 1\nodd.dat 16 1000/mV 16 0 0 0 0 II\n")
    (tmp_path / "odd.dat").write_bytes(np.arange(200, dtype="<i2").tobytes())
    with pytest.raises(ValueError, match="odd: the sampling rate is not stated: pass sampling_rate="):
        read_recording(tmp_path / "odd")
    assert read_recording(tmp_path / "odd", 500).sampling_rate == 500.0


def test_a_gain_that_a_file_does_not_state_is_not_guessed(tmp_path):
    (tmp_path / "odd.hea").write_text("odd 1 100 200\nodd.dat 16 0 16 0 0 0 0 II\n")
    (tmp_path / "odd.dat").write_bytes(np.arange(200, dtype="<i2").tobytes())
    with pytest.raises(ValueError, match="odd: the unit of II is not stated.*pass units=.*gain"):
        read_recording(tmp_path / "odd")
    np.testing.assert_allclose(read_recording(tmp_path / "odd", units="uV").signal_mv[0], np.arange(200) / 1000)


def units_of(kind: str, signal, path):
    row = {**encode_signal(signal), "sampling_rate": 100.0, "lead_names": LEADS}
    return {
        "path": path,
        "record": wfdb.rdrecord(path),
        "row": row,
        "dict": {"signal": signal, "sampling_rate": 100, "units": "mV"},
    }[kind]


@pytest.mark.parametrize("kind", ["path", "record", "row", "dict"])
def test_units_of_the_call_are_not_ignored(kind, signal, path):
    ecg = units_of(kind, signal, path)
    assert_reads(signal, ecg, units="mV")
    with pytest.raises(ValueError, match="I is in mV and the call uV"):
        read_recording(ecg, units="uV")
    with pytest.raises(ValueError, match="unknown unit 'nonsense'"):
        read_recording(ecg, units="nonsense")


@pytest.mark.parametrize(
    "unit", ["uV", "UV", "\N{MICRO SIGN}V", "\N{GREEK SMALL LETTER MU}V", "microvolt", "MDC_DIM_MICRO_VOLT"]
)
def test_units_as_devices_write_them(unit, signal):
    assert_reads(signal, signal * 1000, 100, units=unit)
    assert_reads(signal, {"signal": signal * 1000, "sampling_rate": 100, "units": [unit] * 12})


def test_a_lead_in_a_unit_that_is_no_voltage_is_refused():
    record = ECGRecord(noise(2), 100.0, ("II", "V5"), ("mV", "mmHg"))
    with pytest.raises(ValueError, match="V5 is in 'mmHg', which is not a known unit of voltage"):
        read_recording(record)


@pytest.mark.parametrize("unit", ["NU", "", None])
def test_a_unit_that_says_nothing_may_be_given(unit):
    record = ECGRecord(noise(2), 100.0, ("II", "V5"), ("mV", unit))
    with pytest.raises(ValueError, match="the unit of V5 is not stated"):
        read_recording(record)
    assert read_recording(record, units="mV").signal_mv.shape == (2, 1000)


def test_names_of_the_call_name_what_has_no_lead_s_name_and_leave_channels_out(signal):
    record = ECGRecord(signal[:3], 100.0, ("ECG", "II", "V7"), "mV")
    with pytest.raises(ValueError, match="unknown lead 'ECG'.*Pass lead_names="):
        read_recording(record)
    assert_reads(signal[:2], record, lead_names=["I", "II", None], leads=["I", "II"])
    recording = assert_reads(signal[[0, 2]], record, lead_names=["I", None, "III"], leads=["I", "III"])
    assert recording.dropped_channels == ("II",)
    with pytest.raises(ValueError, match="calls a channel 'II' and the call 'V5'"):
        read_recording(record, lead_names=["I", "V5", None])
    with pytest.raises(ValueError, match="2 lead names in the call for 3 channels .ECG, II, V7."):
        read_recording(record, lead_names=["I", "II"])


def test_a_channel_of_a_file_without_a_name_is_not_left_out_in_silence():
    record = ECGRecord(noise(2), 100.0, ("II", None), "mV")
    with pytest.raises(ValueError, match="unknown lead ''"):
        read_recording(record)


@pytest.mark.parametrize(
    "written", ["MDC_ECG_LEAD_{}", "Lead {}", "lead-{}", "ECG {}", "ECG Lead {}", "EKG_{}", "{} (Einthoven)", " {} "]
)
def test_leads_as_devices_write_them(written):
    names = [written.format(name) for name in LEADS]
    assert read_recording(noise(), 100, lead_names=names).lead_names == STANDARD_LEADS


def test_other_leads_as_devices_write_them_are_left_out_too(signal):
    names = [*LEADS, "MDC_ECG_LEAD_V7", "Lead V8", "ECG V4R"]
    recording = assert_reads(signal, np.concatenate([signal, noise(3)]), 100, lead_names=names)
    assert recording.dropped_channels == tuple(names[12:])


def test_an_inverted_lead_is_not_read_as_the_lead():
    with pytest.raises(ValueError, match="unknown lead '-aVR'"):
        read_recording(noise(1), 100, lead_names=["-aVR"])


def test_an_eeg_s_c3_and_c4_are_no_chest_leads(caplog):
    """As sleep studies have them beside one ECG lead; beside C1 and C2 they are V3 and V4."""
    signal = noise(5)
    recording = read_recording(ECGRecord(signal, 100.0, ("T3", "C3", "C4", "O1", "II"), "mV"))
    assert recording.lead_names == ("II",) and recording.dropped_channels == ("T3", "C3", "C4", "O1")
    assert "left out: T3, C3, C4, O1" in caplog.text
    assert read_recording(ECGRecord(signal[:3], 100.0, ("C3", "C4", "II"), "mV")).lead_names == ("II",)
    assert read_recording(ECGRecord(signal[:4], 100.0, ("EOG-L", "F4-M1", "C4", "II"), "mV")).lead_names == ("II",)
    chest = read_recording(ECGRecord(signal[:4], 100.0, ("C1", "C2", "C3", "C4"), "mV"))
    assert chest.lead_names == ("V1", "V2", "V3", "V4")
    assert read_recording(ECGRecord(signal[:2], 100.0, ("II", "C4"), "mV")).lead_names == ("II", "V4")
    assert read_recording(signal[:3], 100, lead_names=["C3", "C4", "II"]).lead_names == (
        "V3",
        "V4",
        "II",
    )  # who says so
    record = ECGRecord(signal, 100.0, ("F3", "C3", "C4", "O1", "ECG"), "mV")
    assert read_recording(record, lead_names=[None, None, None, None, "II"]).lead_names == ("II",)


def test_whole_numbers_without_a_unit_are_a_converter_s():
    counts = np.arange(6000).reshape(12, 500) % 90
    for whole in (counts, counts.astype(np.float32), counts.tolist(), torch.tensor(counts)):
        with pytest.raises(ValueError, match="the unit of I is not stated, its samples are numbers of a converter"):
            read_recording(whole, 100)
        assert read_recording(whole, 100, units="uV").signal_mv[0, 1] == pytest.approx(0.001)
    assert read_recording(np.zeros((12, 500), dtype=int), 100).assumed["units"] == "mV"  # flat is not wrong


def test_none_in_the_names_of_a_dict_leaves_a_channel_out():
    """JSON's null."""
    signal = noise(3)
    given = {"signal": signal.tolist(), "sampling_rate": 100, "lead_names": ["MLII", None, "V1"]}
    recording = read_recording(given)
    assert recording.lead_names == ("II", "V1") and recording.dropped_channels == ("1",)
    np.testing.assert_allclose(recording.signal_mv, signal[[0, 2]], rtol=1e-6)


def test_a_dict_s_signal_may_be_by_lead_name():
    signal = noise(2)
    recording = read_recording({"signal": {"V1": signal[0].tolist(), "II": signal[1].tolist()}, "sampling_rate": 100})
    assert recording.lead_names == ("V1", "II")
    np.testing.assert_allclose(recording.signal_mv, signal, rtol=1e-6)
    mistyped = {"signal": signal, "sampling_rate": 100, "lead_names": ["I", "V1x"], "units": ["mV", None]}
    with pytest.raises(ValueError, match="unknown lead 'V1x'"):
        read_recording(mistyped)
    with pytest.raises(ValueError, match="lead_names and its signal, by name, too: leave them out"):
        read_recording({"signal": {"I": [0.1, 0.2]}, "sampling_rate": 100, "lead_names": ["I"]})
    for nothing in ({}, {"signal": None}):
        with pytest.raises(ValueError, match="needs a 'signal' or a 'path', got nothing"):
            read_recording(nothing)


def test_a_recording_that_was_read_is_taken_as_it_is():
    recording = read_recording(noise(), 100)
    assert read_recording(recording) is recording
    with pytest.raises(ValueError, match="a Recording says its rate, leads and unit: leave them out"):
        read_recording(recording, 100)


def test_no_channel_is_a_lead():
    with pytest.raises(ValueError, match="none of its channels is a lead of a 12-lead ECG .ABP, PPG.: .*lead_names="):
        read_recording(noise(2), 100, lead_names=["ABP", "PPG"])


# Collections, and what is no recording.


def test_nested_lists_are_arrays():
    rows = noise(12, 30)
    assert recordings_in(rows.tolist()) is None
    assert recordings_in(rows[0].tolist()) is None
    assert len(recordings_in([rows.tolist(), rows.tolist()])) == 2
    batch = ECGFeatureExtractor(sampling_rate=100, bandpass=None, min_duration=0.1)([rows.tolist()] * 2, 100)
    assert len(batch["input_values"]) == 2
    with pytest.raises(ValueError, match="its leads differ in length: 1, 2 samples"):
        read_recording([[1.0, 2.0], [1.0]], 100)


@pytest.mark.parametrize(
    "collect",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        pd.Index,
        iter,
        lambda paths: Dataset.from_dict({"path": paths}),
        lambda paths: Dataset.from_dict({"path": paths})["path"],
        lambda paths: (path for path in paths),
    ],
    ids=["list", "tuple", "array", "Series", "Index", "iterator", "Dataset", "Column", "generator"],
)
def test_paths_in_any_collection_are_read(collect, path):
    extractor = ECGFeatureExtractor(sampling_rate=100)
    assert len(extractor(collect([path, path]))["input_values"]) == 2


@pytest.mark.parametrize(
    ("ecg", "message"),
    [
        (None, "got None"),
        (b"00012_lr", "got bytes"),
        (bytearray(3), "got bytearray"),
        (3.5, "got float"),
        (object(), "got object"),
        (io.BytesIO(b"abc"), "got"),
        (pa.table({"a": [1]}), "got Table: pass"),
        (torch.utils.data.DataLoader([1, 2]), "got DataLoader: pass its data set"),
        ({"I", "II"}, "a set has no order"),
        ({"signal": [[0.1, "0.2"]], "sampling_rate": 100}, "expected numbers.*texts"),
        (noise() > 0, "expected numbers.*bool"),
        (np.array([["a"]]), "expected numbers"),
        (noise() * 1j, "expected numbers.*complex"),
        ([None], "recording 0.*got None"),
        (["a path", None], "recording 1.*got None"),
    ],
)
def test_what_is_no_recording_is_refused_by_what_it_is(ecg, message, monkeypatch):
    extractor = ECGFeatureExtractor(sampling_rate=100)
    if isinstance(ecg, list) and ecg[0] == "a path":
        ecg = [noise(), None]
    with pytest.raises(TypeError, match=message):
        extractor(ecg, 100)


def test_half_precision_tensors_are_read(signal):
    rounded = torch.from_numpy(signal.copy()).bfloat16()
    assert_reads(rounded.float().numpy(), rounded, 100)


def test_records_of_wfdb_that_have_no_signal_in_one_unit_and_rate_are_refused(path):
    with pytest.raises(ValueError, match="physical=True and smooth_frames=True"):
        read_recording(wfdb.rdrecord(path, smooth_frames=False))
    with pytest.raises(ValueError, match="physical=True and smooth_frames=True"):
        read_recording(wfdb.rdrecord(path, physical=False))
    record = wfdb.rdrecord(path)
    record.units = None
    with pytest.raises(ValueError, match="the unit of I is not stated"):
        read_recording(record)
    record.fs = None
    with pytest.raises(ValueError, match="sampling rate is not stated"):
        read_recording(record, units="mV")
    assert read_recording(record, 100, units="mV").sampling_rate == 100.0
