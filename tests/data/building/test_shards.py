"""Folders of shards: whole or not there, and resumed after every kind of stop."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Array2D, ClassLabel, Dataset, Features, List, Value

from mets_ecg.data.building.shards import (
    Shard,
    read_summary,
    shard_names,
    split_evenly,
    split_files,
    summarize_splits,
    write_parquet,
    write_shards,
)
from mets_ecg.data.rows import ROW_FORMAT_VERSION, corpus_features, table_rows

PLAN = [Shard(name, i, 10) for i, name in enumerate(shard_names("train", 8))]


def write(content: int, path: Path, *, seconds: float = 0.0, num_bytes: int = 1000) -> dict:
    """Write a shard in two halves, slowly."""
    half = bytes([content]) * (num_bytes // 2)
    with path.open("wb") as file:
        file.write(half)
        file.flush()
        time.sleep(seconds)
        file.write(half)
    return {"num_rows": 10}


def build(folder: Path, write=write, *, plan=PLAN, key="k", **options) -> dict | None:
    options = {"num_proc": 2, "summarize": partial(summarize_splits, plan)} | options
    return write_shards(folder, plan, write, key=key, **options)


def stop_at_the_end(folder: Path, write=write, **options) -> None:
    """Write all shards, and stop before the folder gets its name."""
    with pytest.raises(ZeroDivisionError):
        build(folder, write, **options, summarize=lambda notes: 1 / 0)


def write_some(folder: Path, wanted=(0, 4)) -> None:
    """Write these shards only."""
    with pytest.raises(ValueError, match="cannot be read"):
        build(folder, partial(write_only, wanted))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finished_shards(working: Path) -> dict[str, int]:
    """When each finished shard was written, in nanoseconds."""
    return {path.stem: path.with_suffix(".parquet").stat().st_mtime_ns for path in working.glob("*.json")}


def in_process(work, *args, **options) -> multiprocessing.Process:
    """Start work in a process and a session of its own."""

    def run():
        os.setsid()
        try:
            work(*args, **options)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        except KeyboardInterrupt:
            os._exit(2)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def wait_until_none_is_left(process: multiprocessing.Process) -> None:
    """Wait for a process and all that it started."""
    process.join(20)

    def gone():
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(gone)


def write_or_die(content: int, path: Path) -> dict:
    if content == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(content, path)


def write_or_fail(content: int, path: Path) -> dict:
    if content == 1:
        raise KeyError("a bug")
    return write(content, path, seconds=30)


def write_two_and_wait(content: int, path: Path) -> dict:
    return write(content, path, seconds=0 if content < 2 else 30)


def write_only(wanted, content: int, path: Path) -> dict:
    return write(content, path) | {"damaged": [] if content in wanted else [[f"r{content}", "is cut"]]}


def write_damaged(content: int, path: Path) -> dict:
    damaged = [[f"r{content} {i}", "is cut"] for i in range(4)] if content in (2, 6) else []
    return write(content, path) | {"damaged": damaged}


def write_from_a_full_cache(content: int, path: Path) -> dict:
    raise OSError(errno.ENOSPC, "recording 3: No space left on device", "/mnt/source")


def write_and_count(log: Path, content: int, path: Path) -> dict:
    with log.open("a") as file:
        file.write("x")
    return write(content, path)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "corpus"


@pytest.fixture
def working(tmp_path) -> Path:
    return tmp_path / ".corpus.building"


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, bytes]:
    """What a build that nothing disturbs writes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "corpus"
    build(folder, num_proc=1)
    return content(folder)


def test_the_folder_appears_with_all_shards_and_its_summary(folder, expected):
    summary = build(folder)
    assert summary == read_summary(folder)
    assert summary["key"] == "k" and summary["row_format_version"] == ROW_FORMAT_VERSION
    assert summary["splits"] == {"train": {"num_rows": 80, "num_bytes": 8000}}
    assert sorted(expected) == ["build.json", *(f"train-0000{i}-of-00008.parquet" for i in range(8))]
    assert content(folder) == expected
    assert os.listdir(folder.parent) == ["corpus"]


def test_a_finished_folder_is_not_written_again(folder):
    summary = build(folder)
    assert build(folder, write=None) == summary


def test_an_empty_folder_is_taken(folder, expected):
    folder.mkdir()
    build(folder)
    assert content(folder) == expected


def test_a_folder_with_something_else_is_left_alone(folder):
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is there already.*name another folder"):
        build(folder)
    assert os.listdir(folder.parent) == ["corpus"] and os.listdir(folder) == ["mine.txt"]


def test_a_finished_folder_of_another_key_is_left_alone(folder, expected):
    build(folder)
    with pytest.raises(FileExistsError, match="from other files, arguments or versions: name another folder"):
        build(folder, key="other")
    assert content(folder) == expected


def test_a_finished_folder_that_lost_a_shard_is_not_taken_for_whole(folder):
    build(folder)
    (folder / "train-00005-of-00008.parquet").unlink()
    with pytest.raises(
        FileNotFoundError, match="has 7 of 8 shards of split train, train-00005-of-00008.parquet is mis"
    ):
        build(folder)


def test_a_folder_is_replaced_when_the_new_one_is_whole(folder, working):
    build(folder, key="old")
    before = content(folder)
    stop_at_the_end(folder, replaces="old")
    assert content(folder) == before
    build(folder, write=None, replaces="old")
    assert read_summary(folder)["key"] == "k" and os.listdir(folder.parent) == ["corpus"]


def make_files(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.parquet").touch()


def test_the_files_of_a_split_are_its_own_and_in_order(folder):
    make_files(folder, *shard_names("a", 3)[::-1], *shard_names("a-of-b", 1), *shard_names("a_b", 2), "other")
    assert split_files(folder, "a") == [folder / f"a-0000{i}-of-00003.parquet" for i in range(3)]
    assert split_files(str(folder), "a-of-b") == [folder / "a-of-b-00000-of-00001.parquet"]


def test_a_split_that_is_not_whole_is_refused(folder):
    make_files(folder, *shard_names("a", 3)[:2], *shard_names("c", 1))
    with pytest.raises(
        FileNotFoundError, match="2 of 3 shards of split a, a-00002-of-00003.parquet is missing: remove"
    ):
        split_files(folder, "a")
    with pytest.raises(FileNotFoundError, match="corpus' has no shards of split b: remove that folder and run"):
        split_files(folder, "b")
    with pytest.raises(FileNotFoundError, match="none' has no shards of split a"):
        split_files(folder / "none", "a")


def test_a_split_of_two_builds_is_refused(folder):
    make_files(folder, *shard_names("a", 2), *shard_names("a", 1))
    with pytest.raises(
        ValueError, match="mixes shards of two builds, as a-00000-of-00001.parquet and a-00000-of-00002.parquet: remove"
    ):
        split_files(folder, "a")


def test_a_folder_may_be_named_relative_to_the_current_one(folder, expected, monkeypatch):
    folder.mkdir()
    monkeypatch.chdir(folder)
    build(Path("."))
    assert content(folder) == expected


def test_less_than_one_process_is_refused(folder):
    with pytest.raises(ValueError, match="--num-proc 0: at least one process"):
        build(folder, num_proc=0)


def test_a_killed_build_goes_on_where_it_stopped(folder, working, expected):
    process = in_process(build, folder, partial(write, seconds=0.2))
    wait_for(lambda: len(finished_shards(working)) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    wait_until_none_is_left(process)
    before = finished_shards(working)
    assert 3 <= len(before) < 8 and not folder.exists()
    assert list(working.glob("*.partial"))  # what the kill left half-written

    stop_at_the_end(folder, partial(write_and_count, working.parent / "written"))
    assert finished_shards(working).items() >= before.items()
    assert not list(working.glob("*.partial"))
    assert len((working.parent / "written").read_text()) == 8 - len(before)
    build(folder, write=None)
    assert content(folder) == expected and not working.exists()


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("step", [0, 1, 5, 9])
def test_a_build_killed_while_it_is_finished_is_finished_by_the_next_call(folder, working, expected, replaced, step):
    """The summary is written, notes of 8 shards are removed, and the folder gets its name."""
    if replaced:
        build(folder, key="old")

    def die_at_the_step():
        steps = iter(range(100))

        def kill_at_the_step(real):
            def do(self, *arguments, **options):
                if (working / "build.json").exists() and next(steps) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, *arguments, **options)

            return do

        os.replace, Path.unlink = kill_at_the_step(os.replace), kill_at_the_step(Path.unlink)
        build(folder, replaces="old")

    process = in_process(die_at_the_step)
    wait_until_none_is_left(process)
    assert process.exitcode == -signal.SIGKILL and (read_summary(folder) or {}).get("key") != "k"
    build(folder, write=None, replaces="old")  # nothing is left to write
    assert content(folder) == expected and os.listdir(folder.parent) == ["corpus"]


def test_a_build_killed_when_all_is_named_leaves_nothing_behind_after_the_next_call(folder, working, expected):
    build(folder)
    working.mkdir()
    (working / "train-00000-of-00008.json").write_text("{}")
    build(folder, write=None)
    assert content(folder) == expected and not working.exists()


def test_a_build_of_another_key_begins_anew(folder, working):
    stop_at_the_end(folder, key="old", plan=[Shard("train-00000-of-00001", 9, 10), *PLAN[:3]])
    assert len(finished_shards(working)) == 4
    build(folder)
    assert read_summary(folder)["key"] == "k"
    assert (folder / "train-00000-of-00008.parquet").read_bytes()[:1] == b"\0"
    assert len(content(folder)) == 9


def test_how_much_of_an_earlier_call_is_of_no_use_is_said_once(folder, caplog):
    changed = [
        Shard(shard.name, shard.content, 10, key="new" if i in (0, 3, 4) else "old") for i, shard in enumerate(PLAN)
    ]
    stop_at_the_end(folder, key="old")
    assert not caplog.records
    stop_at_the_end(folder, plan=changed)
    assert caplog.messages == [
        "3 of 8 shards were made from other files, arguments or versions, or are damaged, and are written again"
    ]
    caplog.clear()
    fewer = [Shard(name, i, 10) for i, name in enumerate(shard_names("train", 4))]
    build(folder, plan=fewer)
    assert [message[:13] for message in caplog.messages] == ["8 of 8 shards"]
    caplog.clear()
    build(folder, plan=fewer)
    assert not caplog.records


def test_a_shard_of_its_own_key_outlives_a_change_elsewhere(folder, tmp_path):
    def plan(last):
        return [Shard(name, i, 10, key=f"{i}") for i, name in enumerate(shard_names("train", 2))] + [
            Shard("test-00000-of-00001", 5, 10, key=last)
        ]

    stop_at_the_end(folder, plan=plan("old"), key="old")
    build(folder, partial(write_and_count, tmp_path / "written"), plan=plan("new"), key="new")
    assert (tmp_path / "written").read_text() == "x"
    assert list(read_summary(folder)["splits"]) == ["train", "test"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows, note: rows.unlink(),
        lambda rows, note: rows.write_bytes(rows.read_bytes()[:-1]),
        lambda rows, note: note.write_text(""),
        lambda rows, note: note.unlink(),
        lambda rows, note: note.write_text("{}"),
    ],
    ids=["rows lost", "rows cut", "note empty", "note lost", "note of nothing"],
)
def test_a_shard_that_was_damaged_meanwhile_is_written_again(folder, working, expected, damage):
    stop_at_the_end(folder)
    damage(*(working / f"train-00002-of-00008.{suffix}" for suffix in ("parquet", "json")))
    build(folder)
    assert content(folder) == expected


def test_a_second_build_of_the_same_is_refused_while_the_first_one_runs(folder, working, expected):
    process = in_process(build, folder, partial(write, seconds=30))
    wait_for(lambda: list(working.glob("*.partial")))
    with pytest.raises(RuntimeError, match="another process builds here.*wait for it, or stop it"):
        build(folder)
    os.kill(process.pid, signal.SIGKILL)
    wait_until_none_is_left(process)
    build(folder)
    assert content(folder) == expected


def test_a_full_disk_leaves_no_half_file_under_a_final_name_and_the_build_goes_on(folder, working, expected, capfd):
    def build_with_little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))  # each shard has 1000 bytes
        build(folder)

    write_some(folder)
    process = in_process(build_with_little_room)
    wait_until_none_is_left(process)
    said = capfd.readouterr().out
    assert process.exitcode == 1
    assert f"OSError: [Errno {errno.EFBIG}] {folder.parent} has no room for the build" in said
    assert "make room and run the same command, it goes on where it stopped" in said
    assert not folder.exists()
    assert sorted(finished_shards(working)) == [PLAN[0].name, PLAN[4].name]
    assert not [path for path in working.iterdir() if path.suffix not in (".parquet", ".json", ".txt")]
    build(folder)
    assert content(folder) == expected


def test_no_room_for_the_summary_leaves_no_folder(folder, expected, capfd):
    def build_with_little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        build(folder, summarize=lambda notes: {"long": "x" * 1000})

    process = in_process(build_with_little_room)
    wait_until_none_is_left(process)
    assert process.exitcode == 1 and "has no room for the build" in capfd.readouterr().out
    assert not folder.exists()
    build(folder, write=None)
    assert content(folder) == expected


def test_a_killed_worker_is_named_as_such_and_finished_shards_are_kept(folder, working, expected):
    with pytest.raises(
        RuntimeError, match="was killed, perhaps because memory ran out.*smaller --num-proc, it goes on"
    ):
        build(folder, write_or_die, num_proc=1)
    assert len(finished_shards(working)) >= 1 and not folder.exists()
    assert not list(working.glob("*.partial"))
    build(folder)
    assert content(folder) == expected


def test_ctrl_c_stops_at_once_without_a_process_left_and_the_build_goes_on(folder, working, expected, capfd):
    process = in_process(build, folder, write_two_and_wait)
    wait_for(lambda: len(finished_shards(working)) == 2 and len(list(working.glob("*.partial"))) == 2)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    wait_until_none_is_left(process)
    assert time.monotonic() - started < 5
    assert process.exitcode == 2
    assert not capfd.readouterr().err  # of workers' tracebacks
    assert not folder.exists() and not list(working.glob("*.partial"))
    before = finished_shards(working)
    assert len(before) == 2
    build(folder)
    assert content(folder) == expected


def test_an_error_in_one_process_ends_the_others_and_is_raised(folder, working):
    started = time.monotonic()
    with pytest.raises(KeyError, match="a bug"):
        build(folder, write_or_fail)
    assert time.monotonic() - started < 5
    assert not multiprocessing.active_children() and not list(working.glob("*.partial"))


def test_all_damaged_recordings_are_named_and_the_other_shards_kept(folder, working, expected):
    with pytest.raises(ValueError, match="8 recordings cannot be read: .* Shards without any are kept") as raised:
        build(folder, write_damaged)
    said = str(raised.value)
    assert "r2 0: is cut; r2 1: is cut;" in said and "(and 3 more)" in said
    assert "r6 1" not in said and f"--exclude {working / 'damaged.txt'}, and run the same command" in said
    assert (working / "damaged.txt").read_text().splitlines() == [f"r{i} {j}" for i in (2, 6) for j in range(4)]
    assert sorted(finished_shards(working)) == [shard.name for shard in PLAN if shard.content not in (2, 6)]
    with pytest.raises(ValueError, match="8 recordings cannot be read"):
        build(folder, write_damaged)
    assert not folder.exists()
    stop_at_the_end(folder)
    assert (working / "damaged.txt").exists()  # the call that goes on has it among its arguments
    build(folder)
    assert content(folder) == expected and not working.exists()


def test_the_file_of_damaged_recordings_names_what_was_excluded_before_too(folder, working):
    with pytest.raises(ValueError, match=r"8 recordings cannot be read.*--exclude \S+/damaged.txt, and run"):
        build(folder, write_damaged, excluded={"r0", "r2 1"})
    assert (working / "damaged.txt").read_text() == "r0\nr2 0\nr2 1\nr2 2\nr2 3\nr6 0\nr6 1\nr6 2\nr6 3\n"


def test_no_room_elsewhere_is_not_said_to_be_that_of_the_build(folder):
    with pytest.raises(OSError, match=r"^\[Errno 28\] recording 3: No space left on device: '/mnt/source'$"):
        build(folder, write_from_a_full_cache)


def test_the_bar_counts_records_and_begins_where_the_last_call_stopped(folder, monkeypatch):
    bars = []

    class Bar(contextlib.nullcontext):
        def __init__(self, **options):
            super().__init__(self)
            self.options, self.count = options, options["initial"]
            bars.append(self)

        def update(self, count):
            self.count += count

    monkeypatch.setattr("mets_ecg.data.building.shards.tqdm", Bar)
    write_some(folder)
    build(folder, description="writing")
    assert [(bar.options["initial"], bar.options["total"], bar.count) for bar in bars] == [(0, 80, 80), (20, 80, 80)]
    assert bars[1].options["desc"] == "writing" and bars[1].options["unit"] == "record"


@pytest.mark.parametrize(
    ("num_items", "count"),
    [(0, 0), (1, 1), (1000, 1), (1001, 2), (4000, 4), (4001, 8), (21799, 24), (800_035, 808)],
)
def test_shards_are_even_and_a_multiple_of_8_unless_few(num_items, count):
    parts = split_evenly(range(num_items), 1000)
    assert len(parts) == count
    assert [i for part in parts for i in part] == list(range(num_items))
    assert not parts or max(map(len, parts)) - min(map(len, parts)) <= 1


def test_no_shard_is_empty_however_few_items_there_are():
    assert [list(part) for part in split_evenly("abcde", 1)] == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_shards_are_named_as_on_the_hub():
    assert shard_names("train", 2) == ["train-00000-of-00002", "train-00001-of-00002"]


def test_splits_with_hyphens_are_counted_by_name():
    plan = [Shard(name, None, 1) for name in (*shard_names("a-of-b", 2), *shard_names("c", 1))]
    notes = [{"num_rows": n, "num_bytes": 10 * n} for n in (1, 2, 4)]
    assert summarize_splits(plan, notes)["splits"] == {
        "a-of-b": {"num_rows": 3, "num_bytes": 30},
        "c": {"num_rows": 4, "num_bytes": 40},
    }


def corpus_rows(count: int, num_samples=lambda i: 50 + i) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "record_id": f"{i}",
            "signal": rng.integers(-32768, 32768, (1 + i % 3, num_samples(i))).astype(np.int16),
            "gain": np.full(1 + i % 3, 1000.0),
            "baseline": np.arange(1 + i % 3, dtype=np.int32),
            "num_samples": num_samples(i),
            "sampling_rate": 100.0,
            "lead_names": ["I", "II", "V1"][: 1 + i % 3],
            "report": None if i % 2 else "Sinusrhythmus, ä",
            "statements": [{"code": "NORM", "likelihood": 100.0}] if i % 2 else [],
            "labels_super": [["NORM"], ["MI", "CD"], None][i % 3],
        }
        for i in range(count)
    ]


def test_rows_come_back_from_a_shard_as_they_were_written(tmp_path):
    features = corpus_features({"labels_super": ["NORM", "MI", "CD"]}, {"kind": ClassLabel(names=["a", "b"])})
    rows = corpus_rows(7)
    rows[3]["kind"] = "b"
    assert write_parquet(iter(rows), tmp_path / "a.parquet", features) == 7
    back = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert back.features == features
    for row, own in zip(rows, back, strict=True):
        np.testing.assert_array_equal(own["signal"], row["signal"])
        assert own["gain"] == row["gain"].tolist() and own["baseline"] == row["baseline"].tolist()
        assert own["lead_names"] == row["lead_names"] and own["report"] == row["report"]
        assert own["statements"] == row["statements"]
        names = features["labels_super"].feature.names
        labels = None if own["labels_super"] is None else [names[i] for i in own["labels_super"]]
        assert labels == row["labels_super"]
        assert own["age"] is None and own["patient_id"] is None
    assert back["kind"] == [None] * 3 + [1] + [None] * 3
    table = pq.read_table(tmp_path / "a.parquet")
    for row, own in zip(rows, table_rows(table), strict=True):
        np.testing.assert_array_equal(own["signal"], row["signal"])
        assert own["signal"].dtype == np.int16


def test_matrices_of_one_shape_come_back(tmp_path):
    features = Features({"input_values": Array2D((2, 3), "float32"), "mask": List(Value("int8"), length=2)})
    rows = [{"input_values": np.full((2, 3), i, np.float32), "mask": np.array([1, 0], np.int8)} for i in range(3)]
    write_parquet(rows, tmp_path / "a.parquet", features)
    back = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert back.features == features
    np.testing.assert_array_equal(back.with_format("numpy")["input_values"][2], np.full((2, 3), 2))
    assert back["mask"][0] == [1, 0]


@pytest.mark.parametrize(
    ("num_samples", "groups"), [(10, [100, 100, 50]), (3_000_000, [3, 3, 1])], ids=["by rows", "by bytes"]
)
def test_what_a_writer_holds_at_once_is_bounded(tmp_path, num_samples, groups):
    signal = np.zeros((1, num_samples), np.int16)
    rows = ({"record_id": "r", "signal": signal} for _ in range(sum(groups)))
    write_parquet(rows, tmp_path / "a.parquet", corpus_features({}))
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == groups


def test_a_shard_without_rows_can_be_read(tmp_path):
    assert write_parquet([], tmp_path / "a.parquet", corpus_features({})) == 0
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


def test_a_class_that_the_features_do_not_know_is_refused(tmp_path):
    rows = [row | {"labels_super": ["HYP"]} for row in corpus_rows(1)]
    with pytest.raises(ValueError, match="HYP"):
        write_parquet(rows, tmp_path / "a.parquet", corpus_features({"labels_super": ["NORM"]}))


def test_samples_beyond_16_bits_are_refused(tmp_path):
    rows = [{"record_id": "r", "signal": np.full((1, 4), 40_000, np.int32)}]
    with pytest.raises(ValueError, match="40000"):
        write_parquet(rows, tmp_path / "a.parquet", corpus_features({}))


def test_the_summary_of_a_folder_without_one_is_none(tmp_path):
    assert read_summary(tmp_path) is None and read_summary(tmp_path / "none") is None
    (tmp_path / "build.json").write_text(json.dumps({"key": "k"}))
    assert read_summary(tmp_path) == {"key": "k"}
