"""The default boxes of the detector that ships, and how boxes become its answers and answers boxes.

After SSD (Liu et al. 2016, arXiv:1512.02325), with shapes that are the medians of those in scenes trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.mobile.scenes import SIDE

MAPS = ((12, ((14, 22), (19, 29))), (6, ((24, 37), (30, 41))))
"""Of each feature map: cells a side, and width and height in pixels of each cell's default boxes."""
BOXES = sum(cells * cells * len(shapes) for cells, shapes in MAPS)
CLASSES = 10
OFFSETS = 4
COLUMNS = OFFSETS + 1 + CLASSES
"""Of an answer's row: offsets of middle and size, the logit of nothing, the logits of the classes."""
CENTRE_UNIT, SIZE_UNIT = 0.1, 0.2
"""What offsets are divided by, so that all are of like size."""
MATCH = 0.5
"""Overlap from which a default box stands for a true one."""
LOWEST_SCORE = 0.01
CANDIDATES = 200
"""Boxes with a class that are looked at in an image, those of the highest scores."""
SUPPRESSED = 0.5
"""Overlap with a better box of its class above which a box is dropped."""
MOST_FOUND = 100
LARGEST_GROWTH = 4.0
"""Natural logarithm of the most by which a default box is enlarged: e^4 of the smallest fills the scene."""


@dataclass(frozen=True)
class Detections:
    """What was found in a number of images, best first; as arrays (images, `CANDIDATES`).

    Attributes:
        boxes: Left, upper edge, width, height in pixels, float64 (images, `CANDIDATES`, 4).
        labels: Class of each, int64.
        scores: Of each, 0 to 1, float64.
        kept: Which of them are found; the others were suppressed, are too low or too many.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    kept: NDArray[np.bool_]


@cache
def default_boxes() -> NDArray[np.float64]:
    """Middle and size in pixels, x, y, width, height, shape (360, 4): by map, row, column, shape."""
    return np.array(
        [
            ((column + 0.5) * SIDE / cells, (row + 0.5) * SIDE / cells, *shape)
            for cells, shapes in MAPS
            for row, column, shape in product(range(cells), range(cells), shapes)
        ]
    )


def encoded(
    boxes: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What the default boxes should say of an image.

    One stands for the true box that it overlaps most, if by more than a half; and every true box has at
    least the default box that overlaps it most.

    Args:
        boxes: Left, upper edge, width, height in pixels, (k, 4).
        labels: Their classes, (k,).

    Returns:
        Offsets, float32 (360, 4), zero where there is nothing; classes, int64 (360,), 0 for nothing, else
        the label plus 1.
    """
    defaults = default_boxes()
    offsets = np.zeros((BOXES, OFFSETS), dtype=np.float32)
    classes = np.zeros(BOXES, dtype=np.int64)
    if not len(boxes):
        return offsets, classes
    corners = np.concatenate([defaults[:, :2] - defaults[:, 2:] / 2, defaults[:, 2:]], axis=1)
    shared = overlaps(corners[:, None], boxes[None].astype(np.float64))
    owner, overlap = shared.argmax(axis=1), shared.max(axis=1)
    best = shared.argmax(axis=0)
    owner[best], overlap[best] = np.arange(len(boxes)), 1.0
    here = np.flatnonzero(overlap > MATCH)
    true = boxes[owner[here]]
    classes[here] = labels[owner[here]] + 1
    middle = true[:, :2] + true[:, 2:] / 2 - defaults[here, :2]
    offsets[here, :2] = middle / defaults[here, 2:] / CENTRE_UNIT
    offsets[here, 2:] = np.log(true[:, 2:] / defaults[here, 2:]) / SIZE_UNIT
    return offsets, classes


def decoded(answers: NDArray[np.floating]) -> Detections:
    """The boxes that a model found: softmax, then suppression by class, then the best 100 of an image.

    A default box with a number that is not finite finds nothing.

    Args:
        answers: Shape (images, 360, 15), see `COLUMNS`.
    """
    finite = np.isfinite(answers).all(axis=2, keepdims=True)
    rows = np.where(finite, answers, 0).astype(np.float64)
    logits = rows[..., OFFSETS:]
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares = shares / shares.sum(axis=2, keepdims=True)
    scores = np.where(finite, shares[..., 1:], 0).reshape(len(answers), BOXES * CLASSES)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]
    place, labels = best // CLASSES, best % CLASSES
    scores = np.take_along_axis(scores, best, 1)
    defaults = default_boxes()[place]
    offsets = np.take_along_axis(rows[..., :OFFSETS], place[..., None], 1)
    middle = defaults[..., :2] + offsets[..., :2] * CENTRE_UNIT * defaults[..., 2:]
    growth = np.minimum(offsets[..., 2:] * SIZE_UNIT, LARGEST_GROWTH)
    half = defaults[..., 2:] * np.exp(growth) / 2
    low, high = np.clip(middle - half, 0, SIDE), np.clip(middle + half, 0, SIDE)
    boxes = np.concatenate([low, high - low], axis=2)
    kept = _not_suppressed(boxes, labels, scores >= LOWEST_SCORE)
    return Detections(boxes, labels, scores, kept & (np.cumsum(kept, axis=1) <= MOST_FOUND))


def _not_suppressed(
    boxes: NDArray[np.float64], labels: NDArray[np.int64], high: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which boxes no better one of their class suppresses, all images side by side, best first."""
    kept = high.copy()
    for rank in range(boxes.shape[1] - 1):
        better, worse = slice(rank, rank + 1), slice(rank + 1, None)
        if not kept[:, better].any():
            continue
        near = overlaps(boxes[:, better], boxes[:, worse]) > SUPPRESSED
        kept[:, worse] &= ~(near & (labels[:, better] == labels[:, worse]) & kept[:, better])
    return kept


def overlaps(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes given by left, upper edge, width and height, broadcast."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(one[..., 2:], axis=-1) + np.prod(other[..., 2:], axis=-1) - shared
    overlap: NDArray[np.float64] = shared / np.maximum(union, 1e-300)
    return overlap
