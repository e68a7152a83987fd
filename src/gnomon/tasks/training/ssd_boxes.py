"""SSD's 8,732 default boxes, and what the model should say of them for an image's true boxes.

After Liu et al. 2016 (arXiv:1512.02325), section 2.2, with the sizes of the field's reference for COCO.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.training.ssd_samples import SIDE, Boxes, overlaps

FEATURES = (38, 19, 10, 5, 3, 1)
"""Cells a side of each scale."""
STEPS = (8, 16, 32, 64, 100, 300)
SIZES = (21, 45, 99, 153, 207, 261, 315)
"""Sides of the default squares in pixels; between a scale's and the next lies one more square."""
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
PER_CELL = tuple(2 + 2 * len(ratios) for ratios in RATIOS)
CENTRE_UNIT, SIZE_UNIT = 0.1, 0.2
"""What offsets are divided by, so that all are of like size."""
MATCH = 0.5
"""Overlap from which a default box stands for a true one."""


@cache
def default_boxes() -> NDArray[np.float64]:
    """Middle and size, as shares of the image: x, y, width, height, shape (8732, 4)."""
    boxes = []
    for scale, (cells, step, ratios) in enumerate(zip(FEATURES, STEPS, RATIOS, strict=True)):
        small, next_one = SIZES[scale] / SIDE, SIZES[scale + 1] / SIDE
        shapes = [(small, small), (sqrt(small * next_one),) * 2]
        for ratio in ratios:
            shapes += [
                (small * sqrt(ratio), small / sqrt(ratio)),
                (small / sqrt(ratio), small * sqrt(ratio)),
            ]
        # A shape's cells lie together, as they leave the convolution.
        boxes += [
            ((column + 0.5) * step / SIDE, (row + 0.5) * step / SIDE, width, height)
            for (width, height), row, column in product(shapes, range(cells), range(cells))
        ]
    clipped: NDArray[np.float64] = np.clip(np.array(boxes), 0, 1)
    return clipped


def encoded(
    boxes: Boxes, labels: NDArray[np.int64], nothing: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Offsets and classes of all default boxes for one image.

    A default box stands for the true box that it overlaps most, if by more than a half; and every true box
    has at least the default box that overlaps it most.

    Args:
        boxes: Left, upper, right and lower edge, as shares of the image, (k, 4).
        labels: From 0, (k,).
        nothing: The class of a default box that stands for none.

    Returns:
        Offsets of middle and size, float32 (8732, 4), zero where there is nothing; classes, int64 (8732,).
    """
    defaults = default_boxes()
    offsets = np.zeros((len(defaults), 4), dtype=np.float32)
    classes = np.full(len(defaults), nothing, dtype=np.int64)
    if not len(boxes):
        return offsets, classes
    half = defaults[:, 2:] / 2
    edges = np.concatenate([defaults[:, :2] - half, defaults[:, :2] + half], axis=1)
    shared = overlaps(edges, boxes)
    owner, overlap = shared.argmax(axis=1), shared.max(axis=1)
    best = shared.argmax(axis=0)
    owner[best], overlap[best] = np.arange(len(boxes)), 1.0
    here = np.flatnonzero(overlap > MATCH)
    true = boxes[owner[here]]
    classes[here] = labels[owner[here]]
    middle = (true[:, :2] + true[:, 2:]) / 2 - defaults[here, :2]
    size = np.maximum(true[:, 2:] - true[:, :2], 1e-6) / defaults[here, 2:]
    offsets[here, :2] = middle / defaults[here, 2:] / CENTRE_UNIT
    offsets[here, 2:] = np.log(size) / SIZE_UNIT
    return offsets, classes
