"""The NumPy files that torchrec preprocesses Criteo Terabyte into: three a day.

`day_k_dense.npy` float32 (n, 13), already transformed; `day_k_sparse.npy` int64 or int32 (n, 26);
`day_k_labels.npy` int32 (n, 1). Source: `BinaryCriteoUtils.tsv_to_npys` in torchrec/datasets/criteo.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.tasks.clicks.batch import (
    DENSE_FEATURES,
    TABLES,
    ClickBatch,
    ClickSchema,
    check_batch_size,
    check_criteo,
    check_ids,
    check_labels,
    check_range,
    rebatch,
)

MEND = "write it again with torchrec's npy_preproc_criteo"


@dataclass(frozen=True)
class _Day:
    dense: NDArray[np.float32]
    sparse: NDArray[Any]
    labels: NDArray[Any]
    name: str


@dataclass(frozen=True)
class CriteoNpy:
    """Some days of a preprocessed data set, one after another, mapped into memory.

    Attributes:
        folder: Where the files are.
        days: Which days, in the order they are read.
        schema: Their 26 tables.
        fold: Take ids modulo the rows of their table, as torchrec does with `hashes`, instead of refusing
            those outside it.

    Raises:
        SettingsError: No day, or a schema that cannot be.
        DataError: A file is missing, damaged, of another shape or type, or shorter than its fellows.
    """

    folder: Path
    days: tuple[int, ...]
    schema: ClickSchema
    fold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        check_criteo(self.schema)
        if not self.days:
            raise SettingsError("days must name at least one day, such as (0,)")
        _ = self._stored

    def __len__(self) -> int:
        return sum(len(day.labels) for day in self._stored)

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[ClickBatch]:
        """Rows `[start, stop)`, counted over all days, in batches; only the last may be smaller.

        Raises:
            SettingsError: A range outside the data, or a batch size below 1.
            DataError: A label other than 0 and 1, an id outside its table, or a dense feature that is not
                a finite number, with its file and the row's number there.
        """
        check_range(start, stop, len(self))
        check_batch_size(batch_size)
        return rebatch(self._parts(start, stop, batch_size), batch_size)

    def _parts(self, start: int, stop: int, batch_size: int) -> Iterator[ClickBatch]:
        before = 0
        missing = batch_size  # parts end where batches do, so that joining copies only between days
        for day in self._stored:
            first, last = max(start - before, 0), min(stop - before, len(day.labels))
            while first < last:
                size = min(missing, last - first)
                yield self._part(day, first, first + size)
                first += size
                missing = missing - size or batch_size
            before += len(day.labels)

    def _part(self, day: _Day, first: int, last: int) -> ClickBatch:
        labels = np.asarray(day.labels[first:last]).reshape(-1)
        check_labels(labels, first, f"{day.name}_labels.npy")
        dense = np.array(day.dense[first:last])
        finite = np.isfinite(dense).all(axis=1)
        if not finite.all():
            raise DataError(
                f"{day.name}_dense.npy, row {first + int(np.argmin(finite))}: a feature that is not a "
                f"finite number: {MEND}"
            )
        rows = np.array(self.schema.rows, np.int64)
        ids = day.sparse[first:last].astype(np.int64)
        if self.fold:
            ids %= rows
        else:
            check_ids(ids, rows, first, f"{day.name}_sparse.npy")
        return ClickBatch(dense, ids, labels.astype(np.float32))

    def __getstate__(self) -> dict[str, object]:
        """What names the data, so that another process maps it again instead of getting a copy."""
        return {name: value for name, value in self.__dict__.items() if name != "_stored"}

    @cached_property
    def _stored(self) -> tuple[_Day, ...]:
        return tuple(_open_day(self.folder / f"day_{day}") for day in self.days)


def _open_day(stem: Path) -> _Day:
    dense = _open(Path(f"{stem}_dense.npy"), DENSE_FEATURES, ("float32",))
    sparse = _open(Path(f"{stem}_sparse.npy"), TABLES, ("int64", "int32"))
    labels = _open(Path(f"{stem}_labels.npy"), 1, ("int32",))
    if not len(dense) == len(sparse) == len(labels):
        raise DataError(
            f"{stem}_*.npy hold {len(dense):,} rows of dense features, {len(sparse):,} of ids and "
            f"{len(labels):,} labels, which must be as many: {MEND}"
        )
    return _Day(dense, sparse, labels, str(stem))


def _open(path: Path, columns: int, types: tuple[str, ...]) -> NDArray[Any]:
    """One file, mapped; labels may be (n,) as well as (n, 1)."""
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {MEND}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is no NumPy array or was cut short ({described(error)}): {MEND}"
        ) from None
    shaped = array.ndim in (1, 2) and (array.shape[1:] or (1,)) == (columns,)
    if not shaped or array.dtype.name not in types:
        raise DataError(
            f"{path} holds {array.dtype} {array.shape}, not {' or '.join(types)} (n, {columns}): {MEND}"
        )
    return array
