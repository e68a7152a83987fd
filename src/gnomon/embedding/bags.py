"""Which rows are pooled into which output: the indices of a lookup, checked before a kernel sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.embedding.layout import RobeLayout

Pooling = Literal["sum", "mean"]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Bags:
    """`batch` bags of row ids for each table of a layout.

    Two forms, as the field has them:

    * bags of one size: `indices` (batch, tables) for one row a bag, or (batch, tables, L);
    * bags of any size, empty ones included: `indices` (N,), table after table and within a table sample
      after sample, with `offsets` (tables * batch + 1,) into it (FBGEMM's and TorchRec's order).

    Attributes:
        indices: int32 or int64, row ids within their table. Bags of one size as (batch, tables, L), any
            strides; of any size as (N,), contiguous.
        offsets: int64 (tables * batch + 1,), or None for bags of one size.
        weights: float32 of the shape of `indices`, contiguous, or None.
        pooling: "sum", or "mean": the sum over the number of rows in the bag (an empty bag gives zeros).
            Weights go with "sum" alone, as in `torch.nn.EmbeddingBag`.
        batch: Number of samples.
    """

    indices: Integers
    offsets: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None
    pooling: Pooling
    batch: int

    @classmethod
    def of(
        cls,
        layout: RobeLayout,
        indices: Integers,
        offsets: Integers | None = None,
        weights: NDArray[np.float32] | None = None,
        pooling: Pooling = "sum",
    ) -> Bags:
        """Check the form of what a caller gave. Ids are checked by the kernel, as it reads them.

        Raises:
            DataError: Shapes, types or offsets that do not fit together.
            SettingsError: Unknown pooling, or weights with mean pooling.
        """
        if pooling not in get_args(Pooling):
            raise SettingsError(f"pooling must be sum or mean, got {pooling!r}")
        if weights is not None and pooling != "sum":
            raise SettingsError("per-sample weights go with sum pooling only")
        indices = np.asarray(indices)
        if indices.dtype not in (np.int32, np.int64):
            raise DataError(f"indices must be int32 or int64, got {indices.dtype}")
        if offsets is None:
            given, indices, batch = indices.shape, _of_one_size(layout, indices), len(indices)
        else:
            given, (indices, offsets, batch) = indices.shape, _of_any_size(layout, indices, offsets)
        if weights is not None:
            weights = np.asarray(weights)
            if weights.dtype != np.float32 or weights.shape != given:
                raise DataError(
                    f"weights must be float32 of the shape of indices {given}, got {weights.dtype} "
                    f"{weights.shape}"
                )
            if not np.isfinite(weights).all():
                raise DataError("weights hold NaN or infinity")
            weights = np.ascontiguousarray(weights).reshape(indices.shape)
        return cls(indices, offsets, weights, pooling, batch)

    @property
    def lookups(self) -> int:
        """Rows that are read in all."""
        return int(self.indices.size)


def _of_one_size(layout: RobeLayout, indices: Integers) -> Integers:
    if indices.ndim not in (2, 3) or indices.shape[1] != layout.tables:
        raise DataError(
            f"indices without offsets must have shape (batch, {layout.tables}) or (batch, "
            f"{layout.tables}, L) for {layout.tables} tables, got {indices.shape}"
        )
    return indices[:, :, None] if indices.ndim == 2 else indices


def _of_any_size(
    layout: RobeLayout, indices: Integers, offsets: Integers
) -> tuple[Integers, NDArray[np.int64], int]:
    offsets = np.asarray(offsets)
    if offsets.dtype not in (np.int32, np.int64):
        raise DataError(f"offsets must be int32 or int64, got {offsets.dtype}")
    if indices.ndim != 1 or offsets.ndim != 1:
        raise DataError(
            f"indices with offsets are flat, got shapes {indices.shape} and {offsets.shape}"
        )
    batch, rest = divmod(len(offsets) - 1, layout.tables)
    if rest or len(offsets) < 1:
        raise DataError(
            f"offsets must have tables * batch + 1 entries with {layout.tables} tables, got "
            f"{len(offsets)}"
        )
    wide = np.ascontiguousarray(offsets, dtype=np.int64)
    if wide[0] != 0 or wide[-1] != len(indices):
        raise DataError(
            f"offsets must run from 0 to the number of indices {len(indices)}, got {wide[0]} to "
            f"{wide[-1]}"
        )
    falls = np.flatnonzero(wide[1:] < wide[:-1])
    if falls.size:
        raise DataError(
            f"offsets must not fall, got {wide[falls[0]]} before {wide[falls[0] + 1]} at "
            f"{int(falls[0])}"
        )
    return np.ascontiguousarray(indices), wide, batch
