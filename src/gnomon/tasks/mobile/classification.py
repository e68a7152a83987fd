"""Image classification on phones: real handwritten digits in colour among clutter, 32x32 RGB, ten classes.

A stand-in for ImageNet. Each of the 797 digits that no model has seen is drawn once, on a texture of its own;
nothing but the digits ships. `tools/mobile_classification.py` trains the models on the first 1,000.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.digits import CLASSES, TRAINED, Digits
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.drawing import (
    contrasting,
    covered_by_digits,
    covered_by_strokes,
    noisy,
    paint,
    textures,
)
from gnomon.tasks.mobile.shipped import MobileTask

SIDE = 32
SEED = 71
SMALLEST, LARGEST = 18, 28
"""Height of the digit, in pixels."""
SMALLEST_SCRAP, LARGEST_SCRAP = 8, 14
FARTHEST = 3
"""Pixels between the middles of a picture and of its digit, most."""
STROKES, SCRAPS = 2, 2
"""Behind a digit; each is there or not."""


class MobileClassification(MobileTask):
    """Classify a picture as a digit.

    An input is float32 (3, 32, 32) in 0 to 255; an output is the scores of the ten classes, float32 (10,).
    """

    name = "mobile-classification"
    metric = "top-1 accuracy"
    stem = "classification"
    browser_batch_size = 16

    @cached_property
    def _data(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        digits, labels = Digits().stored
        return draw_pictures(digits[TRAINED:], np.random.default_rng(SEED)), labels[TRAINED:]

    def __len__(self) -> int:
        return len(self._data[1])

    def source(self) -> DataSource:
        """Real digits in made-up pictures."""
        pictures, labels = self._data
        digest = hashlib.sha256(pictures.tobytes() + labels.tobytes()).hexdigest()
        name = f"stand-in: {len(labels)} scikit-learn digits in colour among clutter"
        return DataSource(name, official=False, sha256=digest)

    def stored_inputs(self, samples: IndexArray) -> NDArray[np.uint8]:
        """Pictures, uint8 (n, 3, 32, 32)."""
        return self._data[0][samples]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of samples whose highest score is the label's; an answer with NaN is wrong.

        Raises:
            DataError: Not ten scores a sample.
        """
        scores = answers_of_shape(self.name, samples, outputs, (CLASSES,), "class scores")
        finite = ~np.isnan(scores.astype(np.float64)).any(axis=1)
        right = (scores.argmax(axis=1) == self._data[1][samples]) & finite
        return float(right.mean())


def draw_pictures(digits: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of each of these digits, (n, 8, 8), among strokes and scraps of the others.

    Args:
        digits: Values of 0 to 16.
        generator: Everything random is drawn from it.

    Returns:
        Pictures, uint8 (n, 3, 32, 32).
    """
    count = len(digits)
    canvas, behind = textures(generator, count, SIDE)
    every = np.arange(count)
    corner = np.zeros((count, 2), dtype=np.int64)
    for _ in range(STROKES):
        shown = np.flatnonzero(generator.integers(0, 2, count))
        cover = covered_by_strokes(generator, count, SIDE) * 3 // 4
        colour = generator.integers(0, 256, (count, 3))
        paint(canvas, shown, corner[shown], cover[shown], colour[shown])
    for _ in range(SCRAPS):
        shown = np.flatnonzero(generator.integers(0, 3, count) == 0)
        others = digits[generator.integers(0, count, count)]
        size = generator.integers(SMALLEST_SCRAP, LARGEST_SCRAP + 1, count)
        cover = covered_by_digits(generator, others, size, LARGEST_SCRAP) * 3 // 4
        colour = generator.integers(0, 256, (count, 3))
        place = generator.integers(-LARGEST_SCRAP // 2, SIDE - LARGEST_SCRAP // 2, (count, 2))
        paint(canvas, shown, place[shown], cover[shown], colour[shown])
    size = generator.integers(SMALLEST, LARGEST + 1, count)
    cover = covered_by_digits(generator, digits, size, SIDE)
    off = generator.integers(-FARTHEST, FARTHEST + 1, (count, 2))
    paint(canvas, every, off, cover, contrasting(generator, behind))
    return noisy(generator, canvas)
