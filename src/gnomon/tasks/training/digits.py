"""Training on real handwritten digits that ship: the first benchmark one runs, a second or two a seed.

Of scikit-learn's 1,797 images 360, drawn once and for all, are held out and 1,437 trained on.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource
from gnomon.tasks.digits import CLASSES, TOTAL, Digits
from gnomon.tasks.training.image_classification import ImagesInMemory
from gnomon.timetotrain.task import Learner, Recipe

HELD_OUT = 360
DATA_SEED = 0
SHAPE = (1, 8, 8)
WIDTHS, BLOCKS = (16, 32, 64), 1


class TrainingDigits(ImagesInMemory):
    """Classify an 8x8 grey image as a digit. An input is float32 (1, 8, 8) in 0 to 1.

    The held-out images are drawn from all writers, unlike those of `gnomon.tasks.digits`, so that a target
    below the plateau is reached whatever the seed.
    """

    name = "training-digits"
    classes = CLASSES
    threads = 1
    training_size = TOTAL - HELD_OUT
    mean, deviation = (0.0,), (16.0,)

    def __len__(self) -> int:
        return HELD_OUT

    @cached_property
    def _data(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        images, labels = Digits().stored
        order = np.random.default_rng(DATA_SEED).permutation(TOTAL)
        return images[order, None], labels[order].astype(np.int64)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of all images, shape (1797, 1, 8, 8), 0 to 16."""
        return self._data[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of all images, shape (1797,), 0 to 9."""
        return self._data[1]

    def source(self) -> DataSource:
        """Real data, but of no published round."""
        name = f"scikit-learn digits, {HELD_OUT} of {TOTAL:,} held out"
        return DataSource(name, official=False, sha256=self.fingerprint())

    def learner(self, recipe: Recipe) -> Learner:
        """A ResNet of three blocks, the residual network of He et al. 2016 for small images, smaller."""
        from gnomon.tasks.training.image_classification_learner import ImageLearner
        from gnomon.tasks.training.image_classification_resnet import SmallResNet

        def untrained() -> SmallResNet:
            return SmallResNet(1, CLASSES, widths=WIDTHS, blocks=BLOCKS, normalization="group")

        return ImageLearner(self, recipe, untrained, SHAPE)
