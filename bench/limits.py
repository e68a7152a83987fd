"""The physical limits beside which kernels are judged, measured on this machine with a compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from gnomon.embedding import allocate

SOURCE = Path(__file__).with_name("limits.cpp")


def library() -> ctypes.CDLL | None:
    """The compiled probes, None where there is no compiler."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    built = Path(tempfile.mkdtemp()) / "limits.so"
    subprocess.run(
        [compiler, "-O3", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o", str(built)], check=True
    )
    loaded = ctypes.CDLL(str(built))
    loaded.random_reads.restype = ctypes.c_float
    return loaded


class RandomReads:
    """Reads of `size` bytes at uniform 64-byte boundaries of an array in huge pages."""

    def __init__(
        self, loaded: ctypes.CDLL, weights: int, size: int, count: int, threads: int
    ) -> None:
        self._call = loaded.random_reads
        self._array = allocate(weights)
        self._array[...] = 1
        rng = np.random.default_rng(0)
        self._at = (rng.integers(0, (weights - size // 4) // 16, count) * 16).astype(np.uint64)
        self._size, self._threads = size, threads

    def __call__(self, _: int = 0) -> None:
        """Read them all once."""
        self._call(
            self._array.ctypes.data_as(ctypes.c_void_p),
            self._at.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(self._at.size),
            ctypes.c_int64(self._size),
            self._threads,
        )


class StreamWrites:
    """Writes of an output past the caches, one weight after another."""

    def __init__(self, loaded: ctypes.CDLL, weights: int, threads: int) -> None:
        self._call = loaded.stream_writes
        self._array = allocate(weights)
        self._threads = threads

    def __call__(self, _: int = 0) -> None:
        """Write it once."""
        self._call(
            self._array.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(self._array.size),
            self._threads,
        )
