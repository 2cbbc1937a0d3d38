import logging
import os
import shutil

import datasets
import numpy as np
import pytest

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data import loading
from mets_ecg.data.loading import load_corpus, load_parts, load_prepared_rows
from mets_ecg.data.parts import select_part
from mets_ecg.data.prepare import prepare, prepare_folder
from mets_ecg.data.prepared_rows import MemoryMappedRows, StreamedRows
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.data.simulator.simulate import run_simulate
from mets_ecg_cli.data import DataArguments
from mets_ecg_cli.simulate import SimulateArguments

EXTRACTOR = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=11.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def source(ptb_xl_source, tmp_path):
    """A copy, to be changed."""
    return shutil.copytree(ptb_xl_source, tmp_path / "ptb-xl")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A corpus of 30 recordings in a folder, and the folder of its prepared rows."""
    folder = tmp_path_factory.mktemp("simulated")
    run_simulate(SimulateArguments(output=str(folder / "corpus"), num_records=30, num_proc=1))
    prepare_folder(SavedCorpus(folder / "corpus"), EXTRACTOR, folder / "prepared", num_proc=1)
    return str(folder / "corpus"), str(folder / "prepared")


def test_a_source_is_read_at_the_rate_that_the_model_wants(ptb_xl_source):
    assert len(select_part(load_corpus(source=str(ptb_xl_source), sampling_rate=100), ["8"])) == 11
    at_500 = load_corpus(source=str(ptb_xl_source), sampling_rate=250)
    assert set(at_500["sampling_rate"]) == {500}


@pytest.mark.parametrize("where", [{}, {"source": "a", "data": "b"}])
def test_exactly_one_place_is_needed(where):
    with pytest.raises(ValueError, match="by source .* or data .*, not both"):
        load_corpus(**where, sampling_rate=100)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_corpus(data=str(tmp_path / "nowhere"), sampling_rate=100)


def test_a_source_is_built_once_and_anew_when_a_file_changes(source, tmp_path):
    def load():
        return load_corpus(source=str(source), sampling_rate=100, cache_dir=tmp_path / "built")

    first = load()
    built = next((tmp_path / "built" / "mets-ecg").glob("ptb-xl-*"))
    times = {path.name: path.stat().st_mtime_ns for path in built.iterdir()}
    assert load()["signal"][0] == first["signal"][0]
    assert {path.name: path.stat().st_mtime_ns for path in built.iterdir()} == times

    path = source / "records100" / "00000" / "00096_lr.dat"
    samples = np.fromfile(path, dtype="<i2")
    samples[5000:5012] += 1  # one sample of each lead
    before = path.stat()
    samples.tofile(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    header = path.with_suffix(".hea")
    lines = [line.split(" ") for line in header.read_text().split("\n")]
    for line in lines[1:13]:
        line[6] = str(int(line[6]) + 1)  # its checksum
    header.write_text("\n".join(map(" ".join, lines)))

    row = first["record_id"][:].index("96")
    changed = np.array(load()["signal"][row]) - np.array(first["signal"][row])
    assert (changed == 1).sum() == np.abs(changed).sum() == 12
    assert len(list((tmp_path / "built" / "mets-ecg").glob("ptb-xl-*"))) == 2


def test_recordings_that_a_source_lacks_are_warned_of_and_left_out(source, caplog):
    paths = sorted(source.rglob("*_lr.dat"))[:6]
    with caplog.at_level(logging.WARNING, logger="mets_ecg"):
        whole = load_corpus(source=str(source), sampling_rate=100)
        listed_only = caplog.text.count("recordings of config 100hz are listed but not in")
        caplog.clear()
        for path in paths:
            path.unlink()
        part = load_corpus(source=str(source), sampling_rate=100)
    assert len(part) == len(whole) - 6
    assert listed_only == 0
    assert f"ptb-xl: 6 of {len(whole)} recordings of config 100hz are listed but not in" in caplog.text
    assert caplog.text.rstrip().endswith(", ...")


def test_rows_are_prepared_from_each_place_alike(simulated):
    corpus, prepared = simulated
    from_corpus = load_prepared_rows(EXTRACTOR, data=corpus)
    given = load_prepared_rows(EXTRACTOR, corpus=load_corpus(data=corpus, sampling_rate=100))
    from_prepared = load_prepared_rows(EXTRACTOR, data=prepared)
    streamed = load_prepared_rows(EXTRACTOR, data=prepared, streaming=True)
    kinds = [type(rows) for rows in (from_corpus, given, from_prepared, streamed)]
    assert kinds == [MemoryMappedRows, MemoryMappedRows, MemoryMappedRows, StreamedRows]
    first = next(from_corpus.in_order(30))
    for rows in (given, from_prepared, streamed):
        batch = next(rows.in_order(30))
        assert all(np.array_equal(batch[name], values) for name, values in first.items())
        assert rows["report"][:] == from_corpus["report"][:]
        assert rows.features == from_corpus.features
        assert set(rows["corpus"]) == {"simulated"} and set(rows["split"]) == {"train", "validation", "test"}


def test_a_corpus_is_opened_once(simulated, monkeypatch):
    """On the Hub, opening one takes several requests."""
    opened, corpus = [], simulated[0]
    open_corpus = SavedCorpus.__init__
    monkeypatch.setattr(
        SavedCorpus, "__init__", lambda *args, **options: (opened.append(args), open_corpus(*args, **options))[1]
    )
    load_prepared_rows(EXTRACTOR, data=corpus)
    assert len(opened) == 1


def test_a_source_is_prepared_for_the_model(ptb_xl_source):
    parts = load_parts(
        EXTRACTOR, DataArguments(source=str(ptb_xl_source), train=["1-7"], validation=["none"], test=["8"], num_proc=1)
    )
    batch = next(parts.train.in_order(4))
    assert batch["input_values"].shape == (4, 12, 1100)
    assert batch["ecg_attention_mask"].sum(dim=1).tolist() == [1000] * 4


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_that_another_feature_extractor_prepared_are_refused(simulated, streaming):
    other = ECGFeatureExtractor(**{**EXTRACTOR.to_dict(), "clip": 3.0})
    with pytest.raises(ValueError, match=r"prepared by another feature extractor: clip is None there and 3\.0 in"):
        load_prepared_rows(other, data=simulated[1], streaming=streaming)


def test_an_extractor_that_was_saved_and_read_takes_the_rows(simulated, tmp_path):
    EXTRACTOR.save_pretrained(tmp_path / "saved")
    again = ECGFeatureExtractor.from_pretrained(tmp_path / "saved")
    assert len(load_prepared_rows(again, data=simulated[1], streaming=True)) == 30


def test_a_field_that_is_younger_than_the_rows_had_its_default_then(simulated, tmp_path):
    folder = shutil.copytree(simulated[1], tmp_path / "older")
    summary = (folder / "build.json").read_text()
    (folder / "build.json").write_text(summary.replace('    "clip": null,\n', ""))
    assert "clip" not in SavedCorpus(folder).feature_extractor
    assert len(load_prepared_rows(EXTRACTOR, data=str(folder))) == 30
    (folder / "build.json").write_text(summary.replace('"clip"', '"later_step": 1, "clip"'))
    with pytest.raises(ValueError, match="later_step is 1 there and None in"):
        load_prepared_rows(EXTRACTOR, data=str(folder))


def test_only_prepared_rows_are_streamed(simulated, ptb_xl_source):
    for where in ({"data": [simulated[0]]}, {"source": str(ptb_xl_source)}):
        with pytest.raises(ValueError, match="only prepared rows are streamed: write them by `mets-ecg prepare`"):
            load_parts(EXTRACTOR, DataArguments(**where, streaming=True))


def test_one_place_is_needed(simulated, ptb_xl_source):
    with pytest.raises(ValueError, match="--source and --data are both given"):
        DataArguments(data=[simulated[1]], source=str(ptb_xl_source))
    with pytest.raises(ValueError, match="by --source .* or --data"):
        load_parts(EXTRACTOR, DataArguments())


@pytest.mark.parametrize("where", ["corpus", "prepared", "streamed"])
def test_parts_are_the_corpus_own_by_default_and_named_alike_from_everywhere(simulated, where):
    arguments = DataArguments(data=[simulated[where != "corpus"]], streaming=where == "streamed", num_proc=1)
    parts = load_parts(EXTRACTOR, arguments)
    assert [len(rows) for rows in (parts.train, parts.validation, parts.test)] == [26, 2, 2]
    assert parts.words == {"simulated": {"train": ["1-8"], "validation": ["9"], "test": ["10"]}}
    arguments.train, arguments.validation, arguments.test = ["train"], ["none"], ["2,9", "10"]
    with pytest.raises(ValueError, match="patients have rows both for train and for test"):
        load_parts(EXTRACTOR, arguments)
    arguments.train = ["1", "3-8"]
    parts = load_parts(EXTRACTOR, arguments)
    assert (
        parts.validation is None
        and set(parts.test["fold"]) == {2, 9, 10}
        and set(parts.train["fold"]) == {1, *range(3, 9)}
    )


def test_only_the_parts_that_are_needed_are_prepared(simulated, monkeypatch):
    prepared = []
    monkeypatch.setattr(loading, "prepare", lambda rows, *rest, **_: prepared.append(len(rows)) or prepare(rows, *rest))
    load_parts(EXTRACTOR, DataArguments(data=[simulated[0]]), parts=("train",), max_train=5)
    assert prepared == [5]


@pytest.mark.parametrize("streaming", [False, True])
def test_several_corpora_are_one_and_their_patients_are_their_own(simulated, tmp_path, streaming):
    other = tmp_path / "other"
    run_simulate(SimulateArguments(output=str(other / "corpus"), num_records=20, seed=5, num_proc=1))
    summary = (other / "corpus" / "build.json").read_text()
    (other / "corpus" / "build.json").write_text(summary.replace('"corpus": "simulated"', '"corpus": "second"'))
    prepare_folder(SavedCorpus(other / "corpus"), EXTRACTOR, other / "prepared", num_proc=1)
    arguments = DataArguments(data=[simulated[1], str(other / "prepared")], streaming=streaming)
    parts = load_parts(EXTRACTOR, arguments)
    assert len(parts.train) == 26 + 16 and set(parts.train["corpus"]) == {"simulated", "second"}
    assert sum(len(batch["index"]) for batch in parts.train.in_order(7)) == 42
    arguments.train, arguments.validation = ["simulated:1-4", "second:9"], ["none"]
    arguments.test = ["second:1-2"]
    parts = load_parts(EXTRACTOR, arguments)
    assert set(zip(parts.train["corpus"], parts.train["fold"], strict=True)) == {
        *(("simulated", fold) for fold in (1, 2, 3, 4)),
        ("second", 9),
    }
    assert set(parts.test["corpus"]) == {"second"} and set(parts.test["fold"]) == {1, 2}
    arguments.train = ["third:1"]
    with pytest.raises(ValueError, match="--train third:1: there is no corpus 'third' here, only simulated, second"):
        load_parts(EXTRACTOR, arguments)
    with pytest.raises(ValueError, match="--data names one corpus twice"):
        load_parts(EXTRACTOR, DataArguments(data=[simulated[1], simulated[1]], streaming=streaming))
