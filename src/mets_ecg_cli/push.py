"""Arguments of `mets-ecg push`."""

from __future__ import annotations

from dataclasses import dataclass

from .parser import argument


@dataclass
class PushArguments:
    """Push a corpus that `mets-ecg build` made to the Hub, as a data-set repository, in one commit."""

    folder: str = argument(help="folder of the corpus, with its README.md", positional=True)
    repo_id: str = argument(help="repository, as user/name; made if it is not there")
    private: bool = argument(False, help="make the repository private")
    revision: str | None = argument(None, help="branch, made if it is not there; main by default")
