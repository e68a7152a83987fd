"""The field's accuracy log: one answer a line, `{ "seq_id" : 0, "qsl_idx" : 1, "data" : "01000000" }`.

Written as answers come, so that a killed run keeps them, and a batch at a time: a whole batch of equal
outputs becomes one matrix of characters, with no text formatting for single answers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, RunFolderError

_HEX = np.frombuffer("".join(f"{value:02X}" for value in range(256)).encode(), dtype=np.uint16)
"""For each byte value its two characters, as one 16-bit item in memory order."""
_BEFORE_ID = b'{ "seq_id" : '
_BEFORE_SAMPLE = b', "qsl_idx" : '
_BEFORE_DATA = b', "data" : "'
_AFTER = b'" },\n'
ROWS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Answer:
    """One line of the log: the sample's id in the test, its index in the data set, the answer."""

    id: int
    sample_index: int
    data: bytes


class AccuracyLog:
    """The log while a test goes on. `close` makes it whole; before, it reads as cut short."""

    def __init__(self, path: Path) -> None:
        """Start the log.

        Raises:
            RunFolderError: The file cannot be written.
        """
        self._path = path
        try:
            self._file = path.open("wb", buffering=0)
            self._file.write(b"[\n")
        except OSError as error:
            raise self._failure(error) from None
        self._empty = True

    def append(
        self, ids: NDArray[np.int64], samples: NDArray[np.int64], outputs: NDArray[Any]
    ) -> None:
        """Add answers of equal size, shapes (n,), (n,), (n, ...)."""
        if not len(ids):
            return
        data = np.ascontiguousarray(outputs).reshape(len(ids), -1).view(np.uint8)
        for start in range(0, len(ids), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            for some in _of_equal_width(ids[rows], samples[rows]):
                self._add(_lines(ids[rows][some], samples[rows][some], data[rows][some]))

    def append_encoded(
        self, ids: NDArray[np.int64], samples: NDArray[np.int64], answers: list[bytes]
    ) -> None:
        """Add answers that are bytes already, of any size."""
        self._add(
            b"".join(
                b"%b%d%b%d%b%b%b"
                % (
                    _BEFORE_ID,
                    number,
                    _BEFORE_SAMPLE,
                    sample,
                    _BEFORE_DATA,
                    answer.hex().upper().encode(),
                    _AFTER,
                )
                for number, sample, answer in zip(
                    ids.tolist(), samples.tolist(), answers, strict=True
                )
            )
        )

    def close(self) -> None:
        """Write the end and close the file."""
        try:
            if not self._empty:
                self._file.seek(-2, os.SEEK_END)  # the last line has no comma
                self._file.write(b"\n")
            self._file.write(b"]\n")
            self._file.close()
        except OSError as error:
            raise self._failure(error) from None

    def _add(self, text: bytes) -> None:
        if not text:
            return
        whole = self._file.tell()
        left = memoryview(text)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # a full disk: the answers before stay readable
                self._file.truncate(whole)
                self._file.seek(whole)
            raise self._failure(error) from None
        self._empty = False

    def _failure(self, error: OSError) -> RunFolderError:
        return RunFolderError(
            f"cannot write {self._path}: {error.strerror}; make room or choose another folder with "
            f"--out"
        )


def read_accuracy_log(path: Path) -> list[Answer]:
    """Read a log, also one that a killed run left without its end.

    Raises:
        DataError: The file is missing, or a line other than the last means nothing.
    """
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        entries = json.loads(text)
        return [_answer(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        return list(_read_lines(path, text.split("\n")))


def _read_lines(path: Path, lines: list[str]) -> Iterator[Answer]:
    for number, line in enumerate(lines, start=1):
        stripped = line.strip().rstrip(",")
        if stripped in ("[", "]", ""):
            continue
        try:
            yield _answer(json.loads(stripped))
        except (ValueError, KeyError, TypeError, RecursionError):
            if number == len(lines):
                return  # a killed run's last line may be half written; a whole one ends in a newline
            raise DataError(
                f"{path}:{number}: not an accuracy log entry (damaged, or truncated for submission): "
                f"{line[:80]!r}"
            ) from None


def _answer(entry: Any) -> Answer:
    """One parsed line, if its numbers are whole."""
    if type(entry["seq_id"]) is not int or type(entry["qsl_idx"]) is not int:
        raise TypeError
    return Answer(entry["seq_id"], entry["qsl_idx"], bytes.fromhex(entry["data"]))


def _of_equal_width(
    ids: NDArray[np.int64], samples: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Groups of rows whose two numbers have as many digits each. Rows of a batch have no order in time."""
    widths = _digits(ids) * 32 + _digits(samples)
    for width in np.unique(widths):
        yield np.flatnonzero(widths == width)


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(10 ** np.arange(1, 19), numbers, side="right") + 1


def _lines(ids: NDArray[np.int64], samples: NDArray[np.int64], data: NDArray[np.uint8]) -> bytes:
    """The lines of answers whose numbers have equal widths, as one matrix of characters."""
    count = len(ids)
    columns = [
        _constant(_BEFORE_ID, count),
        _decimal(ids),
        _constant(_BEFORE_SAMPLE, count),
        _decimal(samples),
        _constant(_BEFORE_DATA, count),
        _HEX[data].view(np.uint8).reshape(count, -1),
        _constant(_AFTER, count),
    ]
    return np.concatenate(columns, axis=1).tobytes()


def _constant(text: bytes, count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.frombuffer(text, dtype=np.uint8), (count, len(text)))


def _decimal(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    width = int(_digits(numbers[:1])[0])
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)
