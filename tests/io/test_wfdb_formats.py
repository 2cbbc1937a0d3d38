"""Every sample format, against the `wfdb` package on files that it and this test write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import wfdb

from mets_ecg.io import read_wfdb, read_wfdb_digital

BITS = {8: 8, 16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10, 508: 8, 516: 16, 524: 24}
FLAC = (508, 516, 524)


def checks(channel: np.ndarray) -> str:
    return f"0 {channel[0]} {int(channel.sum()) & 0xFFFF} 0"


def compare(path: Path) -> None:
    """Compare values and gaps with wfdb's; the header's checksums are compared by `read_wfdb`."""
    expected = wfdb.rdrecord(str(path), smooth_frames=False, return_res=64)
    record = read_wfdb(path)
    most = max(expected.samps_per_frame)
    for row, channel, per_frame in zip(record.signal, expected.e_p_signal, expected.samps_per_frame, strict=True):
        np.testing.assert_array_equal(row, np.repeat(channel.astype(np.float32), most // per_frame))
    assert record.lead_names == tuple(name or "" for name in expected.sig_name)


@pytest.mark.parametrize("form", [16, 24, 32, 80, 508, 516, 524])
@pytest.mark.parametrize("num_samples", [1, 2, 3, 4, 100, 101])
def test_files_that_wfdb_writes(tmp_path, form, num_samples):
    rng = np.random.default_rng(form + num_samples)
    half = 2 ** (BITS[form] - 1)
    samples = rng.integers(-half + 1, half, size=(num_samples, 2))
    samples[rng.random(samples.shape) < 0.1] = -half  # not recorded
    wfdb.wrsamp(
        "one",
        fs=250,
        units=["mV", "uV"],
        sig_name=["I", "II"],
        d_signal=samples,
        fmt=[str(form)] * 2,
        adc_gain=[200.0, 3.0],
        baseline=[0, 5],
        write_dir=str(tmp_path),
    )
    compare(tmp_path / "one")
    np.testing.assert_array_equal(np.isnan(read_wfdb(tmp_path / "one").signal), np.equal(samples.T, -half))


@pytest.mark.parametrize("form", [16, 24, 32, 61, 80, 160, 212, 310, 311])
@pytest.mark.parametrize("num_bytes", range(12, 25))
def test_any_bytes_with_any_last_block(tmp_path, form, num_bytes):
    data = np.random.default_rng(num_bytes).integers(0, 256, num_bytes, dtype=np.uint8)
    if form == 311:
        data[3::4] &= 0x3F  # bits that belong to no sample; wfdb 4.3.1 takes one of them for a sign
    (tmp_path / "one.dat").write_bytes(data.tobytes())
    block, size = {24: (1, 3), 32: (1, 4), 80: (1, 1), 212: (2, 3), 310: (3, 4), 311: (3, 4)}.get(form, (1, 2))
    partial = {310: {2: 1, 3: 1}, 311: {2: 1, 3: 2}, 212: {2: 1}}.get(form, {})
    num_samples = num_bytes // size * block + partial.get(num_bytes % size, 0)
    (tmp_path / "one.hea").write_text(f"one 1 250 {num_samples}\none.dat {form} 200/mV 12 0\n")
    if num_bytes % size and form not in (212, 310, 311):
        with pytest.raises(ValueError, match="the header disagrees with the data"):
            read_wfdb(tmp_path / "one")
        return
    compare(tmp_path / "one")
    (tmp_path / "one.hea").write_text(f"one 1 250 {num_samples + 1}\none.dat {form} 200/mV 12 0\n")
    with pytest.raises(ValueError, match="the file is truncated"):
        read_wfdb(tmp_path / "one")
    (tmp_path / "one.hea").write_text(f"one 1 250\none.dat {form} 200/mV 12 0\n")
    assert read_wfdb(tmp_path / "one").signal.shape == (1, num_samples)


def test_bits_of_format_311_that_belong_to_no_sample_are_ignored(tmp_path):
    (tmp_path / "one.dat").write_bytes(np.array([0xC0000000 | 3 << 20 | 2 << 10 | 1], "<u4").tobytes())
    (tmp_path / "one.hea").write_text("one 1 250 3\none.dat 311 1/mV 10 0 1 6 0 I\n")
    np.testing.assert_array_equal(read_wfdb(tmp_path / "one").signal, [[1, 2, 3]])


@pytest.mark.parametrize("form", [8, 16, 24, 32, 61, 80, 160, 212, 310, 311])
@pytest.mark.parametrize("skew", [0, 2])
def test_several_samples_a_frame_with_and_without_skew(tmp_path, form, skew):
    num_frames, per_frame = 9, (4, 1, 2)
    bits_of_a_frame = {212: 12, 310: 32 / 3, 311: 32 / 3}.get(form, BITS[form]) * sum(per_frame)
    rng = np.random.default_rng(form)
    data = rng.integers(0, 256, int(np.ceil(num_frames * bits_of_a_frame / 8)), dtype=np.uint8)
    if form == 311:
        data[3::4] &= 0x3F
    if form == 8:
        data[: sum(per_frame)] = 0  # the first differences, to the initial values in the header
    (tmp_path / "one.dat").write_bytes(data.tobytes())
    rest = "200/mV 12 0 -5" if form == 8 else "200/mV 12 0"
    names = (" 0 0 I", " 0 0 II", " 0 0 III") if form == 8 else ("", "", "")
    lines = [
        f"one.dat {form}x{n}{f':{skew}' if n == 2 else ''} {rest}{name}"
        for n, name in zip(per_frame, names, strict=True)
    ]
    (tmp_path / "one.hea").write_text("\n".join([f"one 3 250 {num_frames}", *lines]) + "\n")
    if skew:  # wfdb 4.3.1 marks too few samples as missing where a frame has several
        signal = read_wfdb(tmp_path / "one").signal
        assert np.isnan(signal[2, -8:]).all() and not np.isnan(signal[2, :-8]).all()
        return
    compare(tmp_path / "one")


def test_format_8_adds_differences_to_the_initial_value(tmp_path):
    differences = np.array([[0, 0], [1, -128], [127, 5]], dtype=np.int8)
    (tmp_path / "one.dat").write_bytes(differences.tobytes())
    lines = ["one.dat 8 100/mV 12 0 1000 3129 0 I", f"one.dat 8 100/mV 12 0 -7 {-272 & 0xFFFF} 0 II"]
    (tmp_path / "one.hea").write_text("\n".join(["one 2 250 3", *lines]) + "\n")
    np.testing.assert_array_equal(read_wfdb_digital(tmp_path / "one").signal, [[1000, 1001, 1128], [-7, -135, -130]])
    compare(tmp_path / "one")


def write_flac(folder: Path, form: int, samples: np.ndarray, *, per_frame: int = 1, offset: int = 0, first_line=None):
    """Write `(samples, channels)` as record "one" with the signal file one.raw."""
    bits = BITS[form]
    lead_in = np.zeros((offset, samples.shape[1]), dtype=np.int64)
    shifted = (np.concatenate([lead_in, samples]) << 32 - bits).astype(np.int32)
    kind = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
    soundfile.write(folder / "one.flac", shifted, 8000, subtype=kind, format="FLAC")
    (folder / "one.flac").rename(folder / "one.raw")
    where = f"{form}x{per_frame}{f'+{offset}' if offset else ''}"
    lines = [f"one.raw {where} 200/mV 12 {checks(channel)} V{i + 1}" for i, channel in enumerate(samples.T)]
    first_line = first_line or f"one {samples.shape[1]} 250 {len(samples) // per_frame}"
    (folder / "one.hea").write_text("\n".join([first_line, *lines]) + "\n")
    return folder / "one"


@pytest.mark.parametrize("form", FLAC)
@pytest.mark.parametrize(("per_frame", "offset"), [(1, 0), (3, 0), (1, 5), (3, 5)])
def test_flac_with_offset_and_several_samples_a_frame(tmp_path, form, per_frame, offset):
    half = 2 ** (BITS[form] - 1)
    samples = np.random.default_rng(form).integers(-half, half, size=(300, 3))
    path = write_flac(tmp_path, form, samples, per_frame=per_frame, offset=offset)
    expected = np.where(np.equal(samples.T, -half), np.nan, samples.T / 200).astype(np.float32)
    record = read_wfdb(path)
    np.testing.assert_array_equal(record.signal, expected)
    assert record.sampling_rate == 250 * per_frame


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "one.raw (cannot be decoded|ends after)"),
        (lambda path: path.write_bytes(b"RIFF" + path.read_bytes()[4:]), "one.raw is not a FLAC file"),
        (lambda path: path.write_bytes(b"fLaC"), "one.raw is not a FLAC file"),
        (
            lambda path: write_flac(path.parent, 516, np.ones((300, 2), int), first_line="one 2 250 301"),
            "has 300 samples",
        ),
        (
            lambda path: write_flac(path.parent, 516, np.ones((300, 2), int), first_line="one 2 250 299"),
            "has 300 samples",
        ),
        (lambda path: change(path, "516", "508"), "one.raw has 16 bits a sample, more than format 508"),
        (lambda path: change(path, "V1\none.raw 516x1", "V1\none.raw 516x2"), "differ in samples per frame"),
        (lambda path: change(path, "one.raw", "two.raw", 1), "two.raw has 2 channels where the header has 1"),
    ],
)
def test_a_flac_file_that_is_damaged_or_not_as_the_header_says(tmp_path, damage, match):
    path = write_flac(tmp_path, 516, np.random.default_rng(0).integers(-999, 999, (300, 2)))
    (tmp_path / "two.raw").write_bytes((tmp_path / "one.raw").read_bytes())
    damage(tmp_path / "one.raw")
    for read in (read_wfdb, read_wfdb_digital):
        with pytest.raises(ValueError, match=rf"WFDB record 'one' cannot be read \(.*{match}.*; download .*raw again"):
            read(path)


def change(path: Path, old: str, new: str, count: int = -1) -> None:
    header = path.with_suffix(".hea")
    header.write_text(header.read_text().replace(old, new, count))


def test_reading_does_not_load_the_wfdb_package(tmp_path):
    import subprocess
    import sys

    path = write_flac(tmp_path, 516, np.ones((300, 2), dtype=int))
    code = f"import sys; from mets_ecg.io import read_wfdb; read_wfdb({str(path)!r}); assert 'wfdb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
