"""The data-set card of a corpus folder: what a reader must know, and what `datasets` must, to load it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from datasets import DatasetInfo, Features, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData, RepoCard

from mets_ecg_cli.resources import resource

from ..rows import corpus_features, is_label_column
from .corpus_builder import CorpusBuilder
from .shards import check_row_format, read_summary

# What is real and stays, but is worth knowing of: condition -> how the summary calls it.
CONDITIONS = {
    "flat_lead": "with a lead that never changes",
    "missing_samples": "with samples that were not recorded",
    "large_amplitude": "beyond 10 mV",
    "empty_report": "with an empty report",
    "no_finding": "whose report states no finding",
    "repaired_text": "whose text was read in a wrong encoding once, here repaired",
}
LICENCES = {
    "cc-by-4.0": "Creative Commons Attribution 4.0 (CC BY 4.0)",
    "cc-by-nc-4.0": "Creative Commons Attribution-NonCommercial 4.0 (CC BY-NC 4.0)",
    "odc-by": "Open Data Commons Attribution 1.0 (ODC-By 1.0)",
    "odbl": "Open Data Commons Open Database 1.0 (ODbL 1.0)",
    "apache-2.0": "Apache 2.0",
    "unknown": "The licence is not known",
}


# A builder, or its class where that has the corpus' name and texts, as before a download.
_Builder = CorpusBuilder | type[CorpusBuilder]


def check_output(folder: str | os.PathLike[str], builder: _Builder) -> None:
    """Refuse a folder whose `README.md` is not this corpus' card, as it would be overwritten, or that is of old rows.

    Raises:
        FileExistsError: it is the card of something else.
        ValueError: a config in it has another row format.
    """
    path = Path(folder) / "README.md"
    own = f"mets-ecg build {_command(builder)}`"
    if path.is_file() and own not in path.read_text(encoding="utf-8", errors="replace"):
        raise FileExistsError(f"{str(path)!r} is not the card of {builder.name}: name another folder for the corpus")
    _find_builds(Path(folder), builder)


def write_card(folder: str | os.PathLike[str], builder: _Builder) -> Path:
    """Write `README.md` of a corpus folder, over all of its configs that are built.

    Its YAML names every split's files and rows, so that `datasets` notices a shard that was lost.

    Args:
        folder: with a folder for each config.
        builder: of the corpus, for its texts.

    Raises:
        FileNotFoundError: no config is built.
    """
    folder = Path(folder)
    builds = None
    while builds != (builds := _find_builds(folder, builder)):  # another config may be finished meanwhile
        if not builds:
            raise FileNotFoundError(f"{str(folder)!r} has no config of {builder.name}: build one first")
        path = save_card(_render(builds, builder), folder)
    return path


def _command(builder: _Builder) -> str:
    return builder.info.command or builder.name


def _find_builds(folder: Path, builder: _Builder) -> dict[str, dict]:
    """Return the summary of each config that is built."""
    builds = {config: read_summary(folder / config) for config in builder.configs}
    builds = {config: build for config, build in builds.items() if build is not None}
    for config, build in builds.items():
        check_row_format(build, str(folder / config))
    return builds


def _render(builds: Mapping[str, dict], builder: _Builder) -> DatasetCard:
    default = next(iter(builds))
    features = {config: Features.from_dict(build["features"]) for config, build in builds.items()}
    columns = {name: feature for own in features.values() for name, feature in own.items()}
    labels = {name: feature.feature.names for name, feature in columns.items() if is_label_column(name)}
    known = corpus_features({})
    return DatasetCard.from_template(
        _card_data(builder, builds, features, default),
        template_path=str(resource("cards", "dataset.md.jinja")),
        info=builder.info,
        command=_command(builder),
        builds=builds,
        described={config: describe(build) for config, build in builds.items()},
        repo_id=f"org/{builder.name}",
        default_config=default,
        default_split=next(iter(builds[default]["splits"])),
        label_columns=labels,
        extra_columns=[name for name in columns if name not in known and name not in labels],
        licence_name=LICENCES[builder.info.licence],
    )


def _card_data(builder: _Builder, builds: Mapping, features: Mapping, default: str) -> DatasetCardData:
    rows = sum(own["num_rows"] for build in builds.values() for own in build["splits"].values())
    data = DatasetCardData(
        pretty_name=builder.info.title,
        license=builder.info.licence,
        language=list(builder.info.languages) or None,
        size_categories=next(name for limit, name in _SIZES.items() if rows < limit),
        tags=["ecg", "electrocardiogram", "cardiology", "medical", "time-series"],
    )
    _add_files(data, builds, features, folders={config: f"{config}/" for config in builds}, default=default)
    return data


def write_prepared_card(folder: str | os.PathLike[str], summary: Mapping, features: Features) -> Path:
    """Write `README.md` of a folder of prepared rows, from its summary."""
    config, corpus = summary["config"], summary["corpus"]
    data = DatasetCardData(
        pretty_name=f"{corpus} ({config}), prepared",
        license=summary.get("licence"),
        tags=["ecg", "electrocardiogram"],
    )
    _add_files(data, {config: summary}, {config: features}, folders={config: ""})
    card = DatasetCard.from_template(
        data,
        template_path=str(resource("cards", "prepared.md.jinja")),
        corpus=corpus,
        config=config,
        summary=summary,
        fields=json.dumps(summary["feature_extractor"], indent=2),
    )
    return save_card(card, Path(folder))


def _add_files(data: DatasetCardData, builds: Mapping, features: Mapping, *, folders: Mapping, default=None) -> None:
    """Add each config's features, rows and files, by which `datasets` loads it and notices what is lost."""
    infos = DatasetInfosDict()
    for config, build in builds.items():
        splits = SplitDict()
        for split, own in build["splits"].items():
            splits[split] = SplitInfo(split, num_bytes=own["num_bytes"], num_examples=own["num_rows"])
        infos[config] = DatasetInfo(config_name=config, features=features[config], splits=splits)
    infos.to_dataset_card_data(data)
    data.configs = [
        {"config_name": config}
        | ({"default": True} if config == default else {})
        | {"data_files": [{"split": s, "path": f"{folders[config]}{s}-*.parquet"} for s in build["splits"]]}
        for config, build in builds.items()
    ]


def save_card(card: RepoCard, folder: Path) -> Path:
    """Write a card as `README.md` of a folder, at once; return its path."""
    path, partial = folder / "README.md", folder / f".README.md.{os.getpid()}.partial"
    try:
        card.save(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**9: "1M<n<10M"}


def describe(summary: Mapping) -> str:
    """Return a build's summary in words, for a terminal and for the card."""
    total = sum(own["num_rows"] for own in summary["splits"].values())
    lines = [
        f"{summary['corpus']} {summary['config']}: {total} rows ("
        + ", ".join(f"{name} {own['num_rows']}" for name, own in summary["splits"].items())
        + ")"
    ]
    if summary["empty_splits"]:
        lines.append(f"no recordings of, and left out: split {', '.join(summary['empty_splits'])}")
    counted = {"listed but not in the source": summary["missing"], "excluded as asked": summary["excluded"]}
    counted |= {CONDITIONS[name]: found for name, found in summary["conditions"].items()}
    for words, found in counted.items():
        if found["count"]:
            more = ", ..." if found["count"] > 5 else ""
            lines.append(f"{found['count']} {words}: {', '.join(found['records'][:5])}{more}")
    given, used = summary["translations"]["given"], summary["translations"]["used"]
    if given:
        lines.append(f"{used} of {given} translations used")
    versions = {"row format": "row_format_version", "reader": "builder_version", "reports": "reports_version"}
    lines.append("versions: " + ", ".join(f"{words} {summary[name]}" for words, name in versions.items()))
    return "\n".join(lines)
