"""Click prediction to train: DLRM on a generated click log, and on Criteo's as the field preprocesses it.

Data and metric; the reference implementation is `gnomon.recommend.training_learner`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.recommend.data import ClickArrays
from gnomon.tasks.clicks import (
    DENSE_FEATURES,
    ClickBatch,
    ClickLog,
    ClickSchema,
    CriteoBinary,
    read_counts,
)
from gnomon.tasks.clicks.task import impressions, scored
from gnomon.timetotrain.task import Learner, Recipe, TrainingTask

HELD_OUT = 20_000
READ_AT_ONCE = 1 << 16
ROWS = (
    5_000, 3_000, 2_000, 2_000, 1_000, 1_000, 1_000, 500, 500, 200, 100, 50, 20, 10, 4, 3,
    300, 30, 7, 1_500, 800, 1_500, 300, 200, 50, 25,
)  # fmt: skip
"""Rows of the generated log's 26 tables, 21,099 in all."""
MOST_ROWS = 40_000_000
"""Of a table, as in the field's `--max-ind-range`."""


class ClickTask(TrainingTask):
    """Predict whether an impression is clicked.

    An input is a record of `dense` float32 (13,) and `ids` int32 (26,); an answer is one score of any scale,
    float32.
    """

    metric = "AUC"

    @property
    @abstractmethod
    def schema(self) -> ClickSchema:
        """The tables, one lookup in each."""

    @abstractmethod
    def batch(self, samples: IndexArray) -> ClickBatch:
        """These impressions, in memory."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.float32]:
        """Of the held-out impressions, shape (len(self),)."""

    def inputs(self, samples: IndexArray) -> NDArray[np.void]:
        """Impressions as records, shape (n,)."""
        return impressions(self.batch(samples))

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Area under the ROC curve over all samples together.

        Raises:
            DataError: Not one score a sample, a score that is NaN, or samples of one class only.
        """
        return scored(samples, outputs, self.labels)


class TrainingClicks(ClickTask):
    """Clicks of a generated log whose best possible AUC is known: `gnomon.tasks.clicks.ClickLog`.

    The first 300,000 impressions are trained on, the next 20,000 held out.
    """

    name = "training-clicks"
    threads = 2
    training_size = 300_000
    log = ClickLog(rows=ROWS)
    schema = log.schema

    def __len__(self) -> int:
        return HELD_OUT

    def prepare(self) -> None:
        """Generate the log."""
        _ = self.data

    @cached_property
    def data(self) -> ClickArrays:
        """All impressions, held out first: made once a process, the same for every run."""
        trained, count = self.training_size, len(self)
        made = ClickArrays.of(self.log.batches(0, trained + count, READ_AT_ONCE))
        parts = (made.part(trained, trained + count), made.part(0, trained))
        return ClickArrays(
            np.concatenate([part.dense for part in parts]),
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )

    @property
    def labels(self) -> NDArray[np.float32]:
        """Of the held-out impressions."""
        return self.data.labels[: len(self)]

    def batch(self, samples: IndexArray) -> ClickBatch:
        """Any impressions."""
        data = self.data
        return ClickBatch(
            data.dense[samples], data.ids[samples].astype(np.int64), data.labels[samples]
        )

    def source(self) -> DataSource:
        """Generated, and never to be taken for Criteo's."""
        data = self.data
        digest = hashlib.sha256()
        for array in (data.dense, data.ids, data.labels):
            digest.update(array.tobytes())
        name = f"synthetic click log, seed {self.log.seed}, {sum(ROWS):,} embedding rows"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    def learner(self, recipe: Recipe) -> Learner:
        """A small DLRM, everything in memory."""
        from gnomon.recommend.training_learner import ClickLearner

        return ClickLearner(self, recipe)


class TrainingCriteo(ClickTask):
    """Criteo Terabyte in the binary files of dlrm's preprocessing, read from disk as it goes.

    Args:
        path: The folder of `train_data.bin`, `test_data.bin` and `day_fea_count.npz`. An id is folded into at
            most 40 million rows a table.
    """

    name = "training-criteo"
    needs = (
        "Criteo's Terabyte click logs in the files that facebookresearch/dlrm preprocesses them into with "
        "--memory-map and --mlperf-bin-loader (train_data.bin, test_data.bin, day_fea_count.npz), in one "
        "folder"
    )

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        self._folder = Path(path)

    @cached_property
    def schema(self) -> ClickSchema:
        """The 26 tables, 204 million rows in all for the whole data set."""
        return read_counts(self._folder / "day_fea_count.npz").capped(MOST_ROWS)

    @cached_property
    def trained(self) -> CriteoBinary:
        """Impressions to train on."""
        return CriteoBinary(self._folder / "train_data.bin", self.schema, fold=True)

    @cached_property
    def tested(self) -> CriteoBinary:
        """Impressions held out."""
        return CriteoBinary(self._folder / "test_data.bin", self.schema, fold=True)

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Impressions in `train_data.bin`."""
        return len(self.trained)

    def __len__(self) -> int:
        return len(self.tested)

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """Of `test_data.bin`."""
        parts = self.tested.batches(0, len(self), READ_AT_ONCE)
        return np.concatenate([part.labels for part in parts])

    def batch(self, samples: IndexArray) -> ClickBatch:
        """Held-out impressions, read one range at a time."""
        parts = [
            part for run in _ranges(samples) for part in self.tested.batches(*run, READ_AT_ONCE)
        ]
        if not parts:
            empty = np.empty((0, DENSE_FEATURES), np.float32)
            return ClickBatch(empty, np.empty((0, len(self.schema.rows)), np.int64), empty[:, 0])
        return ClickBatch(
            np.concatenate([part.dense for part in parts]),
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )

    def source(self) -> DataSource:
        """By the files' lengths and both ends: they are as long as a disk.

        No digest of the preprocessed files is published, so that they cannot be told to be official.
        """
        _ = self.trained, self.tested  # which say what is missing
        digest = hashlib.sha256(str(self.schema.rows).encode())
        for name in ("train_data.bin", "test_data.bin"):
            file = self._folder / name
            size = file.stat().st_size
            digest.update(f"{name} {size}".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(READ_AT_ONCE))
                stream.seek(max(0, size - READ_AT_ONCE))
                digest.update(stream.read(READ_AT_ONCE))
        name = f"Criteo click log in {self._folder.name}, {self.training_size:,} impressions"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    def learner(self, recipe: Recipe) -> Learner:
        """The DLRM of MLPerf Training v0.7 to v2.1."""
        from gnomon.recommend.training_learner import CriteoLearner

        return CriteoLearner(self, recipe)


def _ranges(samples: IndexArray) -> Iterator[tuple[int, int]]:
    """Consecutive samples as (start, stop), in the order asked for."""
    if len(samples):
        breaks = np.flatnonzero(np.diff(samples) != 1) + 1
        for part in np.split(samples, breaks):
            yield int(part[0]), int(part[-1]) + 1
