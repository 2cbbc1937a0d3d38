"""The command `mets-ecg build`: a publisher's files to a corpus in Parquet, with its card."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mets_ecg_cli.build import BuildArguments

from ...leads import canonical_leads
from ...signals import INVALID_SAMPLE
from ..corpora import CORPORA
from ..reports.english import render_english, split_findings
from ..rows import source_digest
from ..text_cells import read_text
from .card import CONDITIONS, check_output, describe, write_card
from .corpus_builder import CorpusBuilder, Recording, read_table
from .download import download
from .shards import (
    Shard,
    count_named,
    parse_part,
    shard_names,
    split_evenly,
    summarize_splits,
    write_parquet,
    write_shards,
)

_LARGE_AMPLITUDE_MV = 10.0
_TEXT_COLUMNS = ("report", "report_en", "device")


def run_build(arguments: BuildArguments) -> dict | None:
    """Build a corpus and print what it holds.

    Returns:
        What stands in the config's `build.json`; None where only a part was built.

    Raises:
        ValueError: there is no such corpus or config; or recordings are damaged, and the message says which.
        FileNotFoundError: the source lacks a table or all recordings; or, under `strict`, any.
        FileExistsError: the output is there already, from another source, or holds something else.
        OSError, RuntimeError: the build stopped, as `write_shards` says; the same call goes on.
    """
    if arguments.corpus not in CORPORA:
        raise ValueError(f"there is no corpus {arguments.corpus!r}: there are {', '.join(CORPORA)}")
    kind = CORPORA[arguments.corpus]
    if (arguments.source is None) == (arguments.download is None):
        raise ValueError(f"say where {kind.name}'s files are, by --source, or shall be fetched to, by --download")
    part = parse_part(arguments.shard)
    if part is not None and arguments.download is not None:
        raise ValueError(
            "--shard and --download: every machine would fetch all files. Let one call without --shard fetch them (it "
            "may be stopped once it says so), then build the parts with --source"
        )
    leave_out = _read_leave_out(arguments.leave_out)
    translations = _read_translations(arguments.reports)
    check_output(arguments.output, kind)
    if arguments.download is not None:
        if kind.info.download_url is None:
            raise ValueError(f"{kind.name} is not to be fetched from here: get it at {kind.info.homepage}")
        with contextlib.suppress(FileNotFoundError):  # the folder may not be there yet, the config must be
            kind(arguments.download, arguments.config_name)
        patterns = kind.download_patterns(arguments.config_name or kind.configs[0])
        fetched = download(kind.info.download_url, arguments.download, patterns=patterns)
        print(f"fetched {fetched}")
    builder = kind(arguments.source or arguments.download, arguments.config_name)
    summary = build_corpus(
        builder,
        Path(arguments.output) / builder.config,
        strict=arguments.strict,
        leave_out=leave_out,
        translations=translations,
        part=part,
        num_proc=arguments.num_proc,
    )
    if summary is None:
        print(f"part {arguments.shard} is written; the same command without --shard makes the corpus of all parts")
        return None
    write_card(arguments.output, kind)
    print(describe(summary))
    print(f"{arguments.output} holds the card and {builder.config}/")
    return summary


def build_corpus(
    builder: CorpusBuilder,
    folder: str | os.PathLike[str],
    *,
    strict: bool = False,
    leave_out: Sequence[str] = (),
    translations: Mapping[str, str] | None = None,
    part: tuple[int, int] | None = None,
    num_proc: int | None = None,
    fingerprint: str = "",
) -> dict | None:
    """Write a builder's recordings as a folder of Parquet shards; see `write_shards` for what holds if it is stopped.

    Args:
        builder: of the corpus, with its source.
        folder: of this config, to appear.
        strict: refuse a source that lacks recordings.
        leave_out: ids of recordings that shall not be read.
        translations: English reports by record id, in place of the glossary's.
        part: see `write_shards`.
        num_proc: processes.
        fingerprint: goes into the key beside what the rows depend on.

    Returns:
        The summary, which is also in the folder's `build.json`; None where only a part was written.
    """
    listed, missing = builder.find()
    _check_ids(leave_out, listed + missing, "--leave-out")
    translations = translations or {}
    _check_ids(translations, listed + missing, "--reports")
    left_out = set(leave_out)
    there = [recording for recording in listed if recording.record_id not in left_out]
    missing = [recording for recording in missing if recording.record_id not in left_out]
    if missing and strict:
        raise FileNotFoundError(
            f"{builder.name}: {len(missing)} of {len(there) + len(missing)} recordings are not in {builder.source}, "
            f"for example {missing[0].files[0]}: fetch them, or build without --strict"
        )
    published = builder.info.num_recordings
    if strict and len(listed) + len(missing) < (published or 0):
        raise FileNotFoundError(
            f"{builder.name}: {builder.source} holds {len(listed) + len(missing)} of the {published} recordings that "
            "were published: fetch the others, or build without --strict"
        )
    if not there:
        raise ValueError("--leave-out names all recordings that are there: nothing is left to build")
    plan = []
    for name, part_of_split in _divide(builder, listed, left_out):
        texts = {one.record_id: translations[one.record_id] for one in part_of_split if one.record_id in translations}
        key = corpus_key(builder, part_of_split, texts, fingerprint)
        plan.append(Shard(name, (part_of_split, texts), len(part_of_split), key))
    facts = {
        "corpus": builder.name,
        "config": builder.config,
        "version": builder.info.version,
        "title": builder.info.title,
        "licence": builder.info.licence,
        "doi": builder.info.doi,
        "homepage": builder.info.homepage,
        "missing": count_named([recording.record_id for recording in missing]),
        "left_out": count_named(sorted(left_out)),
        "published": published,
        "translations": {"given": len(translations), "used": sum(len(shard.content[1]) for shard in plan)},
    }
    return write_shards(
        folder,
        plan,
        partial(_write_shard, builder),
        key=hashlib.sha256(repr([(shard.name, shard.key) for shard in plan]).encode()).hexdigest(),
        summarize=partial(_summarize, facts, builder, plan),
        left_out=left_out,
        part=part,
        num_proc=num_proc,
        description=f"building {builder.name}",
    )


def _divide(
    builder: CorpusBuilder, listed: Sequence[Recording], left_out: set[str]
) -> Iterator[tuple[str, Sequence[Recording]]]:
    """Yield each shard's name and recordings.

    Whatever is left out, the others stay in their shards: those that were written before need not be again.
    """
    for split in builder.splits:
        own = [recording for recording in listed if recording.split == split]
        kept = [recording for recording in own if recording.record_id not in left_out]
        if not kept:
            continue
        parts = split_evenly(own, builder.recordings_per_shard)
        parts = [[one for one in part if one.record_id not in left_out] for part in parts]
        if not all(parts):
            parts = split_evenly(kept, builder.recordings_per_shard)
        yield from zip(shard_names(split, len(parts)), parts, strict=True)


def corpus_key(
    builder: CorpusBuilder, there: Sequence[Recording], translations: Mapping[str, str], fingerprint: str
) -> str:
    """Return a digest of what the rows depend on: the tables' content, the files' sizes, the code."""
    settings = f"{source_digest()} {fingerprint} {builder.config} {sorted(translations.items())}"
    digest = hashlib.sha256(settings.encode())
    for recording in there:
        sizes = [os.stat(builder.source / name).st_size for name in recording.files]
        digest.update(repr((recording.record_id, recording.split, sizes, recording.fields)).encode())
    return digest.hexdigest()


def _write_shard(builder: CorpusBuilder, content: tuple[Sequence[Recording], Mapping[str, str]], path: Path) -> dict:
    """Write one shard; return what its rows show. Damaged recordings are gathered, so that all are named at once.

    Raises:
        OSError: the disk or the network of the source failed: that is no recording's damage.
    """
    recordings, translations = content
    summary = {"conditions": {}, "damaged": []}

    def complete() -> Iterator[dict]:
        for recording in recordings:
            try:
                own = list(builder.read(recording))
                found = []
                for row in own:
                    canonical_leads(row["lead_names"])  # refuses what is no lead
                    repaired = _complete(row, translations)
                    names = [*_conditions(row), *(["repaired_text"] if repaired else [])]
                    found += [(name, row["record_id"]) for name in names]
            except MemoryError:
                raise
            except Exception as error:  # damage that no reader thought of is to be named like any other
                if _is_of_the_system(error):
                    said = f"recording {recording.record_id}: {error.strerror}"
                    raise OSError(error.errno, said, error.filename or str(builder.source)) from error
                known = isinstance(error, (ValueError, OSError))
                reason = " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())
                summary["damaged"].append([recording.record_id, reason])
                continue
            for name, record_id in found:
                summary["conditions"].setdefault(name, []).append(record_id)
            yield from own

    summary["num_rows"] = write_parquet(complete(), path, builder.features)
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
    elif row.get("report") is not None and "report_en" not in row:
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


def _read_leave_out(words: Sequence[str]) -> list[str]:
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
