"""The one shape that every click log comes in, whatever it was read from or made by.

Readers (`tsv`, `binary`, `npy`) and the generator (`synthetic`) hand out `ClickBatch`es; a model is built
from a `ClickSchema`. Here too: the published table sizes, and what every reader checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError

DENSE_FEATURES = 13
TABLES = 26
COLUMNS = 1 + DENSE_FEATURES + TABLES
MOST_ROWS = 1 << 31
"""A table of more rows is a mistake: the formats store ids in 32 bits."""

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]


@dataclass(frozen=True)
class ClickBatch:
    """Some impressions and whether each was clicked.

    Attributes:
        dense: Numerical features, float32 (n, 13).
        ids: Rows of the embedding tables, int64 (n, lookups), table by table: those of a table with
            several lookups lie side by side. One-hot data has one column a table.
        labels: 1 for a click, else 0, float32 (n,).
    """

    dense: FloatArray
    ids: IdArray
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> ClickBatch:
        """Impressions `[start, stop)` of this batch, as views."""
        return ClickBatch(self.dense[start:stop], self.ids[start:stop], self.labels[start:stop])


@dataclass(frozen=True)
class ClickSchema:
    """The embedding tables that a click log's ids point into.

    Attributes:
        rows: Rows of each table.
        hotness: Lookups in each table for one impression; all 1 unless given.

    Raises:
        SettingsError: No table, a table without rows, or as many hotnesses as there are tables not given.
    """

    rows: tuple[int, ...]
    hotness: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows:
            raise SettingsError("a click schema needs at least one table, got no rows")
        if not self.hotness:
            object.__setattr__(self, "hotness", (1,) * len(self.rows))
        if len(self.hotness) != len(self.rows):
            raise SettingsError(
                f"hotness must name the lookups of each of the {len(self.rows)} tables, "
                f"got {len(self.hotness)}"
            )
        for table, (rows, hotness) in enumerate(zip(self.rows, self.hotness, strict=True)):
            if not 1 <= rows <= MOST_ROWS:
                raise SettingsError(f"table {table} must have 1 to 2^31 rows, got {rows}")
            if hotness < 1:
                raise SettingsError(f"table {table} must have at least 1 lookup, got {hotness}")

    @property
    def lookups(self) -> int:
        """Ids of one impression."""
        return sum(self.hotness)

    @property
    def one_hot(self) -> bool:
        """Whether every table is looked up once."""
        return self.lookups == len(self.rows)

    def capped(self, max_ind_range: int) -> ClickSchema:
        """No table larger than this, as dlrm's `--max-ind-range` does; ids have to be folded then."""
        return ClickSchema(tuple(min(rows, max_ind_range) for rows in self.rows), self.hotness)


MLPERF_V2_ROWS = (
    40_000_000, 39_060, 17_295, 7_424, 20_265, 3, 7_122, 1_543, 63, 40_000_000, 3_067_956, 405_282, 10,
    2_209, 11_938, 155, 4, 976, 14, 40_000_000, 40_000_000, 40_000_000, 590_152, 12_973, 108, 36,
)  # fmt: skip
"""Rows of the 26 tables of MLPerf Training's DLRM-DCNv2: Criteo 1TB with at most 40 M rows a table."""

MLPERF_V2_HOTNESS = (
    3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1,
)  # fmt: skip
"""Its lookups in each table: 214 an impression. Source of both: torchrec_dlrm/README.MD in
facebookresearch/dlrm at 090956ee, `--num_embeddings_per_feature` and `--multi_hot_sizes`."""

MLPERF_V2 = ClickSchema(MLPERF_V2_ROWS, MLPERF_V2_HOTNESS)


def rebatch(parts: Iterable[ClickBatch], batch_size: int) -> Iterator[ClickBatch]:
    """The same impressions in batches of `batch_size`; only the last may be smaller.

    Never holds more than one batch and one part.
    """
    held: list[ClickBatch] = []
    missing = batch_size
    for part in parts:
        start = 0
        while start < len(part):
            piece = part.part(start, start + missing)
            held.append(piece)
            start += len(piece)
            missing -= len(piece)
            if not missing:
                yield _joined(held)
                held, missing = [], batch_size
    if held:
        yield _joined(held)


def _joined(pieces: list[ClickBatch]) -> ClickBatch:
    if len(pieces) == 1:
        return pieces[0]
    return ClickBatch(
        np.concatenate([piece.dense for piece in pieces]),
        np.concatenate([piece.ids for piece in pieces]),
        np.concatenate([piece.labels for piece in pieces]),
    )


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch size that is not positive.

    Raises:
        SettingsError: It is not.
    """
    if batch_size < 1:
        raise SettingsError(f"batch_size must be at least 1, got {batch_size}")


def check_range(start: int, stop: int, available: int | None = None) -> None:
    """Refuse a range of rows `[start, stop)` that is not within the data.

    Raises:
        SettingsError: It is not.
    """
    if start < 0 or stop < start:
        raise SettingsError(f"rows must be asked for as 0 <= start <= stop, got {start} to {stop}")
    if available is not None and stop > available:
        raise SettingsError(
            f"rows {start} to {stop} were asked for, but there are only {available}"
        )


def check_criteo(schema: ClickSchema) -> None:
    """Refuse a schema that Criteo's one-hot files cannot have.

    Raises:
        SettingsError: It has not 26 tables with one lookup each.
    """
    if len(schema.rows) != TABLES or not schema.one_hot:
        raise SettingsError(
            f"a Criteo file has {TABLES} tables with one lookup each, got {len(schema.rows)} tables with "
            f"{schema.lookups} lookups: read it one-hot and expand it with MultiHot"
        )


def check_labels(labels: NDArray[np.generic], first_row: int, where: str) -> None:
    """Refuse labels other than 0 and 1.

    Raises:
        DataError: With the number of the first such row, counted from 0.
    """
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{where}, row {first_row + row}: label {labels[row]}, not 0 or 1: is this the format it is "
            "read as?"
        )


def check_ids(ids: IdArray, rows: IdArray, first_row: int, where: str) -> None:
    """Refuse ids (n, 26) outside their tables of `rows` (26,).

    Raises:
        DataError: With the number of the first such row, counted from 0, and the table's.
    """
    outside = (ids < 0) | (ids >= rows)
    if outside.any():
        row, table = np.unravel_index(int(np.argmax(outside)), outside.shape)
        raise DataError(
            f"{where}, row {first_row + int(row)}: id {ids[row, table]} of table {table}, which has "
            f"{rows[table]} rows: give the counts it was written with, or fold=True"
        )
