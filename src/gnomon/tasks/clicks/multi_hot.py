"""From one id a table to several, as MLPerf Training's DLRM-DCNv2 makes its multi-hot data.

For each table a fixed list of ids for every row, drawn once: the row itself, then `hotness - 1` others,
uniform or Pareto (a = 0.25) over the table. Tables are drawn one after another from NumPy's legacy
generator with seed 0, so everyone's lists are the same. Source: `Multihot` in torchrec_dlrm/multi_hot.py
of facebookresearch/dlrm at 090956ee.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.core.units import format_bytes
from gnomon.tasks.clicks.batch import ClickBatch, ClickSchema, IdArray, check_ids

Distribution = Literal["uniform", "pareto"]

PARETO_SHAPE = 0.25
CHUNK_DRAWS = 1 << 22


@dataclass(frozen=True)
class MultiHot:
    """The lists of one schema. Make it with `MultiHot.draw`.

    Attributes:
        schema: The tables and how many lookups each gets.
        lists: For each table int32 (rows, hotness - 1): what is looked up beside a row.
    """

    schema: ClickSchema
    lists: tuple[NDArray[np.int32], ...]

    @staticmethod
    def draw(
        schema: ClickSchema, distribution: Distribution = "uniform", folder: Path | None = None
    ) -> MultiHot:
        """Draw all lists: in memory, or as mapped files in `folder` when they are larger than that.

        The lists of `MLPERF_V2` take 24 GiB and minutes.

        Raises:
            SettingsError: An unknown distribution, or more than the memory that is free.
            DataError: The folder cannot be written.
        """
        if distribution not in ("uniform", "pareto"):
            raise SettingsError(f"distribution must be uniform or pareto, got {distribution!r}")
        sizes = [(rows, hot - 1) for rows, hot in zip(schema.rows, schema.hotness, strict=True)]
        needed = 4 * sum(rows * others for rows, others in sizes)
        if folder is None and needed > (free := psutil.virtual_memory().available):
            raise SettingsError(
                f"multi-hot lists take {format_bytes(needed)}, and {format_bytes(free)} of memory is free: "
                "give a folder to keep them in"
            )
        generator = np.random.RandomState(0)
        lists = []
        for table, shape in enumerate(sizes):
            held = _allocate(shape, folder and folder / f"multi_hot_{table}.npy")
            _fill(held, distribution, generator)
            lists.append(held)
        return MultiHot(schema, tuple(lists))

    def expand(self, ids: IdArray) -> IdArray:
        """One-hot ids (n, tables) as multi-hot ones, int64 (n, schema.lookups).

        Raises:
            SettingsError: Another number of tables.
            DataError: An id outside its table, with its place.
        """
        if ids.ndim != 2 or ids.shape[1] != len(self.lists):
            raise SettingsError(
                f"multi-hot lists are for ids (n, {len(self.lists)}), got {ids.shape}: one id a table"
            )
        check_ids(ids, np.array(self.schema.rows, np.int64), 0, "the batch to expand")
        expanded = np.empty((len(ids), self.schema.lookups), np.int64)
        at = 0
        for table, others in enumerate(self.lists):
            expanded[:, at] = ids[:, table]
            expanded[:, at + 1 : at + 1 + others.shape[1]] = others[ids[:, table]]
            at += 1 + others.shape[1]
        return expanded

    def expand_batch(self, batch: ClickBatch) -> ClickBatch:
        """The same impressions with multi-hot ids."""
        return ClickBatch(batch.dense, self.expand(batch.ids), batch.labels)


def _allocate(shape: tuple[int, int], path: Path | None) -> NDArray[np.int32]:
    if path is None or not shape[1]:  # a file without bytes cannot be mapped
        return np.empty(shape, np.int32)
    try:
        held = np.lib.format.open_memmap(path, "w+", np.int32, shape)
        # Without blocks on disk now, a full disk would kill the process on some later store.
        descriptor = os.open(path, os.O_RDWR)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, path.stat().st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DataError(
            f"multi-hot lists cannot be kept in {path}: {described(error)}: give a folder with room"
        ) from None
    return held


def _fill(
    lists: NDArray[np.int32],
    distribution: Distribution,
    generator: np.random.RandomState,
) -> None:
    """Draw in chunks of rows, which the generator's stream does not notice."""
    rows, others = lists.shape
    if not others:
        return
    step = max(1, CHUNK_DRAWS // others)
    for first in range(0, rows, step):
        shape = (min(step, rows - first), others)
        if distribution == "uniform":
            drawn = generator.randint(0, rows, size=shape, dtype=np.int64)
        else:
            heavy = generator.pareto(PARETO_SHAPE, size=shape)
            # What does not fit 32 bits becomes their least value, as x86 converts it.
            drawn = np.where(heavy < 1 << 31, heavy, -(1 << 31)).astype(np.int64) % rows
        lists[first : first + shape[0]] = drawn
