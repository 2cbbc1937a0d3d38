"""The command `mets-ecg push`: a corpus, a checkpoint or a metric becomes a repository of the Hub, in one commit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import yaml
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from mets_ecg_cli.push import PushArguments

from .folders import PushFolder, read_folder
from .model_card import THIS_REPOSITORY

_LOGIN = "run `hf auth login`, or set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens)"
# Of rows and of weights. What is left of an earlier push is deleted.
_SHARDS = (".parquet", ".safetensors", ".safetensors.index.json")


def run_push(arguments: PushArguments) -> None:
    """Push the folder, and print what was pushed and where.

    Raises:
        ValueError, OSError, RuntimeError: as `push_folder`.
    """
    folder = read_folder(arguments.folder)
    print("\n".join(folder.described))
    if folder.others:
        more = f" (and {len(folder.others) - 5} more)" if len(folder.others) > 5 else ""
        print(f"not part of it, and not pushed: {', '.join(folder.others[:5])}{more}")
    if arguments.dry_run:
        print(f"would be pushed to {arguments.repo_id}, a {folder.repo_type} repository:")
        print("\n".join(f"  {name} ({_size(content):,} bytes)" for name, content in folder.files.items()))
        return
    print(f"pushed: {_push(folder, arguments.repo_id, arguments.private, arguments.revision)}")


def push_folder(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Push a corpus, a checkpoint or a metric to the Hub, in one commit: a reader sees the old one or the new one.

    Of a corpus the card, the shards that it names and the summaries of the build are pushed; of a checkpoint weights,
    configs, processor, tokenizer, the code that they name, the card, the record of its training, and a `handler.py` for
    inference endpoints. Shards of an earlier push that the folder no longer has are deleted. Files are uploaded
    before the commit; a push that broke off is run again, and what is on the Hub by then is not sent again. An
    unchanged folder makes no commit.

    Args:
        folder: what is pushed is told by what it holds.
        repo_id: `user/name`, or `name` in the namespace of the token; made if it is not there.
        private: make the repository private.
        revision: branch, made if it is not there; main by default.

    Returns:
        The URL of the commit.

    Raises:
        ValueError: the folder is not whole, or a field of its card is empty; the id is none; or the repository is
            public where a private one was asked for, or has configs that the folder lacks. Nothing was sent.
        FileNotFoundError: the folder, its card or another file is not there. Nothing was sent.
        PermissionError: there is no token, or it may not write there.
        RuntimeError: the upload broke off, or somebody else pushed meanwhile. The repository is as it was.
    """
    return _push(read_folder(folder), repo_id, private, revision)


def _push(folder: PushFolder, repo_id: str, private: bool, revision: str | None) -> str:
    kind = folder.repo_type
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is no id of a repository, as user/name: {error}") from error
    if get_token() is None:
        raise PermissionError(f"there is no token for the Hub: {_LOGIN}")
    api = HfApi()
    with _explained(repo_id):
        # `private or None` leaves the rest to the rules of the namespace.
        sdk = "gradio" if kind == "space" else None
        made = api.create_repo(repo_id, repo_type=kind, private=private or None, space_sdk=sdk, exist_ok=True)
        repo_id = made.repo_id
        if private and not api.repo_info(repo_id, repo_type=kind).private:
            raise ValueError(
                f"{repo_id} is there already and is public: make it private in its settings, name another repository, "
                "or omit --private"
            )
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, repo_type=kind, exist_ok=True)
        head = api.repo_info(repo_id, repo_type=kind, revision=revision)
        there = {entry.rfilename for entry in head.siblings}
        if folder.configs and "README.md" in there:
            card = hf_hub_download(repo_id, "README.md", repo_type=kind, revision=head.sha)
            _refuse_to_lose_configs(card, folder, repo_id)
        deletions = [CommitOperationDelete(name, is_folder=False) for name in _stale(there, folder.files)]
        additions = [
            CommitOperationAdd(name, _content(name, content, repo_id)) for name, content in folder.files.items()
        ]
        commit = api.create_commit(
            repo_id,
            [*deletions, *additions],
            commit_message=folder.message,
            repo_type=kind,
            revision=revision,
            parent_commit=head.sha,  # refused if somebody else pushed meanwhile
        )
    return str(commit.commit_url)


def _content(name: str, content: Path | bytes, repo_id: str) -> str | bytes:
    """Return a file as it is pushed: a card names the repository that it is pushed to."""
    if isinstance(content, Path) and name != "README.md":
        return str(content)
    data = content if isinstance(content, bytes) else content.read_bytes()
    return data.replace(THIS_REPOSITORY.encode(), repo_id.encode())


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _stale(there: Collection[str], files: Collection[str]) -> list[str]:
    """Shards of rows or weights in the repository, in the folders that are pushed, which are not pushed."""
    folders = {PurePosixPath(name).parent for name in files if name.endswith(_SHARDS)}
    shards = {name for name in there if name.endswith(_SHARDS) and PurePosixPath(name).parent in folders}
    return sorted(shards - set(files))


def _refuse_to_lose_configs(card: str, folder: PushFolder, repo_id: str) -> None:
    """The pushed card takes the place of the one there, so configs that only the latter names could not be loaded."""
    try:
        there = [config["config_name"] for config in DatasetCard.load(card).data.to_dict().get("configs") or []]
    except (yaml.YAMLError, ValueError):
        return  # nobody could load a config by it
    if lost := sorted(set(there) - set(folder.configs)):
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
