"""Criteo's own files: tab-separated click logs (Kaggle's `train.txt`, Terabyte's `day_0` to `day_23`).

Read as a stream, plain or gzipped, in blocks of fixed size, so that memory does not grow with the file.
Every line is either read or counted as malformed, with its number; none is dropped in silence.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.tasks.clicks.batch import (
    ClickBatch,
    ClickSchema,
    check_batch_size,
    check_criteo,
    rebatch,
)
from gnomon.tasks.clicks.dense import DenseTransform, check_transform, transform_dense
from gnomon.tasks.clicks.tsv_block import MARGIN, Block, parse_block, what_is_wrong

BLOCK_BYTES = 1 << 19
"""Read at once: about 2,000 lines, whose working arrays stay in a core's cache."""

KEPT_BYTES = 1 << 24

KEPT_LINES = 20
"""Of so many malformed lines the number and the reason are kept; the others are counted."""


@dataclass(frozen=True)
class MalformedLine:
    """A line that was skipped: its number, counted from 1, and what is wrong with it."""

    number: int
    reason: str


@dataclass
class LineReport:
    """What became of the lines of a file, filled while it is read.

    Attributes:
        lines: Lines seen, well-formed or not.
        malformed: Lines skipped.
        first: The first `KEPT_LINES` of those.
    """

    lines: int = 0
    malformed: int = 0
    first: list[MalformedLine] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.malformed:
            return f"{self.lines:,} lines, none malformed"
        shown = "; ".join(f"line {line.number}: {line.reason}" for line in self.first[:3])
        more = "; …" if self.malformed > 3 else ""
        return f"{self.malformed:,} of {self.lines:,} lines malformed: {shown}{more}"


@dataclass(frozen=True)
class CriteoTsv:
    """A Criteo file, read as a stream of batches.

    A last line without a line end is read if it has all its columns; a cut inside its last id cannot be told.

    Attributes:
        path: The file; gzip is recognised by its first bytes, whatever the name.
        schema: Its 26 tables. An id is `int(x, 16) % rows`, as with dlrm's `--max-ind-range`.
        transform: What is done to the 13 integers, see `dense.DenseTransform`.
        minimum: The file's smallest integer, for `log_shift` only: see `smallest_integer`.
        malformed: `error` stops at the first malformed line; `count` skips it and reports it.
        report: What became of the lines, of the latest pass.

    Raises:
        SettingsError: A schema, transform or treatment that cannot be.
    """

    path: Path
    schema: ClickSchema
    transform: DenseTransform = "log1p"
    minimum: int | None = None
    malformed: Literal["error", "count"] = "error"
    report: LineReport = field(default_factory=LineReport, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        check_criteo(self.schema)
        check_transform(self.transform, self.minimum)
        if self.malformed not in ("error", "count"):
            raise SettingsError(f"malformed must be 'error' or 'count', got {self.malformed!r}")

    def batches(self, batch_size: int) -> Iterator[ClickBatch]:
        """All rows in the file's order; only the last batch may be smaller. Starts the report anew.

        Raises:
            SettingsError: A batch size below 1.
            DataError: The file cannot be read, is empty, ends inside a gzip stream, or has a malformed
                line (with its number); with `malformed="count"`, if no line is well-formed.
        """
        check_batch_size(batch_size)
        return rebatch(self._parts(), batch_size)

    def smallest_integer(self) -> int:
        """The smallest of all integers, missing ones as 0: the `minimum` of `log_shift`. One pass.

        Raises:
            DataError: As `batches` does.
        """
        return min(int(block.integers.min()) for block in self._blocks() if block.integers.size)

    def _parts(self) -> Iterator[ClickBatch]:
        rows = np.array(self.schema.rows, np.uint64)
        for block in self._blocks():
            dense = transform_dense(block.integers, self.transform, self.minimum, str(self.path))
            yield ClickBatch(dense, (block.ids % rows).astype(np.int64), block.labels)

    def _blocks(self) -> Iterator[Block]:
        """The file's blocks, with their malformed lines dealt with."""
        report = self.report
        report.lines, report.malformed, report.first = 0, 0, []
        for text, whole in _lines(self.path, report):
            block = parse_block(text)
            if len(block.malformed):
                self._account(block, text, whole)
            report.lines += block.lines
            yield block
        if not report.lines:
            raise DataError(f"{self.path} is empty: give a Criteo click log")
        if report.malformed == report.lines:
            raise DataError(f"{self.path} is no Criteo click log: {report}")

    def _account(self, block: Block, text: bytes, whole: bool) -> None:
        for position in block.malformed[: KEPT_LINES - len(self.report.first)]:
            start, end = block.bounds[position]
            reason = what_is_wrong(text[start:end])
            if not whole and position == block.lines - 1:
                reason += "; the file ends inside this line: was it cut short?"
            line = MalformedLine(self.report.lines + int(position) + 1, reason)
            if self.malformed == "error":
                raise DataError(
                    f"{self.path}, line {line.number}: {reason} (malformed='count' skips and counts)"
                )
            self.report.first.append(line)
        self.report.malformed += len(block.malformed)


def _lines(path: Path, report: LineReport) -> Iterator[tuple[bytes, bool]]:
    """The file in blocks of whole lines within margins, and whether a block's last line was ended."""
    # Made, never touched and dropped: glibc then keeps freed memory of up to twice this size for the next
    # block instead of giving it back each time (mallopt(3), dynamic thresholds), which can cost half.
    np.empty(KEPT_BYTES, np.uint8)
    held = b""
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            stream = gzip.GzipFile(fileobj=plain) if zipped else plain
            while piece := stream.read(BLOCK_BYTES):
                whole, newline, rest = piece.rpartition(b"\n")
                if newline:
                    yield b"".join((MARGIN, held, whole, newline, MARGIN)), True
                    held = rest
                else:
                    held += piece
                if len(held) >= BLOCK_BYTES:
                    raise DataError(
                        f"{path}: no line ends within {len(held):,} bytes after line {report.lines}: "
                        "is it a Criteo click log?"
                    )
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: give a Criteo click log") from None
    except EOFError:
        raise DataError(
            f"{path}: the gzip stream ends early, after line {report.lines}: download it again"
        ) from None
    except (OSError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read on after line {report.lines}: {described(error)}"
        ) from None
    if held:
        yield b"".join((MARGIN, held, b"\n", MARGIN)), False
