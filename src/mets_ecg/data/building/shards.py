"""A folder of Parquet shards that appears whole or not at all: written in parallel, and resumed.

Shards are written into a hidden folder beside the one wanted; each is named as finished only once it is whole, and the
folder gets its name when all of them are there. The same call again goes on where the last one stopped.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import logging
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Array2D, ClassLabel, Features, List, Value
from tqdm.auto import tqdm

from ..rows import ROW_FORMAT_VERSION
from .locking import locked

_logger = logging.getLogger(__name__)

BUILD_SUMMARY = "build.json"
_DAMAGED = "damaged.txt"
_NAMED = 1000  # records of a kind in a summary: of a corpus of millions they would be megabytes

# A row group is what a streaming reader fetches at once, and what a writer keeps in memory.
_ROWS_PER_GROUP = 100
_BYTES_PER_GROUP = 16 * 2**20

REBUILD = "remove that folder and run the command that made it again"

_SHARD_NAME = re.compile(r"(?P<split>.+)-\d{5,}-of-(?P<count>\d{5,})")

# How the samples of recordings are coded in Parquet, by column.
_ENCODINGS = {"signal": "DELTA_BINARY_PACKED", "input_values": "BYTE_STREAM_SPLIT"}


@dataclass(frozen=True)
class Shard:
    """A shard to be written.

    Attributes:
        name: as `"train-00000-of-00008"`.
        content: what goes into it.
        num_rows: how many to expect.
        key: digest of what its rows depend on; the folder's where it is None.
    """

    name: str
    content: object
    num_rows: int
    key: str | None = None


def shard_names(prefix: str, count: int) -> list[str]:
    """Return the names of a split's shards, as the Hub writes them."""
    return [f"{prefix}-{i:05d}-of-{count:05d}" for i in range(count)]


def split_files(folder: str | os.PathLike[str], split: str) -> list[Path]:
    """Return the files of a split's shards, in order; all are there.

    Raises:
        FileNotFoundError: some or all are missing.
        ValueError: shards of two builds are mixed.
    """
    folder = Path(folder)
    found = {}
    for path in folder.glob("*.parquet"):
        name = _SHARD_NAME.fullmatch(path.stem)
        if name and name["split"] == split:
            found.setdefault(int(name["count"]), []).append(path)
    if not found:
        raise FileNotFoundError(f"{str(folder)!r} has no shards of split {split}: {REBUILD}")
    if len(found) > 1:
        first, second, *_ = sorted(min(files).name for files in found.values())
        raise ValueError(f"{str(folder)!r} mixes shards of two builds, as {first} and {second}: {REBUILD}")
    ((count, files),) = found.items()
    expected = [folder / f"{name}.parquet" for name in shard_names(split, count)]
    missing = sorted({*expected} - {*files})
    if missing:
        raise FileNotFoundError(
            f"{str(folder)!r} has {len(files)} of {count} shards of split {split}, {missing[0].name} is missing: "
            f"{REBUILD}"
        )
    return expected


def split_evenly(items: Sequence, per_shard: int) -> list[Sequence]:
    """Cut items into consecutive parts of about `per_shard`; their number is a multiple of 8 unless it is below 5.

    A multiple of 8 lets 2, 4 or 8 nodes stream whole shards each.
    """
    count = -(-len(items) // per_shard)
    count = min(len(items), count if count < 5 else -(-count // 8) * 8)
    return [items[len(items) * i // count : len(items) * (i + 1) // count] for i in range(count)]


def write_shards(
    folder: str | os.PathLike[str],
    shards: Sequence[Shard],
    write: Callable[[object, Path], dict],
    *,
    key: str,
    summarize: Callable[[list[dict]], dict],
    excluded: Collection[str] = (),
    replaces: str | None = None,
    num_proc: int | None = None,
    description: str = "building",
) -> dict:
    """Write the shards that are not yet written, and then give the folder its name.

    Args:
        folder: to appear, with one `<name>.parquet` a shard and the summary in `build.json`.
        shards: all shards of the folder.
        write: called as `write(content, path)` in another process; returns the shard's own summary, plain values.
            Where that has `damaged`, a list of `[record, reason]`, the shard is not kept.
        key: digest of everything that the rows depend on: a folder with another one is not touched, a shard with
            another one is written again.
        summarize: makes the folder's summary of the shards' summaries, in order.
        excluded: ids of records that the shards lack as asked; they are listed beside those that are damaged.
        replaces: key of a folder of this name that the new one replaces when it is whole.
        num_proc: processes; all processors by default.
        description: of the progress bar.

    Returns:
        The folder's summary.

    Raises:
        FileExistsError: the folder is there, with another key.
        FileNotFoundError: the folder is there, but lost shards.
        ValueError: recordings are damaged; the message names some, and a file that names all. Finished shards are
            kept. Or the folder is there, of an older row format.
        OSError: a shard cannot be written, for example because the disk is full, or the source cannot be read. Finished
            shards are kept.
        RuntimeError: a process was killed, for example because memory ran out, and finished shards are kept; or another
            process writes the same folder.
    """
    if num_proc is not None and num_proc < 1:
        raise ValueError(f"--num-proc {num_proc}: at least one process is needed")
    folder = Path(os.path.abspath(folder))
    ends = ("building", "building.lock", "replaced")
    working, lock, replaced = (folder.with_name(f".{folder.name}.{end}") for end in ends)
    with contextlib.ExitStack() as stack, _explain_full_disk(working):
        finished = _read_finished(folder, shards, key, replaces)
        if finished is None:
            working.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(lock, "builds here"))
            stack.callback(lock.unlink, missing_ok=True)
            finished = _read_finished(folder, shards, key, replaces)  # by the process that had the lock until now
        if finished is None:
            finished = read_summary(working)  # if an earlier call was stopped before it gave the folder its name
            if finished is None or finished["key"] != key:
                notes = _write_missing(working, shards, write, key, excluded, num_proc, description)
                finished = {"key": key, "row_format_version": ROW_FORMAT_VERSION, **summarize(notes)}
                _write_text(working / BUILD_SUMMARY, json.dumps(finished, indent=2))
            _tidy(working, {BUILD_SUMMARY, *(f"{shard.name}.parquet" for shard in shards)})
            if read_summary(folder) is not None:
                os.replace(folder, replaced)
            elif folder.is_dir():
                folder.rmdir()  # it is empty
            os.replace(working, folder)
    for path in (working, replaced):
        shutil.rmtree(path, ignore_errors=True)
    return finished


def _write_missing(working: Path, shards: Sequence[Shard], write, key: str, excluded, num_proc, description) -> list:
    """Write the shards that an earlier call has not; return the summaries of all."""
    todo = [shard for shard in shards if _read_note(working, shard, key) is None]
    _report_unusable(working, shards, todo)
    _tidy(working, {f"{shard.name}{suffix}" for shard in shards for suffix in (".parquet", ".json")} | {_DAMAGED})
    damaged = _run(todo, write, working, key, num_proc, description, total=sum(shard.num_rows for shard in shards))
    _refuse_damaged(damaged, excluded, working / _DAMAGED)
    return [_read_note(working, shard, key) for shard in shards]


def count_named(records: Sequence) -> dict:
    """Return how many records there are, and the first of them."""
    return {"count": len(records), "records": list(records[:_NAMED])}


def summarize_splits(shards: Sequence[Shard], summaries: Sequence[Mapping]) -> dict:
    """Return rows and bytes of each split, from its shards' summaries."""
    splits: dict[str, dict] = {}
    for shard, own in zip(shards, summaries, strict=True):
        split = splits.setdefault(_split_of(shard), {"num_rows": 0, "num_bytes": 0})
        split["num_rows"] += own["num_rows"]
        split["num_bytes"] += own["num_bytes"]
    return {"splits": splits}


def _split_of(shard: Shard) -> str:
    return _SHARD_NAME.fullmatch(shard.name)["split"]


def read_summary(folder: str | os.PathLike[str]) -> dict | None:
    """Return what a finished folder's `build.json` says; None where it is not there."""
    path = Path(folder) / BUILD_SUMMARY
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def check_row_format(summary: Mapping, name: str) -> None:
    """Refuse a corpus whose rows have another format than this version of the package reads and writes.

    Raises:
        ValueError: it has; the message says what to do.
    """
    found = summary.get("row_format_version", 1)
    if found != ROW_FORMAT_VERSION:
        way_out = "build again: remove it, and run the command that made it"
        way_out = way_out if found < ROW_FORMAT_VERSION else "install a newer mets-ecg"
        raise ValueError(f"{name!r} has row format {found}, this mets-ecg has {ROW_FORMAT_VERSION}: {way_out}")


def _read_finished(folder: Path, shards: Sequence[Shard], key: str, replaces: str | None) -> dict | None:
    """Return the summary of the folder if it is there, whole and of this key; None if it is to be written."""
    finished = read_summary(folder)
    if finished is None and not (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        return None
    if finished is not None:
        check_row_format(finished, str(folder))
    if finished is None or finished["key"] not in (key, replaces):
        raise FileExistsError(
            f"{str(folder)!r} is there already, from other files, arguments or versions: name another folder, or "
            "remove it"
        )
    for split in dict.fromkeys(map(_split_of, shards)):
        split_files(folder, split)
    return finished if finished["key"] == key else None


def _report_unusable(working: Path, shards: Sequence[Shard], todo: Sequence[Shard]) -> None:
    """Say how much of an earlier call's work is lost."""
    there = {path.stem for path in working.glob("*.json") if path.name != BUILD_SUMMARY}
    unusable = there - ({shard.name for shard in shards} - {shard.name for shard in todo})
    if unusable:
        _logger.warning(
            "%d of %d shards were made from other files, arguments or versions, or are damaged, and are written again",
            len(unusable),
            len(there),
        )


def _tidy(working: Path, names: Collection[str]) -> None:
    """Remove all but these files, as what killed processes and builds of other files left."""
    for path in working.iterdir():
        if path.name not in names:
            path.unlink()


def _read_note(working: Path, shard: Shard, key: str) -> dict | None:
    """Return a shard's own summary if it is written, whole and of its key; otherwise None."""
    try:
        note = json.loads((working / f"{shard.name}.json").read_text(encoding="utf-8"))
        num_bytes = (working / f"{shard.name}.parquet").stat().st_size
    except (FileNotFoundError, ValueError):
        return None
    return note if (note.get("key"), note.get("num_bytes")) == (shard.key or key, num_bytes) else None


def _run(todo: Sequence[Shard], write, working: Path, key: str, num_proc, description: str, *, total: int) -> list:
    """Write shards in parallel; return what is damaged."""
    if not todo:
        return []
    damaged = []
    done = total - sum(shard.num_rows for shard in todo)
    affinity = getattr(os, "sched_getaffinity", None)
    num_proc = num_proc or (len(affinity(0)) if affinity else os.cpu_count())
    token = uuid.uuid4().hex
    # Forked processes have the package imported already, which takes seconds; only Linux forks safely.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(num_proc, len(todo)), mp_context=context, initializer=_start_worker)
    try:
        # Before the bar, which starts a thread: a fork beside threads may hang.
        jobs = {pool.submit(_write_one, write, shard, shard.key or key, working, token): shard for shard in todo}
        with tqdm(total=total, initial=done, desc=description, unit="record", unit_scale=True, disable=None) as bar:
            for job in as_completed(jobs):
                damaged += job.result().get("damaged", [])
                bar.update(jobs[job].num_rows)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that read recordings was killed, perhaps because memory ran out: run the same command with a "
            "smaller --num-proc, it goes on where it stopped"
        ) from error
    except BaseException as error:  # Ctrl-C too: nobody waits for shards that are not finished
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("finished shards are kept, the same command goes on") from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for path in working.glob(f"*.{token}.partial"):
            path.unlink()
    return sorted(damaged)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the parent ends its workers
    gc.freeze()  # a collection would touch, and so copy, all that a forked process shares with its parent
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _write_one(write, shard: Shard, key: str, working: Path, token: str) -> dict:
    partial = working / f"{shard.name}.{token}.partial"
    try:
        summary = write(shard.content, partial)
        if not summary.get("damaged"):
            summary |= {"key": key, "num_bytes": partial.stat().st_size}
            _publish(partial, working / f"{shard.name}.parquet")
            _write_text(working / f"{shard.name}.json", json.dumps(summary))
        return summary
    finally:
        partial.unlink(missing_ok=True)


def _refuse_damaged(damaged: Sequence, excluded: Collection[str], path: Path) -> None:
    if not damaged:
        return
    # With what was excluded already: the next call is to be given this file alone.
    _write_text(path, "".join(f"{record}\n" for record in sorted({*excluded, *(record for record, _ in damaged)})))
    named = "; ".join(f"{record}: {reason}" for record, reason in damaged[:5])
    more = f" (and {len(damaged) - 5} more)" if len(damaged) > 5 else ""
    raise ValueError(
        f"{len(damaged)} recordings cannot be read: {named}{more}. Shards without any are kept. Download them "
        f"again, or exclude all that {str(path)!r} names by --exclude {shlex.quote(str(path))}, and run the same "
        "command: it goes on where it stopped"
    )


@contextlib.contextmanager
def _explain_full_disk(working: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        of_source = error.filename is not None and not str(error.filename).startswith(str(working))
        if of_source or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(
            error.errno,
            f"{working.parent} has no room for the build ({os.strerror(error.errno)}): make room and run the same "
            "command, it goes on where it stopped",
        ) from error


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        _publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _publish(partial: Path, path: Path) -> None:
    """Name a file as finished once it is on the disk: a name that outlives a power cut has its content."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_parquet(rows: Iterable[Mapping], path: str | os.PathLike[str], features: Features) -> int:
    """Write rows as one Parquet file; return how many there were.

    Recordings are lists of lists of integers: leads and samples to any Parquet reader. Delta coding of the integers and
    zstd take 15.1 of 41 MB at 500 Hz, where the usual dictionary coding and snappy take 26.6, and read faster. Prepared
    recordings are floats, whose bytes are coded apart. `examples/benchmarks/results/row_layouts.txt` has the figures,
    and what other layouts would give.

    Args:
        rows: with the columns of `features`; an absent one is null. Class labels by name, arrays as numpy arrays.
        path: of the file.
        features: of the rows.
    """
    schema = features.arrow_schema
    encoding = {f"{name}.list.element.list.element": coding for name, coding in _ENCODINGS.items() if name in features}
    dictionary = [name for name in features if name not in _ENCODINGS]
    total = 0
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=dictionary, column_encoding=encoding or None
    ) as writer:
        rows = iter(rows)
        while group := _take_group(rows):
            writer.write_table(to_table(group, features), row_group_size=len(group))
            total += len(group)
    return total


def _take_group(rows) -> list[Mapping]:
    group, num_bytes = [], 0
    for row in islice(rows, _ROWS_PER_GROUP):
        group.append(row)
        num_bytes += sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))
        if num_bytes > _BYTES_PER_GROUP:
            break
    return group


def to_table(rows: Sequence[Mapping], features: Features) -> pa.Table:
    """Return rows as an Arrow table, without a Python loop over samples."""
    schema = features.arrow_schema
    columns = []
    for name, feature in features.items():
        values = [row.get(name) for row in rows]
        storage = schema.field(name).type
        if isinstance(values[0], np.ndarray) and values[0].ndim == 2:
            columns.append(_matrices(values, storage, feature))
        else:
            columns.append(pa.array([_plain(value, feature) for value in values], type=storage))
    return pa.Table.from_arrays(columns, schema=schema)


def _matrices(values: Sequence[np.ndarray], storage: pa.DataType, feature) -> pa.Array:
    extension = storage if isinstance(feature, Array2D) else None
    if extension is not None:
        storage = extension.storage_type
    flat = np.concatenate([value.ravel() for value in values])
    widths = np.repeat([value.shape[1] for value in values], [value.shape[0] for value in values])
    inner = pa.ListArray.from_arrays(_offsets(widths), pa.array(flat, type=storage.value_type.value_type))
    outer = pa.ListArray.from_arrays(_offsets([len(value) for value in values]), inner).cast(storage)
    return outer if extension is None else pa.ExtensionArray.from_storage(extension, outer)


def _offsets(lengths) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _plain(value, feature):
    """A column's value as Arrow takes it: class names become their numbers, arrays of one axis lists."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(feature, List) and isinstance(feature.feature, ClassLabel):
        return [_label(one, feature.feature) for one in value]
    if isinstance(feature, ClassLabel):
        return _label(value, feature)
    if isinstance(feature, Value) and feature.dtype == "string":
        return str(value)
    return value


def _label(value, feature: ClassLabel) -> int:
    return value if isinstance(value, int) else feature.str2int(value)
