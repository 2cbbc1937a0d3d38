"""Records of several segments: joined by lead name in one unit, or refused with the segment and what differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mets_ecg.io import INVALID_SAMPLE, read_wfdb, read_wfdb_digital

NAN = np.nan


def write_segment(folder: Path, name: str, leads: dict[str, list[int]], *, rate="500", gains=None, length=None) -> str:
    """Write a segment in format 16 with checksums; return its line in the header of the record."""
    samples = list(leads.values())
    length = len(samples[0]) if length is None else length
    lines = [f"{name} {len(leads)} {rate} {length}"]
    for lead, values in leads.items():
        gain = (gains or {}).get(lead, "1000/mV")
        lines.append(f"{name}.dat 16 {gain} 16 0 {values[0]} {sum(values) & 0xFFFF} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.dat").write_bytes(np.array(samples).T.astype("<i2").tobytes())
    return f"{name} {length}"


def write_layout(folder: Path, *leads: str, gain: str = "1000/mV", rate="500") -> str:
    lines = [f"layout {len(leads)} {rate} 0", *(f"~ 0 {gain} 16 0 0 0 0 {lead}" for lead in leads)]
    (folder / "layout.hea").write_text("\n".join(lines) + "\n")
    return "layout 0"


def write_record(folder: Path, *lines: str, num_leads: int = 2, rate="500", comments: tuple[str, ...] = ()) -> Path:
    length = sum(int(line.split()[1]) for line in lines)
    first_line = f"whole/{len(lines)} {num_leads} {rate} {length}" if rate else f"whole/{len(lines)} {num_leads}"
    (folder / "whole.hea").write_text("\n".join([first_line, *lines, *comments]) + "\n")
    return folder / "whole"


def refused(path: Path, match: str, kind: type[Exception] = ValueError, readers=(read_wfdb, read_wfdb_digital)) -> None:
    for read in readers:
        with pytest.raises(kind, match=f"WFDB record 'whole'.*{match}"):
            read(path)


def test_leads_in_another_order_are_not_swapped(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2], "II": [10, 20]})
    two = write_segment(tmp_path, "two", {"II": [30, 40, 50], "I": [3, 4, 5]})
    path = write_record(tmp_path, one, "~ 1", two, comments=("# Age: 56",))
    record = read_wfdb(path)
    np.testing.assert_allclose(record.signal * 1000, [[1, 2, NAN, 3, 4, 5], [10, 20, NAN, 30, 40, 50]], rtol=1e-6)
    assert (record.lead_names, record.units, record.sampling_rate) == (("I", "II"), ("mV", "mV"), 500.0)
    assert (record.record_id, record.age) == ("whole", 56.0)
    digital = read_wfdb_digital(path)
    no = INVALID_SAMPLE
    np.testing.assert_array_equal(digital.signal, [[1, 2, no, 3, 4, 5], [10, 20, no, 30, 40, 50]])


@pytest.mark.parametrize("names", [{"I": [3], "V1": [4]}, {"I": [3]}, {"I": [3], "II": [4], "V1": [5]}])
def test_other_leads_in_a_fixed_layout_are_refused_by_segment(tmp_path, names):
    one = write_segment(tmp_path, "one", {"I": [1, 2], "II": [10, 20]})
    path = write_record(tmp_path, one, write_segment(tmp_path, "two", names))
    refused(
        path, f"segment 'two' has the leads {', '.join(names)}, and the first segment I, II: '(V1|II)' is in one only"
    )


def test_names_that_are_not_unique_are_joined_only_in_the_same_order(tmp_path):
    lines = ["one 2 500 1", *["one.dat 16 1000/mV 16 0 0 0 0 ECG"] * 2]
    for name in ("one", "two"):
        (tmp_path / f"{name}.hea").write_text("\n".join(lines).replace("one", name) + "\n")
        (tmp_path / f"{name}.dat").write_bytes(b"\1\0\2\0")
    path = write_record(tmp_path, "one 1", "two 1")
    np.testing.assert_allclose(read_wfdb(path).signal, [[0.001, 0.001], [0.002, 0.002]])
    write_segment(tmp_path, "two", {"ECG": [1], "II": [2]})
    refused(path, "segment 'two' has the leads ECG, II, and the first segment ECG, ECG", readers=[read_wfdb])


def test_a_lead_that_the_layout_does_not_list_is_refused(tmp_path):
    layout = write_layout(tmp_path, "I", "II")
    path = write_record(tmp_path, layout, write_segment(tmp_path, "one", {"V5": [1], "I": [2]}))
    refused(path, "segment 'one' has the leads V5, I, and the layout I, II: 'V5' is in one only")


def test_a_lead_without_any_segment_is_a_gap(tmp_path):
    path = write_record(
        tmp_path, write_layout(tmp_path, "I", "II"), write_segment(tmp_path, "one", {"II": [1, 2]}), "~ 1"
    )
    np.testing.assert_allclose(read_wfdb(path).signal * 1000, [[NAN] * 3, [1, 2, NAN]], rtol=1e-6)
    digital = read_wfdb_digital(path)
    np.testing.assert_array_equal(digital.signal, [[INVALID_SAMPLE] * 3, [1, 2, INVALID_SAMPLE]])
    assert digital.gain.tolist() == [1000, 1000] and digital.units == ("mV", "mV")
    for gain, match in (("0", "no gain for lead 'I'"), ("1/mmHg", "lead 'I' is in 'mmHg'")):
        write_layout(tmp_path, "I", "II", gain=gain)
        one = write_segment(tmp_path, "one", {"II": [1, 2]}, gains={"II": gain})
        assert np.isnan(read_wfdb(write_record(tmp_path, "layout 0", one)).signal[0]).all()
        refused(write_record(tmp_path, "layout 0", one), match.replace("'I'", "'II?'"), readers=[read_wfdb_digital])


def test_segments_in_other_units_and_gains_are_converted(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]}, gains={"I": "1000/mV"})
    two = write_segment(tmp_path, "two", {"I": [3, 4]}, gains={"I": "1/uV"})
    three = write_segment(tmp_path, "three", {"I": [5, 6]}, gains={"I": "500(1)/mV"})
    path = write_record(tmp_path, one, two, three, num_leads=1)
    record = read_wfdb(path)
    assert record.units == ("mV",)
    np.testing.assert_allclose(record.signal * 1000, [[1, 2, 3, 4, 8, 10]], rtol=1e-6)
    refused(
        path,
        r"segment 'three': lead 'I' has a gain of 500 and a baseline of 1, and of 1000 and 0",
        readers=[read_wfdb_digital],
    )
    np.testing.assert_array_equal(
        read_wfdb_digital(write_record(tmp_path, one, two, num_leads=1)).signal, [[1, 2, 3, 4]]
    )
    layout = write_layout(tmp_path, "I", gain="1/V")
    record = read_wfdb(write_record(tmp_path, layout, one, two, num_leads=1))
    assert record.units == ("V",)
    np.testing.assert_allclose(record.signal * 1e6, [[1, 2, 3, 4]], rtol=1e-6)


@pytest.mark.parametrize(("gain", "unit"), [("1000/mmHg", "mmHg"), ("0", "no stated unit")])
def test_a_lead_in_two_units_is_refused(tmp_path, gain, unit):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    two = write_segment(tmp_path, "two", {"I": [3, 4]}, gains={"I": gain})
    refused(write_record(tmp_path, one, two, num_leads=1), f"segment 'two': lead 'I' is in {unit}, and in mV elsewhere")
    refused(write_record(tmp_path, two, one, num_leads=1), f"segment 'one': lead 'I' is in mV, and in {unit} elsewhere")


def test_segments_of_other_rates_are_refused(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    two = write_segment(tmp_path, "two", {"I": [3, 4]}, rate="250")
    refused(write_record(tmp_path, one, two, num_leads=1), "segment 'two' has 250 Hz, and the record 500 Hz")
    write_segment(tmp_path, "two", {"I": [3, 4]}, rate="500.0001")
    assert read_wfdb(write_record(tmp_path, one, two, num_leads=1)).sampling_rate == 500
    refused(
        write_record(tmp_path, write_layout(tmp_path, "I", rate="100"), one, num_leads=1), "segment 'layout' has 100 Hz"
    )
    header = (tmp_path / "two.hea").read_text().replace("two.dat 16", "two.dat 16x2").replace("500.0001 2", "500 1")
    (tmp_path / "two.hea").write_text(header)
    refused(
        write_record(tmp_path, one, "two 1", num_leads=1), "segment 'two': lead 'I' has 2 samples a frame, and 1 before"
    )


def test_a_rate_that_only_segments_state_is_the_record_s(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    assert read_wfdb(write_record(tmp_path, one, num_leads=1, rate="")).sampling_rate == 500
    (tmp_path / "one.hea").write_text("one 1\none.dat 16 1000/mV 16 0 1 3 0 I\n")
    path = write_record(tmp_path, one, num_leads=1, rate="")
    assert read_wfdb(path).sampling_rate is None
    refused(path, "does not state the sampling rate", readers=[read_wfdb_digital])


def test_slow_leads_of_a_segment_without_the_fast_one_are_at_the_rate_of_the_record(tmp_path):
    lines = ["one 2 100 1", "one.dat 16x2 1/mV 16 0 1 3 0 I", "one.dat 16 1/mV 16 0 7 7 0 RESP"]
    (tmp_path / "one.hea").write_text("\n".join(lines) + "\n")
    (tmp_path / "one.dat").write_bytes(np.array([1, 2, 7], "<i2").tobytes())
    two = write_segment(tmp_path, "two", {"RESP": [8, 9]}, rate="100", gains={"RESP": "1/mV"})
    path = write_record(tmp_path, write_layout(tmp_path, "I", "RESP", rate="100"), "one 1", two, rate="100")
    np.testing.assert_array_equal(read_wfdb(path).signal, [[1, 2, NAN, NAN, NAN, NAN], [7, 7, 8, 8, 9, 9]])
    assert read_wfdb(path).sampling_rate == 200


def test_a_damaged_sample_in_a_segment_is_found_by_its_checksum(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    two = write_segment(tmp_path, "two", {"I": [3, 4]})
    (tmp_path / "two.dat").write_bytes(np.array([3, 5], "<i2").tobytes())
    refused(
        write_record(tmp_path, one, two, num_leads=1), "segment 'two': the samples of lead 'I' add up to the checksum 8"
    )


def test_lengths_that_disagree_are_refused(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    refused(
        write_record(tmp_path, "one 3", num_leads=1), "segment 'one' has 2 samples, and 3 in the header of the record"
    )
    path = write_record(tmp_path, one, num_leads=1)
    path.with_suffix(".hea").write_text("whole/1 1 500 3\none 2\n")
    refused(path, "its segments have 2 samples together, and its first line says 3")
    path.with_suffix(".hea").write_text("whole/1 2 500 2\none 2\n")
    refused(path, "segment 'one' has 1 signals, and the header of the record promises 2")
    (tmp_path / "one.hea").write_text("one 1 500\none.dat 16 1000/mV 16 0 1 3 0 I\n")
    refused(
        write_record(tmp_path, "one 3", num_leads=1),
        "segment 'one' cannot be read .one.dat has 4 bytes of 6.: .*truncated",
    )


def test_a_segment_of_segments_is_refused_by_name(tmp_path):
    one = write_segment(tmp_path, "one", {"I": [1, 2]})
    (tmp_path / "inner.hea").write_text("inner/1 1 500 2\none 2\n")
    refused(write_record(tmp_path, one, "inner 2", num_leads=1), "segment 'inner' has segments itself")
    refused(write_record(tmp_path, "whole 2", num_leads=1), "segment 'whole' has segments itself")


@pytest.mark.parametrize(
    ("lines", "kind", "match"),
    [
        (["absent 2"], FileNotFoundError, r"its header names absent\.hea, which is not in"),
        (["../one 2"], ValueError, "it names '../one', which is not a file beside it"),
        ([f"{'x' * 300} 2"], FileNotFoundError, r"its header names x{300}\.hea"),
        (["one two 2"], ValueError, "a segment line is 'one two 2'"),
        (["~ 2"], ValueError, "it has no segments with samples"),
        (["one 0"], ValueError, "it has no segments with samples"),
        (["one 2", "layout 0"], ValueError, "segment 'layout'"),
    ],
)
def test_segment_lines_that_cannot_be_followed(tmp_path, lines, kind, match):
    write_segment(tmp_path, "one", {"I": [1, 2]})
    write_layout(tmp_path, "I")
    length = sum(int(line.split()[-1]) for line in lines)
    (tmp_path / "whole.hea").write_text("\n".join([f"whole/{len(lines)} 1 500 {length}", *lines]) + "\n")
    refused(tmp_path / "whole", match, kind)
