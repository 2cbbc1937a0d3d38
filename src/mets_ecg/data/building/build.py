"""The command `mets-ecg build`: a publisher's files, or a user's own, to a corpus in Parquet, with its card."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mets_ecg_cli.build import BuildArguments

from ...leads import canonical_leads
from ...signals import INVALID_SAMPLE
from ..corpora import CORPORA
from ..reports import REPORTS_VERSION
from ..reports.english import render_english, split_findings
from ..rows import ROW_FORMAT_VERSION, table_rows
from ..text_cells import read_text
from .card import CONDITIONS, check_output, describe, write_card
from .corpus_builder import CorpusBuilder, Recording, read_table
from .download import download
from .shards import (
    Shard,
    count_named,
    read_summary,
    shard_names,
    split_evenly,
    summarize_splits,
    write_parquet,
    write_shards,
)

_LARGE_AMPLITUDE_MV = 10.0
_TEXT_COLUMNS = ("report", "report_en", "device")


def run_build(arguments: BuildArguments) -> dict:
    """Build a corpus and print what it contains.

    Returns:
        The config's `build.json`.

    Raises:
        ValueError: there is no such corpus or config; or recordings are damaged, and the message says which.
        ImportError: a package is missing that reads this corpus.
        FileNotFoundError: the source lacks a table or all recordings; or, under `strict`, any.
        FileExistsError: the output is there already, from another source, or contains something else.
        OSError, RuntimeError: the build stopped, as `write_shards` says; the same call goes on.
    """
    if arguments.corpus not in CORPORA:
        raise ValueError(f"there is no corpus {arguments.corpus!r}: there are {', '.join(CORPORA)}")
    kind = CORPORA[arguments.corpus]
    if (arguments.source is None) == (arguments.download is None):
        raise ValueError(f"say where {kind.name}'s files are, by --source, or where to download them, by --download")
    excluded = _read_ids(arguments.exclude)
    translations = _read_translations(arguments.reports)
    if arguments.download is not None:
        if kind.info.download_url is None:
            raise ValueError(f"{kind.name} cannot be downloaded from here: get it at {kind.info.homepage}")
        check_output(arguments.output, kind)
        with contextlib.suppress(FileNotFoundError):  # the folder may not be there yet, the config must be
            kind(arguments.download, arguments.config_name)
        patterns = kind.download_patterns(arguments.config_name or kind.configs[0])
        print(f"downloaded {download(kind.info.download_url, arguments.download, patterns=patterns)}")
    builder = kind(arguments.source or arguments.download, arguments.config_name, **arguments.stated())
    check_output(arguments.output, builder)
    summary = build_corpus(
        builder,
        Path(arguments.output) / builder.config,
        strict=arguments.strict,
        exclude=excluded,
        translations=translations,
        num_proc=arguments.num_proc,
    )
    write_card(arguments.output, builder)
    print(describe(summary))
    print(f"the card and {builder.config}/ are in {arguments.output}")
    for line in builder.write_extras(arguments.output):
        print(line)
    return summary


def build_corpus(
    builder: CorpusBuilder,
    folder: str | os.PathLike[str],
    *,
    strict: bool = False,
    exclude: Sequence[str] = (),
    translations: Mapping[str, str] | None = None,
    num_proc: int | None = None,
    fingerprint: str = "",
) -> dict:
    """Write a builder's recordings as a folder of Parquet shards; see `write_shards` for what happens if it is stopped.

    If the folder is there and was built of the same files, but its reports by an older `REPORTS_VERSION`, only the
    reports are written again: no recording is read, and the old folder is replaced when the new one is whole.

    Args:
        builder: of the corpus, with its source.
        folder: of this config, to appear.
        strict: refuse a source that lacks recordings.
        exclude: ids of recordings that shall not be read.
        translations: English reports by record id, in place of the glossary's.
        num_proc: processes.
        fingerprint: goes into the key beside what the rows depend on.

    Returns:
        The summary, which is also in the folder's `build.json`.
    """
    listed, missing = builder.find()
    _check_ids(exclude, listed + missing, "--exclude")
    translations = translations or {}
    _check_ids(translations, listed + missing, "--reports")
    excluded = set(exclude)
    there = [recording for recording in listed if recording.record_id not in excluded]
    missing = [recording for recording in missing if recording.record_id not in excluded]
    if missing and strict:
        raise FileNotFoundError(
            f"{builder.name}: {len(missing)} of {len(there) + len(missing)} recordings are not in {builder.source}, "
            f"for example {missing[0].files[0]}: download them, or build without --strict"
        )
    published = builder.info.num_recordings
    if strict and len(listed) + len(missing) < (published or 0):
        raise FileNotFoundError(
            f"{builder.name}: {builder.source} has {len(listed) + len(missing)} of the {published} recordings that "
            "were published: download the others, or build without --strict"
        )
    if not there:
        raise ValueError("--exclude names all recordings that are there: there is nothing to build")
    parts = list(_divide(builder, listed, excluded, translations))
    plan, key = _plan(builder, parts, fingerprint, REPORTS_VERSION)
    older = read_summary(folder) or {}
    version = older.get("reports_version", REPORTS_VERSION)
    only_reports_differ = version < REPORTS_VERSION and _plan(builder, parts, fingerprint, version)[1] == older["key"]
    facts = {
        "corpus": builder.name,
        "config": builder.config,
        "version": builder.info.version,
        "title": builder.info.title,
        "licence": builder.info.licence,
        "doi": builder.info.doi,
        "homepage": builder.info.homepage,
        "missing": count_named([recording.record_id for recording in missing]),
        "excluded": count_named(sorted(excluded)),
        "published": published,
        "translations": {"given": len(translations), "used": sum(len(texts) for _, _, texts in parts)},
        "builder_version": builder.version,
        "reports_version": REPORTS_VERSION,
    }
    return write_shards(
        folder,
        plan,
        partial(_write_shard, builder, Path(folder).absolute() if only_reports_differ else None),
        key=key,
        summarize=partial(_summarize, facts, builder, plan),
        excluded=excluded,
        replaces=older["key"] if only_reports_differ else None,
        num_proc=num_proc,
        description=f"building {builder.name}",
    )


def _divide(
    builder: CorpusBuilder, listed: Sequence[Recording], excluded: set[str], translations: Mapping[str, str]
) -> Iterator[tuple[str, Sequence[Recording], dict[str, str]]]:
    """Yield each shard's name, recordings and translations.

    Whatever is excluded, the others stay in their shards: those that were written before need not be again.
    """
    for split in builder.splits:
        own = [recording for recording in listed if recording.split == split]
        kept = [recording for recording in own if recording.record_id not in excluded]
        if not kept:
            continue
        parts = split_evenly(own, builder.recordings_per_shard)
        parts = [[one for one in part if one.record_id not in excluded] for part in parts]
        if not all(parts):
            parts = split_evenly(kept, builder.recordings_per_shard)
        for name, part in zip(shard_names(split, len(parts)), parts, strict=True):
            ids = [one.record_id for one in part]
            yield name, part, {record_id: translations[record_id] for record_id in ids if record_id in translations}


def _plan(builder: CorpusBuilder, parts, fingerprint: str, reports_version: int) -> tuple[list[Shard], str]:
    """Return the shards with their keys, and the key of them all."""
    plan = [
        Shard(name, (name, part, texts), len(part), corpus_key(builder, part, texts, fingerprint, reports_version))
        for name, part, texts in parts
    ]
    return plan, hashlib.sha256(repr([(shard.name, shard.key) for shard in plan]).encode()).hexdigest()


def corpus_key(
    builder: CorpusBuilder,
    there: Sequence[Recording],
    translations: Mapping[str, str],
    fingerprint: str,
    reports_version: int = REPORTS_VERSION,
) -> str:
    """Return a digest of what the rows depend on: the tables' content, the files' sizes, the versions of the code."""
    versions = (ROW_FORMAT_VERSION, builder.version, reports_version)
    settings = (
        f"{versions} {fingerprint}{builder.settings} {builder.name} {builder.config} {sorted(translations.items())}"
    )
    digest = hashlib.sha256(settings.encode())
    for recording in there:
        sizes = [os.stat(builder.source / name).st_size for name in recording.files]
        digest.update(repr((recording.record_id, recording.split, sizes, recording.fields)).encode())
    return digest.hexdigest()


def _write_shard(builder: CorpusBuilder, earlier: Path | None, content: tuple, path: Path) -> dict:
    """Write one shard; return what its rows show. Damaged recordings are gathered, so that all are named at once.

    Args:
        builder: reads the recordings.
        earlier: folder with the same shards, whose rows only lack reports of this version: they are read instead.
        content: name of the shard, its recordings, and translations by record id.
        path: to be written.

    Raises:
        ImportError: a package is missing that reads this corpus.
        OSError: the disk or the network of the source failed: the recording is not damaged.
    """
    name, recordings, translations = content
    summary = {"conditions": {}, "damaged": []}

    def complete(rows: Iterable[dict]) -> list[dict]:
        own = []
        for row in rows:
            canonical_leads(row["lead_names"])  # refuses an unknown lead
            repaired = _complete(row, translations)
            own.append((row, [*_conditions(row), *(["repaired_text"] if repaired else [])]))
        for row, found in own:
            for condition in found:
                summary["conditions"].setdefault(condition, []).append(row["record_id"])
        return [row for row, _ in own]

    def read() -> Iterator[dict]:
        for recording in recordings:
            try:
                own = complete(builder.read(recording))
            except (MemoryError, ImportError):
                raise
            except Exception as error:  # damage that no reader thought of is to be named like any other
                if _is_of_the_system(error):
                    said = f"recording {recording.record_id}: {error.strerror}"
                    raise OSError(error.errno, said, error.filename or str(builder.source)) from error
                known = isinstance(error, (ValueError, OSError))
                reason = " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())
                summary["damaged"].append([recording.record_id, reason])
                continue
            yield from own

    def reword() -> Iterator[dict]:
        fields = {recording.record_id: recording.fields for recording in recordings}
        with pq.ParquetFile(earlier / f"{name}.parquet") as parquet:
            for group in range(parquet.num_row_groups):
                rows = table_rows(parquet.read_row_group(group).drop_columns(["report", "report_en", "findings"]))
                for row in rows:  # from the source's text, as if the recording had been read again
                    if "report" in (own := fields.get(row["record_id"], {})):
                        row["report"] = own["report"]
                yield from complete(rows)

    summary["num_rows"] = write_parquet(read() if earlier is None else reword(), path, builder.features)
    return summary


def _is_of_the_system(error: Exception) -> bool:
    """Whether the system failed to read, rather than a library to understand; libraries' errors have no number."""
    mild = isinstance(error, (FileNotFoundError, PermissionError))
    return isinstance(error, OSError) and error.errno is not None and not mild


def _complete(row: dict, translations: Mapping[str, str]) -> bool:
    """Read a row's text, add English text and findings where it has a report; return whether a text was repaired."""
    translated = row["record_id"] in translations
    if translated:
        row["report_en"] = translations[row["record_id"]]
    cells = {name: row[name] for name in _TEXT_COLUMNS if row.get(name) is not None}
    row |= {name: read_text(cell) for name, cell in cells.items()}
    if translated:
        row["findings"] = None if row["report_en"] is None else list(split_findings(row["report_en"]))
    elif row.get("report") is not None:
        english = render_english(row["report"])
        row["report_en"] = english.text
        row["findings"] = list(english.findings)
    return any(row[name] not in (None, cell) for name, cell in cells.items())


def _conditions(row: Mapping) -> Iterator[str]:
    signal = row["signal"]
    lowest, highest = signal.min(axis=1).astype(np.int32), signal.max(axis=1).astype(np.int32)
    recorded, gaps = highest != INVALID_SAMPLE, lowest == INVALID_SAMPLE  # the marker is the lowest of all numbers
    if gaps.any():
        yield "missing_samples"
    for i in np.flatnonzero(recorded & gaps):
        lowest[i] = signal[i][signal[i] != INVALID_SAMPLE].min()
    if (lowest == highest)[recorded].any():
        yield "flat_lead"
    limit = _LARGE_AMPLITUDE_MV * np.asarray(row["gain"])
    peak = np.maximum(np.abs(highest - row["baseline"]), np.abs(lowest - row["baseline"]))
    if (peak > limit)[recorded].any():
        yield "large_amplitude"
    if "report" in row:
        if row["report"] is None:
            yield "empty_report"
        elif not row["findings"]:
            yield "no_finding"


def _summarize(facts: dict, builder: CorpusBuilder, plan: Sequence[Shard], summaries: list[dict]) -> dict:
    splits = {name: own for name, own in summarize_splits(plan, summaries)["splits"].items() if own["num_rows"]}
    if not splits:
        raise ValueError(f"{builder.name}: no recording in {builder.source} gives a row of config {builder.config}")
    return {
        **facts,
        "splits": splits,
        "empty_splits": [name for name in builder.splits if name not in splits],
        "conditions": {
            name: count_named([record for own in summaries for record in own["conditions"].get(name, [])])
            for name in CONDITIONS
        },
        "features": builder.features.to_dict(),
    }


def _read_ids(words: Sequence[str]) -> list[str]:
    """Return the ids that are given, and those of the files that are given."""
    ids = []
    for word in words:
        if os.path.isfile(word):
            lines = Path(word).read_text(encoding="utf-8").split("\n")
            ids += [line.strip() for line in lines if line.strip()]
        else:
            ids.append(word)
    return ids


def _read_translations(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    table = read_table(path, ("record_id", "report_en"))
    short = [number for number, line in enumerate(table, start=1) if line["report_en"] is None]
    if short:
        raise ValueError(f"{path}: row {short[0]} has no report_en: give each record one")
    translations = {line["record_id"]: line["report_en"] for line in table}
    if len(translations) < len(table):
        twice = Counter(line["record_id"] for line in table).most_common(1)[0][0]
        raise ValueError(f"{path} gives record {twice!r} more than once: give each record one report_en")
    return translations


def _check_ids(ids, recordings: Sequence[Recording], flag: str) -> None:
    known = {recording.record_id for recording in recordings}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise ValueError(
            f"{flag}: {len(unknown)} record ids are not in the source, for example {unknown[0]!r}; ids look like "
            f"{json.dumps(sorted(known)[:3])}"
        )
