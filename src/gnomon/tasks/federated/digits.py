"""The digits that ship, dealt out to clients: real images, and nothing to download.

The first 1,000 are dealt out, the last 797 held out, as in `gnomon.tasks.digits`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from gnomon.core.task import DataSource
from gnomon.fleet.partition import Partition
from gnomon.fleet.task import FederatedTask, Pool
from gnomon.tasks.digits import CLASSES, TOTAL, TRAINED, Digits

GREATEST = 16.0
"""Of a pixel."""


class FederatedDigits(FederatedTask):
    """Classify an 8x8 image as a digit.

    An input is float32 (64,) in 0 to 1, row by row; an output is the scores of the ten classes.
    """

    name = "federated-digits"
    default_partition = Partition("labels", 2)

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self._digits = Digits()

    def pool(self, clients: int, seed: int) -> Pool:
        """The same images for any number of clients and any seed.

        Raises:
            DataError: The file that ships is damaged.
        """
        return self._pool

    @cached_property
    def _pool(self) -> Pool:
        images, labels = self._digits.stored
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        flat, numbers = images.reshape(TOTAL, -1), labels.astype(np.int64)
        return Pool(
            features=flat[:TRAINED],
            labels=numbers[:TRAINED],
            test_features=flat[TRAINED:],
            test_labels=numbers[TRAINED:],
            classes=CLASSES,
            source=DataSource(
                f"scikit-learn digits, {TOTAL:,} images", official=False, sha256=digest
            ),
            scale=GREATEST,
        )
