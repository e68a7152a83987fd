"""Data that the operating system still has in memory from the run before would be read for nothing.

It is asked to forget the files of the data before every run, which needs no privilege.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "data"


def clear_caches(data: str | None) -> bool:
    """Drop the pages of a task's files; returns whether this machine can.

    Args:
        data: The user's file or folder; None for what ships.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in _files(Path(data) if data else SHIPPED):
        with suppress(OSError):  # one that vanished, or is not ours to read, is not cached for us
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    return True


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (each for each in path.rglob("*") if each.is_file())
    else:
        yield path
