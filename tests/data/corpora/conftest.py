"""What every corpus' rows must survive: being built, loaded, prepared, and read by torch, NumPy and pandas."""

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from mets_ecg.data.building.build import build_corpus
from mets_ecg.data.prepare import prepare, prepare_folder
from mets_ecg.data.prepared_rows import INPUT_COLUMNS
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.feature_extraction_ecg import ECGFeatureExtractor
from mets_ecg.signals import decode_signal


@pytest.fixture
def round_trip(tmp_path_factory, monkeypatch):
    """Build a corpus, check that each row is the same to every reader, and return the rows."""
    folder = tmp_path_factory.mktemp("round-trip")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")

    def build_and_load(builder) -> Dataset:
        build_corpus(builder, folder / builder.config, num_proc=1)
        corpus = SavedCorpus(folder / builder.config)
        rows = corpus.dataset().remove_columns(["corpus", "split"])
        assert rows.features == builder.features
        frame = pd.concat([pd.read_parquet(path) for files in corpus.files.values() for path in files])
        records = frame.to_dict("records")
        for i, row in enumerate(rows):
            signal_mv = decode_signal(row)
            readings = [rows.with_format("torch")[i], rows.with_format("numpy")[i], frame.iloc[i], records[i]]
            for reading in readings:
                assert list(reading.keys()) == list(rows.features)
                np.testing.assert_array_equal(decode_signal(reading), signal_mv)
                for column in builder.label_columns:
                    labels = reading[column]
                    assert (None if labels is None else list(map(int, labels))) == row[column]
        extractor = ECGFeatureExtractor(sampling_rate=100, max_duration=1.0, bandpass=None)
        prepare_folder(corpus, extractor, folder / "prepared", num_proc=1)
        for prepared in (prepare(rows, extractor), SavedCorpus(folder / "prepared").dataset()):
            for column in set(prepared.column_names) - {*INPUT_COLUMNS, "corpus", "split"}:
                assert prepared[column][:] == rows[column][:], column
        return rows

    return build_and_load
