"""The samples a click model is trained and held out on, in memory, and where they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.tasks.clicks import (
    TABLES,
    ClickBatch,
    ClickLog,
    ClickSchema,
    CriteoBinary,
    CriteoNpy,
    CriteoTsv,
    read_counts,
)

READ_AT_ONCE = 1 << 16
SYNTHETIC = "synthetic click log, not comparable with published results"


@dataclass(frozen=True)
class ClickArrays:
    """Samples as arrays. Ids are kept in 32 bits: a million samples take 160 MB.

    Attributes:
        dense: float32 (n, dense).
        ids: int32 (n, lookups).
        labels: float32 (n,).
    """

    dense: NDArray[np.float32]
    ids: NDArray[np.int32]
    labels: NDArray[np.float32]

    @classmethod
    def of(cls, batches: Iterable[ClickBatch]) -> ClickArrays:
        """All samples of these batches.

        Raises:
            DataError: There are none.
        """
        parts = [(batch.dense, batch.ids.astype(np.int32), batch.labels) for batch in batches]
        if not parts:
            raise DataError("the click log holds no samples")
        dense, ids, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(dense, ids, labels)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def part(self, start: int, stop: int) -> ClickArrays:
        """Samples `[start, stop)`, as views."""
        return ClickArrays(self.dense[start:stop], self.ids[start:stop], self.labels[start:stop])

    def batches(self, batch_size: int) -> Iterator[ClickBatch]:
        """In order; only the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            yield self._batch(slice(start, start + batch_size))

    def shuffled(self, batch_size: int, seed: int, epoch: int) -> Iterator[ClickBatch]:
        """Every sample once, in the order that seed and epoch give; only the last batch may be smaller."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        for start in range(0, len(self), batch_size):
            yield self._batch(order[start : start + batch_size])

    def _batch(self, chosen: slice | NDArray[np.int64]) -> ClickBatch:
        return ClickBatch(
            self.dense[chosen], self.ids[chosen].astype(np.int64), self.labels[chosen]
        )


@dataclass(frozen=True)
class ClickData:
    """What one training uses.

    Attributes:
        schema: The embedding tables.
        train: Samples to train on.
        held_out: Samples that only evaluations see.
        source: Where they came from, for the record: `name`, `official`, `settings` and `bayes_auc`, the
            best AUC that any model can expect on the held-out samples; None where it is not known.
    """

    schema: ClickSchema
    train: ClickArrays
    held_out: ClickArrays
    source: dict[str, Any]


@dataclass(frozen=True)
class SyntheticClicks:
    """The synthetic log: rows [0, train_rows) to train on and the next held_out_rows to hold out.

    Attributes:
        train_rows: Samples to train on.
        held_out_rows: Samples held out.
        log: The generator with its settings.
    """

    train_rows: int
    held_out_rows: int
    log: ClickLog = field(default_factory=ClickLog)

    def __post_init__(self) -> None:
        """Refuse an empty part.

        Raises:
            SettingsError: With the mend.
        """
        for name in ("train_rows", "held_out_rows"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def settings(self) -> dict[str, Any]:
        """What settles every sample, ready for JSON."""
        log = asdict(self.log)
        log["rows"] = list(self.log.rows)
        return {
            "format": "synthetic",
            "train_rows": self.train_rows,
            "held_out_rows": self.held_out_rows,
            "log": log,
        }

    @property
    def schema(self) -> ClickSchema:
        """The embedding tables."""
        return self.log.schema

    def load(self) -> ClickData:
        """Make the samples: a few seconds for a million."""
        stop = self.train_rows + self.held_out_rows
        return ClickData(
            self.log.schema,
            ClickArrays.of(self.log.batches(0, self.train_rows, READ_AT_ONCE)),
            ClickArrays.of(self.log.batches(self.train_rows, stop, READ_AT_ONCE)),
            {
                "name": SYNTHETIC,
                "official": False,
                "settings": self.settings,
                "bayes_auc": self.log.bayes_auc(self.train_rows, stop),
            },
        )


CRITEO_FORMATS = ("criteo-tsv", "criteo-binary", "criteo-npy")
CRITEO = "part of a Criteo click log, not the field's split: not comparable with published results"


@dataclass(frozen=True)
class CriteoClicks:
    """A Criteo file of one's own: its first train_rows samples to train on, the next to hold out.

    Attributes:
        format: "criteo-tsv" (`train.txt`, `day_0`, gzipped or not), "criteo-binary" (dlrm's
            `*_data.bin`, with its `day_fea_count.npz` beside it) or "criteo-npy" (torchrec's
            `day_*_dense.npy`, `_sparse` and `_labels`, every day that is there).
        path: The file; for criteo-npy the folder.
        train_rows: Samples to train on.
        held_out_rows: Samples held out.
        most_rows: Rows of each table, ids being folded (dlrm's `--max-ind-range`).
    """

    format: Literal["criteo-tsv", "criteo-binary", "criteo-npy"]
    path: Path
    train_rows: int
    held_out_rows: int
    most_rows: int = 100_000

    def __post_init__(self) -> None:
        """Refuse an unknown format, and an empty part.

        Raises:
            UnknownNameError: No such format.
            SettingsError: With the mend.
        """
        if self.format not in CRITEO_FORMATS:
            raise UnknownNameError("data format", self.format, ("synthetic", *CRITEO_FORMATS))
        for name in ("train_rows", "held_out_rows", "most_rows"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def settings(self) -> dict[str, Any]:
        """What settles every sample, ready for JSON; the file itself by its name and length."""
        try:
            files = self._day_files if self.format == "criteo-npy" else [self.path]
            length = sum(file.stat().st_size for file in files)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from None
        return {
            "format": self.format,
            "file": self.path.name,
            "file_bytes": length,
            "train_rows": self.train_rows,
            "held_out_rows": self.held_out_rows,
            "most_rows": self.most_rows,
        }

    @property
    def _day_files(self) -> list[Path]:
        """The dense features of every day in the folder."""
        found = sorted(self.path.glob("day_[0-9]*_dense.npy"))
        if not found:
            raise DataError(
                f"{self.path} holds no day_*_dense.npy: give the folder of torchrec's files"
            )
        return found

    @cached_property
    def schema(self) -> ClickSchema:
        """The 26 tables."""
        if self.format != "criteo-binary":
            return ClickSchema((self.most_rows,) * TABLES)
        return read_counts(self.path.parent / "day_fea_count.npz").capped(self.most_rows)

    def load(self) -> ClickData:
        """Read the samples.

        Raises:
            DataError: The file cannot be read, or holds fewer samples than asked for.
        """
        wanted = self.train_rows + self.held_out_rows
        if self.format == "criteo-tsv":
            batches = CriteoTsv(self.path, self.schema).batches(READ_AT_ONCE)
        else:
            stored: CriteoBinary | CriteoNpy
            if self.format == "criteo-npy":
                days = tuple(sorted(int(file.name.split("_")[1]) for file in self._day_files))
                stored = CriteoNpy(self.path, days, self.schema, fold=True)
            else:
                stored = CriteoBinary(self.path, self.schema, fold=True)
            batches = stored.batches(0, min(len(stored), wanted), READ_AT_ONCE)
        read = ClickArrays.of(islice(batches, -(-wanted // READ_AT_ONCE)))
        if len(read) < wanted:
            raise DataError(
                f"{self.path} holds {len(read):,} samples, {wanted:,} are asked for: use fewer --rows"
            )
        return ClickData(
            self.schema,
            read.part(0, self.train_rows),
            read.part(self.train_rows, wanted),
            {"name": CRITEO, "official": False, "settings": self.settings, "bayes_auc": None},
        )
