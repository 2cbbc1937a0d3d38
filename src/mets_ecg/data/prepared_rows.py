"""What training and evaluation read: prepared rows as batches of tensors, from a memory map or from a stream.

Both kinds look like a `datasets.Dataset` where columns are concerned (`rows["fold"]`, `rows.select(...)`), and give
batches in the corpus' order or, for training, in an order that is a function of `(seed, epoch)`: the number of rows
consumed is then all the state there is, and going on from it is exact.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset, Features, concatenate_datasets

# What a processor makes of a recording; every other column of a prepared row is the corpus'.
INPUT_COLUMNS = ("input_values", "num_valid", "lead_mask")

_WINDOW = 2048
_FILES_AT_ONCE = 8


class PreparedRows(ABC):
    """Prepared rows; `columns` holds what they have beside the recordings.

    Batches hold `index (B,)` (position in these rows), `input_values (B, leads, samples)` float32, `lead_mask
    (B, leads)` bool and, only if some sample of the batch is padding, `ecg_attention_mask (B, samples)` bool.
    """

    def __init__(self, columns: Dataset):
        self.columns = columns
        self._kept_leads: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, column: str):
        """Return a column, without the recordings'."""
        return self.columns[column]

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return self.columns.column_names

    @property
    def features(self) -> Features:
        """Types of the columns."""
        return self.columns.features

    def select(self, indices: Sequence[int]) -> PreparedRows:
        """Return some of these rows, in the order named; of a stream, batches come in the stream's order all the same.

        Raises:
            ValueError: a row of a stream is named twice.
        """
        selected = self._select(indices)
        selected._kept_leads = self._kept_leads
        return selected

    def with_leads(self, kept: Sequence[bool]) -> PreparedRows:
        """Return these rows as if only some leads had been recorded; the others are masked."""
        rows = copy.copy(self)
        rows._kept_leads = torch.tensor(kept)
        return rows

    def in_order(self, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
        """Yield every row, the last batch perhaps smaller; `index` says which they are."""
        return map(self._without_masked_leads, self._in_order(batch_size))

    def _without_masked_leads(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._kept_leads is not None:
            batch["lead_mask"] = batch["lead_mask"] & self._kept_leads
        return batch

    @abstractmethod
    def _select(self, indices: Sequence[int]) -> PreparedRows: ...

    @abstractmethod
    def _in_order(self, batch_size: int) -> Iterator[dict[str, torch.Tensor]]: ...

    @abstractmethod
    def _shuffled(self, batch_size: int, seed: int, epoch: int, start: int, rank: int, world_size: int) -> Iterator: ...

    def num_batches(self, batch_size: int, world_size: int = 1) -> int:
        """Return how many full batches each node gets in an epoch."""
        return len(self) // world_size // batch_size

    def epoch(
        self, batch_size: int, *, seed: int, epoch: int, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the full batches of an epoch, in an order that `(seed, epoch)` decides.

        Every row comes once, on one of the nodes, but for those that do not fill a batch of each; which these are
        changes by epoch.

        Args:
            batch_size: rows of this node's batch.
            seed: of the order.
            epoch: its number.
            start: rows of this node that were consumed before: what comes is what would have come.
            rank: of this node.
            world_size: number of nodes.
        """
        left = self.num_batches(batch_size, world_size) * batch_size - start
        batches = self._shuffled(batch_size, seed, epoch, start, rank, world_size)
        for _ in range(left // batch_size):
            yield self._without_masked_leads(next(batches))


class MemoryMappedRows(PreparedRows):
    """Prepared rows on this machine's disk, in any order at memory speed."""

    def __init__(self, rows: Dataset):
        """Open prepared rows; `rows` must be as `prepare` returns them, or a selection of such."""
        super().__init__(rows.remove_columns(list(INPUT_COLUMNS)))
        self.rows = rows
        # A selection has an indirection of its own, which is applied here once.
        selected = np.arange(len(rows)) if rows._indices is None else rows._indices.column(0).to_numpy()
        self._positions = selected.astype(np.int64)
        shape = rows.features["input_values"].shape
        self._chunks = [_recordings(chunk, shape) for chunk in rows.data.column("input_values").chunks]
        self._starts = np.cumsum([0, *map(len, self._chunks)])
        own = rows.with_format("numpy", columns=["num_valid", "lead_mask"])[:]
        self._num_valid, self._lead_mask = own["num_valid"], own["lead_mask"].astype(bool)

    def _select(self, indices: Sequence[int]) -> MemoryMappedRows:
        return MemoryMappedRows(self.rows.select(indices))

    @classmethod
    def _join(cls, parts: Sequence[MemoryMappedRows], shared: list[str]) -> MemoryMappedRows:
        return cls(concatenate_datasets([rows.rows.select_columns([*shared, *INPUT_COLUMNS]) for rows in parts]))

    def take(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return the rows at these positions as one batch."""
        indices = np.asarray(indices)
        values = _gather(self._chunks, self._starts, self._positions[indices])
        return _batch(indices, values, self._num_valid[indices], self._lead_mask[indices])

    def _in_order(self, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, len(self), batch_size):
            yield self.take(range(start, min(start + batch_size, len(self))))

    def _shuffled(self, batch_size, seed, epoch, start, rank, world_size):
        order = np.random.default_rng([seed, epoch]).permutation(len(self))[rank::world_size]
        for first in range(start, len(order), batch_size):
            yield self.take(order[first : first + batch_size])


class WindowedRows(PreparedRows):
    """Recordings of any length, read in windows of the model's length; for evaluation.

    `in_order` yields the windows, and `index` says whose they are: a recording's comes once for each of its windows.

    Args:
        columns: the other columns, a row a recording.
        windows: a row a window.
        owners: `(windows,)`, which row of `columns` each is of.
    """

    def __init__(self, columns: Dataset, windows: MemoryMappedRows, owners: np.ndarray):
        super().__init__(columns)
        self._windows, self._owners = windows, owners

    def _select(self, indices: Sequence[int]) -> WindowedRows:
        indices = np.asarray(indices, dtype=np.int64)
        if len(np.unique(indices)) < len(indices):
            raise ValueError("a recording that is read in windows can be selected once")
        place = np.full(len(self), -1)
        place[indices] = np.arange(len(indices))
        kept = np.flatnonzero(place[self._owners] >= 0)
        return WindowedRows(self.columns.select(indices), self._windows.select(kept), place[self._owners][kept])

    @classmethod
    def _join(cls, parts: Sequence[WindowedRows], shared: list[str]) -> WindowedRows:
        columns = concatenate_datasets([rows.columns.select_columns(shared) for rows in parts])
        starts = np.cumsum([0, *map(len, parts)])
        owners = [rows._owners + start for rows, start in zip(parts, starts, strict=False)]
        windows = MemoryMappedRows._join([rows._windows for rows in parts], parts[0]._windows.column_names)
        return cls(columns, windows, np.concatenate(owners))

    def _in_order(self, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
        for batch in self._windows.in_order(batch_size):
            yield batch | {"index": torch.from_numpy(self._owners[batch["index"].numpy()])}

    def _shuffled(self, batch_size, seed, epoch, start, rank, world_size):
        raise TypeError("recordings that are read in windows are not trained on: prepare them with another crop")


@dataclass(frozen=True)
class _Shard:
    """A Parquet file: its path or URL, and how many rows each of its row groups has."""

    path: str
    group_lengths: tuple[int, ...]


class StreamedRows(PreparedRows):
    """Prepared rows read shard by shard, from Parquet files here or on the Hub; nothing is kept on disk.

    An epoch permutes the shards, lays their rows in a line, gives each node an equal stretch of it, and permutes the
    rows within windows of a stretch. Shards and row groups without a wanted row are not read.

    Args:
        shards: the files.
        columns: the other columns of all rows, in the shards' order.
        window: rows that are shuffled together, all in memory at once.
        selected: which rows count, and their order; all by default.
    """

    def __init__(
        self,
        shards: Sequence[_Shard],
        columns: Dataset,
        *,
        window: int = _WINDOW,
        selected: np.ndarray | None = None,
    ):
        self._shards, self._all_columns, self._window = list(shards), columns, window
        self._selected = np.arange(len(columns)) if selected is None else selected
        super().__init__(columns if selected is None else columns.select(self._selected))
        # Position in these rows of each row of the corpus, -1 where it is not among them; then the same by shard.
        place = np.full(len(columns), -1)
        place[self._selected] = np.arange(len(self._selected))
        ends = np.cumsum([sum(shard.group_lengths) for shard in shards])
        self._places = np.split(place, ends[:-1])

    def _select(self, indices: Sequence[int]) -> StreamedRows:
        chosen = self._selected[np.asarray(indices, dtype=np.int64)]
        if len(np.unique(chosen)) < len(chosen):
            raise ValueError("a stream gives a row once, and some are selected more often: leave streaming out")
        return StreamedRows(self._shards, self._all_columns, window=self._window, selected=chosen)

    @classmethod
    def _join(cls, parts: Sequence[StreamedRows], shared: list[str]) -> StreamedRows:
        columns = concatenate_datasets([rows._all_columns.select_columns(shared) for rows in parts])
        starts = np.cumsum([0, *(len(rows._all_columns) for rows in parts)])
        selected = np.concatenate([rows._selected + start for rows, start in zip(parts, starts, strict=False)])
        shards = [shard for rows in parts for shard in rows._shards]
        return cls(shards, columns, window=parts[0]._window, selected=selected)

    def _in_order(self, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
        for group in _grouped(_pieces(zip(self._shards, self._places, strict=True)), batch_size):
            yield _batch(**_join(group))

    def _shuffled(self, batch_size, seed, epoch, start, rank, world_size):
        order = np.random.default_rng([seed, epoch]).permutation(len(self._shards))
        shards = [(self._shards[i], self._places[i]) for i in order]
        stretch = len(self) // world_size
        # The window that `start` lies in is read again; those before it are not.
        first, skipped = divmod(start, self._window)
        done = first * self._window
        pieces = _first_rows(_pieces(shards, skip=rank * stretch + done), stretch - done)

        def shuffle():
            for k, window in enumerate(_grouped(pieces, self._window), start=first):
                starts = np.cumsum([0, *(len(piece["index"]) for piece in window)])
                order = np.random.default_rng([seed, epoch, rank, k]).permutation(starts[-1])
                for i in range(skipped if k == first else 0, len(order), batch_size):
                    rows = order[i : i + batch_size]
                    yield {name: _gather([piece[name] for piece in window], starts, rows) for name in window[0]}
                window.clear()  # before the next one is read

        for group in _grouped(shuffle(), batch_size):
            yield _batch(**_join(group))


def join_rows(parts: Sequence[PreparedRows]) -> PreparedRows:
    """Return the rows of several corpora as one, with the columns that they share.

    Raises:
        ValueError: some are streamed and some are not.
    """
    if len(parts) == 1:
        return parts[0]
    kinds = {type(rows) for rows in parts}
    if len(kinds) > 1:
        raise ValueError("some corpora are to be streamed and some are not: prepare all of them, or stream none")
    shared = [
        name
        for name, feature in parts[0].features.items()
        if all(name in rows.features and rows.features[name] == feature for rows in parts)
    ]
    return kinds.pop()._join(parts, shared)


def open_stream(
    paths: Sequence[str],
    *,
    corpus: str = "",
    splits: Sequence[str] | None = None,
    unused: Collection[str] = (),
    window: int = _WINDOW,
) -> StreamedRows:
    """Open Parquet files of prepared rows, and read their columns into memory, but for the recordings'.

    Args:
        paths: paths or URLs (`hf://datasets/...`) of the files.
        corpus: name of the corpus, for the column `corpus`.
        splits: of each file, for the column `split`.
        unused: columns that are not read.
        window: rows that are shuffled together.
    """
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        opened = list(pool.map(partial(_open_shard, left_out={*INPUT_COLUMNS, *unused}), paths))
    tables = []
    for (_, table), split in zip(opened, splits or [""] * len(opened), strict=True):
        for name, value in (("corpus", corpus), ("split", split)):
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
        tables.append(table)
    # Without a fingerprint `datasets` serialises the whole table to make one.
    fingerprint = hashlib.sha256(repr((list(paths), sorted(unused))).encode()).hexdigest()[:16]
    columns = Dataset(pa.concat_tables(tables), fingerprint=fingerprint)
    return StreamedRows([shard for shard, _ in opened], columns, window=window)


def _open_shard(path: str, *, left_out: set[str]) -> tuple[_Shard, pa.Table]:
    with fsspec.open(path, "rb") as file:
        parquet = pq.ParquetFile(file)
        groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        columns = [name for name in parquet.schema_arrow.names if name not in left_out]
        return _Shard(path, tuple(groups)), parquet.read(columns)


def _pieces(shards: Iterable[tuple[_Shard, np.ndarray]], *, skip: int = 0) -> Iterator[dict]:
    """Yield the rows of shards that have a place, but for the first `skip`, by row group, as arrays."""
    for shard, places in shards:
        wanted = []
        for group, own in enumerate(np.split(places, np.cumsum(shard.group_lengths)[:-1])):
            rows = np.flatnonzero(own >= 0)
            if len(rows) > skip:
                wanted.append((group, rows[skip:], own[rows[skip:]]))
            skip -= min(skip, len(rows))
        if wanted:
            with fsspec.open(shard.path, "rb") as file:
                parquet = pq.ParquetFile(file)
                for group, rows, index in wanted:
                    yield {"index": index, **_read_group(parquet, group, rows)}


def _read_group(parquet: pq.ParquetFile, group: int, rows: np.ndarray) -> dict:
    table = parquet.read_row_group(group, columns=list(INPUT_COLUMNS))
    shape = Features.from_arrow_schema(table.schema)["input_values"].shape
    values = np.concatenate([_recordings(chunk, shape) for chunk in table.column("input_values").chunks])
    lead_mask = np.stack(table.column("lead_mask").to_numpy()).astype(bool)
    read = {"input_values": values, "num_valid": table.column("num_valid").to_numpy(), "lead_mask": lead_mask}
    return _pick(read, rows) if len(rows) < len(table) else read


def _recordings(chunk: pa.Array, shape: tuple[int, int]) -> np.ndarray:
    """The recordings of an Arrow column, `(rows, leads, samples)`, without a copy."""
    storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    return storage.flatten().flatten().to_numpy().reshape(-1, *shape)


def _gather(chunks: Sequence[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of an array that lies in chunks; `starts` are their first rows, and the end."""
    gathered = np.empty((len(rows), *chunks[0].shape[1:]), dtype=chunks[0].dtype)
    for i, (row, k) in enumerate(zip(rows, np.searchsorted(starts, rows, "right") - 1, strict=True)):
        gathered[i] = chunks[k][row - starts[k]]
    return gathered


def _pick(part: dict, rows: np.ndarray | slice) -> dict:
    return {name: values[rows] for name, values in part.items()}


def _first_rows(parts: Iterator[dict], count: int) -> Iterator[dict]:
    for part in parts:
        if count <= len(part["index"]):
            yield _pick(part, slice(count))
            return
        count -= len(part["index"])
        yield part


def _grouped(parts: Iterator[dict], size: int) -> Iterator[list[dict]]:
    """Yield lists of pieces that have `size` rows together; the last list may have fewer."""
    pending, missing = [], size
    for part in parts:
        while len(part["index"]):
            pending.append(_pick(part, slice(missing)))
            part = _pick(part, slice(missing, None))
            missing -= len(pending[-1]["index"])
            if not missing:
                yield pending
                pending, missing = [], size
    if pending:
        yield pending


def _join(parts: Sequence[dict]) -> dict:
    """One piece of several, with memory of its own."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batch(index: np.ndarray, input_values: np.ndarray, num_valid: np.ndarray, lead_mask: np.ndarray) -> dict:
    batch = {
        "index": torch.from_numpy(index),
        "input_values": torch.from_numpy(input_values),
        "lead_mask": torch.from_numpy(lead_mask),
    }
    valid = torch.from_numpy(num_valid)
    num_samples = input_values.shape[-1]
    if (valid < num_samples).any():
        batch["ecg_attention_mask"] = torch.arange(num_samples) < valid[:, None]
    return batch
