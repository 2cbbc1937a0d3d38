"""`mets-ecg predict`: one recording, many, what is said of each, and what is refused."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import wfdb
from matplotlib.figure import Figure
from transformers import pipeline

import mets_ecg_cli

LABELS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


def predict(*flags) -> int:
    return mets_ecg_cli.main(["predict", *map(str, flags)])


@pytest.fixture
def folder(ptb_xl_source, tmp_path):
    """A recording in six forms, and one that cannot be read."""
    own = tmp_path / "mine"
    own.mkdir()
    for suffix in (".hea", ".dat"):
        shutil.copy(ptb_xl_source / "records100" / "00000" / f"00012_lr{suffix}", own / f"00012_lr{suffix}")
    record = wfdb.rdrecord(str(own / "00012_lr"))
    signal = record.p_signal.T
    np.save(own / "a.npy", signal.astype(np.float32))
    np.savez(own / "b.npz", ecg=signal, fs=100)
    np.savetxt(own / "c.csv", np.column_stack([np.arange(1000) / 100, signal.T]), delimiter=",", fmt="%.4f",
               header=",".join(["time", *record.sig_name]), comments="")  # fmt: skip
    np.savetxt(own / "d.tsv", signal.T * 1000, delimiter="\t", fmt="%.1f",
               header="\t".join(f"{name} (uV)" for name in record.sig_name), comments="")  # fmt: skip
    return own


@pytest.fixture
def expected(folder, tiny_checkpoint):
    answers = pipeline("zero-shot-classification", model=str(tiny_checkpoint))(str(folder / "00012_lr"), LABELS)
    return {answer["label"]: answer["score"] for answer in answers}


def test_a_recording_is_asked_and_its_answer_printed_best_first(folder, tiny_checkpoint, expected, capsys):
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", *LABELS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder / '00012_lr'}: 10.0 s at 100 Hz, read 1.5 to 8.5 s"  # a window of 7 s
    best = sorted(expected, key=expected.get, reverse=True)
    assert lines[1:4] == [f"  {expected[label]:.2f}  {label}" for label in best]
    assert all(len(line) <= 80 or line is lines[0] for line in lines)


def test_one_recording_in_several_formats_has_the_same_scores(folder, tiny_checkpoint, expected, capsys):
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100, "--json"]
    assert predict(folder, *flags) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["file"].rpartition("/")[2] for answer in answers] == [
        "00012_lr.hea",
        "a.npy",
        "b.npz",
        "c.csv",
        "d.tsv",
    ]
    for answer in answers:
        scores = {one["label"]: one["score"] for one in answer["scores"]}
        assert scores == pytest.approx(expected, abs=1e-3)
    assumed = {answer["file"].rpartition("/")[2]: sorted(answer["assumed"]) for answer in answers}
    assert assumed == {"00012_lr.hea": [], "a.npy": ["lead_names", "units"], "b.npz": ["lead_names", "units"],
                       "c.csv": ["units"], "d.tsv": []}  # fmt: skip


def test_a_bad_file_is_reported_and_passed_over(folder, tiny_checkpoint, capsys):
    (folder / "b.npz").write_bytes(b"PK\x03\x04 no archive")
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100]
    assert predict(folder, *flags, "--csv") == 1
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert list(rows[0]) == ["file", *LABELS, "duration", "qrs_found", "remarks", "error"]  # as they were asked
    assert [row["file"].rpartition("/")[2] for row in rows] == ["00012_lr.hea", "a.npy", "b.npz", "c.csv", "d.tsv"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False]
    assert all(0 <= float(row[label]) <= 1 for row in rows if not row["error"] for label in LABELS)
    assert rows[3]["remarks"] == "assumed: units mV" and rows[3]["duration"] == "10"
    assert f"{folder / 'b.npz'} is damaged" in said.err
    assert said.err.rstrip().endswith("mets-ecg predict: 1 of 5 recordings failed, as said above")
    assert predict(folder / "b.npz", *flags) == 1
    assert "b.npz is damaged" in capsys.readouterr().err


def test_what_an_answer_stands_on_is_said(tiny_checkpoint, tmp_path, capsys):
    signal = np.random.default_rng(0).normal(size=(12, 5000)).astype(np.float32)
    signal[6] = 0.0
    np.save(tmp_path / "noise.npy", signal)
    assert (
        predict(tmp_path / "noise.npy", "--model", tiny_checkpoint, "--labels", "a", "b", "--sampling-rate", 500) == 0
    )
    out = capsys.readouterr().out
    assert "  no heart beat was found: the scores mean nothing\n" in out
    assert "  masked: constant V1\n" in out and "  assumed: lead_names I, II," in out
    assert "units mV" in " ".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines()[1:])
    assert "  the limb leads do not fit each other: are they what they are called?" in out


def test_flags_are_of_the_files_that_do_not_say_it_themselves(folder, tiny_checkpoint, expected, capsys):
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100, "--units", "mV", "--json"]
    np.savez(folder / "b.npz", ecg=np.load(folder / "a.npy")[:, ::2], fs=50)
    assert predict(folder, *flags) == 0
    rates = [json.loads(line)["sampling_rate"] for line in capsys.readouterr().out.splitlines()]
    assert rates == [100, 100, 50, 100, 100]
    assert predict(folder / "b.npz", *flags) == 1  # of a single file, it contradicts it
    assert "says 50 Hz and the call 100 Hz: leave --sampling-rate out" in capsys.readouterr().err


def test_ways_out_are_told_in_flags(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    signal = wfdb.rdrecord(str(ptb_xl_source / "records100" / "00000" / "00012_lr")).p_signal.T
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100]
    np.save(tmp_path / "micro.npy", signal * 1000 + 0.1)
    assert predict(tmp_path / "micro.npy", *flags) == 1
    assert f"{tmp_path / 'micro.npy'}: an amplitude of" in (said := capsys.readouterr().err)
    assert "If the samples are microvolts pass --units uV" in said
    np.save(tmp_path / "rest.npy", np.concatenate([signal, np.zeros((12, 2000))], axis=1))
    assert predict(tmp_path / "rest.npy", *flags) == 1
    assert "--windows reads the other parts too" in capsys.readouterr().err
    assert predict(tmp_path / "rest.npy", *flags, "--windows") == 0
    assert "read 0.0 to 14.0 s by 2 windows" in capsys.readouterr().out
    assert predict(tmp_path / "rest.npy", *flags, "--lead-names", "I,II,foo,-,-,-,-,-,-,-,-,-") == 1
    assert "Pass --lead-names to name it, with - for a channel to leave out" in capsys.readouterr().err


def test_channels_are_named_and_left_out(tiny_checkpoint, tmp_path, ptb_xl_source, capsys):
    record = wfdb.rdrecord(str(ptb_xl_source / "records100" / "00000" / "00012_lr"))
    np.save(tmp_path / "two.npy", np.stack([record.p_signal[:, 1], record.p_signal[:, 0] * 0, record.p_signal[:, 6]]))
    flags = ["--sampling-rate", 100, "--lead-names", "II", "-", "V1", "--model", tiny_checkpoint, "--labels", "a", "b"]
    assert predict(tmp_path / "two.npy", *flags, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["windows"][0]["recorded"] == ["II", "V1"] and answer["dropped_channels"] == ["1"]


def test_labels_come_from_a_file_too(folder, tiny_checkpoint, expected, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("\n".join(["# rhythms", *LABELS, ""]), encoding="utf-8-sig")
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", tmp_path / "labels.txt", "--json") == 0
    read = {one["label"]: one["score"] for one in json.loads(capsys.readouterr().out)["scores"]}
    assert read == pytest.approx(expected, abs=1e-6)
    (tmp_path / "labels.yaml").write_text("rhythm: [sinus rhythm., af.]\nblock: lbbb.\n")
    flags = ["--labels", tmp_path / "labels.yaml", "--multi-label", "--top-k", 1, "--json"]
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, *flags) == 0
    (one,) = json.loads(capsys.readouterr().out)["scores"]
    assert one["label"] in ("rhythm", "block")
    (tmp_path / "labels.yaml").write_text("no: atrial fibrillation\nyes: [sinus rhythm.]\n")
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, *flags[:2], "--json") == 0
    assert {one["label"] for one in json.loads(capsys.readouterr().out)["scores"]} == {"no", "yes"}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_is_drawn_with_the_scores(folder, tiny_checkpoint, tmp_path, suffix):
    picture = tmp_path / "out" / f"ecg{suffix}"
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", *LABELS, "--picture", picture) == 0
    head = picture.read_bytes()[:200]
    assert {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix] in head
    if suffix == ".svg":
        assert "rhythm-II" in picture.read_text()


def test_pictures_of_several_go_into_a_folder(folder, tiny_checkpoint, tmp_path, capsys):
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100]
    assert predict(folder / "a.npy", folder / "00012_lr", *flags, "--picture", tmp_path / "drawn") == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"a.png", "00012_lr.png"}
    shutil.copy(folder / "c.csv", folder / "a.csv")
    (folder / "other").mkdir()
    shutil.copy(folder / "a.npy", folder / "other" / "a.npy")
    assert predict(folder / "a.npy", folder / "other", *flags, "--picture", tmp_path / "both") == 0
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"1-a.npy.png", "2-a.npy.png"}
    assert predict(folder / "a.npy", folder / "a.csv", *flags, "--picture", tmp_path / "forms") == 0
    assert {path.name for path in (tmp_path / "forms").iterdir()} == {"a.npy.png", "a.csv.png"}
    assert predict(folder / "a.npy", folder / "00012_lr", *flags, "--picture", tmp_path / "one.png") == 1
    assert "is one picture, and there are 2 recordings: name a folder" in capsys.readouterr().err


def test_scores_are_told_where_a_picture_cannot_be_drawn(folder, tiny_checkpoint, tmp_path, capsys):
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100, "--json"]
    (tmp_path / "drawn" / "a.png").mkdir(parents=True)  # a folder is in the way
    assert predict(folder / "a.npy", folder / "00012_lr", *flags, "--picture", tmp_path / "drawn") == 1
    said = capsys.readouterr()
    assert all("scores" in json.loads(line) for line in said.out.splitlines()) and len(said.out.splitlines()) == 2
    assert "Is a directory" in said.err and said.err.rstrip().endswith("1 of 2 recordings failed, as said above")
    assert (tmp_path / "drawn" / "00012_lr.png").is_file()


def test_labels_on_their_own_have_no_threshold(folder, tiny_checkpoint, capsys):
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS]
    assert predict(folder / "00012_lr", *flags, "--multi-label") == 0
    said = "each label was judged on its own: such scores rank recordings, and have no threshold"
    assert said in " ".join(capsys.readouterr().out.split())
    assert predict(folder / "00012_lr", *flags) == 0
    assert "on its own" not in capsys.readouterr().out


def test_flags_name_the_channels_of_several_files(tiny_checkpoint, tmp_path, capsys):
    table = "I,II,foo\n" + "\n".join(f"{i % 7 / 10:.2f},{i % 11 / 10:.2f},0.5" for i in range(1000))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(table)
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--sampling-rate", 100, "--lead-names", "I,II,-"]
    assert predict(tmp_path / "a.csv", tmp_path / "b.csv", *flags, "--json") == 0
    assert [json.loads(line)["dropped_channels"] for line in capsys.readouterr().out.splitlines()] == [["foo"]] * 2
    for name in ("a.csv", "b.csv"):  # one of two units
        (tmp_path / name).write_text(table.replace("I,II,foo", "I (mV),II,foo (mV)"))
    assert predict(tmp_path / "a.csv", tmp_path / "b.csv", *flags, "--units", "mV") == 0


def test_a_path_is_told_as_it_is(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "units=uV").mkdir()
    np.save(tmp_path / "units=uV" / "a.npy", np.random.default_rng(0).normal(size=(12, 1000)))
    assert predict(tmp_path / "units=uV" / "a.npy", "--model", tiny_checkpoint, "--labels", *LABELS) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'units=uV' / 'a.npy'}: the sampling rate" in said and "pass --sampling-rate" in said


def test_windows_are_averaged_and_what_is_masked_in_any_is_said(
    tiny_checkpoint, ptb_xl_source, tmp_path, capsys, monkeypatch
):
    signal = np.tile(wfdb.rdrecord(str(ptb_xl_source / "records100" / "00000" / "00012_lr")).p_signal.T, 2)
    signal[6, 1000:] = 0.0
    np.savez(tmp_path / "two.npz", ecg=signal, fs=100)
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS]
    assert predict(tmp_path / "two.npz", *flags, "--windows") == 0
    out = capsys.readouterr().out
    assert "read 0.0 to 20.0 s by 3 windows" in out and "  masked: constant V1\n" in out
    noise = np.concatenate([signal[:, :700], np.random.default_rng(0).normal(size=(12, 700))], axis=1)
    np.savez(tmp_path / "noise.npz", ecg=noise, fs=100)
    assert predict(tmp_path / "noise.npz", *flags, "--over-time") == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert second.endswith("  no beat") and "no beat" not in first
    drawn = []
    monkeypatch.setattr(
        "mets_ecg.predict.plot_scores", lambda times, scores, *rest, **_: drawn.append(scores) or Figure()
    )
    assert predict(tmp_path / "noise.npz", *flags, "--over-time", "--picture", tmp_path / "noise.png") == 0
    assert np.isnan(drawn[0]).all(axis=1).tolist() == [False, True]


def test_a_long_recording_is_asked_over_time(tiny_checkpoint, ptb_xl_source, tmp_path, capsys):
    record = wfdb.rdrecord(str(ptb_xl_source / "records100" / "00000" / "00012_lr"))
    once, nothing = record.p_signal.T, np.full((12, 1000), np.nan)
    signal = np.concatenate([once, nothing, once, once], axis=1)
    signal[:, 3300:3320] = 100.0  # a lead that was torn off
    np.savez(tmp_path / "long.npz", ecg=signal, fs=100)
    flags = ["--model", tiny_checkpoint, "--labels", *LABELS, "--over-time", "--picture", tmp_path / "long.png"]
    assert predict(tmp_path / "long.npz", *flags, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [window["start"] for window in answer["windows"]] == [0, 21]
    assert all({own["label"] for own in window["scores"]} == set(LABELS) for window in answer["windows"])
    assert (tmp_path / "long.png").stat().st_size > 10_000
    assert predict(tmp_path / "long.npz", *flags) == 0
    *table, drawn = [line.split() for line in capsys.readouterr().out.splitlines()[-5:]]
    assert drawn == ["drawn:", str(tmp_path / "long.png")]
    assert [line[0] for line in table] == ["0", "7", "21", "28"]
    assert len(table[0]) == len(table[2]) == 1 + len(LABELS)
    assert table[1][1:] == table[3][1:] == ["-"] * len(LABELS) + ["left", "out"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ["--labels", "a", "b"],
            "the sampling rate is not stated: pass --sampling-rate, in Hz. A wrong rate would change every interval",
        ),
        ([], "say what is asked, by --labels"),
        (["--labels", "a", "b", "--json", "--csv"], "--json and --csv are two forms of the same"),
        (["--labels", "a", "b", "--picture", "ecg.bmp"], "pictures are .png, .svg, .pdf files"),
        (["--labels", "a", "b", "--sampling-rate", "-1"], "--sampling-rate must be above 0 Hz"),
        (["--labels", "a", "--top-k", "0"], "--top-k must be at least 1"),
        (["--labels", "a", "b", "--top-k", "1", "--csv"], "--csv has a column for each label: leave --top-k out"),
    ],
)
def test_what_is_missing_or_wrong_is_said(folder, tiny_checkpoint, capsys, flags, reason):
    assert predict(folder / "a.npy", "--model", tiny_checkpoint, *flags) == 1
    assert reason in capsys.readouterr().err


def test_a_classifier_takes_no_labels(folder, tiny_checkpoint, tmp_path, capsys):
    import mets_ecg

    model = mets_ecg.ECGForSequenceClassification.from_pretrained(tiny_checkpoint, id2label={0: "NORM", 1: "MI"})
    model.save_pretrained(tmp_path / "classifier")
    mets_ecg.ECGFeatureExtractor.from_pretrained(tiny_checkpoint).save_pretrained(tmp_path / "classifier")
    assert predict(folder / "00012_lr", "--model", tmp_path / "classifier") == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:3]} == {"NORM", "MI"}
    assert predict(folder / "00012_lr", "--model", tmp_path / "classifier", "--labels", "a") == 1
    assert "is a classifier of classes that it was trained on: leave --labels out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["questoins.txt"], "'questoins.txt' is no label: a file with a label a line is not there"),
        (["folder"], "'folder' is no label"),
        (["labels.txt", "normal ecg"], "'labels.txt' is no label: a file with a label a line is to be given alone"),
        (["picture.png"], "'picture.png' is not a text in UTF-8"),
        (["labels.csv"], "'labels.csv' is no file of labels: write a label a line (.txt)"),
    ],
)
def test_a_name_of_a_file_is_not_asked_as_a_label(
    folder, tiny_checkpoint, tmp_path, monkeypatch, capsys, labels, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "labels.txt").write_text("atrial fibrillation")
    (tmp_path / "labels.csv").write_text("label,phrase")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", *labels) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [b", "labels.yaml' cannot be read as YAML"),
        ("a:\n", "labels.yaml' must have labels with their phrases"),
        ("- a\n", "labels.yaml' must have labels with their phrases"),
        ("a: b\na: c\n", "labels.yaml' has a label twice: put all its phrases into one list"),
    ],
)
def test_a_file_of_labels_that_is_none_is_named(folder, tiny_checkpoint, tmp_path, capsys, text, reason):
    (tmp_path / "labels.yaml").write_text(text)
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", tmp_path / "labels.yaml") == 1
    assert reason in capsys.readouterr().err
    assert predict(folder / "00012_lr", "--model", tiny_checkpoint, "--labels", "long words " * 40) == 0


def test_a_folder_without_recordings_is_named(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty", "--model", tiny_checkpoint, "--labels", "a") == 1
    assert "there is no recording in" in capsys.readouterr().err
