"""What is said of an answer, and its forms: one recording's details in, remarks, text, CSV and JSON out."""

import csv
import io
import json

import pytest

from mets_ecg.answers import CSVWriter, JSONWriter, TextWriter, answer_remarks, over_time, recording_remarks

LABELS = ["atrial fibrillation", "normal ecg"]


def window(start, stop, *, num_qrs=10, masked=None, derived=(), scores=(0.75, 0.25)):
    ranked = [{"label": label, "score": score} for label, score in zip(LABELS, scores, strict=True)]
    return {"start": start, "stop": stop, "num_qrs": num_qrs, "masked": masked or {}, "derived": list(derived),
            "recorded": ["II"], "scores": ranked}  # fmt: skip


def make_answer(*windows, **fields):
    answer = {"file": "a.npy", "scores": windows[0]["scores"], "windows": list(windows), "sampling_rate": 500.0}
    answer |= {"duration": 30.0, "qrs_found": True, "limb_lead_error": 0.01, "assumed": {}, "dropped_channels": []}
    return answer | fields


def remarks(answer, **options):
    return answer_remarks(answer, **({"max_duration": 10.0, "on_its_own": False} | options))


def test_of_a_plain_recording_nothing_is_said():
    assert remarks(make_answer(window(0, 10))) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (make_answer(window(0, 10, num_qrs=0)), "no heart beat was found: the scores mean nothing"),
        (
            make_answer(window(0, 10), window(10, 20, num_qrs=0)),
            "no heart beat was found in 1 of 2 windows, whose scores mean nothing",
        ),
        (make_answer(window(0, 10), limb_lead_error=0.4), "the limb leads do not fit each other: are they what they"),
        (
            make_answer(window(0, 10, masked={"V1": "absent"}), window(10, 20, masked={"V2": "absent", "V3": "gaps"})),
            "masked: absent V1, V2; gaps V3",
        ),
        (make_answer(window(0, 10, derived=["III", "aVR"])), "derived: III, aVR"),
        (make_answer(window(0, 1.2)), "short: 1.2 s were read, and the model takes 10 s"),
        (make_answer(window(0, 10), window(20, 30)), "not usable, and left out: 10.0 s between the windows"),
        (make_answer(window(0, 10), assumed={"units": "mV"}), "assumed: units mV"),
        (make_answer(window(0, 10), dropped_channels=["Resp"]), "left out: Resp"),
    ],
)
def test_what_an_answer_rests_on_is_said(answer, said):
    (remark,) = remarks(answer)
    assert remark.startswith(said)


def test_scores_of_labels_on_their_own_have_no_threshold():
    (remark,) = remarks(make_answer(window(0, 10)), on_its_own=True)
    assert remark == "each label was judged on its own: such scores rank recordings, and have no threshold"
    assert remarks(make_answer(window(0, 1.2)), max_duration=None) == []


def test_a_recording_has_remarks_without_a_model():
    assert recording_remarks({"units": "mV"}, ["EMG"]) == ["left out: EMG", "assumed: units mV"]


def test_over_time_parts_that_were_left_out_stand_in_their_place():
    rows = list(over_time([window(0, 10), window(20, 30, num_qrs=0)]))
    assert [(start, remark) for start, _, remark in rows] == [(0, ""), (10, "left out"), (20, "no beat")]
    assert rows[1][1] == {} and rows[2][1] == {"atrial fibrillation": 0.75, "normal ecg": 0.25}


def write(writer, *answers, capsys) -> str:
    for answer in answers:
        writer(answer | {"remarks": remarks(answer) if "error" not in answer else []})
    return capsys.readouterr().out


def test_text_is_as_wide_as_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    long = make_answer(window(0, 10, masked={f"V{i}": "absent" for i in range(1, 7)}), window(10, 20), assumed={
        "lead_names": "I, II, III, aVR, aVL, aVF"})  # fmt: skip
    text = write(TextWriter(windows=True), long, capsys=capsys)
    lines = text.splitlines()
    assert lines[0] == "a.npy: 30.0 s at 500 Hz, read 0.0 to 20.0 s by 2 windows"
    assert lines[1:3] == ["    1  0.75  atrial fibrillation", "    2  0.25  normal ecg"]
    assert lines[-3:] == ["    from s     1     2", "         0  0.75  0.25", "        10  0.75  0.25"]
    assert all(len(line) <= 60 for line in lines)
    assert write(TextWriter(windows=False), {"file": "b", "error": "bad"}, capsys=capsys) == ""


def test_csv_has_a_line_for_each_recording_and_its_error(capsys):
    answer = make_answer(window(0, 10), assumed={"units": "mV"})
    text = write(CSVWriter(LABELS[::-1], windows=False), answer, {"file": "b", "error": "bad"}, capsys=capsys)
    first, second = csv.DictReader(io.StringIO(text))
    assert list(first) == ["file", "normal ecg", "atrial fibrillation", "duration", "qrs_found", "remarks", "error"]
    assert (first["normal ecg"], first["duration"], first["remarks"]) == ("0.2500", "30", "assumed: units mV")
    assert (second["file"], second["normal ecg"], second["error"]) == ("b", "", "bad")


def test_csv_over_time_has_a_line_for_each_window(capsys):
    answer = make_answer(window(0, 10), window(20, 30, num_qrs=0, scores=(0.5, 0.5)))
    rows = list(csv.DictReader(io.StringIO(write(CSVWriter(LABELS, windows=True), answer, capsys=capsys))))
    assert [(row["start"], row["normal ecg"], row["remark"]) for row in rows] == [
        ("0", "0.2500", ""), ("10", "", "left out"), ("20", "0.5000", "no beat"),
    ]  # fmt: skip


def test_json_has_all(capsys):
    answer = make_answer(window(0, 1.2))
    read = json.loads(write(JSONWriter(), answer, capsys=capsys))
    assert read["windows"] == answer["windows"] and read["remarks"][0].startswith("short")
