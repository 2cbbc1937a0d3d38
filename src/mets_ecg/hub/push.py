"""The command `mets-ecg push`: a built corpus becomes a data-set repository of the Hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from mets_ecg_cli.push import PushArguments

from ..data.building.shards import BUILD_SUMMARY, REBUILD, split_files

_LOGIN = "run `hf auth login`, or set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens)"


@dataclass(frozen=True)
class CorpusFolder:
    """What of a folder belongs to its corpus.

    Attributes:
        folder: where it is.
        rows: config -> split -> number of rows.
        files: to be pushed, relative to the folder.
        others: files that are not part of the corpus.
    """

    folder: Path
    rows: dict[str, dict[str, int]]
    files: list[str]
    others: list[str]


def run_push(arguments: PushArguments) -> None:
    """Push the corpus, and print what was pushed and where.

    Raises:
        ValueError, OSError, RuntimeError: as `push_corpus`.
    """
    corpus = read_corpus_folder(arguments.folder)
    for config, splits in corpus.rows.items():
        print(f"{config}: " + ", ".join(f"{split} {rows}" for split, rows in splits.items()) + " rows")
    if corpus.others:
        more = f" (and {len(corpus.others) - 5} more)" if len(corpus.others) > 5 else ""
        print(f"not part of the corpus, and not pushed: {', '.join(corpus.others[:5])}{more}")
    print(f"pushed: {_push(corpus, arguments.repo_id, arguments.private, arguments.revision)}")


def push_corpus(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Push a built corpus to the Hub, in one commit: a reader sees the old corpus or the new one, never parts of both.

    The card, the shards that it names and the summaries of the build are pushed. Shards of an earlier push of the same
    config that the folder no longer has are deleted. Files are uploaded before the commit; a push that broke off is
    run again, and what is on the Hub by then is not sent again. An unchanged corpus makes no commit.

    Args:
        folder: of the corpus.
        repo_id: `user/name`, or `name` in the namespace of the token; made if it is not there.
        private: make the repository private.
        revision: branch, made if it is not there; main by default.

    Returns:
        The URL of the commit.

    Raises:
        ValueError: the folder is not a whole corpus; or the repository is public where a private one was asked for,
            or has configs that the folder lacks. Nothing was sent.
        FileNotFoundError: the folder, its card or a shard is not there. Nothing was sent.
        PermissionError: there is no token, or it may not write there.
        RuntimeError: the upload broke off, or somebody else pushed meanwhile. The repository is as it was.
    """
    return _push(read_corpus_folder(folder), repo_id, private, revision)


def _push(corpus: CorpusFolder, repo_id: str, private: bool, revision: str | None) -> str:
    if get_token() is None:
        raise PermissionError(f"there is no token for the Hub: {_LOGIN}")
    api = HfApi()
    with _explained(repo_id):
        # `private or None` leaves the rest to the rules of the namespace.
        repo_id = api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True).repo_id
        if private and not api.dataset_info(repo_id).private:
            raise ValueError(
                f"{repo_id} is there already and is public: make it private in its settings, name another repository, "
                "or omit --private"
            )
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, repo_type="dataset", exist_ok=True)
        head = api.dataset_info(repo_id, revision=revision)
        there = {entry.rfilename for entry in head.siblings}
        if "README.md" in there:
            card = hf_hub_download(repo_id, "README.md", repo_type="dataset", revision=head.sha)
            _refuse_to_lose_configs(card, corpus, repo_id)
        deletions = [CommitOperationDelete(name, is_folder=False) for name in _stale(there, corpus.files)]
        additions = [CommitOperationAdd(name, str(corpus.folder / name)) for name in corpus.files]
        commit = api.create_commit(
            repo_id,
            [*deletions, *additions],
            commit_message=f"Push {', '.join(corpus.rows)}",
            repo_type="dataset",
            revision=revision,
            parent_commit=head.sha,  # refused if somebody else pushed meanwhile
        )
    return str(commit.commit_url)


def read_corpus_folder(folder: str | os.PathLike[str]) -> CorpusFolder:
    """Return what a corpus folder contains, having read every shard's footer.

    Raises:
        ValueError: the card is not a data-set card, or does not agree with the shards; or a shard is damaged.
        FileNotFoundError: the folder, its card or a shard is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    if not (folder / "README.md").is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is not a corpus that can be pushed, it has no README.md: `mets-ecg build` and `mets-ecg "
            "prepare` make one. If one of them was stopped, run it again, it goes on"
        )
    try:
        card = DatasetCard.load(folder / "README.md")
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"the YAML on top of {str(folder / 'README.md')!r} cannot be read: {error}") from error
    rows, files = {}, ["README.md", *sorted(path.name for path in folder.glob("LICENSE*"))]
    stated = DatasetInfosDict.from_dataset_card_data(card.data)
    for config, splits in _data_files(card, folder).items():
        rows[config] = {}
        for split, pattern in splits.items():
            shards = split_files(folder / PurePosixPath(pattern).parent, split)
            rows[config][split] = sum(map(_num_rows, shards))
            expected = (stated[config].splits or {}).get(split) if config in stated else None
            if expected is not None and expected.num_examples != rows[config][split]:
                raise ValueError(
                    f"{str(folder)!r}: the card states {expected.num_examples} rows for {config}, {split}, the shards "
                    f"have {rows[config][split]}: {REBUILD}"
                )
            summary = [path for path in [shards[0].with_name(BUILD_SUMMARY)] if path.is_file()]
            files += [path.relative_to(folder).as_posix() for path in shards + summary]
    files = list(dict.fromkeys(files))
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    shown = (path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
    return CorpusFolder(folder, rows, files, [name for name in shown if name not in files])


def _data_files(card: DatasetCard, folder: Path) -> dict[str, dict[str, str]]:
    """Config -> split -> pattern of its files, as the card says."""
    configs = {
        config["config_name"]: {entry["split"]: entry["path"] for entry in config.get("data_files") or []}
        for config in card.data.to_dict().get("configs") or []
    }
    if not any(configs.values()):
        raise ValueError(f"the card of {str(folder)!r} names no data files: it was not made by `mets-ecg build`")
    return configs


def _num_rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise ValueError(f"the shard {str(path)!r} is damaged ({error}): {REBUILD}") from error


def _stale(there: set[str], files: list[str]) -> list[str]:
    """Shards in the repository, in the folders that are pushed, which are not pushed."""
    folders = {PurePosixPath(name).parent for name in files if name.endswith(".parquet")}
    shards = {name for name in there if name.endswith(".parquet") and PurePosixPath(name).parent in folders}
    return sorted(shards - set(files))


def _refuse_to_lose_configs(card: str, corpus: CorpusFolder, repo_id: str) -> None:
    """The pushed card takes the place of the one there, so configs that only the latter names could not be loaded."""
    try:
        there = [config["config_name"] for config in DatasetCard.load(card).data.to_dict().get("configs") or []]
    except (yaml.YAMLError, ValueError):
        return  # nobody could load a config by it
    if lost := sorted(set(there) - set(corpus.rows)):
        raise ValueError(
            f"{repo_id} has {', '.join(lost)} too, which the pushed card would no longer name: build them into the "
            "same folder, or push to another repository or --revision"
        )


@contextlib.contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Say in one line what the Hub refused, and the way out."""
    try:
        yield
    except HfHubHTTPError as error:
        status, said = error.response.status_code, error.server_message or "no reason given"
        if status == 401:
            raise PermissionError(f"the Hub does not accept the token ({said}): {_LOGIN}") from error
        if status == 403:
            raise PermissionError(f"the token may not write to {repo_id} ({said}): {_LOGIN}") from error
        if status == 404:
            raise PermissionError(f"there is no {repo_id} that the token may see ({said}): {_LOGIN}") from error
        if status == 412:
            raise RuntimeError(
                f"somebody else pushed to {repo_id} meanwhile, so nothing was changed: look at it, then run the same "
                "command again"
            ) from error
        if status < 500 and status != 429:
            raise ValueError(f"the Hub refuses the push to {repo_id}: {said}") from error
        raise RuntimeError(_broken_off(repo_id, f"the Hub answered {status}, {said}")) from error
    except OfflineModeIsEnabled:
        raise  # it says what to do
    except (HTTPError, ConnectionError, RuntimeError) as error:  # there was no answer
        raise RuntimeError(_broken_off(repo_id, str(error.__cause__ or error))) from error


def _broken_off(repo_id: str, reason: str) -> str:
    return (
        f"the push to {repo_id} broke off ({reason}): run the same command again, what was uploaded is not sent again. "
        "Until then readers see the repository as it was"
    )
