"""Which layout of a recording in a row is small, and which reads fast: what `data.building.shards` was chosen by.

    python examples/benchmarks/row_layouts.py --data corpora/ptb-xl --config-name 500hz

Writes the first recordings of a corpus in each layout to one Parquet file of row groups of 100, and reads it back:
megabytes, recordings/s written, and read as a stream of Arrow batches and as rows of numpy arrays.
"""

import argparse
import os
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Array2D, Features, List, Value, load_dataset

from mets_ecg.data.rows import table_rows
from mets_ecg.data.saved_corpus import SavedCorpus


def offsets(step: int, stop: int) -> pa.Array:
    return pa.array(np.arange(0, stop + 1, step, dtype=np.int32))


def nested(values: np.ndarray) -> pa.Array:
    count, leads, samples = values.shape
    inner = pa.ListArray.from_arrays(offsets(samples, values.size), pa.array(values.ravel()))
    return pa.ListArray.from_arrays(offsets(leads, count * leads), inner)


def flat(values: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(offsets(values[0].size, values.size), pa.array(values.ravel()))


def binary(values: np.ndarray) -> pa.Array:
    return pa.array([one.tobytes() for one in values], pa.binary())


def layouts(dtype: str, shape: tuple[int, int]) -> dict:
    """Name -> (features, how a column is made, Parquet's name of its leaf)."""
    two_axes = Array2D(shape, dtype) if dtype == "float32" else List(List(Value(dtype)))
    return {
        "lists of lists" if dtype == "int16" else "Array2D": (two_axes, nested, "x.list.element.list.element"),
        "one flat list": (List(Value(dtype)), flat, "x.list.element"),
        "bytes": (Value("binary"), binary, "x"),
    }


def codings(dtype: str, leaf: str) -> dict:
    coded = {"snappy, dictionary": {}, "zstd": {"compression": "zstd", "use_dictionary": False}}
    if leaf == "x":
        return coded
    encoding = "DELTA_BINARY_PACKED" if dtype == "int16" else "BYTE_STREAM_SPLIT"
    name = "zstd, delta" if dtype == "int16" else "zstd, byte streams"
    return coded | {name: coded["zstd"] | {"column_encoding": {leaf: encoding}}}


def rate(count: int, work, *arguments, **options) -> float:
    started = time.perf_counter()
    work(*arguments, **options)
    return count / (time.perf_counter() - started)


def exhaust(rows) -> None:
    for _ in rows:
        pass


def compare_layouts(values: np.ndarray, folder: str) -> None:
    dtype, count = str(values.dtype), len(values)
    print(f"\n{count} recordings of {values.shape[1]} x {values.shape[2]} {dtype}, {values.nbytes / 1e6:.0f} MB")
    print(f"{'layout':16}{'coding':22}{'MB':>7}{'written/s':>11}{'batches/s':>11}{'rows/s':>9}")
    for name, (feature, make, leaf) in layouts(dtype, values.shape[1:]).items():
        features = Features({"x": feature})
        table = pa.table({"x": make(values)}).replace_schema_metadata(features.arrow_schema.metadata)
        for coding, options in codings(dtype, leaf).items():
            path = os.path.join(folder, "x.parquet")
            written = rate(count, pq.write_table, table, path, row_group_size=100, **options)
            stream = load_dataset("parquet", data_files=path, split="train", streaming=True)
            batches = rate(count, exhaust, stream.with_format("arrow").iter(100))
            rows = rate(count, exhaust, stream.with_format("numpy"))
            size = os.path.getsize(path) / 1e6
            print(f"{name:16}{coding:22}{size:7.1f}{written:11.0f}{batches:11.0f}{rows:9.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="a corpus that `mets-ecg build` wrote")
    parser.add_argument("--config-name", help="which version of it")
    parser.add_argument("--num-records", type=int, default=2000)
    options = parser.parse_args()
    stream = next(iter(SavedCorpus(options.data, config=options.config_name).streams().values()))
    signals = []
    for table in stream.with_format("arrow").iter(100):
        signals += [row["signal"] for row in table_rows(table)]
    values = np.stack(signals[: options.num_records])
    with tempfile.TemporaryDirectory() as folder:
        compare_layouts(values, folder)
        compare_layouts((values / 1000).astype(np.float32), folder)


if __name__ == "__main__":
    main()
