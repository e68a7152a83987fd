"""The binary files that facebookresearch/dlrm preprocesses Criteo Terabyte into.

`train_data.bin`, `test_data.bin`, `val_data.bin`: rows of 40 little-endian int32, label, 13 integers
(negative ones already 0), 26 ids; `day_fea_count.npz`: the rows of each table. Source:
`numpy_to_binary` and `CriteoBinDataset` in data_loader_terabyte.py of facebookresearch/dlrm at 090956ee.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, described
from gnomon.tasks.clicks.batch import (
    COLUMNS,
    DENSE_FEATURES,
    TABLES,
    ClickBatch,
    ClickSchema,
    check_batch_size,
    check_criteo,
    check_ids,
    check_labels,
    check_range,
)
from gnomon.tasks.clicks.dense import DenseTransform, check_transform, transform_dense

ROW_BYTES = 4 * COLUMNS


def read_counts(path: Path) -> ClickSchema:
    """The tables of a preprocessed data set, from its `day_fea_count.npz`.

    Raises:
        DataError: The file is missing or damaged, or does not hold 26 positive `counts`.
    """
    mend = "give the day_fea_count.npz that dlrm's preprocessing wrote beside the data"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            counts = stored["counts"]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {mend}") from None
    except KeyError:
        raise DataError(f"{path} has no array 'counts': {mend}") from None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({described(error)}): {mend}") from None
    if counts.shape != (TABLES,) or counts.dtype.kind not in "iu" or (counts < 1).any():
        raise DataError(
            f"{path} holds counts of shape {counts.shape} and type {counts.dtype}, not {TABLES} positive "
            f"integers: {mend}"
        )
    return ClickSchema(tuple(int(count) for count in counts))


@dataclass(frozen=True)
class CriteoBinary:
    """A preprocessed binary file, mapped into memory and never loaded as a whole.

    Attributes:
        path: The file.
        schema: Its 26 tables: `read_counts`.
        transform: What is done to the 13 integers, see `dense.DenseTransform`.
        minimum: The smallest integer, for `log_shift` only.
        fold: Take ids modulo the rows of their table, as dlrm does under `--max-ind-range`, instead of
            refusing those outside it: `CriteoBinary(path, counts.capped(40_000_000), fold=True)`.

    Raises:
        SettingsError: A schema or transform that cannot be.
        DataError: The file is missing, empty or not whole rows.
    """

    path: Path
    schema: ClickSchema
    transform: DenseTransform = "log1p"
    minimum: int | None = None
    fold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        check_criteo(self.schema)
        check_transform(self.transform, self.minimum)
        _ = self._stored

    def __len__(self) -> int:
        return len(self._stored)

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[ClickBatch]:
        """Rows `[start, stop)` in batches; only the last may be smaller.

        Raises:
            SettingsError: A range outside the file, or a batch size below 1.
            DataError: A label other than 0 and 1, or an id outside its table, with the row's number.
        """
        check_range(start, stop, len(self))
        check_batch_size(batch_size)
        return self._batches(start, stop, batch_size)

    def _batches(self, start: int, stop: int, batch_size: int) -> Iterator[ClickBatch]:
        rows = np.array(self.schema.rows, np.int64)
        where = str(self.path)
        for first in range(start, stop, batch_size):
            stored = np.asarray(self._stored[first : min(first + batch_size, stop)])
            check_labels(stored[:, 0], first, where)
            ids = stored[:, 1 + DENSE_FEATURES :].astype(np.int64)
            if self.fold:
                ids %= rows
            else:
                check_ids(ids, rows, first, where)
            integers = stored[:, 1 : 1 + DENSE_FEATURES]
            dense = transform_dense(integers, self.transform, self.minimum, where)
            yield ClickBatch(dense, ids, stored[:, 0].astype(np.float32))

    def __getstate__(self) -> dict[str, object]:
        """What names the data, so that another process maps it again instead of getting a copy."""
        return {name: value for name, value in self.__dict__.items() if name != "_stored"}

    @cached_property
    def _stored(self) -> NDArray[np.int32]:
        mend = "write it again with dlrm's preprocessing"
        try:
            size = self.path.stat().st_size
            if not size:
                raise DataError(f"{self.path} is empty: {mend}")
            if size % ROW_BYTES:
                raise DataError(
                    f"{self.path} has {size:,} bytes, not whole rows of {ROW_BYTES}: the last whole row "
                    f"ends at byte {size - size % ROW_BYTES:,}: {mend}"
                )
            return np.memmap(self.path, np.dtype("<i4"), "r", shape=(size // ROW_BYTES, COLUMNS))
        except FileNotFoundError:
            raise DataError(f"{self.path} does not exist: {mend}") from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {described(error)}") from None
