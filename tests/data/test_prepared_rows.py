import json
import subprocess
import sys
from collections import Counter

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data import prepared_rows
from mets_ecg.data.building.shards import shard_names, to_table
from mets_ecg.data.parts import select_part
from mets_ecg.data.prepare import prepared_features
from mets_ecg.data.prepared_rows import MemoryMappedRows, open_stream
from mets_ecg.data.rows import ROW_FORMAT_VERSION, corpus_features
from mets_ecg.data.saved_corpus import SavedCorpus

LEADS, SAMPLES = 3, 50
FEATURES = prepared_features(
    corpus_features({"labels_super": ["NORM", "MI"]}),
    ECGFeatureExtractor(sampling_rate=100, lead_names=["I", "II", "V1"], max_duration=0.5, bandpass=None),
)
# One shard of the second split is smaller than a batch, one holds no row at all.
SHARDS = {"train": (41, 23, 37, 0, 30, 3, 29), "test": (17,)}
NUM_ROWS = 180
KINDS = ("memory-mapped", "streamed")


def make_row(i: int) -> dict:
    """Row i of the corpus: its samples say which one it is; every 7th is padded, every 5th lacks a lead."""
    num_valid = SAMPLES if i % 7 else 20 + i % 11
    lead_mask = np.array([1, i % 5 != 0, 1], dtype=np.int8)
    signal = np.full((LEADS, SAMPLES), i, dtype=np.float32) * lead_mask[:, None]
    signal[:, num_valid:] = 0
    return {
        "record_id": f"r{i}",
        "patient_id": f"p{i // 2}" if i % 3 else None,
        "report": "normal" if i % 4 else None,
        "statements": [{"code": "NORM", "likelihood": 100.0}] * (i % 3),
        "labels_super": [["NORM"], ["MI", "NORM"], [], None][i % 4],
        "fold": i // 20 + 1 if i % 6 else None,
        "start_time": f"1990-01-01T00:{i // 60:02}:{i % 60:02}" if i % 2 else None,
        "input_values": signal,
        "num_valid": num_valid,
        "lead_mask": lead_mask,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared rows in eight shards, with row groups of 8."""
    folder = tmp_path_factory.mktemp("prepared") / "rows"
    folder.mkdir()
    written = 0
    for split, lengths in SHARDS.items():
        for name, length in zip(shard_names(split, len(lengths)), lengths, strict=True):
            rows = [make_row(i) for i in range(written, written + length)]
            with pq.ParquetWriter(folder / f"{name}.parquet", FEATURES.arrow_schema) as writer:
                if rows:
                    writer.write_table(to_table(rows, FEATURES), row_group_size=8)
            written += length
    assert written == NUM_ROWS
    splits = {split: {"num_rows": sum(lengths)} for split, lengths in SHARDS.items()}
    summary = {"key": "k", "row_format_version": ROW_FORMAT_VERSION, "splits": splits, "feature_extractor": {}}
    (folder / "build.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def mapped(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield MemoryMappedRows(SavedCorpus(folder).dataset())


@pytest.fixture(scope="module")
def stream(folder):
    """Opens the same rows as a stream with a window."""
    corpus = SavedCorpus(folder)
    paths = [path for files in corpus.files.values() for path in files]
    splits = [split for split, files in corpus.files.items() for _ in files]
    return lambda window=16: open_stream(paths, corpus=corpus.corpus, splits=splits, window=window)


@pytest.fixture(params=KINDS)
def rows(request, mapped, stream):
    return mapped if request.param == "memory-mapped" else stream()


@pytest.fixture
def read(monkeypatch):
    """Counts which files are opened, and which row groups of them are read."""
    opened, groups = Counter(), []
    real_open, real_read = prepared_rows.fsspec.open, prepared_rows._read_group

    def count_open(path, mode):
        opened[path.rsplit("/", 1)[1].split("-of")[0]] += 1
        return real_open(path, mode)

    def count_group(parquet, group, chosen):
        groups.append(group)
        return real_read(parquet, group, chosen)

    monkeypatch.setattr(prepared_rows.fsspec, "open", count_open)
    monkeypatch.setattr(prepared_rows, "_read_group", count_group)
    return opened, groups


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def identity(batch: dict) -> list[int]:
    """Which rows of the corpus a batch holds, read from the samples; no row but 0 has a first lead of zeros."""
    return batch["input_values"][:, 0, 0].int().tolist()


def flat(batches) -> list[int]:
    return [row for batch in batches for row in identity(batch)]


def test_both_kinds_hold_the_same_rows_masks_and_columns(mapped, stream):
    streamed = stream()
    assert len(mapped) == len(streamed) == NUM_ROWS
    assert mapped.features == streamed.features
    assert mapped.column_names == streamed.column_names
    for name in mapped.column_names:
        assert mapped[name][:] == streamed[name][:]
    pairs = list(zip(mapped.in_order(32), streamed.in_order(32), strict=True))
    assert all(equal(*pair) for pair in pairs)
    assert [len(own["index"]) for own, _ in pairs] == [32] * 5 + [20]


def test_rows_are_those_that_were_written(rows):
    row, batch = make_row(35), list(rows.in_order(18))[1]
    assert np.array_equal(batch["input_values"][17].numpy(), row["input_values"])
    assert batch["lead_mask"][17].tolist() == [True, False, True]
    assert batch["ecg_attention_mask"][17].tolist() == [i < row["num_valid"] for i in range(SAMPLES)]
    assert batch["input_values"].dtype == torch.float32
    assert batch["lead_mask"].dtype == batch["ecg_attention_mask"].dtype == torch.bool
    assert batch["index"].dtype == torch.int64


def test_columns_keep_nulls_class_names_and_times(rows):
    features = rows.features["labels_super"].feature
    for i, labels in enumerate(rows["labels_super"]):
        written = make_row(i)["labels_super"]
        assert (labels is None) == (written is None)
        assert [features.int2str(label) for label in labels or []] == (written or [])
    for name in ("fold", "report", "start_time", "statements"):
        assert rows[name][:] == [make_row(i)[name] for i in range(NUM_ROWS)]
    assert "input_values" not in rows.column_names


def test_only_a_batch_with_padding_has_a_mask(rows):
    batches = list(rows.select([1, 2, 3, 4, 5, 6, 7, 8]).in_order(6))
    assert "ecg_attention_mask" not in batches[0]
    assert batches[1]["ecg_attention_mask"].sum(dim=1).tolist() == [27, SAMPLES]


def test_what_is_done_to_a_batch_does_not_reach_the_rows(rows):
    first = list(rows.in_order(16))
    for batch in rows.in_order(16):
        for values in batch.values():
            values.zero_()
    assert all(equal(*pair) for pair in zip(first, rows.in_order(16), strict=True))


@pytest.mark.parametrize(("batch_size", "window"), [(7, 16), (16, 16), (16, 7), (30, 1), (5, 64), (32, 1000)])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_a_row_comes_once_on_one_node_and_all_nodes_have_as_many_batches(
    mapped, stream, batch_size, window, world_size
):
    for rows in (mapped, stream(window)):
        nodes = [
            list(rows.epoch(batch_size, seed=1, epoch=2, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        assert {len(batches) for batches in nodes} == {rows.num_batches(batch_size, world_size)}
        assert {len(batch["index"]) for batches in nodes for batch in batches} == {batch_size}
        came = [row for batches in nodes for row in flat(batches)]
        assert len(set(came)) == len(came) > NUM_ROWS - world_size * (batch_size + 1)
        assert [int(i) for batches in nodes for batch in batches for i in batch["index"]] == came


def test_batches_hold_what_belongs_to_their_index(rows):
    whole = next(rows.in_order(NUM_ROWS))
    for batch in rows.epoch(8, seed=3, epoch=0):
        assert torch.equal(batch["input_values"], whole["input_values"][batch["index"]])
        assert torch.equal(batch["lead_mask"], whole["lead_mask"][batch["index"]])
        expected = whole["ecg_attention_mask"][batch["index"]]
        assert torch.equal(batch.get("ecg_attention_mask", torch.ones(8, SAMPLES, dtype=torch.bool)), expected)


def test_the_order_is_a_function_of_seed_and_epoch(rows):
    def order(seed, epoch, rank=0, world_size=1):
        return flat(rows.epoch(10, seed=seed, epoch=epoch, rank=rank, world_size=world_size))

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4
    assert sorted(order(0, 1)) == sorted(order(5, 4)) == list(range(NUM_ROWS))
    assert order(0, 1) != sorted(order(0, 1))
    assert order(0, 1, 1, 2) == order(0, 1, 1, 2) != order(0, 2, 1, 2)


def test_a_stream_mixes_rows_within_a_window_and_the_shards_themselves(stream):
    orders = [flat(stream(64).epoch(64, seed=0, epoch=epoch))[:64] for epoch in range(12)]
    assert len({min(order) // 41 for order in orders}) > 1  # not always the same shard first
    distances = np.abs(np.diff(orders[0]))
    assert np.median(distances) > 5


@pytest.mark.parametrize("window", [1, 7, 41, 1000])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 3)])
def test_going_on_from_any_batch_gives_what_would_have_come(mapped, stream, window, rank, world_size):
    chosen = [i for i in range(NUM_ROWS) if i % 3]
    for rows in (mapped.select(chosen), stream(window).select(chosen), stream(window)):
        arguments = {"seed": 4, "epoch": 1, "rank": rank, "world_size": world_size}
        whole = list(rows.epoch(9, **arguments))
        for k in range(len(whole) + 1):
            rest = list(rows.epoch(9, start=9 * k, **arguments))
            assert len(rest) == len(whole) - k
            assert all(equal(*pair) for pair in zip(whole[k:], rest, strict=True))


def test_going_on_with_another_batch_size_gives_the_same_rows(rows):
    order = flat(rows.epoch(10, seed=0, epoch=0))
    assert flat(rows.epoch(15, seed=0, epoch=0, start=30)) == order[30:]
    assert flat(rows.epoch(4, seed=0, epoch=0, start=30)) == order[30:178]
    assert flat(rows.epoch(4, seed=0, epoch=0, start=1000)) == []


def test_going_on_reads_nothing_of_the_windows_before(stream, read):
    opened, groups = read
    rows = stream(16)
    opened.clear()
    left = list(rows.epoch(4, seed=0, epoch=0, start=160))
    assert len(left) == 5
    assert len(groups) <= 5
    assert sum(opened.values()) <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_selection_is_in_the_order_named(mapped, stream, kind):
    indices = [170, 4, 64, 99, 5, 100]
    rows = (mapped if kind == "memory-mapped" else stream()).select(indices)
    assert rows["record_id"][:] == [f"r{i}" for i in indices]
    came = {}
    for batch in rows.in_order(4):
        came |= dict(zip(batch["index"].tolist(), identity(batch), strict=True))
    assert came == dict(enumerate(indices))


def test_a_selection_of_a_selection_names_the_first_ones_positions(rows):
    twice = rows.select(np.arange(0, NUM_ROWS, 2)).select([80, 3, 40])
    assert twice["record_id"][:] == ["r160", "r6", "r80"]
    assert sorted(flat(twice.in_order(2))) == [6, 80, 160]
    assert sorted(flat(twice.epoch(1, seed=0, epoch=0))) == [6, 80, 160]


def test_a_row_selected_twice_comes_twice_from_memory_and_is_refused_in_a_stream(mapped, stream):
    assert flat(mapped.select([3, 150, 3]).in_order(2)) == [3, 150, 3]
    with pytest.raises(ValueError, match="a stream gives a row once"):
        stream().select([3, 150, 3])


def test_folds_are_selected_alike_and_rows_without_a_fold_belong_to_none(mapped, stream):
    parts = [select_part(rows, ["2", "5", "9"]) for rows in (mapped, stream())]
    assert parts[0]["record_id"][:] == parts[1]["record_id"][:]
    assert all(equal(*pair) for pair in zip(*(part.in_order(9) for part in parts), strict=True))
    assert set(parts[1]["fold"]) == {2, 5, 9}
    assert len(parts[1]) == 51


def test_shards_and_row_groups_without_a_selected_row_are_not_read(stream, read):
    opened, groups = read
    rows = stream().select([42, 45, 140, 172])
    opened.clear()
    assert flat(rows.in_order(10)) == [42, 45, 140, 172]
    assert opened == {"train-00001": 1, "train-00006": 1, "test-00000": 1}
    assert groups == [0, 0, 1]
    assert sorted(flat(rows.epoch(2, seed=0, epoch=0))) == [42, 45, 140, 172]
    assert set(opened) == {"train-00001", "train-00006", "test-00000"}


def test_a_node_opens_only_the_shards_of_its_stretch(stream, read):
    opened, _ = read
    rows = stream()
    by_node = []
    for rank in range(3):
        opened.clear()
        list(rows.epoch(4, seed=0, epoch=0, rank=rank, world_size=3))
        by_node.append(set(opened))
    assert set.union(*by_node) == {f"train-0000{i}" for i in (0, 1, 2, 4, 5, 6)} | {"test-00000"}
    assert sum(map(len, by_node)) <= 7 + 2  # a shard on the border of two stretches is opened by both


def test_nothing_selected_gives_nothing(rows):
    nothing = rows.select([])
    assert len(nothing) == nothing.num_batches(4) == 0
    assert list(nothing.in_order(4)) == list(nothing.epoch(4, seed=0, epoch=0)) == []
    assert nothing["record_id"][:] == []


def test_fewer_rows_than_a_batch_make_no_epoch(rows):
    few = rows.select([7, 8, 9])
    assert list(few.epoch(4, seed=0, epoch=0)) == []
    assert list(few.epoch(2, seed=0, epoch=0, rank=1, world_size=2)) == []
    assert len(list(few.epoch(1, seed=0, epoch=0, rank=1, world_size=2))) == 1


def test_one_shard_serves_several_nodes(folder):
    rows = open_stream(SavedCorpus(folder).files["test"], window=4)
    came = [flat(rows.epoch(2, seed=0, epoch=0, rank=rank, world_size=3)) for rank in range(3)]
    assert [len(own) for own in came] == [4, 4, 4]
    assert len(set(sum(came, []))) == 12


def test_the_order_within_a_shard_is_another_by_seed_and_epoch(folder):
    rows = open_stream(SavedCorpus(folder).files["test"], window=17)
    assert len({tuple(flat(rows.epoch(17, seed=seed, epoch=epoch))) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_memory_mapped_rows_of_any_selection_are_taken(mapped):
    chosen = mapped.select([31, 4, 150, 4])
    assert identity(chosen.take([2, 0, 3])) == [150, 31, 4]
    assert identity(mapped.select(range(60, 120)).take([0, 59])) == [60, 119]  # a slice, not an indirection


def test_rows_in_memory_are_as_good_as_those_on_disk(mapped):
    held = Dataset.from_dict(mapped.rows[:20], features=mapped.rows.features)
    pairs = zip(MemoryMappedRows(held).in_order(6), mapped.select(range(20)).in_order(6), strict=True)
    assert all(equal(*pair) for pair in pairs)


def test_a_stream_that_is_left_early_ends_quietly_with_the_interpreter(folder):
    code = """
import sys
from mets_ecg.data.prepared_rows import open_stream
rows = open_stream(sys.argv[1:], window=8)
shuffled = rows.epoch(4, seed=0, epoch=0)
next(shuffled)
ordered = rows.in_order(4)
next(ordered)
print("left")
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *SavedCorpus(folder).files["train"]],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "left\n", "")


def test_leads_are_masked_as_if_they_had_not_been_recorded_in_selections_too(rows):
    """Every fifth row lacks its second lead as it is."""
    some = rows.with_leads([True, True, False]).select(range(4, 60))
    for batches in (some.in_order(16), some.epoch(16, seed=0, epoch=1)):
        for batch in batches:
            lacking = torch.tensor([row % 5 == 0 for row in identity(batch)])
            assert torch.equal(batch["lead_mask"], torch.stack([~lacking | True, ~lacking, lacking & False], dim=1))
    assert all(batch["lead_mask"][:, 2].all() for batch in rows.in_order(16))
