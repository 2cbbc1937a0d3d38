"""Download an open PhysioNet database in its publisher's layout: every file verified by its SHA-256."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path, PureWindowsPath
from typing import TypeVar
from urllib.parse import quote

import requests
from tqdm.auto import tqdm

from ... import __version__
from .locking import locked

_Result = TypeVar("_Result")

_SUMS = "SHA256SUMS.txt"
_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")
_LOCK = ".download.lock"
_CHUNK = 1 << 16
_TIMEOUT = (10, 60)  # seconds to connect, and between two arrivals
_BACKOFF = 1.0  # seconds before the first retry; doubled for each one after it
_LONGEST_BACKOFF = 60.0  # also where a server asks for more


@dataclass(frozen=True)
class DownloadSummary:
    """What `download` did.

    Attributes:
        num_files: files chosen, all of which are in the folder now; `SHA256SUMS.txt` is not counted.
        num_present: those of them that were there already.
        num_bytes: bytes of the files that this call downloaded.
        seconds: that it took.
    """

    num_files: int
    num_present: int
    num_bytes: int
    seconds: float

    def __str__(self) -> str:
        size = tqdm.format_sizeof(self.num_bytes, "B", 1000)
        there = f"; {self.num_present} were there already" if self.num_present else ""
        return f"{self.num_files - self.num_present} files, {size}, in {self.seconds:.0f} s{there}"


class _Failure(Exception):
    """One file cannot be downloaded; the others go on."""


class _Stopped(Exception):
    """The download ended, and this file is not waited for."""


def download(
    base_url: str,
    folder: str | os.PathLike[str],
    *,
    patterns: Sequence[str] = ("*",),
    num_workers: int = 8,
    max_retries: int = 5,
) -> DownloadSummary:
    """Download the files of a PhysioNet database that match, as listed by its `SHA256SUMS.txt`.

    A file gets its name only once its checksum is right; until then it is `NAME.part`. A file that is there with the
    right checksum is not downloaded again, so that the same call goes on where it was stopped; one with another content
    is replaced by the publisher's.

    Proxies, certificates and `.netrc` are taken from the environment, as `requests` does.

    Args:
        base_url: address of the files of one version, such as `https://physionet.org/files/ptb-xl/1.0.3/`.
        folder: where they go, made if need be.
        patterns: of paths below `base_url`, as `fnmatch` reads them: a `*` crosses folders.
        num_workers: connections used at once.
        max_retries: of each file, when the connection breaks, the server is busy or the checksum is wrong.

    Raises:
        ValueError: a pattern matches nothing, or the list of files is damaged or names a path outside of the folder.
        FileExistsError: the folder has another version's `SHA256SUMS.txt`.
        RuntimeError: another process downloads into the folder.
        OSError: the list or some files could not be downloaded, after all others were; or the disk is full.
    """
    started = time.monotonic()
    base_url = base_url.rstrip("/") + "/"
    folder = Path(folder)
    client = _Client(base_url, folder, max_retries)
    content = client.get_list()
    chosen = _choose(_read_list(content, base_url), patterns, base_url)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / _LOCK, f"downloads into {str(folder)!r}"):
        _keep_list(folder / _SUMS, content, base_url)
        # Its threads are daemons: Ctrl-C does not wait for one that waits for a silent server.
        pool = ThreadPool(num_workers)
        try:
            outcomes = pool.imap_unordered(client.download, chosen.items())
            outcomes = list(tqdm(outcomes, total=len(chosen), desc=folder.name, unit="file", disable=None))
        finally:
            client.stop.set()
            pool.terminate()
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if failures:
        more = "; ..." if len(failures) > 3 else ""
        raise OSError(
            f"{len(failures)} of {len(chosen)} files could not be downloaded: {'; '.join(failures[:3])}{more}. Run the "
            "same command again: it goes on where it stopped, and downloads nothing twice"
        )
    num_bytes = sum(outcome or 0 for outcome in outcomes)
    return DownloadSummary(len(chosen), outcomes.count(None), num_bytes, time.monotonic() - started)


def _read_list(content: bytes, base_url: str) -> dict[str, str]:
    """Return path -> SHA-256 as `SHA256SUMS.txt` gives them; refuse what could leave the folder."""
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), start=1):
        line = line.rstrip()
        if not line:
            continue
        where = f"line {number} of {base_url}{_SUMS}"
        match = _SUMS_LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"{where} is {line[:80]!r} where a SHA-256 and a path should be: is the database open access, "
                "and its address that of its files?"
            )
        digest, path = match[1].lower(), match[2].removeprefix("./")
        strange = any(part in ("", ".", "..") for part in path.split("/")) or PureWindowsPath(path).drive
        if strange or "\\" in path or not path.isprintable() or path == _LOCK:
            raise ValueError(f"{where} names {path!r}, which is not a path within the folder: nothing was downloaded")
        if sums.setdefault(path, digest) != digest:
            raise ValueError(f"{where} gives {path!r} a second checksum: nothing was downloaded")
    sums.pop(_SUMS, None)  # it cannot contain its own sum
    return sums


def _choose(sums: Mapping[str, str], patterns: Sequence[str], base_url: str) -> dict[str, str]:
    wanted = set()
    for pattern in patterns:
        matching = [path for path in (*sums, _SUMS) if fnmatch.fnmatchcase(path, pattern)]
        if not matching:
            raise ValueError(
                f"no file of {base_url} matches the pattern {pattern!r}; there are {', '.join(list(sums)[:5])}, ..."
            )
        wanted.update(matching)
    return {path: digest for path, digest in sums.items() if path in wanted}


def _keep_list(path: Path, content: bytes, base_url: str) -> None:
    if path.exists():
        if path.read_bytes() != content:
            raise FileExistsError(
                f"{path} is not that of {base_url}: the folder has another version or database. Name another "
                f"folder, or remove this {_SUMS} if all files there should become those of that address"
            )
        return
    part = Path(f"{path}.part")
    part.write_bytes(content)
    os.replace(part, path)


class _Client:
    """Downloads files, and tries again where that may help, until it is stopped."""

    def __init__(self, base_url: str, folder: Path, max_retries: int):
        self.base_url, self.folder, self.max_retries = base_url, folder, max_retries
        self.stop = threading.Event()
        self.session = requests.Session()
        self.session.headers.update({"User-Agent": f"mets-ecg/{__version__}", "Accept-Encoding": "identity"})

    def get_list(self) -> bytes:
        try:
            return self._retry(lambda: self._get(_SUMS).content, _SUMS)
        except _Failure as error:
            raise OSError(
                f"the list of files cannot be downloaded: {error}; the address should be that of the files of one "
                f"version, such as https://physionet.org/files/ptb-xl/1.0.3/, and is {self.base_url}"
            ) from error

    def download(self, item: tuple[str, str]) -> int | str | None:
        """Return how many bytes were downloaded, None where the file is there, or why it cannot be downloaded."""
        self._check_stop()
        path, digest = item
        target = self.folder / path
        if target.is_file():
            with target.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                    return None
        try:
            return self._retry(lambda: self._receive(path, digest), path)
        except _Failure as error:
            return str(error)

    def _receive(self, path: str, digest: str) -> int:
        target = self.folder / path
        part = target.with_name(f"{target.name}.part")
        found = hashlib.sha256()
        with self._get(path) as response:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    for chunk in response.iter_content(_CHUNK):
                        self._check_stop()
                        file.write(chunk)
                        found.update(chunk)
                num_bytes = part.stat().st_size
            except requests.RequestException:  # is an OSError, and not the disk's
                raise
            except OSError as error:
                self.stop.set()  # no other file would fare better
                raise OSError(
                    error.errno,
                    f"{path} cannot be written: {error.strerror}. Make room, or name another folder, and run the same "
                    "command again: it goes on where it stopped",
                ) from error
        if found.hexdigest() != digest:
            part.unlink()
            raise requests.RequestException(f"wrong checksum {found.hexdigest()}, {_SUMS} says {digest}")
        os.replace(part, target)
        return num_bytes

    def _get(self, path: str) -> requests.Response:
        response = self.session.get(self.base_url + quote(path), stream=True, timeout=_TIMEOUT)
        if not response.ok:
            response.close()
        response.raise_for_status()
        return response

    def _retry(self, attempt: Callable[[], _Result], path: str) -> _Result:
        retry = 0
        while True:
            try:
                return attempt()
            except requests.RequestException as error:
                status = 0 if error.response is None else error.response.status_code
                asked = "" if error.response is None else error.response.headers.get("Retry-After", "")
                if retry >= self.max_retries or (400 <= status < 500 and status not in (408, 429)):
                    hint = " (PhysioNet gives it to its users only: put your login in ~/.netrc)"
                    raise _Failure(f"{path}: {error}{hint if status in (401, 403) else ''}") from error
            # Spread, so that the workers do not come back all at once.
            wait = max(_BACKOFF * 2**retry * random.uniform(0.5, 1), float(asked) if asked.isdecimal() else 0.0)
            self.stop.wait(min(wait, _LONGEST_BACKOFF))
            self._check_stop()
            retry += 1

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _Stopped
