"""Files that a reader never sees half of, their fingerprints, and folders of one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.errors import RunFolderError


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path`: the old content or the new, never a mixture, also after a power cut.

    Args:
        path: In a folder that is there.
        data: All of its content.
        mode: Who may read and write it; until it is whole, only its owner.

    Raises:
        OSError: As the file system says it; the old content stays.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256_of(*files: Path, before: bytes = b"") -> str:
    """SHA-256 of these files' content, one after the other, hexadecimal.

    Args:
        files: Read piece by piece, however large.
        before: Counts as if it stood before the first of them.

    Raises:
        OSError: One cannot be read.
    """
    digest = hashlib.sha256(before)
    for file in files:
        with file.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


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
