"""Damaged WFDB records, thousands of them: read right or refused by name, in little time and memory.

Headers and signal files of small records in several formats are changed at random, from a seed. Where a signal file was
changed and a checksum of the header tells, the record must be refused.
"""

from __future__ import annotations

import shutil
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import wfdb

from mets_ecg.io import DigitalRecord, ECGRecord, read_wfdb, read_wfdb_digital

NUM_SAMPLES = 60
SECONDS, BYTES = 5, 40_000_000
BITS = {"16": 16, "212": 12, "80": 8, "24": 24, "310": 10, "516": 16, "524": 24}
NUMBERS = ("0", "-1", "7", "65536", "2147483648", "99999999", "1" * 16, "9" * 400, "9" * 5000, "1e308", "1e-308")


def checks(channel: np.ndarray) -> str:
    return f"0 {channel[0]} {int(channel.sum()) & 0xFFFF} 0"


def write_310(folder: Path) -> None:
    """A packed format, with two leads, a skew and several samples a frame; `wfdb` cannot write it."""
    words = np.random.default_rng(310).integers(0, 2**16, (NUM_SAMPLES, 2), dtype=np.uint16)
    (folder / "r310.dat").write_bytes(words.astype("<u2").tobytes())
    lines = ["r310.dat 310x2 200/mV 10 0", "r310.dat 310:1 200/mV 10 0"]
    (folder / "r310.hea").write_text("\n".join([f"r310 2 250 {NUM_SAMPLES}", *lines]) + "\n")
    decoded = wfdb.rdrecord(str(folder / "r310"), physical=False, smooth_frames=False, ignore_skew=True).e_d_signal
    assert all((channel != -512).all() for channel in decoded)  # no gaps, so that sums of what is read are checksums
    lines = [
        f"{line[:-2]} {checks(channel.astype(int))} {name}"
        for line, channel, name in zip(lines, decoded, ("I", "II"), strict=True)
    ]
    (folder / "r310.hea").write_text("\n".join([f"r310 2 250 {NUM_SAMPLES}", *lines]) + "\n")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> dict[str, Path]:
    """A folder for each record, whose name is the folder's."""
    root, rng = tmp_path_factory.mktemp("records"), np.random.default_rng(0)

    def write(folder: Path, name: str, form: str, leads=("I", "II", "V1")) -> None:
        half = 2 ** (min(BITS[form], 16) - 1)
        wfdb.wrsamp(
            name,
            fs=250,
            units=["mV"] * len(leads),
            sig_name=list(leads),
            d_signal=rng.integers(-half + 1, half, (NUM_SAMPLES, len(leads))),
            fmt=[form] * len(leads),
            adc_gain=[200.0] * len(leads),
            baseline=[3] * len(leads),
            comments=["Age: 56", "Sex: F", "69 M 1085 1629 x1"],
            write_dir=str(folder),
        )

    for form in ("16", "80", "24", "516", "524"):
        (root / f"r{form}").mkdir()
        write(root / f"r{form}", f"r{form}", form)
    (root / "r310").mkdir()
    write_310(root / "r310")
    (root / "r212").mkdir()
    data = rng.integers(0, 256, 3 * NUM_SAMPLES, dtype=np.uint8)
    (root / "r212" / "r212.dat").write_bytes(data.tobytes())
    first_line, lines = f"r212 2 250 {NUM_SAMPLES} 10:36:00 22/08/1994", ["r212.dat 212 200/mV 12 0"] * 2
    (root / "r212" / "r212.hea").write_text("\n".join([first_line.replace("10:36:00 22/08/1994", ""), *lines]) + "\n")
    decoded = wfdb.rdrecord(str(root / "r212" / "r212"), physical=False).d_signal.T.astype(int)
    lines = [
        f"{line[:-2]} {checks(channel)} {name}" for line, channel, name in zip(lines, decoded, ("I", "II"), strict=True)
    ]
    (root / "r212" / "r212.hea").write_text("\n".join([first_line, *lines]) + "\n")
    for name, layout in (("fixed", ()), ("variable", ("I", "II", "V1"))):
        (root / name).mkdir()
        write(root / name, "one", "16")
        write(root / name, "two", "80", leads=("V1", "II") if layout else ("V1", "I", "II"))
        lines = [f"one {NUM_SAMPLES}", "~ 10", f"two {NUM_SAMPLES}"]
        if layout:
            signals = [f"~ 0 200(3)/mV 16 0 0 0 0 {lead}" for lead in layout]
            (root / name / "layout.hea").write_text("\n".join(["layout 3 250 0", *signals]) + "\n")
            lines = ["layout 0", *lines]
        (root / name / f"{name}.hea").write_text(
            "\n".join([f"{name}/{len(lines)} 3 250 {2 * NUM_SAMPLES + 10}", *lines]) + "\n"
        )
    return {folder.name: folder for folder in sorted(root.iterdir())}


def mutate(content: bytes, is_header: bool, rng: np.random.Generator) -> bytes:
    """Change bytes, numbers, fields or lines, or cut the end off."""
    kind = rng.integers(8 if is_header else 4)
    at = int(rng.integers(len(content) + 1))
    if kind == 0:  # flip bits
        data = bytearray(content)
        for i in rng.integers(len(data), size=rng.integers(1, 4)):
            data[i] ^= 1 << int(rng.integers(8))
        return bytes(data)
    if kind == 1:
        return content[:at] + content[at + int(rng.integers(1, 9)) :]
    if kind == 2:
        return content[:at]
    if kind == 3:
        return content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:]
    if kind == 4:
        return content[:at] + str(rng.choice(NUMBERS)).encode() + content[at:]
    lines = [line.split(b" ") for line in content.split(b"\n")]
    i, j = rng.integers(len(lines), size=2)
    if kind == 5:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        k, m = rng.integers(len(lines[i])), rng.integers(len(lines[j]))
        if kind == 6:  # swap fields
            lines[i][k], lines[j][m] = lines[j][m], lines[i][k]
        else:
            lines[i][k] = str(rng.choice(NUMBERS)).encode()
    return b"\n".join(b" ".join(line) for line in lines)


def read_bounded(read, path: Path) -> ECGRecord | DigitalRecord | None:
    """Read in bounded time and memory; return None where the record was refused by name."""

    def stop(*_):
        raise AssertionError(f"reading took more than {SECONDS} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    tracemalloc.reset_peak()
    try:
        return read(path)
    except (ValueError, FileNotFoundError) as error:
        assert f"WFDB record {path.name!r}" in str(error), repr(error)[:500]
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        assert tracemalloc.get_traced_memory()[1] < BYTES


def sums(record: DigitalRecord) -> list[int]:
    return [int(row.sum(dtype=np.int64)) & 0xFFFF for row in record.signal]


def check_mutations(records: dict[str, Path], folder: Path, seeds: range) -> int:
    """Read records with one file changed in each; return how many were read all the same."""
    originals = {name: (read_wfdb(path / name), read_wfdb_digital(path / name)) for name, path in records.items()}
    num_read = 0
    tracemalloc.start()
    try:
        for seed in seeds:
            rng = np.random.default_rng(seed)
            name = list(records)[seed % len(records)]
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(records[name], folder)
            file = sorted(folder.iterdir())[rng.integers(len(list(folder.iterdir())))]
            before = file.read_bytes()
            after = mutate(before, file.suffix == ".hea", rng)
            file.write_bytes(after)
            for read, original in zip((read_wfdb, read_wfdb_digital), originals[name], strict=True):
                try:
                    record = read_bounded(read, folder / name)
                except Exception as error:
                    raise AssertionError(f"{name}, seed {seed}, {file.name}: {after[:2000]!r}") from error
                if record is None:
                    continue
                num_read += 1
                if after == before:
                    np.testing.assert_array_equal(record.signal, original.signal)
                elif file.suffix == ".dat":
                    # The header was not changed: lengths, names and checksums are what they were.
                    assert record.lead_names == original.lead_names and record.signal.shape == original.signal.shape
                    if isinstance(record, DigitalRecord):
                        assert sums(record) == sums(original), f"{name}, seed {seed}"
    finally:
        tracemalloc.stop()
    return num_read


def test_damaged_records_are_read_right_or_refused_by_name(records, tmp_path):
    assert 0 < check_mutations(records, tmp_path / "damaged", range(300)) < 300


@pytest.mark.slow
def test_thousands_of_damaged_records_are_read_right_or_refused_by_name(records, tmp_path):
    check_mutations(records, tmp_path / "damaged", range(1000, 6000))


@pytest.mark.parametrize("form", ["16", "212", "80", "24", "310", "516", "524"])
def test_each_changed_sample_is_found(records, tmp_path, form):
    """One bit of one sample changes the sum, but for the highest of three bytes: checksums have 16 bits."""
    name = f"r{form}"
    shutil.copytree(records[name], tmp_path / "damaged")
    file = tmp_path / "damaged" / f"{name}.dat"
    content = file.read_bytes()
    start = 86 if content.startswith(b"fLaC") else 0  # behind the FLAC stream's description
    for i in [i for i in range(start, len(content), 7) if form != "24" or i % 3 < 2]:
        data = bytearray(content)
        data[i] ^= 2
        file.write_bytes(bytes(data))
        for read in (read_wfdb, read_wfdb_digital):
            with pytest.raises(ValueError, match=f"WFDB record {name!r}"):
                read(tmp_path / "damaged" / name)
