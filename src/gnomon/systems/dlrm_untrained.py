"""DLRM at MLPerf's widths over tables of Criteo 1TB's sizes, with random weights: speed and memory only."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import psutil

from gnomon.core.errors import SettingsError
from gnomon.core.task import IndexArray, Task
from gnomon.core.units import format_bytes
from gnomon.embedding import RobeLayout
from gnomon.recommend.config import DLRM_V1, DLRM_V2
from gnomon.recommend.untrained import untrained_model
from gnomon.systems.dlrm import DEFAULT_BATCH_SIZE, DlrmSystem

PUBLISHED_WEIGHTS = 27_000_000
"""The authors' array for Criteo 1TB (apd10/dlrm, bench/train_tb_rma_final.sh): 108 MB in float32."""


class UntrainedDlrm(DlrmSystem):
    """An untrained DLRM at MLPerf's widths: its speed is real, its answers are not."""

    name = "dlrm-untrained"

    def __init__(
        self,
        *,
        embedding: str = "robe",
        weights: int = PUBLISHED_WEIGHTS,
        compression: int | None = None,
        block: int | None = None,
        threads: int = 1,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Describe the model; it is made when the task is known.

        Args:
            embedding: "robe", or "full" for tables that are not compressed.
            weights: Of the ROBE array.
            compression: In place of `weights`: how many times smaller than the full tables.
            block: Z; default: a row.
            threads: Threads within one call.
            batch_size: The most samples in one call.

        Raises:
            SettingsError: A value is out of range.
        """
        if embedding not in ("robe", "full"):
            raise SettingsError(f"embedding must be robe or full, got {embedding!r}")
        if embedding == "full" and compression not in (None, 1):
            raise SettingsError(f"full tables are not compressed, got compression {compression!r}")
        super().__init__(threads=threads, batch_size=batch_size)
        self._folder = tempfile.TemporaryDirectory(prefix="gnomon-dlrm-")
        self._kind, self._weights = embedding, weights
        self._compression, self._block = compression, block

    def load(self, task: Task, samples: IndexArray) -> None:
        """Make the model on the first call, then as any DLRM."""
        if self._saved is None:
            self._model = self._made(task)
        super().load(task, samples)

    def close(self) -> None:
        """Let go of sessions, weights and files."""
        super().close()
        self._folder.cleanup()

    def _made(self, task: Task) -> Any:
        schema = getattr(task, "schema", None)
        if schema is None:
            raise SettingsError(
                f"system {self.name!r} needs a task that knows its tables, which {task.name!r} does not"
            )
        config = DLRM_V1 if schema.one_hot else DLRM_V2
        layout = self._layout(schema.rows, config.dim)
        needed, free = 4 * layout.size, psutil.virtual_memory().available
        if needed > free:
            raise SettingsError(
                f"{self._kind} embeddings of {layout.total_rows:,} rows by {config.dim} need "
                f"{format_bytes(needed)}, and {format_bytes(free)} are free: use embedding=robe, or more "
                f"compression"
            )
        folder = Path(self._folder.name) / "untrained"
        folder.mkdir()
        return untrained_model(config, layout, schema.hotness, folder)

    def _layout(self, rows: tuple[int, ...], dim: int) -> RobeLayout:
        if self._kind == "full":
            return RobeLayout.full(rows, dim)
        block = dim if self._block is None else self._block
        if self._compression is not None:
            return RobeLayout.compressed(
                rows, dim, self._compression, block=block, hash="mixer", align=64
            )
        return RobeLayout(rows, dim, self._weights, block, hash="mixer", align=64)
