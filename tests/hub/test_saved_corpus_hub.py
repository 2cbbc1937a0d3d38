"""A built and a prepared corpus go to the loopback Hub, and are read there as rows and as streams."""

import json
from pathlib import Path

import numpy as np
import pytest

from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.building.build import build_corpus
from mets_ecg.data.building.card import write_card
from mets_ecg.data.corpora import CORPORA
from mets_ecg.data.prepare import prepare_folder
from mets_ecg.data.saved_corpus import SavedCorpus

FIELDS = {"sampling_rate": 100, "bandpass": None, "max_duration": 11.0}

PUSH = """
from mets_ecg.hub.push import push_folder
print(push_folder(*arguments))
"""
READ = """
import json
from mets_ecg.data.saved_corpus import SavedCorpus
name, rate = arguments
corpus = SavedCorpus(name, sampling_rate=rate)
streams = corpus.streams()
rows = corpus.dataset()
streamed = [row["signal"] for stream in streams.values() for row in stream]
print(json.dumps({
    "config": corpus.config, "num_rows": corpus.num_rows, "fingerprint": corpus.fingerprint,
    "extractor": corpus.feature_extractor, "record_id": rows["record_id"][:],
    "signals": streamed == rows["signal"][:], "rates": sorted(set(rows["sampling_rate"])),
}))
"""
PREPARED = """
import json
from mets_ecg import ECGFeatureExtractor
from mets_ecg.data import prepared_rows
from mets_ecg.data.loading import load_prepared_rows
from mets_ecg.data.parts import select_part
name, fields, streaming = arguments
rows = load_prepared_rows(ECGFeatureExtractor(**fields), data=name, streaming=streaming)
batches = list(select_part(rows, ["1", "8"]).in_order(5))
epoch = [batch["index"].tolist() for batch in rows.epoch(4, seed=0, epoch=0)]
resumed = [batch["index"].tolist() for batch in rows.epoch(4, seed=0, epoch=0, start=12)]
print(json.dumps({
    "kind": type(rows).__name__, "record_id": rows["record_id"][:], "resumed": resumed == epoch[3:], "epoch": epoch,
    "index": [int(i) for batch in batches for i in batch["index"]],
    "sums": [float(value) for batch in batches for value in batch["input_values"].double().sum(dim=(1, 2))],
}))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, ptb_xl_source) -> Path:
    """PTB-XL's fixture at both rates, as `mets-ecg build` leaves it."""
    folder = tmp_path_factory.mktemp("built") / "ptb-xl"
    for config in ("100hz", "500hz"):
        build_corpus(CORPORA["ptb-xl"](ptb_xl_source, config), folder / config, num_proc=1)
    write_card(folder, CORPORA["ptb-xl"])
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, corpus) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "ptb-xl"
    prepare_folder(SavedCorpus(corpus, sampling_rate=100), ECGFeatureExtractor(**FIELDS), folder, num_proc=1)
    return folder


@pytest.fixture(scope="module", autouse=True)
def pushed(session, corpus, prepared):
    session.run(PUSH, str(corpus), "user/ptb-xl")
    session.run(PUSH, str(prepared), "user/ptb-xl-prepared")


@pytest.mark.parametrize(("rate", "config"), [(100, "100hz"), (250, "500hz")])
def test_a_corpus_is_read_from_the_hub_as_from_its_folder(session, corpus, rate, config):
    here = SavedCorpus(corpus, sampling_rate=rate)
    there = json.loads(session.run(READ, "user/ptb-xl", rate))
    assert there["config"] == here.config == config
    assert there["num_rows"] == here.num_rows
    assert there["fingerprint"] == here.fingerprint
    assert there["extractor"] is None
    assert there["signals"]
    assert there["record_id"] == here.dataset()["record_id"][:]
    assert there["rates"] == [int(config.removesuffix("hz"))]


def test_prepared_rows_are_streamed_from_the_hub_as_they_are_loaded(session, prepared):
    streamed = json.loads(session.run(PREPARED, "user/ptb-xl-prepared", FIELDS, True))
    mapped = json.loads(session.run(PREPARED, "user/ptb-xl-prepared", FIELDS, False))
    assert (streamed["kind"], mapped["kind"]) == ("StreamedRows", "MemoryMappedRows")
    assert streamed["record_id"] == mapped["record_id"] == SavedCorpus(prepared).dataset()["record_id"][:]
    assert streamed["index"] == mapped["index"] != []
    assert np.array_equal(streamed["sums"], mapped["sums"])
    assert streamed["resumed"]
    assert len({i for batch in streamed["epoch"] for i in batch}) == 32


def test_a_corpus_is_prepared_from_the_hub_as_from_its_folder(session, prepared, tmp_path):
    code = """
from mets_ecg import ECGFeatureExtractor
from mets_ecg.data.prepare import prepare_folder
from mets_ecg.data.saved_corpus import SavedCorpus
output, fields = arguments
prepare_folder(SavedCorpus("user/ptb-xl", sampling_rate=100), ECGFeatureExtractor(**fields), output, num_proc=2)
"""
    session.run(code, str(tmp_path / "prepared"), FIELDS)
    for path in prepared.glob("*.parquet"):
        assert (tmp_path / "prepared" / path.name).read_bytes() == path.read_bytes()
    assert "# ptb-xl (100hz), prepared" in (tmp_path / "prepared" / "README.md").read_text()


def test_another_feature_extractor_is_refused_on_the_hub_too(session):
    answer = session.ask(PREPARED, "user/ptb-xl-prepared", {"sampling_rate": 100, "max_duration": 11.0}, True)
    assert "prepared by another feature extractor: bandpass is None there" in answer["message"]


def test_a_new_push_has_another_fingerprint_and_an_opened_corpus_stays_as_it_was(
    session, corpus, ptb_xl_source, tmp_path
):
    session.run(PUSH, str(corpus), "user/changing")
    changed = tmp_path / "ptb-xl"
    for config in ("100hz", "500hz"):
        build_corpus(CORPORA["ptb-xl"](ptb_xl_source, config), changed / config, exclude=["1", "96"], num_proc=1)
    write_card(changed, CORPORA["ptb-xl"])
    code = """
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.hub.push import push_folder
first = SavedCorpus("user/changing", sampling_rate=100)
push_folder(arguments[0], "user/changing")
second = SavedCorpus("user/changing", sampling_rate=100)
counted = [sum(len(list(rows)) for rows in corpus.streams().values()) for corpus in (first, second)]
print(first.fingerprint != second.fingerprint, *counted, len(first.dataset()), len(second.dataset()))
"""
    assert session.run(code, str(changed)).split() == ["True", "33", "31", "33", "31"]


def test_a_repository_without_a_summary_is_read_by_its_card(session, corpus):
    session.run(PUSH, str(corpus), "user/by-card")
    code = """
from huggingface_hub import HfApi
from mets_ecg.data.saved_corpus import SavedCorpus
HfApi().delete_file("100hz/build.json", "user/by-card", repo_type="dataset")
corpus = SavedCorpus("user/by-card", config="100hz")
print(*corpus.fingerprint.split()[:2], corpus.feature_extractor, sum(corpus.num_rows.values()), len(corpus.dataset()))
"""
    assert session.run(code).split() == ["user/by-card", "100hz", "None", "33", "33"]


def test_a_repository_that_is_not_there_is_named(session):
    answer = session.ask(READ, "user/nowhere", 100)
    assert answer["error"] == "FileNotFoundError"
    assert "there is no corpus 'user/nowhere': neither a folder here, nor a data set on the Hub" in answer["message"]
