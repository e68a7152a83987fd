"""What tasks that find objects in images have in common: boxes as answers, mean average precision.

An answer is a fixed number of rows, so that all answers are one array; rows beyond what was found are -1.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import IndexArray, Outputs
from gnomon.tasks.training.detection_score import FoundBoxes, TrueBoxes, mean_average_precision
from gnomon.timetotrain.task import TrainingTask

COLUMNS = 6
"""Of a found box: class, score, left, upper edge, width, height; no class (-1) where none was found."""


class ObjectDetection(TrainingTask):
    """Find and name the objects in an image. An answer is float32 (most_found, 6), see `COLUMNS`.

    A score of zero or less is nothing found.
    """

    most_found: int
    thresholds: tuple[float, ...]

    @property
    @abstractmethod
    def held_out_truth(self) -> TrueBoxes:
        """The true boxes of all held-out images."""

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean average precision over these images, of boxes of finite numbers.

        Raises:
            DataError: Not so many rows a sample.
        """
        rows = np.asarray(outputs, dtype=np.float32)
        if rows.size != len(samples) * self.most_found * COLUMNS:
            raise DataError(
                f"task {self.name!r} is scored from {self.most_found} rows of {COLUMNS} numbers a sample, "
                f"got outputs of shape {rows.shape} for {len(samples)} samples"
            )
        rows = rows.reshape(len(samples), self.most_found, COLUMNS)
        found = np.isfinite(rows).all(axis=2) & (rows[..., 0] >= 0) & (rows[..., 1] > 0)
        image, _ = np.nonzero(found)
        kept = rows[found].astype(np.float64)
        boxes = FoundBoxes(image, kept[:, 0].astype(np.int64), kept[:, 2:], kept[:, 1])
        truth = self.held_out_truth.of(np.asarray(samples))
        return mean_average_precision(truth, boxes, self.thresholds, self.most_found)

    def decode(self, data: bytes) -> NDArray[Any]:
        """Boxes, float32 (most_found, 6)."""
        return np.frombuffer(data, dtype=np.float32).reshape(-1, COLUMNS)
