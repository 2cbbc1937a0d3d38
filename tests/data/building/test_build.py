"""`mets-ecg build` on real recordings: what it writes, counts and refuses, and that a stop does no harm."""

from __future__ import annotations

import datetime
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import wfdb
from datasets import load_dataset

from mets_ecg.data.building.build import _conditions, build_corpus, corpus_key, run_build
from mets_ecg.data.building.corpus_builder import Recording
from mets_ecg.data.building.shards import read_summary
from mets_ecg.data.corpora import CORPORA
from mets_ecg.data.corpora.ptb_xl import PTBXL
from mets_ecg.data.reports import REPORTS_VERSION
from mets_ecg.data.rows import ROW_FORMAT_VERSION
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import INVALID_SAMPLE, decode_signal
from mets_ecg_cli.build import BuildArguments


class ManyShards(PTBXL):
    """PTB-XL in 24 shards of one or two recordings."""

    recordings_per_shard = 2


class FromArrays(PTBXL):
    """Recordings made up in memory, to be counted."""

    recordings_per_shard = 500
    splits = ("train",)
    count = 10

    def recordings(self):
        return [Recording(f"{i}", (), "train", {"report": "sinus rhythm"}) for i in range(self.count)]

    def read(self, recording):
        signal = np.random.default_rng(int(recording.record_id)).integers(-999, 999, (12, 1000)).astype(np.int16)
        yield {
            "record_id": recording.record_id,
            **recording.fields,
            "signal": signal,
            "gain": np.full(12, 1000.0),
            "baseline": np.zeros(12, np.int32),
            "num_samples": 1000,
            "sampling_rate": 100.0,
            "lead_names": list(STANDARD_LEADS),
        }


@pytest.fixture
def source(tmp_path, ptb_xl_source) -> Path:
    """A copy of the recordings at 100 Hz, which a test may damage."""
    target = tmp_path / "ptb-xl"
    shutil.copytree(ptb_xl_source / "records100", target / "records100")
    shutil.copy(ptb_xl_source / "ptbxl_database.csv", target)
    return target


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, ptb_xl_source) -> Path:
    """Both configs of PTB-XL, built by the real command."""
    output = tmp_path_factory.mktemp("built") / "corpus"
    source = ("--source", ptb_xl_source)
    done = run_command("build", "ptb-xl", *source, "--output", output, "--config-name", "500hz", "--num-proc", "2")
    assert done.returncode == 0, done.stderr
    assert "ptb-xl 500hz: 4 rows (train 4)" in done.stdout and f"the card and 500hz/ are in {output}" in done.stdout
    build(ptb_xl_source, output)
    return output


@pytest.fixture(scope="module")
def expected(tmp_path_factory, ptb_xl_source) -> dict[str, bytes]:
    """What a build in 24 shards writes that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "corpus"
    build_corpus(ManyShards(ptb_xl_source), folder, num_proc=1)
    return content(folder)


def run_command(*words) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mets_ecg_cli", *map(str, words)], capture_output=True, text=True, timeout=120
    )


def stop_at_the_end(*arguments, **options) -> None:
    """Build all shards, and stop before the folder gets its name."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("mets_ecg.data.building.build._summarize", lambda *all: 1 / 0)
        build_corpus(*arguments, num_proc=1, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written_at(working: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in working.glob("*.parquet")}


def counted(*records: str) -> dict:
    return {"count": len(records), "records": list(records)}


def build(source, output, **options) -> dict | None:
    return run_build(BuildArguments("ptb-xl", str(output), source=str(source), **{"num_proc": 1} | options))


def damage(source: Path, record_id: int, suffix: str, change) -> None:
    (path,) = source.glob(f"records100/*/{record_id:05d}_lr.{suffix}")
    path.write_bytes(change(path.read_bytes()))


def remove(source: Path, record_id: int) -> None:
    for path in source.glob(f"records100/*/{record_id:05d}_lr.*"):
        path.unlink()


@pytest.mark.parametrize(("config", "suffix", "num_rows"), [("100hz", "lr", 33), ("500hz", "hr", 4)])
def test_the_built_corpus_is_loaded_and_is_what_wfdb_reads(corpus, ptb_xl_source, tmp_path, config, suffix, num_rows):
    rows = load_dataset(str(corpus), config, split="train", cache_dir=str(tmp_path))
    assert len(rows) == num_rows
    for row in rows:
        (header,) = ptb_xl_source.glob(f"records{config[:3]}/*/{int(row['record_id']):05d}_{suffix}.hea")
        record = wfdb.rdrecord(str(header.with_suffix("")))
        np.testing.assert_allclose(decode_signal(row), record.p_signal.T, atol=1e-3, rtol=0)
        assert row["lead_names"] == record.sig_name and row["sampling_rate"] == record.fs
    assert rows.features["labels_super"].feature.names == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert rows.features["labels_super"].feature.int2str(rows[0]["labels_super"]) == ["NORM"]
    assert set(rows.features) == set(PTBXL(ptb_xl_source).features)


def test_the_default_config_is_loaded_without_a_name_and_streams(corpus, tmp_path):
    rows = load_dataset(str(corpus), split="train", cache_dir=str(tmp_path))
    assert len(rows) == 33 and rows[0]["sampling_rate"] == 100
    streamed = load_dataset(str(corpus), "100hz", split="train", streaming=True)
    assert [row["record_id"] for row in streamed] == rows["record_id"]


def test_the_corpus_is_opened_by_the_package(corpus):
    assert SavedCorpus(corpus, sampling_rate=500).num_rows == {"train": 4}
    assert SavedCorpus(corpus / "100hz").num_rows == {"train": 33}


def test_losing_a_shard_is_loud(ptb_xl_source, tmp_path):
    output = tmp_path / "out"
    build_corpus(ManyShards(ptb_xl_source), output / "100hz", num_proc=2)
    build(ptb_xl_source, tmp_path / "card")
    card = (tmp_path / "card" / "README.md").read_text()
    (output / "README.md").write_text(card)
    assert len(load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))) == 33
    next((output / "100hz").glob("train-00003-*")).unlink()
    with pytest.raises(Exception, match="(?i)expected.*33|NonMatchingSplitsSizes"):
        load_dataset(str(output), split="train", cache_dir=str(tmp_path / "other"))
    with pytest.raises(FileNotFoundError, match="has 23 of 24 shards of split train"):
        SavedCorpus(output)
    with pytest.raises(FileNotFoundError, match="has 23 of 24 shards of split train, train-00003-of-00024.parquet is"):
        build_corpus(ManyShards(ptb_xl_source), output / "100hz")


def test_the_same_command_again_says_what_is_there_and_writes_no_shard(corpus, ptb_xl_source, capsys):
    (shard,) = (corpus / "100hz").glob("*.parquet")
    before = shard.stat().st_mtime_ns
    summary = build(ptb_xl_source, corpus)
    assert "ptb-xl 100hz: 33 rows (train 33)" in capsys.readouterr().out
    assert summary == read_summary(corpus / "100hz") and shard.stat().st_mtime_ns == before


def test_the_card_that_was_not_written_is_written_by_the_next_call(ptb_xl_source, tmp_path):
    build(ptb_xl_source, tmp_path / "out")
    card = tmp_path / "out" / "README.md"
    before = card.read_text()
    card.unlink()
    build(ptb_xl_source, tmp_path / "out")
    assert card.read_text() == before


def test_a_stopped_build_is_not_a_corpus_meanwhile(ptb_xl_source, tmp_path, expected):
    stop_at_the_end(ManyShards(ptb_xl_source), tmp_path / "out" / "100hz")
    with pytest.raises(FileNotFoundError, match="has no corpus: its build was stopped; run it again, it goes on"):
        SavedCorpus(tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    build_corpus(ManyShards(ptb_xl_source), tmp_path / "out" / "100hz", num_proc=3)
    assert content(tmp_path / "out" / "100hz") == expected and os.listdir(tmp_path / "out") == ["100hz"]


def test_another_source_begins_anew_and_a_finished_corpus_of_another_is_left_alone(source, tmp_path):
    stop_at_the_end(PTBXL(source), tmp_path / "out" / "100hz")
    remove(source, 292)
    build(source, tmp_path / "out")
    rows = pq.read_table(next((tmp_path / "out" / "100hz").glob("*.parquet")))
    assert len(rows) == 32 and "292" not in rows["record_id"].to_pylist()
    remove(source, 443)
    before = content(tmp_path / "out" / "100hz")
    with pytest.raises(FileExistsError, match="is there already, from other files, arguments or versions"):
        build(source, tmp_path / "out")
    assert content(tmp_path / "out" / "100hz") == before


DAMAGE = {
    "truncated .dat": ("dat", lambda data: data[:-10]),
    "empty .dat": ("dat", lambda data: b""),
    "empty header": ("hea", lambda data: b""),
    "header that disagrees": ("hea", lambda data: data.replace(b" 12 100 1000", b" 12 100 1001")),
    "lead that the header does not describe": ("hea", lambda data: data.replace(b" 12 100", b" 13 100")),
    "wrong checksum": ("dat", lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:]),
    "encoding damage": ("hea", lambda data: data.replace(b"mV", b"\xb5V")),
    "another rate": ("hea", lambda data: data.replace(b" 12 100 ", b" 12 250 ")),
}


def test_all_damaged_recordings_are_named_and_can_be_excluded(source, tmp_path):
    ids = [1, 2, 3, 11, 12, 200, 292, 443]
    for record_id, (suffix, change) in zip(ids, DAMAGE.values(), strict=True):
        damage(source, record_id, suffix, change)
    with pytest.raises(ValueError, match="8 recordings cannot be read") as raised:
        build(source, tmp_path / "out")
    named = str(raised.value).partition("--exclude ")[2].partition(", and run the same command")[0]
    assert named == str(tmp_path / "out" / ".100hz.building" / "damaged.txt")
    words = Path(named).read_text().splitlines()
    assert sorted(map(int, words)) == ids
    assert not (tmp_path / "out" / "100hz").exists() and not (tmp_path / "out" / "README.md").exists()
    damage(source, 424, "dat", lambda data: data[:-10])
    with pytest.raises(ValueError, match="1 recordings cannot be read"):
        build(source, tmp_path / "out", exclude=[named])
    summary = build(source, tmp_path / "out", exclude=[named])
    assert summary["excluded"] == counted(*sorted([*words, "424"])) and summary["splits"]["train"]["num_rows"] == 24
    assert not Path(named).exists()


def test_a_file_of_ids_to_exclude_may_be_beside_ids(ptb_xl_source, tmp_path):
    (tmp_path / "mine.txt").write_text(" 3\r\n\n11\n")
    summary = build(ptb_xl_source, tmp_path / "out", exclude=["1", str(tmp_path / "mine.txt")])
    assert summary["excluded"] == counted("1", "11", "3")
    (tmp_path / "mine.txt").write_text("three\n")
    with pytest.raises(ValueError, match="--exclude: 1 record ids are not in the source, for example 'three'"):
        build(ptb_xl_source, tmp_path / "other", exclude=[str(tmp_path / "mine.txt")])


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_is_told_with_its_record(source, tmp_path, kind):
    suffix, change = DAMAGE[kind]
    damage(source, 292, suffix, change)
    with pytest.raises(ValueError, match="1 recordings cannot be read.*: 292: .*00292_lr") as raised:
        build_corpus(PTBXL(source), tmp_path / "corpus", num_proc=1)
    assert (tmp_path / ".corpus.building" / "damaged.txt").read_text() == "292\n"
    assert not isinstance(raised.value, OSError)


def test_damage_that_no_reader_thought_of_is_told_with_its_record(ptb_xl_source, tmp_path, monkeypatch):
    def read(self, recording, real=PTBXL.read):
        yield from real(self, recording) if recording.record_id != "292" else {}["column"]

    monkeypatch.setattr(PTBXL, "read", read)
    with pytest.raises(ValueError, match="1 recordings cannot be read.*: 292: KeyError: 'column'"):
        build_corpus(PTBXL(ptb_xl_source), tmp_path / "corpus", num_proc=1)


def fail_at_292(monkeypatch, error: Exception) -> None:
    def read(self, recording, real=PTBXL.read):
        if recording.record_id == "292":
            raise error
        yield from real(self, recording)

    monkeypatch.setattr(PTBXL, "read", read)


@pytest.mark.parametrize(
    "error", [MemoryError("too much"), OSError(5, "Input/output error"), OSError(28, "No space left")]
)
def test_a_machine_that_fails_is_no_damage_of_the_recording(ptb_xl_source, tmp_path, monkeypatch, error):
    fail_at_292(monkeypatch, error)
    with pytest.raises(type(error)) as raised:
        build_corpus(PTBXL(ptb_xl_source), tmp_path / "corpus", num_proc=1)
    assert not (tmp_path / ".corpus.building" / "damaged.txt").exists()
    if isinstance(error, OSError):
        assert f"recording 292: {error.strerror}: '{ptb_xl_source}'" in str(raised.value)


@pytest.mark.parametrize(
    "error", [OSError("not a recording"), FileNotFoundError(2, "not there"), PermissionError(13, "not yours")]
)
def test_a_file_that_cannot_be_opened_or_understood_is_damage(ptb_xl_source, tmp_path, monkeypatch, error):
    fail_at_292(monkeypatch, error)
    with pytest.raises(ValueError, match="1 recordings cannot be read.*: 292: .*not "):
        build_corpus(PTBXL(ptb_xl_source), tmp_path / "corpus", num_proc=1)


def test_of_a_damaged_recording_only_its_shard_is_written_again(source, tmp_path):
    working = tmp_path / ".corpus.building"
    whole = next(source.glob("records100/*/00292_lr.dat")).read_bytes()
    damage(source, 292, "dat", lambda data: data[:-2])
    with pytest.raises(ValueError, match="292: "):
        build_corpus(ManyShards(source), tmp_path / "corpus", num_proc=1)
    before = written_at(working)
    assert len(before) == 23
    with pytest.raises(ValueError, match="there is nothing to build"):
        build_corpus(
            ManyShards(source), tmp_path / "corpus", exclude=[one.record_id for one in PTBXL(source).find()[0]]
        )
    stop_at_the_end(ManyShards(source), tmp_path / "corpus", exclude=["292"])
    kept = written_at(working).items() & before.items()
    assert len(kept) >= 22  # the shards of the others, but for one that 292 was alone in
    damage(source, 292, "dat", lambda data: whole)
    stop_at_the_end(ManyShards(source), tmp_path / "corpus")
    assert len(written_at(working).items() & kept) == len(kept)


def test_leaving_out_all_of_a_shard_leaves_no_empty_one(ptb_xl_source, tmp_path):
    ids = [recording.record_id for recording in PTBXL(ptb_xl_source).find()[0]]
    summary = build_corpus(ManyShards(ptb_xl_source), tmp_path / "corpus", exclude=ids[:5], num_proc=1)
    assert summary["splits"]["train"]["num_rows"] == 28
    shards = sorted((tmp_path / "corpus").glob("*.parquet"))
    assert [record for shard in shards for record in pq.read_table(shard)["record_id"].to_pylist()] == ids[5:]
    assert all(pq.read_metadata(shard).num_rows for shard in shards)


def test_missing_recordings_are_counted_and_named_and_strict_refuses_them(source, tmp_path, capsys):
    remove(source, 292)
    next(source.glob("records100/*/00443_lr.dat")).unlink()
    with pytest.raises(FileNotFoundError, match="2 of 33 recordings are not in .*: download them, or build without"):
        build(source, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()
    summary = build(source, tmp_path / "out")
    assert summary["missing"] == counted("292", "443") and summary["splits"]["train"]["num_rows"] == 31
    assert "2 listed but not in the source: 292, 443" in capsys.readouterr().out


def test_strict_takes_recordings_that_are_left_out_for_unwanted(source, tmp_path):
    remove(source, 292)
    summary = build(source, tmp_path / "out", strict=True, exclude=["292"])
    assert summary["missing"] == counted() and summary["excluded"] == counted("292")


def test_of_many_records_the_summary_names_the_first(source, tmp_path, monkeypatch):
    monkeypatch.setattr("mets_ecg.data.building.shards._NAMED", 2)
    ids = [recording.record_id for recording in PTBXL(source).find()[0]][:3]
    for record_id in ids:
        remove(source, int(record_id))
    summary = build(source, tmp_path / "out")
    assert summary["missing"] == {"count": 3, "records": ids[:2]}


def test_an_unknown_id_to_exclude_is_refused(ptb_xl_source, tmp_path):
    with pytest.raises(
        ValueError, match="--exclude: 1 record ids are not in the source, for example '00292'; ids look"
    ):
        build(ptb_xl_source, tmp_path / "out", exclude=["00292", "1"])
    assert not (tmp_path / "out").exists()


def test_ids_that_occur_twice_are_refused(source, tmp_path):
    table = source / "ptbxl_database.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match="1 record ids occur more than once in .*'1' among them"):
        build(source, tmp_path / "out")


def test_splits_are_told_apart_and_one_without_rows_is_left_out_and_named(source, tmp_path, capsys):
    table = source / "ptbxl_database.csv"
    lines = table.read_text().splitlines()
    position = lines[0].split(",").index("strat_fold") - len(lines[0].split(","))
    for i in (3, 5):
        cells = lines[i].split(",")
        cells[position] = "10"
        lines[i] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    summary = build(source, tmp_path / "out")
    assert {split: own["num_rows"] for split, own in summary["splits"].items()} == {"train": 31, "test": 2}
    assert summary["empty_splits"] == ["validation"]
    assert "no recordings of, and left out: split validation" in capsys.readouterr().out
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 31, "test": 2}
    assert set(loaded["test"]["fold"]) == {10}
    assert "Config `100hz` has no rows of split `validation`: " in (tmp_path / "out" / "README.md").read_text()


class NoWindows(PTBXL):
    """Its recordings of one split are too short for a row."""

    def recordings(self):
        own = super().recordings()
        return [Recording(one.record_id, one.files, "train" if i else "test", one.fields) for i, one in enumerate(own)]

    def read(self, recording):
        return super().read(recording) if recording.split == "train" else iter(())


def test_a_split_whose_recordings_give_no_rows_is_left_out_and_named(ptb_xl_source, tmp_path):
    summary = build_corpus(NoWindows(ptb_xl_source), tmp_path / "corpus", num_proc=1)
    assert list(summary["splits"]) == ["train"] and summary["empty_splits"] == ["validation", "test"]
    others = [one.record_id for one in PTBXL(ptb_xl_source).find()[0]][1:]
    with pytest.raises(ValueError, match="ptb-xl: no recording in .* gives a row of config 100hz"):
        build_corpus(NoWindows(ptb_xl_source), tmp_path / "other", exclude=others, num_proc=1)
    assert not (tmp_path / "other").exists()


def set_lead(source: Path, record_id: int, lead: int, values) -> None:
    """Change a lead in the signal file, and its first value and checksum in the header."""
    (path,) = source.glob(f"records100/*/{record_id:05d}_lr.dat")
    signal = np.fromfile(path, "<i2").reshape(-1, 12)
    signal[:, lead] = values
    path.write_bytes(signal.tobytes())
    lines = path.with_suffix(".hea").read_text().splitlines()
    cells = lines[1 + lead].split()
    cells[5:7] = str(signal[0, lead]), str(int(signal[:, lead].sum(dtype=np.int64)) % 2**16)
    lines[1 + lead] = " ".join(cells)
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")


def test_what_is_odd_but_real_is_kept_and_counted(source, tmp_path, capsys):
    set_lead(source, 292, 7, 77)
    set_lead(source, 1, 2, np.where(np.arange(1000) == 500, -12_000, 0))
    set_lead(source, 2, 4, INVALID_SAMPLE)
    summary = build(source, tmp_path / "out")
    assert summary["conditions"] == {
        "flat_lead": counted("292"),
        "missing_samples": counted("2"),
        "large_amplitude": counted("1"),
        "empty_report": counted("443"),
        "no_finding": counted("292"),
        "repaired_text": counted(),
    }
    said = capsys.readouterr().out
    for line in (
        "1 with a lead that never changes: 292",
        "1 with samples that were not recorded: 2",
        "1 beyond 10 mV: 1",
        "1 with an empty report: 443",
        "1 whose report states no finding: 292",
    ):
        assert line in said and line in (tmp_path / "out" / "README.md").read_text()
    rows = {
        row["record_id"]: row for row in load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path))
    }
    assert len(rows) == 33
    assert set(rows["292"]["signal"][7]) == {77} and rows["1"]["signal"][2][500] == -12_000
    assert rows["443"]["report"] is None


GAP = INVALID_SAMPLE


@pytest.mark.parametrize(
    ("signal", "row", "found"),
    [
        ([[0, 1, 0], [5, GAP, 5]], {}, {"flat_lead", "missing_samples"}),
        ([[0, GAP, 1], [GAP, GAP, GAP]], {}, {"missing_samples"}),
        ([[10_000, -10_000]], {}, set()),
        ([[GAP, -10_001, 0]], {}, {"missing_samples", "large_amplitude"}),
        ([[-5_001, 0]], {"baseline": [5_000]}, {"large_amplitude"}),
        ([[2_001, 0]], {"gain": [200.0]}, {"large_amplitude"}),
        ([[0, 1]], {"report": None}, {"empty_report"}),
        ([[0, 1]], {"report": "edit:", "findings": []}, {"no_finding"}),
    ],
)
def test_what_is_odd_is_told_from_what_is_not(signal, row, found):
    row = {"gain": [1000.0] * len(signal), "baseline": [0] * len(signal), **row}
    assert set(_conditions({"signal": np.array(signal, dtype=np.int16), **row})) == found


class WithReports(FromArrays):
    """Reports as tables have them."""

    texts = ("sinus rhythm", "nan", "None", "NULL", "<NA>", " ", None, "edit:", "sinusrhythmus unbestÃ¤tigter bericht")

    def recordings(self):
        return [Recording(f"{i}", (), "train", {"report": text}) for i, text in enumerate(self.texts)]


def test_empty_reports_are_no_findings_and_misread_ones_are_repaired_and_both_are_counted(tmp_path):
    summary = build_corpus(WithReports(tmp_path), tmp_path / "corpus", num_proc=1)
    rows = SavedCorpus(tmp_path / "corpus").streams()["train"]
    rows = [(row["report"], row["report_en"], row["findings"]) for row in rows]
    assert rows[0] == ("sinus rhythm", "sinus rhythm.", ["sinus rhythm"])
    assert rows[1:7] == [(None, None, None)] * 6
    assert rows[7] == ("edit:", "", [])
    assert rows[8] == ("sinusrhythmus unbestätigter bericht", "sinus rhythm.", ["sinus rhythm"])
    conditions = {name: own for name, own in summary["conditions"].items() if own["count"]}
    assert conditions == {
        "empty_report": counted(*"123456"),
        "no_finding": counted("7"),
        "repaired_text": counted("8"),
    }


def test_reports_are_given_in_english_or_in_the_users_translation(source, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text('record_id,report_en\n1,"sinus rhythm, my words. normal ecg"\n2,NaN\n')
    build(source, tmp_path / "out", reports=str(tmp_path / "mine.csv"))
    said = capsys.readouterr().out
    rows = {
        row["record_id"]: row for row in load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path))
    }
    assert rows["1"]["report_en"] == "sinus rhythm, my words. normal ecg"
    assert (
        "normal ecg" in " ".join(rows["1"]["findings"])
        and rows["1"]["report"] == "sinusrhythmus periphere niederspannung"
    )
    assert rows["2"]["report_en"] is rows["2"]["findings"] is None
    assert rows["3"]["report_en"] and rows["3"]["report_en"] != rows["3"]["report"]
    assert "2 of 2 translations used" in said


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("record_id,report_en\n1,a\n1,b\n", "gives record '1' more than once"),
        ("record_id,report\n1,a\n", "lacks the columns report_en"),
        ("record_id,report_en\nno,a\n", "--reports: 1 record ids are not in the source, for example 'no'"),
        ("record_id,report_en\n1,a\n2\n", "row 2 has no report_en"),
    ],
)
def test_translations_that_cannot_be_are_refused(ptb_xl_source, tmp_path, table, reason):
    (tmp_path / "mine.csv").write_text(table)
    with pytest.raises(ValueError, match=reason):
        build(ptb_xl_source, tmp_path / "out", reports=str(tmp_path / "mine.csv"))
    assert not (tmp_path / "out").exists()


def test_a_translation_of_a_recording_that_is_not_there_is_not_counted(source, tmp_path):
    remove(source, 292)
    (tmp_path / "mine.csv").write_text("record_id,report_en\n292,a\n1,b\n")
    assert build(source, tmp_path / "out", reports=str(tmp_path / "mine.csv"))["translations"] == {
        "given": 2,
        "used": 1,
    }


def test_a_strict_build_of_a_corpus_without_a_table_compares_with_what_was_published(
    ptb_xl_source, tmp_path, monkeypatch
):
    monkeypatch.setattr(PTBXL, "info", replace(PTBXL.info, num_recordings=34))
    with pytest.raises(FileNotFoundError, match="has 33 of the 34 recordings that were published"):
        build_corpus(PTBXL(ptb_xl_source), tmp_path / "out", strict=True, num_proc=1)
    assert build_corpus(PTBXL(ptb_xl_source), tmp_path / "out", num_proc=1)["published"] == 34


def test_an_unknown_lead_is_damage_with_its_record_and_its_name(source, tmp_path):
    header = next(source.rglob("00001_lr.hea"))
    header.write_text(header.read_text().replace(" AVR\n", " zz\n"))
    with pytest.raises(ValueError, match="1 recordings cannot be read: 1: unknown lead 'zz'"):
        build(source, tmp_path / "out")
    assert not (tmp_path / "out" / "100hz").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"corpus": "ptbxl"}, "there is no corpus 'ptbxl': there are ptb-xl, "),
        ({"source": None}, "say where ptb-xl's files are, by --source"),
        ({"download": "x"}, "say where ptb-xl's files are, by --source"),
        ({"config_name": "250hz"}, "ptb-xl has no config '250hz': there are 100hz, 500hz"),
        (
            {"config_name": "250hz", "source": None, "download": "x"},
            "ptb-xl has no config '250hz': there are 100hz, 500hz",
        ),
        ({"num_proc": -1}, "--num-proc -1: at least one process"),
        ({"corpus": "sph", "source": None, "download": "x"}, "sph cannot be downloaded from here: get it at https://"),
    ],
)
def test_arguments_that_cannot_be_are_refused(ptb_xl_source, tmp_path, options, reason):
    arguments = {"corpus": "ptb-xl", "output": str(tmp_path / "out"), "source": str(ptb_xl_source)} | options
    with pytest.raises(ValueError, match=reason):
        run_build(BuildArguments(**arguments))
    assert not (tmp_path / "out").exists()


def test_a_source_without_tables_or_recordings_is_refused(source, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        build(tmp_path / "none", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="none of 33 recordings of config 500hz is in .*choose another config"):
        build(source, tmp_path / "out", config_name="500hz")
    with pytest.raises(FileNotFoundError, match="no ptbxl_database.csv in"):
        build(source / "records100", tmp_path / "out")


def test_a_readme_of_something_else_is_not_overwritten(ptb_xl_source, tmp_path):
    (tmp_path / "README.md").write_text("# My thesis")
    with pytest.raises(FileExistsError, match="is not the card of ptb-xl: name another folder"):
        build(ptb_xl_source, tmp_path)
    assert os.listdir(tmp_path) == ["README.md"]


def test_two_corpora_do_not_share_a_folder(corpus, ptb_xl_source):
    before = (corpus / "README.md").read_text()
    with pytest.raises(FileExistsError, match="is not the card of ludb"):
        run_build(BuildArguments("ludb", str(corpus), source=str(ptb_xl_source)))
    assert (corpus / "README.md").read_text() == before


def test_the_key_depends_on_all_that_the_rows_do(source, monkeypatch):
    def key(builder=None, translations=(), fingerprint=""):
        builder = builder or PTBXL(source)
        return corpus_key(builder, builder.find()[0], dict(translations), fingerprint)

    before = key()
    assert key() == before
    other = PTBXL(source)
    other.config = "other"
    there = PTBXL(source).find()[0]
    keys = {before, corpus_key(other, there, {}, ""), key(translations={"1": "a"}), key(fingerprint="x")}
    damage(source, 292, "dat", lambda data: data[:-2])
    keys.add(key())
    remove(source, 292)
    keys.add(key())
    table = source / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("sinusrhythmus periphere niederspannung", "sinusrhythmus"))
    keys.add(key())
    newer = PTBXL(source)
    newer.version = PTBXL.version + 1
    keys.add(key(newer))
    monkeypatch.setattr("mets_ecg.data.building.build.ROW_FORMAT_VERSION", ROW_FORMAT_VERSION + 1)
    keys.add(key())
    assert len(keys) == 9


def test_a_missing_package_ends_the_build_with_its_message(ptb_xl_source, tmp_path, monkeypatch):
    fail_at_292(monkeypatch, ImportError("a.h5 is an HDF5 file, and h5py is missing: pip install h5py"))
    with pytest.raises(ImportError, match="^a.h5 is an HDF5 file, and h5py is missing: pip install h5py$"):
        build_corpus(PTBXL(ptb_xl_source), tmp_path / "corpus", num_proc=1)
    assert not (tmp_path / ".corpus.building" / "damaged.txt").exists()


@pytest.fixture
def newer_reports(monkeypatch):
    """A package whose glossary is newer, and which is not to read recordings."""
    monkeypatch.setattr("mets_ecg.data.building.build.REPORTS_VERSION", REPORTS_VERSION + 1)
    english = SimpleNamespace(text="worded anew", findings=("worded anew",))
    monkeypatch.setattr("mets_ecg.data.building.build.render_english", lambda report: english)
    monkeypatch.setattr(ManyShards, "read", lambda *args: pytest.fail("read a recording"))


def rows_in(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def test_reports_are_renewed_without_reading_recordings(ptb_xl_source, tmp_path, monkeypatch, request):
    options = {"translations": {"1": "my words"}, "num_proc": 2}
    first = build_corpus(ManyShards(ptb_xl_source), tmp_path / "corpus", **options)
    before = rows_in(tmp_path / "corpus")
    request.getfixturevalue("newer_reports")
    stop_at_the_end(ManyShards(ptb_xl_source), tmp_path / "corpus", translations={"1": "my words"})
    assert rows_in(tmp_path / "corpus").equals(before)  # until the new one is whole
    assert len(written_at(tmp_path / ".corpus.building")) == 24
    monkeypatch.setattr("mets_ecg.data.building.build._write_shard", lambda *arguments: 1 / 0)  # all are there
    second = build_corpus(ManyShards(ptb_xl_source), tmp_path / "corpus", **options)
    assert os.listdir(tmp_path) == ["corpus"]
    after = rows_in(tmp_path / "corpus")
    changed = ["report_en", "findings"]
    assert after.drop_columns(changed).equals(before.drop_columns(changed)) and after.schema == before.schema
    assert set(after["report_en"].drop_null().to_pylist()) == {"worded anew", "my words"}
    assert second["reports_version"] == REPORTS_VERSION + 1 and second["key"] != first["key"]
    assert second["conditions"]["no_finding"] == counted() != first["conditions"]["no_finding"]
    assert {**second["conditions"], "no_finding": None} == {**first["conditions"], "no_finding": None}


def test_a_corpus_of_other_files_is_not_renewed(source, tmp_path, request):
    build_corpus(ManyShards(source), tmp_path / "corpus", num_proc=1)
    before = content(tmp_path / "corpus")
    remove(source, 292)
    request.getfixturevalue("newer_reports")
    with pytest.raises(FileExistsError, match="is there already, from other files, arguments or versions"):
        build_corpus(ManyShards(source), tmp_path / "corpus", num_proc=1)
    assert content(tmp_path / "corpus") == before


def test_a_corpus_of_an_older_row_format_is_refused_before_anything_is_read(ptb_xl_source, tmp_path, monkeypatch):
    output = tmp_path / "out"
    build(ptb_xl_source, output)
    monkeypatch.setattr("mets_ecg.data.building.shards.ROW_FORMAT_VERSION", ROW_FORMAT_VERSION + 1)
    for attempt in (
        lambda: SavedCorpus(output),
        lambda: build(ptb_xl_source, output),
        lambda: build(ptb_xl_source, output, config_name="500hz"),
    ):
        with pytest.raises(ValueError, match=f"100hz' has row format {ROW_FORMAT_VERSION}, .*: build again: remove it"):
            attempt()


def digest_of(rows, columns) -> str:
    digest = hashlib.sha256()
    for row in rows:
        chosen = {name: row[name] for name in columns}
        if "signal" in chosen:
            chosen["signal"] = hashlib.sha256(decode_signal(row).tobytes()).hexdigest()
        if isinstance(chosen.get("start_time"), datetime.datetime):
            chosen["start_time"] = chosen["start_time"].isoformat()
        digest.update(json.dumps(chosen, sort_keys=True).encode())
    return digest.hexdigest()[:16]


# What the fixture corpus' rows are by the versions that they depend on. If a test here fails, rows changed: raise the
# version in `data/rows.py` (columns, coding), in the corpus' builder or in `data/reports/`, and write the new digest.
ROWS = {(2, 1): "91fea25e026a41ce"}
REPORTS = {1: "8d0021a425af5f18"}


def test_rows_do_not_change_without_a_new_version(corpus):
    rows = SavedCorpus(corpus / "100hz").dataset()
    reports = ["report_en", "findings"]
    others = [name for name in rows.column_names if name not in reports]
    assert digest_of(rows, others) == ROWS[ROW_FORMAT_VERSION, PTBXL.version]
    assert digest_of(rows, reports) == REPORTS[REPORTS_VERSION]


def test_every_corpus_fills_the_columns_that_it_promises():
    for kind in CORPORA.values():
        for config in kind.configs:
            builder = object.__new__(kind)
            builder.config = config
            assert isinstance(builder.version, int)
            assert {"record_id", "signal", *builder.label_columns, *builder.extra_columns} <= set(builder.features)


def peak_memory(folder: Path, count: int) -> float:
    """Build that many recordings in a process of its own; return the worker's peak, MiB."""

    def measure(peaks):
        builder = FromArrays(folder)
        builder.count = count
        build_corpus(builder, folder / f"{count}", num_proc=1)
        peaks.put(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)

    context = multiprocessing.get_context("fork")
    peaks = context.SimpleQueue()
    process = context.Process(target=measure, args=(peaks,))
    process.start()
    process.join(300)
    assert process.exitcode == 0
    return peaks.get()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    small, large = peak_memory(tmp_path, 1000), peak_memory(tmp_path, 6000)
    signals = 5000 * 12 * 1000 * 2 / 2**20  # what the larger one has more of
    assert large - small < 0.25 * signals, (small, large)
    assert json.loads((tmp_path / "6000" / "build.json").read_text())["splits"]["train"]["num_rows"] == 6000
