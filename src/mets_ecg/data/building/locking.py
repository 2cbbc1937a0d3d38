"""One process at a time writes a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.utils import WeakFileLock


@contextlib.contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold a file's lock.

    Args:
        path: of the lock's own file.
        doing: what another process does that holds it, for the error: `"builds here"`.

    Raises:
        RuntimeError: another process holds it.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=0.1))
        except TimeoutError as error:
            raise RuntimeError(
                f"another process {doing} (it has locked {str(path)!r}): wait for it, or stop it; if there is none, "
                "remove that file"
            ) from error
        yield
