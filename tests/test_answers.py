"""What is printed of an answer: text, CSV and JSON, of a recording or over its time."""

import csv
import io
import json

from mets_ecg.answers import CSVWriter, JSONWriter, TextWriter, over_time

LABELS = ["atrial fibrillation", "normal ecg"]


def window(start, stop, *, num_qrs=10, masked=None, derived=(), scores=(0.75, 0.25)):
    ranked = [{"label": label, "score": score} for label, score in zip(LABELS, scores, strict=True)]
    return {"start": start, "stop": stop, "num_qrs": num_qrs, "masked": masked or {}, "derived": list(derived),
            "recorded": ["II"], "scores": ranked}  # fmt: skip


def make_answer(*windows, **fields):
    answer = {"file": "a.npy", "scores": windows[0]["scores"], "windows": list(windows), "sampling_rate": 500.0}
    return answer | {"duration": 30.0, "qrs_found": True, "remarks": ["assumed: units mV"]} | fields


def test_over_time_parts_that_were_left_out_stand_in_their_place():
    rows = over_time({"windows": [window(0, 10), window(20, 30, num_qrs=0)], "duration": 60.0})
    assert [(start, remark) for start, _, remark in rows] == [
        (0, ""), (10, "left out"), (20, "no beat"), (30, "left out"),
    ]  # fmt: skip
    assert rows[1][1] == {} and rows[2][1] == {"atrial fibrillation": 0.75, "normal ecg": 0.25}


def write(writer, *answers, capsys) -> str:
    for answer in answers:
        writer(answer)
    return capsys.readouterr().out


def test_text_is_as_wide_as_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    long = make_answer(
        window(0, 10), window(10, 20), duration=20.0, remarks=["assumed: lead_names " + "I, II, III, " * 8]
    )
    text = write(TextWriter(windows=True), long, capsys=capsys)
    lines = text.splitlines()
    assert lines[0] == "a.npy: 20.0 s at 500 Hz, read 0.0 to 20.0 s by 2 windows"
    assert lines[1:3] == ["    1  0.75  atrial fibrillation", "    2  0.25  normal ecg"]
    assert lines[-3:] == ["    from s     1     2", "         0  0.75  0.25", "        10  0.75  0.25"]
    assert all(len(line) <= 60 for line in lines)
    assert write(TextWriter(windows=False), {"file": "b", "error": "bad"}, capsys=capsys) == ""


def test_a_table_over_time_says_which_labels_it_leaves_out(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    many = [{"label": f"label {i}", "score": 0.1} for i in range(12)]
    text = write(TextWriter(windows=True), make_answer(window(0, 10) | {"scores": many}), capsys=capsys)
    assert "  over time the first 5; all of them by --csv, --json or in a wider terminal" in text.splitlines()


def test_csv_has_a_line_for_each_recording_and_its_error(capsys):
    answer = make_answer(window(0, 10))
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
    assert read == answer
