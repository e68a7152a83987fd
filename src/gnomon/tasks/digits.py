"""Handwritten digits: 8x8 grey images, ten classes, top-1 accuracy. Real data that fits in the package.

Of scikit-learn's 1,797 images the first 1,000 trained the reference model; the task is the last 797, which
it has never seen. `tools/train_digits.py` writes data and model, and says more.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs, Task

DATA = Path(__file__).parent.parent / "data"
TRAINED = 1000
TOTAL = 1797
CLASSES = 10


class Digits(Task):
    """Classify an 8x8 image as a digit.

    An input is float32 (1, 8, 8) in 0 to 1; an output is the scores of the ten classes, float32 (10,).
    """

    name = "digits"
    metric = "top-1 accuracy"

    def __init__(self, path: Path = DATA / "digits.npz") -> None:
        self._path = path

    @cached_property
    def stored(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All images, shape (1797, 8, 8), 0 to 16, and their labels; the first 1,000 are for training.

        Raises:
            DataError: The file is missing, or is not what it should be.
        """
        mend = "reinstall gnomon, or write it with tools/train_digits.py"
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                images, labels = stored["images"], stored["labels"]
        except FileNotFoundError:
            raise DataError(f"data set {self._path} is missing: {mend}") from None
        except KeyError as error:
            raise DataError(f"data set {self._path} has no array {error}: {mend}") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise DataError(
                f"data set {self._path} cannot be read or was cut short: {mend}"
            ) from None
        if images.shape != (TOTAL, 8, 8) or labels.shape != (TOTAL,):
            raise DataError(
                f"data set {self._path} holds images {images.shape} and labels {labels.shape}, not "
                f"{TOTAL} of 8x8: {mend}"
            )
        if images.dtype != np.uint8 or images.max() > 16 or labels.max() >= CLASSES:
            raise DataError(f"data set {self._path} holds other values than digits do: {mend}")
        return images, labels

    @cached_property
    def _data(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, labels = self.stored
        return images[TRAINED:], labels[TRAINED:]

    def __len__(self) -> int:
        return len(self._data[1])

    def source(self) -> DataSource:
        """Real data, but of no published round."""
        images, labels = self._data
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        return DataSource(
            "scikit-learn digits, images 1,000 to 1,796", official=False, sha256=digest
        )

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Images, float32 (n, 1, 8, 8) in 0 to 1."""
        scaled: NDArray[np.float32] = self._data[0][samples, None].astype(np.float32) / np.float32(
            16
        )
        return scaled

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of samples whose highest score is the label's; an answer with NaN is wrong."""
        scores = np.asarray(outputs, dtype=np.float32)
        if scores.shape != (len(samples), CLASSES):
            raise DataError(
                f"digits are scored from {CLASSES} class scores a sample, got outputs of shape "
                f"{scores.shape} for {len(samples)} samples"
            )
        finite = ~np.isnan(scores).any(axis=1)
        right = (scores.argmax(axis=1) == self._data[1][samples]) & finite
        return float(right.mean())

    def decode(self, data: bytes) -> Any:
        """Class scores, float32 (10,)."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The reference model, as ONNX."""
        return DATA / "digits.onnx" if format == "onnx" else super().model(format)
