"""Give every recording of a folder of awkward files to `ECGFeatureExtractor`; print what happened as a Markdown table.

    python examples/benchmarks/odd_recordings.py ODD_FOLDER > examples/benchmarks/results/odd_recordings.md

Where the extractor refuses names that are not standard leads, the recording is given again with `lead_names=` that
leaves those channels out, as the error says. What was read is compared with the `wfdb` package, SciPy and the header's
own checksums, and a refusal's reason is looked up in the files.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import scipy.io
import wfdb

from mets_ecg import ECGFeatureExtractor
from mets_ecg.io import ECGRecord, read_wfdb
from mets_ecg.leads import canonical_lead

MAGIC = {b"<?xml": "XML", b"0       ": "EDF", b"DICM": "DICOM"}


def header_lines(header: Path) -> list[list[str]]:
    lines = [line.split() for line in header.read_bytes().decode("latin-1").splitlines()]
    return [line for line in lines if line and not line[0].startswith("#")]


def is_multi_segment(header: Path) -> bool:
    return "/" in header_lines(header)[0][0]


def named_files(header: Path) -> list[str]:
    suffix = ".hea" if is_multi_segment(header) else ""
    return list(dict.fromkeys(f"{line[0]}{suffix}" for line in header_lines(header)[1:] if line[0] != "~"))


def standard_or_none(name: str) -> str | None:
    try:
        return canonical_lead(name)
    except ValueError:
        return None


def outcome(path: Path) -> str:
    """Say what a user sees who gives this path, and then does what the error says about lead names."""
    extractor = ECGFeatureExtractor()
    try:
        extractor(path)
        return f"read: {describe(read_wfdb(path))}"
    except (ValueError, FileNotFoundError) as error:
        refusal = str(error)
    if "unknown lead" not in refusal:
        return f"refused: {refusal}"
    record = read_wfdb(path)
    names = [standard_or_none(name) for name in record.lead_names]
    left_out = ", ".join(name or "(no name)" for name, kept in zip(record.lead_names, names, strict=True) if not kept)
    if not any(names):
        return f"refused: {refusal}"
    try:
        extractor(path, lead_names=names)
    except ValueError as error:
        return f"refused, also without {left_out}: {error}"
    return f"read without {left_out}: {describe(record)}"


def describe(record: ECGRecord) -> str:
    leads, samples = record.signal.shape
    units = ", ".join(dict.fromkeys(record.units))
    return f"{leads} x {samples} at {record.sampling_rate:g} Hz, {' '.join(record.lead_names)}, {units}"


def check(path: Path) -> str:
    """Name the independent evidence for a reading or for a refusal; an assertion fails where there is none."""
    if path.suffix != ".hea":
        content = path.read_bytes()
        kinds = [kind for magic, kind in MAGIC.items() if magic in content[:300]]
        if int.from_bytes(content[2:6], "little") == len(
            content
        ):  # an SCP-ECG record begins with its checksum and length
            kinds.append("SCP-ECG")
        return f"its first bytes: {kinds[0]}" if kinds else "there is no header of this name"
    try:
        record = read_wfdb(path)
    except (ValueError, FileNotFoundError) as error:
        return check_refusal(path, str(error))
    if is_multi_segment(path):
        return check_segments(path, record)
    evidence = []
    lines = header_lines(path)
    if lines[1][0].endswith(".mat"):
        samples = scipy.io.loadmat(path.parent / lines[1][0])["val"].astype(int)
        gain, zero, checksum = ([line[i] for line in lines[1:]] for i in (2, 4, 6))
        expected = (samples - np.array(zero, dtype=int)[:, None]) / [[float(re.split(r"[(/]", g)[0])] for g in gain]
        np.testing.assert_allclose(record.signal, expected, rtol=1e-6)
        evidence.append("scipy.io.loadmat")
        if any(map(int, checksum)):
            assert not ((samples.sum(axis=1) - np.array(checksum, dtype=int)) % 65536).any()
            evidence.append("its checksums")
    if lines[0][0].endswith(".mat"):
        return f"{', '.join(evidence)}; wfdb refuses the name {lines[0][0]}"
    stem = str(path.with_suffix(""))
    expected = wfdb.rdrecord(stem, smooth_frames=False)
    most = max(expected.samps_per_frame)
    for row, channel, per_frame in zip(record.signal, expected.e_p_signal, expected.samps_per_frame, strict=True):
        np.testing.assert_allclose(row, np.repeat(channel, most // per_frame), rtol=1e-6)
    assert record.lead_names == tuple(expected.sig_name) and record.sampling_rate == expected.fs * most
    evidence.append("wfdb")
    if any(expected.checksum) and "its checksums" not in evidence:
        raw = wfdb.rdrecord(stem, physical=False, smooth_frames=most == 1, ignore_skew=True)
        sums = raw.calc_checksum(expanded=most > 1)
        assert all((a - b) % 65536 == 0 for a, b in zip(sums, expected.checksum, strict=True))
        evidence.append("its checksums")
    return ", ".join(evidence)


def check_segments(path: Path, record: ECGRecord) -> str:
    start = 0
    for name, length in (line[:2] for line in header_lines(path)[1:]):
        if name == "~" or length == "0":
            stop = start + int(length)
            assert name != "~" or np.isnan(record.signal[:, start:stop]).all()
        else:
            segment = read_wfdb(path.parent / name)
            stop = start + segment.signal.shape[1]
            for lead, row in zip(record.lead_names, record.signal, strict=True):
                nothing = np.full(stop - start, np.nan)
                expected = segment.signal[segment.lead_names.index(lead)] if lead in segment.lead_names else nothing
                np.testing.assert_array_equal(row[start:stop], expected)
        start = stop
    assert start == record.signal.shape[1]
    return "its segments, each read by itself"


def check_refusal(path: Path, refusal: str) -> str:
    if "put that file beside" in refusal:
        missing = [name for name in named_files(path) if not (path.parent / name).exists()]
        assert missing
        return f"{missing[0]} is not in the folder"
    if "begin with" in refusal:
        raw = wfdb.rdrecord(str(path.with_suffix("")), physical=False, smooth_frames=False, ignore_skew=True)
        wrong = [
            f"{name}: wfdb reads {samples[0]} first, the header says {stated}"
            for name, samples, stated in zip(raw.sig_name, raw.e_d_signal, raw.init_value, strict=True)
            if samples[0] != stated
        ]
        return wrong[0]
    if "ASCII" in refusal:
        assert not path.read_bytes().isascii()
        return "the bytes of the header"
    if "only lays out" in refusal:
        assert {line[0] for line in header_lines(path)[1:]} == {"~"}
        return "the header names no signal file"
    if "promises" in refusal:
        line = header_lines(path)[0]
        return f"the header's first line: {line[1]} leads of {line[3]} samples"
    raise AssertionError(f"{path}: nothing speaks for the refusal {refusal!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds the recordings, at any depth")
    folder = parser.parse_args().folder

    headers = sorted(folder.rglob("*.hea"))
    data = {header.parent / name for header in headers for name in named_files(header)}
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".hea" and path not in data)
    rows = []
    for path in headers + others:
        text = outcome(path).replace(f"{folder}/", "").replace(str(folder), "ODD_FOLDER").replace("|", "\\|")
        rows.append(f"| {path.relative_to(folder)} | {text} | {check(path)} |")
    as_is, in_part = (sum(f" | {start}" in row for row in rows) for start in ("read:", "read without"))
    print("# Odd recordings: read right or refused clearly\n")
    print("    python examples/benchmarks/odd_recordings.py ODD_FOLDER\n")
    print(
        f"{len(rows)} recordings and stray files: {as_is} read, {in_part} read once `lead_names=` leaves out channels "
        f"that are not standard leads, {len(rows) - as_is - in_part} refused.\n"
    )
    print("| file | what `ECGFeatureExtractor()` does with its path | checked by |\n| --- | --- | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
