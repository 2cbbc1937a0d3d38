"""Fetch an open PhysioNet database in its publisher's layout: every file verified, and resumed where it stopped."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import json
import logging
import os
import random
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TypeVar
from urllib.parse import quote, urlsplit

import requests
from huggingface_hub.utils import WeakFileLock
from tqdm.auto import tqdm
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

from ... import __version__

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_SUMS = "SHA256SUMS.txt"
_SUMS_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")
_LOCK = ".download.lock"
_JOURNAL = ".download.jsonl"
_CHUNK = 1 << 16
_TIMEOUT = (10, 60)  # seconds to connect, and between two arrivals
_BACKOFF = 1.0  # seconds before the first retry; doubled for each one after it
_LONGEST_BACKOFF = 60.0
_LONGEST_WAIT = 300.0  # a server that asks for more is asked again by the next run
_GIVE_UP_AFTER = 20  # files in a row that used up their retries: the server is gone, not the file
_SHOWN_FAILURES = 3


@dataclass(frozen=True)
class DownloadSummary:
    """What `download` did.

    Attributes:
        num_files: files chosen, all of which are in the folder now; `SHA256SUMS.txt` is not counted.
        num_present: those of them that were there already.
        num_bytes: bytes of files fetched by this call.
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
    """One file cannot be had; the others go on."""


class _Unreachable(_Failure):
    """All retries were used up."""


class _TryAgain(Exception):
    """What the server sent is worth another request, after `wait` seconds at least."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _Stopped(Exception):
    """Another thread asked for the end."""


def download(
    base_url: str,
    folder: str | os.PathLike[str],
    *,
    patterns: Sequence[str] = ("*",),
    num_workers: int = 8,
    max_retries: int = 5,
    progress: bool = True,
) -> DownloadSummary:
    """Fetch the files of a PhysioNet database that match, as listed by its `SHA256SUMS.txt`.

    A file gets its name only once its checksum is right; until then it is `NAME.part`. The same call again
    continues: what was verified is neither fetched nor read again (`.download.jsonl` in the folder remembers
    sizes and times), and a partial file continues where it stopped. A file of that name with another content
    is replaced by the publisher's, and kept as `NAME.<start of its checksum>.old`.

    Proxies, certificates and `.netrc` are taken from the environment, as `requests` does.

    Args:
        base_url: address of the files of one version, such as `https://physionet.org/files/ptb-xl/1.0.3/`.
        folder: where they go, made if need be.
        patterns: of paths below `base_url`, as `fnmatch` reads them: a `*` crosses folders.
        num_workers: connections used at once.
        max_retries: of each file, within this call, when the connection breaks or the server is busy.
        progress: show a bar, where there is a terminal.

    Raises:
        ValueError: an argument is out of range, a pattern matches nothing, or the list of files is damaged or
            names a path outside of the folder.
        TypeError: `patterns` is a single string.
        FileExistsError: the folder holds another version's `SHA256SUMS.txt`.
        RuntimeError: another process downloads into the folder.
        OSError: the list or some files could not be fetched, after all others were; or the disk is full.
    """
    started = time.monotonic()
    _check_arguments(base_url, patterns, num_workers, max_retries)
    base_url = base_url.rstrip("/") + "/"
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is no folder: name another one for the download")
    content = _fetch_list(base_url, max_retries)
    sums = _read_list(content, base_url)
    chosen = _choose(sums, patterns, base_url)

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(folder / _LOCK, timeout=0.1))
        except TimeoutError as error:
            raise RuntimeError(
                f"another process downloads into {str(folder)!r} (it holds {_LOCK}): wait for it or stop it; "
                "if there is none, remove that file"
            ) from error
        _keep_list(folder / _SUMS, content, base_url)
        known = _read_journal(folder / _JOURNAL)
        journal = stack.enter_context((folder / _JOURNAL).open("a", encoding="utf-8"))
        transfer = _Transfer(base_url, folder, chosen, max_retries, known, journal)
        transfer.run(num_workers, progress)
    return DownloadSummary(len(chosen), transfer.num_present, transfer.num_bytes, time.monotonic() - started)


def _check_arguments(base_url: str, patterns: Sequence[str], num_workers: int, max_retries: int) -> None:
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ValueError(f"base_url is {base_url!r}: give an address such as https://physionet.org/files/ptb-xl/1.0.3/")
    if isinstance(patterns, str):
        raise TypeError(f"patterns must be a list, got {patterns!r}: write [{patterns!r}]")
    if not patterns:
        raise ValueError("patterns is empty: give at least one, such as '*' for all files")
    if num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}: give 1 or more")
    if max_retries < 0:
        raise ValueError(f"max_retries is {max_retries}: give 0 or more")


def _fetch_list(base_url: str, max_retries: int) -> bytes:
    with _open_session() as session:

        def attempt() -> bytes:
            with _get(session, base_url + _SUMS) as response:
                return response.content

        try:
            return _with_retries(attempt, _SUMS, max_retries, threading.Event())
        except _Failure as error:
            raise OSError(
                f"the list of files cannot be fetched: {error}; the address should be that of the files of one "
                f"version, such as https://physionet.org/files/ptb-xl/1.0.3/, and is {base_url}"
            ) from error


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
        if strange or "\\" in path or not path.isprintable() or path in (_LOCK, _JOURNAL):
            raise ValueError(f"{where} names {path!r}, which is no path within the folder: nothing was fetched")
        if sums.setdefault(path, digest) != digest:
            raise ValueError(f"{where} gives {path!r} a second checksum: nothing was fetched")
    sums.pop(_SUMS, None)  # no list can hold its own sum
    clashes = [path for path in sums if f"{path}.part" in sums]
    if clashes:
        raise ValueError(f"{base_url}{_SUMS} names {clashes[0]!r} and {clashes[0] + '.part'!r}, our name for its part")
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
                f"{path} is not that of {base_url}: the folder holds another version or database. Name another "
                f"folder, or remove this {_SUMS} if all files there should become those of that address"
            )
        return
    part = Path(f"{path}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _read_journal(path: Path) -> dict[str, list]:
    """Return path -> size, time and checksum of the files once verified; a damaged line costs a second look."""
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            with contextlib.suppress(ValueError, TypeError):
                name, size, mtime_ns, digest = json.loads(line)
                known[name] = [size, mtime_ns, digest]
    return known


class _Transfer:
    """The files on their way, shared by the threads that fetch them."""

    def __init__(self, base_url, folder: Path, sums: Mapping[str, str], max_retries, known, journal):
        self.base_url, self.folder, self.max_retries = base_url, folder, max_retries
        self.known, self.journal = known, journal
        self.num_files = len(sums)
        self.todo = deque(sums.items())
        self.lock = threading.Lock()  # held for the journal and all that is counted below
        self.stop = threading.Event()
        self.num_done = self.num_present = self.num_bytes = self.unreachable_in_row = 0
        self.failures: list[str] = []
        self.set_aside: list[str] = []
        self.fatal: list[BaseException] = []

    def run(self, num_workers: int, progress: bool) -> None:
        # Not an executor, whose threads the interpreter waits for: one that waits for a silent server would hold
        # Ctrl-C up for a minute. Each has its session, and so its connection, for all of its files.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(num_workers, self.num_files))]
        disable = None if progress else True
        try:
            with tqdm(total=self.num_files, desc=self.folder.name, unit="file", disable=disable) as bar:
                for thread in threads:
                    thread.start()
                while alive := [thread for thread in threads if thread.is_alive()]:
                    alive[0].join(0.2)
                    bar.set_postfix_str(f"{tqdm.format_sizeof(self.num_bytes, 'B', 1000)} fetched", refresh=False)
                    bar.update(self.num_done - bar.n)
                bar.update(self.num_done - bar.n)
        finally:
            self.stop.set()
            deadline = time.monotonic() + 1
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, deadline - time.monotonic()))
            if self.set_aside:
                _logger.warning(
                    f"{len(self.set_aside)} files in {self.folder} were not the publisher's and were fetched anew; "
                    f"the former ones are kept: {_first(self.set_aside, ', ')}"
                )
        if self.fatal:
            raise self.fatal[0]
        if self.failures:
            left = self.num_files - self.num_done - len(self.failures)
            gave_up = f" The server seems to be gone: {left} others were not tried." if left else ""
            raise OSError(
                f"{len(self.failures)} of {self.num_files} files could not be fetched: {_first(self.failures, '; ')}."
                f"{gave_up} Run the same command again: it goes on where it stopped, and fetches nothing twice"
            )

    def _work(self) -> None:
        try:
            with _open_session() as session:
                while not self.stop.is_set():
                    try:
                        path, digest = self.todo.popleft()
                    except IndexError:
                        return
                    self._settle(session, path, digest)
        except _Stopped:
            pass
        except BaseException as error:  # of this disk, or ours: no other file would fare better
            self.fatal.append(error)
            self.stop.set()

    def _settle(self, session: requests.Session, path: str, digest: str) -> None:
        target = self.folder / path
        try:
            found = self._find(path)
            if found != digest:
                part = self._fetch(session, path, digest)
                if found is not None:
                    aside = f"{target.name}.{found[:8]}.old"
                    os.replace(target, target.with_name(aside))
                    with self.lock:
                        self.set_aside.append(aside)
                os.replace(part, target)
        except _Failure as error:
            with self.lock:
                self.failures.append(str(error))
                self.unreachable_in_row = self.unreachable_in_row + 1 if isinstance(error, _Unreachable) else 0
                if self.unreachable_in_row >= _GIVE_UP_AFTER:
                    self.stop.set()
            return
        stat = target.stat()
        state = [stat.st_size, stat.st_mtime_ns, digest]
        with self.lock:
            if self.known.get(path) != state:
                # The newline comes first, so that a line cut off by a kill spoils no other.
                self.journal.write("\n" + json.dumps([path, *state]))
                self.journal.flush()
            self.num_done += 1
            self.num_present += found == digest
            if found != digest:
                self.unreachable_in_row = 0

    def _find(self, path: str) -> str | None:
        """Return the checksum of the file that has the name already, remembered or counted."""
        target = self.folder / path
        try:
            stat = target.stat()
        except FileNotFoundError:
            return None
        known = self.known.get(path)
        if known and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            return known[2]
        return self._sha256(target)

    def _fetch(self, session: requests.Session, path: str, digest: str) -> Path:
        """Return the partial file, whole and verified."""
        part = Path(f"{self.folder / path}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        url = self.base_url + quote(path)
        for _ in range(2):  # the first may have continued what another version, or a broken proxy, had left
            _with_retries(lambda: self._receive(session, url, path, part), path, self.max_retries, self.stop)
            found = self._sha256(part)
            if found == digest:
                return part
            part.unlink()
        raise _Failure(
            f"{path} came twice with the wrong checksum, {found} where {_SUMS} says {digest}; {part.name} was removed"
        )

    def _receive(self, session: requests.Session, url: str, path: str, part: Path) -> None:
        """Bring the partial file to its end, in one request."""
        start = part.stat().st_size if part.exists() else 0
        with _get(session, url, start) as response:
            if response.status_code == 416:
                return  # it is whole, or wrong: its checksum says which
            continued = response.status_code == 206
            if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                part.unlink()
                raise _TryAgain(f"{url} answered another range than asked for")
            missing = int(response.headers.get("Content-Length", 0))
            if missing > shutil.disk_usage(part.parent).free:
                raise self._disk_error(OSError(errno.ENOSPC, "the disk is full"), path, missing)
            try:
                with part.open("ab" if continued else "wb") as file:
                    for chunk in response.iter_content(_CHUNK):
                        if self.stop.is_set():
                            raise _Stopped
                        file.write(chunk)
                        file.flush()  # a kill then loses nothing that has arrived
                        missing -= len(chunk)
                        with self.lock:
                            self.num_bytes += len(chunk)
            except requests.RequestException:  # is an OSError, and not the disk's
                raise
            except OSError as error:
                raise self._disk_error(error, path, missing) from error

    def _disk_error(self, error: OSError, path: str, missing: int) -> OSError:
        return OSError(
            error.errno,
            f"{path} cannot be written: {error.strerror}. {max(missing, 0)} bytes of it are missing, and "
            f"{shutil.disk_usage(self.folder).free} are free in {self.folder}. What is there is kept: make room "
            "and run the same command again, it goes on where it stopped",
        )

    def _sha256(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                if self.stop.is_set():
                    raise _Stopped
                digest.update(chunk)
        return digest.hexdigest()


def _open_session() -> requests.Session:
    session = requests.Session()
    # A compressed answer has no ranges to continue.
    session.headers.update({"User-Agent": f"mets-ecg/{__version__}", "Accept-Encoding": "identity"})
    return session


def _get(session: requests.Session, url: str, start: int = 0) -> requests.Response:
    """Return the answer, its body still to be read, if it is the file from `start` on, all of it, or a 416."""
    headers = {"Range": f"bytes={start}-"} if start else None
    response = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    status = response.status_code
    if status == 200 or (start and status in (206, 416)):
        return response
    response.close()
    reason = f"{url} answered {status} {response.reason}"
    if status in (408, 429) or status >= 500:
        try:
            wait = Retry().get_retry_after(response) or 0.0
        except InvalidHeader:
            wait = 0.0
        raise _TryAgain(reason, wait)
    if status in (401, 403):
        reason += ": it is not open to everyone; what PhysioNet gives to its users needs their login in ~/.netrc"
    raise _Failure(reason)


def _with_retries(attempt: Callable[[], _Result], name: str, max_retries: int, stop: threading.Event) -> _Result:
    retries = 0
    while True:
        try:
            return attempt()
        except (requests.RequestException, _TryAgain) as error:
            asked = getattr(error, "wait", 0.0)
            if retries >= max_retries or asked > _LONGEST_WAIT:
                later = f", and asks to wait {asked:.0f} s" if asked > _LONGEST_WAIT else ""
                raise _Unreachable(f"{name}: {error} (after {retries} retries{later})") from error
        # Spread, so that the workers do not come back all at once.
        backoff = min(_BACKOFF * 2**retries, _LONGEST_BACKOFF) * random.uniform(0.5, 1)
        retries += 1
        if stop.wait(max(asked, backoff)):
            raise _Stopped


def _first(items: Sequence[str], separator: str) -> str:
    return separator.join(items[:_SHOWN_FAILURES]) + (f"{separator}..." if len(items) > _SHOWN_FAILURES else "")
