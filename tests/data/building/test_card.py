"""The card of a corpus folder, read as a user and as `datasets` read it, for every corpus."""

from __future__ import annotations

import json
import os
import re

import pytest
from datasets import Features, load_dataset
from huggingface_hub import DatasetCard

from mets_ecg.data.building.card import CONDITIONS, LICENCES, check_output, describe, write_card
from mets_ecg.data.building.shards import write_parquet
from mets_ecg.data.corpora import CORPORA
from mets_ecg.data.reports import REPORTS_VERSION
from mets_ecg.data.rows import ROW_FORMAT_VERSION


def count(*records: str, number: int | None = None) -> dict:
    return {"count": len(records) if number is None else number, "records": list(records)}


def make_build(folder, kind, config, rows=3, **changes) -> dict:
    """A small fake build: shards with nothing but ids, and its summary."""
    builder = object.__new__(kind)  # no source is needed
    builder.config = config
    splits = {}
    (folder / config).mkdir(parents=True)
    for split in kind.splits:
        path = folder / config / f"{split}-00000-of-00001.parquet"
        write_parquet([{"record_id": f"{i}"} for i in range(rows)], path, builder.features)
        splits[split] = {"num_rows": rows, "num_bytes": path.stat().st_size}
    summary = {
        "key": "k",
        "corpus": kind.name,
        "config": config,
        "version": kind.info.version,
        "missing": count(),
        "excluded": count(),
        "row_format_version": ROW_FORMAT_VERSION,
        "builder_version": kind.version,
        "reports_version": REPORTS_VERSION,
        "translations": {"given": 0, "used": 0},
        "splits": splits,
        "empty_splits": [],
        "conditions": {name: count() for name in CONDITIONS},
        "features": builder.features.to_dict(),
    } | changes
    (folder / config / "build.json").write_text(json.dumps(summary))
    return summary


def tables(text: str) -> list[list[str]]:
    """The tables of a Markdown text, as lines."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)]


@pytest.fixture(scope="module", params=sorted(set(CORPORA) - {"table"}))
def card(request, tmp_path_factory):
    """Each corpus' class, folder and card, over all of its configs."""
    kind = CORPORA[request.param]
    folder = tmp_path_factory.mktemp("card")
    for config in kind.configs:
        make_build(folder, kind, config)
    path = write_card(folder, kind)
    assert path == folder / "README.md" and sorted(os.listdir(folder)) == sorted([*kind.configs, "README.md"])
    return kind, folder, path.read_text()


def test_nothing_of_the_template_is_left_over(card):
    kind, _, text = card
    body = text.partition("\n---\n")[2].partition("```bibtex")[0]
    assert not re.search(r"\{\{|\}\}|\{%|%\}|None|Undefined|TODO", body)
    assert "\n\n\n\n" not in text
    assert f"# {kind.info.title}\n" in body and f"mets-ecg build {kind.name}`" in body


def test_no_table_is_broken(card):
    _, _, text = card
    found = tables(text.partition("\n---\n")[2])
    assert len(found) >= 2
    for lines in found:
        columns = {len(re.split(r"(?<!\\)\|", line)) for line in lines}
        assert len(columns) == 1, lines


def test_every_column_is_explained(card):
    kind, folder, text = card
    explained = "".join(line for lines in tables(text) for line in lines)
    for config in kind.configs:
        features = json.loads((folder / config / "build.json").read_text())["features"]
        assert not [name for name in Features.from_dict(features) if f"`{name}`" not in explained]


def test_every_class_is_named(card):
    kind, folder, text = card
    for config in kind.configs:
        features = json.loads((folder / config / "build.json").read_text())["features"]
        for name, feature in Features.from_dict(features).items():
            if name.startswith("labels_"):
                line = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
                names = feature.feature.names
                assert f"| {len(names)} classes: " in line
                assert re.findall(r"`([^`]+)`", line)[1:] == [name.replace("|", "\\|") for name in names]


def test_reports_are_explained_where_there_are_some(card):
    kind, _, text = card
    (line,) = [line for line in text.splitlines() if line.startswith("| `report`")]
    assert ("the source has no reports" in line) == (not kind.info.languages)
    assert ("`report_en` is made from `report` by rules" in text) == bool(kind.info.languages)


def test_its_yaml_says_what_datasets_and_the_hub_need(card):
    kind, _, text = card
    data = DatasetCard(text).data.to_dict()
    assert data["license"] == kind.info.licence and data["pretty_name"] == kind.info.title
    assert data.get("language", []) == list(kind.info.languages)
    assert data["size_categories"] == "n<1K"
    assert [config["config_name"] for config in data["configs"]] == list(kind.configs)
    assert [config.get("default", False) for config in data["configs"]] == [True] + [False] * (len(kind.configs) - 1)
    for config in data["configs"]:
        assert [entry["split"] for entry in config["data_files"]] == list(kind.splits)


def test_every_config_is_loaded_by_it(card, tmp_path):
    kind, folder, _ = card
    for config in kind.configs:
        loaded = load_dataset(str(folder), config, cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == dict.fromkeys(kind.splits, 3)
        features = json.loads((folder / config / "build.json").read_text())["features"]
        assert next(iter(loaded.values())).features == Features.from_dict(features)


def test_the_licence_and_the_source_are_said(card):
    kind, _, text = card
    assert f"{LICENCES[kind.info.licence]}. Source: <{kind.info.homepage}>" in text
    assert f"https://doi.org/{kind.info.doi}" in text and kind.info.citation.strip() in text
    assert kind.info.doi.startswith("10.") and kind.info.citation.lstrip().startswith("@")


def test_its_code_names_what_is_there(card):
    kind, _, text = card
    assert f'load_dataset("org/{kind.name}", "{kind.configs[0]}", split="{kind.splits[0]}", streaming=True)' in text


def test_what_was_found_is_in_the_card(tmp_path):
    kind = CORPORA["ptb-xl"]
    flat = {"flat_lead": count(*"0123456", number=7000), "missing_samples": count("8")}
    conditions = {name: count() for name in CONDITIONS} | flat
    missing = count("5", "6")
    make_build(tmp_path, kind, "500hz", rows=1200, missing=missing, empty_splits=["test"], conditions=conditions)
    text = write_card(tmp_path, kind).read_text()
    assert "7000 with a lead that never changes: 0, 1, 2, 3, 4, ...\n" in text
    assert "1 with samples that were not recorded: 8\n" in text
    assert "2 listed but not in the source: 5, 6\n" in text
    assert "Config `500hz` has no rows of split `test`: the source" in text
    assert "size_categories: 1K<n<10K" in text
    assert '"500hz", split="train"' in text and "100hz/" not in text
    assert re.search(r"\| `500hz` \| `train` \| 1200 \| 0\.\d \|\n", text)


def test_a_config_that_is_built_later_enters_the_card(tmp_path):
    kind = CORPORA["ptb-xl"]
    make_build(tmp_path, kind, "500hz")
    write_card(tmp_path, kind)
    make_build(tmp_path, kind, "100hz")
    data = DatasetCard(write_card(tmp_path, kind).read_text()).data.to_dict()
    assert [config["config_name"] for config in data["configs"]] == ["100hz", "500hz"]
    assert data["configs"][0]["default"] is True


def test_a_config_that_gets_finished_while_the_card_is_written_enters_it(tmp_path, monkeypatch):
    kind = CORPORA["ptb-xl"]
    make_build(tmp_path, kind, "100hz")

    def save(self, path, real=DatasetCard.save):
        if not (tmp_path / "500hz").exists():
            make_build(tmp_path, kind, "500hz")
        real(self, path)

    monkeypatch.setattr(DatasetCard, "save", save)
    assert "`500hz`" in write_card(tmp_path, kind).read_text()


def test_a_folder_without_a_build_gets_no_card(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no config of ptb-xl: build one first"):
        write_card(tmp_path, CORPORA["ptb-xl"])
    assert not os.listdir(tmp_path)


def test_a_card_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    kind = CORPORA["ptb-xl"]
    make_build(tmp_path, kind, "100hz")
    before = write_card(tmp_path, kind).read_text()
    make_build(tmp_path, kind, "500hz")

    def save(self, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DatasetCard, "save", save)
    with pytest.raises(OSError, match="No space left"):
        write_card(tmp_path, kind)
    assert (tmp_path / "README.md").read_text() == before
    assert sorted(os.listdir(tmp_path)) == ["100hz", "500hz", "README.md"]


def test_only_the_own_card_is_overwritten(tmp_path):
    kind = CORPORA["ptb-xl"]
    check_output(tmp_path / "none", kind)
    check_output(tmp_path, kind)
    make_build(tmp_path, kind, "100hz")
    write_card(tmp_path, kind)
    check_output(tmp_path, kind)
    with pytest.raises(FileExistsError, match="is not the card of ludb: name another folder"):
        check_output(tmp_path, CORPORA["ludb"])
    (tmp_path / "README.md").write_bytes(b"\xff mine")
    with pytest.raises(FileExistsError, match="is not the card of ptb-xl"):
        check_output(tmp_path, kind)


def test_a_summary_in_words(tmp_path):
    kind = CORPORA["ptb-xl"]
    summary = make_build(tmp_path, kind, "100hz", excluded=count("9"), translations={"given": 3, "used": 2})
    assert describe(summary).splitlines() == [
        "ptb-xl 100hz: 9 rows (train 3, validation 3, test 3)",
        "1 excluded as asked: 9",
        "2 of 3 translations used",
        f"versions: row format {ROW_FORMAT_VERSION}, reader {kind.version}, reports {REPORTS_VERSION}",
    ]
