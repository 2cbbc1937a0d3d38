"""The Challenges' headers: which records a folder lists, and what their comments tell."""

from __future__ import annotations

import numpy as np
import pytest

from mets_ecg.data.building.challenge_headers import list_wfdb, read_comments, read_twelve_leads
from mets_ecg.io import DigitalRecord


def record_of(*comments: str) -> DigitalRecord:
    return DigitalRecord(
        signal=np.zeros((1, 5), dtype=np.int16),
        gain=np.ones(1),
        baseline=np.zeros(1, dtype=np.int32),
        sampling_rate=500.0,
        lead_names=("I",),
        record_id="A0001",
        comments=comments,
        units=("mV",),
    )


def test_comments_are_read_with_and_without_a_blank_and_codes_once():
    codes, fields = read_comments(record_of(" Age: 74", "Sex: Male", "Dx: 59118001, 164889003,59118001"), {})
    assert codes == ["59118001", "164889003"]
    assert fields == {"age": 74.0, "age_over_89": False, "sex": "male"}


@pytest.mark.parametrize("line", ["Dx:", "Dx: Unknown", "Dx: NaN", "Rx: 59118001"])
def test_an_empty_dx_is_unknown_and_what_is_not_told_is_null(line):
    assert read_comments(record_of(line), {}) == (None, {"age": None, "age_over_89": None, "sex": None})


def test_words_of_dx_are_codes_or_abbreviations_or_refused():
    abbreviations = {"RBBB": "59118001", "AF": "164889003"}
    assert read_comments(record_of("Dx: AF,RBBB, 59118001"), abbreviations)[0] == ["164889003", "59118001"]
    for word in ("RBB", "rbbb", "164889003 59118001", "-1"):
        with pytest.raises(ValueError, match=f"record A0001: its header has '{word}' in 'Dx', which is neither"):
            read_comments(record_of(f"Dx: AF,{word}"), abbreviations)


def test_records_are_listed_by_name_through_folders_whether_whole_or_not(tmp_path):
    for name in ("g2/B.hea", "g2/B.mat", "g1/C.hea", "g1/A.dat", "g1/A.hea", "index.html"):
        (tmp_path / "base" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "base" / name).write_text("")
    (tmp_path / "base" / "g1" / "RECORDS").write_text("C\nD\nelsewhere/E\n")
    listed = list_wfdb(tmp_path, tmp_path / "base", split="full")
    assert [(one.record_id, one.files) for one in listed] == [
        ("A", ("base/g1/A.hea", "base/g1/A.dat")),
        ("B", ("base/g2/B.hea", "base/g2/B.mat")),
        ("C", ("base/g1/C.hea", "base/g1/C.mat")),
        ("D", ("base/g1/D.hea", "base/g1/D.mat")),
    ]
    assert {one.split for one in listed} == {"full"}


def test_files_that_macos_keeps_beside_others_are_not_recordings(tmp_path):
    for name in ("A.hea", "A.mat", "._A.hea", "._A.mat", "._RECORDS"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert [one.record_id for one in list_wfdb(tmp_path, tmp_path, "full")] == ["A"]


def test_a_signal_file_of_another_name_belongs_to_the_header_that_names_it(tmp_path):
    (tmp_path / "S1.hea").write_text("S1 1 500 5\nJS1.mat 16+24 1000/mV 16 0 0 0 0 I\n")
    (tmp_path / "JS1.mat").write_text("")
    (listed,) = list_wfdb(tmp_path, tmp_path, "full")
    assert (listed.record_id, listed.files) == ("S1", ("S1.hea", "JS1.mat"))


@pytest.mark.parametrize(
    ("leads", "message"), [(("I", "RESP"), "unknown lead 'RESP'.*mend the names"), (("V1", "v1"), "duplicate lead V1")]
)
def test_leads_that_are_unknown_or_there_twice_are_refused(tmp_path, leads, message):
    np.arange(10, dtype="<i2").tofile(tmp_path / "A.dat")
    lines = [f"A.dat 16 1000/mV 16 0 {i} {sum(range(i, 10, 2))} 0 {lead}" for i, lead in enumerate(leads)]
    (tmp_path / "A.hea").write_text("\n".join(["A 2 500 5", *lines]) + "\n")
    with pytest.raises(ValueError, match=f"record A: {message}"):
        read_twelve_leads(tmp_path / "A.hea")
