"""The record of a test while it goes on: two columns of memory that the kernel keeps if we are killed.

Each column is a file mapped into memory, so a completion costs one store and no system call, and what
was stored outlives the process. Space is reserved before it is written: a full disk is an error here,
at a known place, and never a signal in the middle of a query.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import RunFolderError

JOURNAL_FOLDER = "journal"
ISSUED_FILE = "issued_ns.i64"
COMPLETED_FILE = "completed_ns.i64"
FIRST_ROWS = 1 << 14
MOST_ROWS_AT_ONCE = 1 << 22


class Journal:
    """Issue and completion times by row, growing as rows are asked for.

    Attributes:
        issued_ns: Time of issue by row, 0 where not issued.
        completed_ns: Time of completion by row, 0 where not completed.
        rows: Rows there is room for.
    """

    def __init__(self, folder: Path) -> None:
        """Start an empty journal in `folder`, which must exist."""
        self._folder = folder / JOURNAL_FOLDER
        self._growing = threading.Lock()
        self.rows = 0
        try:
            self._folder.mkdir()
            self._files = [
                os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
                for name in (ISSUED_FILE, COMPLETED_FILE)
            ]
        except OSError as error:
            raise RunFolderError(
                f"cannot write {self._folder}: {error.strerror}; choose another folder with --out"
            ) from None
        self.issued_ns: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.completed_ns: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def reserve(self, rows: int) -> None:
        """Make room for at least `rows` rows. Columns read before stay valid.

        Raises:
            RunFolderError: The disk is full.
        """
        if rows <= self.rows:
            return
        with self._growing:
            if rows <= self.rows:
                return
            wanted = max(rows, min(2 * self.rows, self.rows + MOST_ROWS_AT_ONCE), FIRST_ROWS)
            # Both mappings show the same pages, so a worker that still holds the old one is served.
            self.issued_ns, self.completed_ns = (
                np.frombuffer(_grow(file, 8 * wanted, self._folder), dtype=np.int64)
                for file in self._files
            )
            self.rows = wanted

    def remove(self) -> None:
        """Delete the files, once the rows stand elsewhere."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Close the files and leave them."""
        for file in self._files:
            os.close(file)
        self._files = []


def read_journal(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Issue and completion times that a killed run left, up to the last row issued; None if none."""
    path = folder / JOURNAL_FOLDER
    try:
        issued_ns = np.fromfile(path / ISSUED_FILE, dtype=np.int64)
        completed_ns = np.fromfile(path / COMPLETED_FILE, dtype=np.int64)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from None
    rows = min(len(issued_ns), len(completed_ns))
    used = np.flatnonzero(issued_ns[:rows])
    rows = int(used[-1]) + 1 if len(used) else 0
    return issued_ns[:rows], completed_ns[:rows]


def _grow(file: int, size: int, folder: Path) -> mmap.mmap:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)
        return mmap.mmap(file, size)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "make room or choose another folder with --out" if full else "choose another --out"
        raise RunFolderError(f"cannot write {folder}: {error.strerror}; {mend}") from None
