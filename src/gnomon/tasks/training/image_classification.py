"""What tasks that tell images apart have in common: labels, top-1 accuracy and compact answers.

Answers are class numbers; the images and their learner are each task's own.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import IndexArray, Outputs
from gnomon.timetotrain.task import TrainingTask


class ImageClassification(TrainingTask):
    """Name what an image shows. An answer is the number of its class, int16."""

    metric = "top-1 accuracy"
    classes: int

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64]:
        """Of every sample, held out first, shape (len(self) + training_size,)."""

    def targets(self, samples: IndexArray) -> NDArray[np.int64]:
        """The class of each, shape (n,)."""
        chosen: NDArray[np.int64] = self.labels[samples]
        return chosen

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of samples whose answer is the label.

        Raises:
            DataError: Not one class number a sample.
        """
        answers = np.asarray(outputs)
        if answers.dtype.kind not in "iu" or answers.size != len(samples):
            raise DataError(
                f"task {self.name!r} is scored from one class number a sample, got {answers.dtype} outputs "
                f"of shape {answers.shape} for {len(samples)} samples"
            )
        return float(np.mean(answers.reshape(-1) == self.labels[samples]))

    def encode(self, output: object) -> bytes:
        """A class number as two bytes."""
        return np.asarray(output, dtype=np.int16).tobytes()

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """The class number, shape (1,)."""
        return np.frombuffer(data, dtype=np.int16)


class ImagesInMemory(ImageClassification):
    """All images fit into memory as bytes. An input is float32 (channels, height, width).

    A subclass says how bytes become inputs: less `mean`, divided by `deviation`, one of each a channel.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    @abstractmethod
    def pixels(self) -> NDArray[np.uint8]:
        """Of every sample, held out first, (len(self) + training_size, channels, height, width)."""

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Images as the model takes them, float32 (n, channels, height, width)."""
        by_channel = (1, -1, 1, 1)
        mean = np.array(self.mean, dtype=np.float32).reshape(by_channel)
        deviation = np.array(self.deviation, dtype=np.float32).reshape(by_channel)
        scaled: NDArray[np.float32] = (self.pixels[samples] - mean) / deviation
        return scaled

    def fingerprint(self) -> str:
        """SHA-256 of pixels and labels, as bytes."""
        digest = hashlib.sha256(self.pixels.tobytes())
        digest.update(self.labels.astype(np.uint8).tobytes())
        return digest.hexdigest()
