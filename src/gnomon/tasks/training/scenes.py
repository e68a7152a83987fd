"""Training on scenes composed of real digits: small grey images with one to three digits on noise.

Made from the digits that ship by integer arithmetic alone, so that they are the same on every machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray
from gnomon.tasks.digits import CLASSES, TOTAL, Digits
from gnomon.tasks.training.detection import ObjectDetection
from gnomon.tasks.training.detection_score import TrueBoxes
from gnomon.timetotrain.task import Learner, Recipe

SIDE = 32
"""Of a scene, in pixels."""
HELD_OUT, TRAINED_ON = 300, 2000
HELD_OUT_DIGITS = 360
DATA_SEED = 0
MOST_DIGITS = 3
SMALLEST, LARGEST = 8, 12
"""Side of a digit's box, in pixels."""
TRIES = 20
NOISE = 39
"""Grey values below which the background lies, of 256."""
INK = 15
"""Grey values of one of the 16 steps of a digit's pixels."""


@dataclass(frozen=True)
class Scenes:
    """Composed images and their boxes.

    Attributes:
        images: uint8 (n, 1, 32, 32).
        boxes: Left, upper edge, width, height, int64 (n, 3, 4).
        labels: The digit in each box, int64 (n, 3); -1 where there is none.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]


class TrainingScenes(ObjectDetection):
    """Find and name the digits in a scene. An input is float32 (1, 32, 32) in 0 to 1.

    Digits of held-out scenes are in none that is trained on.
    """

    name = "training-scenes"
    metric = "mAP@.5"
    threads = 2
    training_size = TRAINED_ON
    most_found = 16
    thresholds = (0.5,)
    classes = CLASSES

    def __len__(self) -> int:
        return HELD_OUT

    def prepare(self) -> None:
        """Compose the scenes."""
        _ = self.scenes, self.held_out_truth

    @cached_property
    def scenes(self) -> Scenes:
        """All scenes, held out first."""
        images, labels = Digits().stored
        generator = np.random.default_rng(DATA_SEED)
        order = generator.permutation(TOTAL)
        parts = [
            compose(images[some], labels[some].astype(np.int64), count, generator)
            for some, count in (
                (order[:HELD_OUT_DIGITS], HELD_OUT),
                (order[HELD_OUT_DIGITS:], TRAINED_ON),
            )
        ]
        return Scenes(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )

    @cached_property
    def held_out_truth(self) -> TrueBoxes:
        """The digits of all held-out scenes."""
        labels = self.scenes.labels[:HELD_OUT]
        image, place = np.nonzero(labels >= 0)
        boxes = self.scenes.boxes[image, place].astype(np.float64)
        return TrueBoxes(image, labels[image, place], boxes, np.zeros(len(image), dtype=bool))

    def source(self) -> DataSource:
        """Real digits in made-up scenes."""
        digest = hashlib.sha256(self.scenes.images.tobytes())
        digest.update(self.scenes.boxes.tobytes() + self.scenes.labels.tobytes())
        name = f"{HELD_OUT + TRAINED_ON:,} scenes composed of scikit-learn digits"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    def inputs(self, samples: IndexArray) -> NDArray[np.float32]:
        """Images, float32 (n, 1, 32, 32) in 0 to 1."""
        return self.scenes.images[samples].astype(np.float32) / np.float32(255)

    def learner(self, recipe: Recipe) -> Learner:
        """A small fully convolutional detector without anchors."""
        from gnomon.tasks.training.scenes_learner import ScenesLearner

        return ScenesLearner(self, recipe)


def compose(
    digits: NDArray[np.uint8],
    labels: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> Scenes:
    """Scenes of one to three of these digits each, of random size and place, none over another.

    Args:
        digits: Shape (m, 8, 8), 0 to 16.
        labels: Shape (m,).
        count: How many scenes.
        generator: Everything random is drawn from it.
    """
    images = generator.integers(0, NOISE, (count, SIDE, SIDE), dtype=np.uint8)
    wanted = generator.integers(1, MOST_DIGITS + 1, count)
    boxes = np.zeros((count, MOST_DIGITS, 4), dtype=np.int64)
    found = np.full((count, MOST_DIGITS), -1, dtype=np.int64)
    for place in range(MOST_DIGITS):
        chosen = generator.integers(0, len(digits), count)
        side = generator.integers(SMALLEST, LARGEST + 1, count)
        corner = generator.integers(0, SIDE - side[:, None, None] + 1, (count, TRIES, 2))
        free = ~_overlapping(corner, side, boxes[:, :place])
        scene = np.flatnonzero(free.any(axis=1) & (place < wanted))
        corner = corner[scene, free[scene].argmax(axis=1)]
        boxes[scene, place, :2] = corner
        boxes[scene, place, 2:] = side[scene, None]
        found[scene, place] = labels[chosen[scene]]
        for size in range(SMALLEST, LARGEST + 1):
            some = side[scene] == size
            enlarged = (2 * np.arange(size) + 1) * digits.shape[1] // (2 * size)
            ink = digits[chosen[scene[some]]][:, enlarged][:, :, enlarged] * INK
            rows = corner[some, 1, None, None] + np.arange(size)[:, None]
            columns = corner[some, 0, None, None] + np.arange(size)
            where = (scene[some, None, None], rows, columns)
            images[where] = np.maximum(images[where], ink)
    return Scenes(images[:, None], boxes, found)


def _overlapping(
    corner: NDArray[np.int64], side: NDArray[np.int64], boxes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a square at each corner, (n, tries, 2), meets any of the scene's boxes, (n, k, 4)."""
    low = corner[:, :, None]
    high = low + side[:, None, None, None]
    edges = boxes[:, None]
    apart = (high <= edges[..., :2]) | (low >= edges[..., :2] + edges[..., 2:])
    overlapping: NDArray[np.bool_] = np.any(~np.any(apart, axis=3), axis=2)
    return overlapping
