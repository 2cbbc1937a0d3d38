"""Arguments of `mets-ecg push`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class PushArguments:
    """Push a corpus, a checkpoint or a metric to the Hub, in one commit; which of them, the folder tells."""

    folder: str = argument(help="folder of the corpus or the checkpoint, with its README.md", positional=True)
    repo_id: str = argument(help="repository, as user/name; made if it is not there", positional=True)
    private: bool = argument(False, help="make the repository private")
    dry_run: bool = argument(False, help="list what would be pushed, and send nothing")
    revision: str | None = argument(None, help="branch, made if it is not there; main by default")
