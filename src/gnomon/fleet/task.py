"""A task whose training samples are dealt out to clients, and whose quality is taken on samples held out.

What a data set brings is one function, `pool`; dealing and scoring are the same for all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.task import DataSource, IndexArray, Outputs, Task
from gnomon.fleet.data import FederatedData, dealt
from gnomon.fleet.partition import Partition, partition_rows

STANDARD_CLIENTS = 100
STANDARD_SEED = 0
"""Where data is generated, a task's own samples are those held out of this federation."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A data set before it is dealt out.

    Attributes:
        features: uint8 or float32, shape (n, ...).
        labels: int64 class numbers, shape (n,).
        test_features: As `features`, shape (m, ...); nobody is dealt these.
        test_labels: int64, shape (m,).
        classes: Number of classes.
        source: Name, whether official, fingerprint.
        natural: The number of each sample's own client, shape (n,); None if samples belong to nobody.
        scale: Features are divided by it when they are handed out.
    """

    features: NDArray[Any] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    test_features: NDArray[Any] = field(repr=False)
    test_labels: NDArray[np.int64] = field(repr=False)
    classes: int
    source: DataSource
    natural: NDArray[np.int64] | None = field(default=None, repr=False)
    scale: float = 1.0

    def scaled(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Features as models take them, float32."""
        if self.scale == 1 and features.dtype == np.float32:
            return features
        scaled: NDArray[np.float32] = np.divide(features, np.float32(self.scale), dtype=np.float32)
        return scaled

    def deal(self, rows: Sequence[NDArray[np.int64]], partition: str) -> FederatedData:
        """Give client k the samples `rows[k]`.

        Args:
            rows: As from `partition_rows` or `from_flower`.
            partition: How they were chosen, in words.

        Raises:
            DataError: A client has no samples.
        """
        features, labels, offsets = dealt(self.features, self.labels, rows)
        return FederatedData(
            features=self.scaled(features),
            labels=labels,
            offsets=offsets,
            test_features=self.scaled(self.test_features),
            test_labels=self.test_labels,
            classes=self.classes,
            source=self.source,
            partition=partition,
        )


class FederatedTask(Task):
    """A classification task whose samples can be dealt out to clients.

    As a `Task` it is its held-out samples: an input is one sample's features, float32; an output is the
    scores of all classes, and the highest is the answer.

    Attributes:
        default_partition: Used where none is asked for.
        needs: Which files a person has to bring, and from where; empty if the task has its own data.
        path: The person's own data, as an absolute path; None if not given.
    """

    metric = "top-1 accuracy"
    default_partition: ClassVar[Partition] = Partition("iid")
    needs: ClassVar[str] = ""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None and not self.needs:
            raise SettingsError(f"task {self.name!r} has data of its own: leave out --data {path}")
        self.path = None if path is None else Path(path).absolute()

    @abstractmethod
    def pool(self, clients: int, seed: int) -> Pool:
        """All samples.

        Args:
            clients: N; matters only where data is generated.
            seed: Likewise.

        Raises:
            DataError: The data is not in place, or is not what it should be.
        """

    def deal(self, clients: int, partition: Partition, seed: int) -> FederatedData:
        """The data set dealt out.

        Args:
            clients: N.
            partition: How to deal.
            seed: The same seed deals the same.

        Raises:
            DataError: The data is not in place, or is not what it should be.
            SettingsError: It cannot be dealt like that.
        """
        pool = self.pool(clients, seed)
        rows = partition_rows(partition, pool.labels, clients, seed, pool.natural)
        return pool.deal(rows, str(partition))

    @property
    def place(self) -> Path:
        """Where the person's own data is.

        Raises:
            DataError: Nothing is there, or no place was given.
        """
        if self.path is None:
            raise DataError(f"task {self.name!r} needs {self.needs}; say where with --data FOLDER")
        return self.path

    def source(self) -> DataSource:
        """Where the data comes from, with a fingerprint of the raw data."""
        return self._held_out.source

    def __len__(self) -> int:
        return len(self._held_out.test_labels)

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Features of held-out samples, float32, shape (n, ...)."""
        return self._held_out.scaled(self._held_out.test_features[samples])

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of samples whose highest score is the label's; an answer with NaN is wrong.

        Raises:
            DataError: `outputs` are not one score a class for every sample.
        """
        pool = self._held_out
        scores = np.asarray(outputs, dtype=np.float32)
        if scores.shape != (len(samples), pool.classes):
            raise DataError(
                f"{self.name} is scored from {pool.classes} class scores a sample, got outputs of shape "
                f"{scores.shape} for {len(samples)} samples"
            )
        right = (scores.argmax(axis=1) == pool.test_labels[samples]) & ~np.isnan(scores).any(axis=1)
        return float(right.mean())

    @cached_property
    def _held_out(self) -> Pool:
        """The pool without what is dealt out, which is not kept in memory for a task that only scores."""
        pool = self.pool(STANDARD_CLIENTS, STANDARD_SEED)
        return replace(
            pool, features=pool.features[:0].copy(), labels=pool.labels[:0].copy(), natural=None
        )
