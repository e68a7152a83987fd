"""Writing files so that a reader never sees half of one, and folders that one process at a time writes to."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.errors import RunFolderError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`: the old content or the new, never a mixture, also after a power cut.

    Raises:
        OSError: As the file system says it; the old content stays.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def held_alone(lock_file: Path, refusal: str) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends.

    Args:
        lock_file: Made if missing.
        refusal: The line for whoever comes second.

    Raises:
        RunFolderError: Another process holds it.
    """
    with lock_file.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(refusal) from None
        yield
