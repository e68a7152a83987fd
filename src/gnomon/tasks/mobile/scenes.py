"""Scenes that the mobile tasks look at: real digits and plain shapes in colour on textures, 96x96 pixels.

Composed of the digits that ship, by integer arithmetic alone, so that they are the same on every machine.
Which digits may be in a scene is what keeps measured scenes from those that a model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.digits import CLASSES as DIGIT_CLASSES
from gnomon.tasks.digits import TRAINED, Digits
from gnomon.tasks.mobile.drawing import (
    SHAPES,
    contrasting,
    covered_by_digits,
    covered_by_shapes,
    noisy,
    paint,
    textures,
)

SIDE = 96
"""Of a scene, in pixels."""
CLASSES = (*(str(digit) for digit in range(DIGIT_CLASSES)), *SHAPES)
"""What is in scenes, by label; in a label map each is one higher, since 0 is the background."""
FEWEST_OBJECTS, MOST_OBJECTS = 2, 5
SMALLEST, LARGEST = 20, 44
"""Height of an object before it is turned, in pixels."""
DIGITS_OF_TEN = 7
"""Objects that are digits, of ten; the others are shapes."""
TRIES = 20
MARKED = 96
"""A pixel is an object's if that much of it, of 256, is covered."""
CHUNK = 64
"""Scenes composed at a time, so that what is worked on stays in the cache."""


@dataclass(frozen=True)
class Scenes:
    """Composed images and what is in them.

    Attributes:
        images: uint8 (n, 3, 96, 96).
        boxes: Left, upper edge, width and height around an object's pixels, int64 (n, 5, 4).
        labels: Index into `CLASSES` of the object in each box, int64 (n, 5); -1 where there is none.
        label_maps: The class of each pixel plus 1, 0 for the background, uint8 (n, 96, 96).
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]
    label_maps: NDArray[np.uint8]


def compose_scenes(count: int, seed: int, held_out: bool) -> Scenes:
    """Scenes of two to five objects each, of random size, place, turn and colour, none over another.

    A scene may have fewer where no place was found. The scenes of one seed are the first of a longer list.

    Args:
        count: How many.
        seed: Everything random comes from it.
        held_out: Whether digits are of those that no model has seen.
    """
    images, labels = Digits().stored
    part = slice(TRAINED, None) if held_out else slice(None, TRAINED)
    generator = np.random.default_rng(seed)
    chunks = [
        _compose(images[part], labels[part].astype(np.int64), generator)
        for _ in range(-(-count // CHUNK))
    ]
    return Scenes(
        np.concatenate([chunk.images for chunk in chunks])[:count],
        np.concatenate([chunk.boxes for chunk in chunks])[:count],
        np.concatenate([chunk.labels for chunk in chunks])[:count],
        np.concatenate([chunk.label_maps for chunk in chunks])[:count],
    )


def _compose(
    digits: NDArray[np.uint8], digit_labels: NDArray[np.int64], generator: np.random.Generator
) -> Scenes:
    canvas, behind = textures(generator, CHUNK, SIDE)
    label_maps = np.zeros((CHUNK, SIDE, SIDE), dtype=np.uint8)
    wanted = generator.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1, CHUNK)
    squares = np.zeros((CHUNK, MOST_OBJECTS, 3), dtype=np.int64)
    boxes = np.zeros((CHUNK, MOST_OBJECTS, 4), dtype=np.int64)
    labels = np.full((CHUNK, MOST_OBJECTS), -1, dtype=np.int64)
    every = np.arange(CHUNK)
    for place in range(MOST_OBJECTS):
        chosen = generator.integers(0, len(digits), CHUNK)
        shape = generator.integers(0, len(SHAPES), CHUNK)
        is_digit = generator.integers(0, 10, CHUNK) < DIGITS_OF_TEN
        size = generator.integers(SMALLEST, LARGEST + 1, CHUNK)
        corner = generator.integers(0, SIDE - size[:, None, None] + 1, (CHUNK, TRIES, 2))
        colour = contrasting(generator, behind)
        cover = np.where(
            is_digit[:, None, None],
            covered_by_digits(generator, digits[chosen], size, LARGEST),
            covered_by_shapes(generator, shape, size, LARGEST),
        )
        free = ~_overlapping(corner, size, squares[:, :place])
        scene = np.flatnonzero(free.any(axis=1) & (place < wanted))
        corner = corner[every, free.argmax(axis=1)]
        squares[scene, place, :2], squares[scene, place, 2] = corner[scene], size[scene]
        label = np.where(is_digit, digit_labels[chosen], DIGIT_CLASSES + shape)
        labels[scene, place] = label[scene]
        # A cover is drawn in the middle of a square as large as the largest object.
        margin = (LARGEST - size[scene]) // 2
        at = corner[scene] - margin[:, None]
        paint(canvas, scene, at, cover[scene], colour[scene])
        boxes[scene, place] = _mark(label_maps, scene, at, cover[scene], label[scene] + 1)
    return Scenes(noisy(generator, canvas), boxes, labels, label_maps)


def _mark(
    label_maps: NDArray[np.uint8],
    scene: NDArray[np.int64],
    at: NDArray[np.int64],
    cover: NDArray[np.int32],
    value: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Write an object's pixels into the label maps of these scenes and give the boxes around them."""
    which, row, column = np.nonzero(cover >= MARKED)
    row, column = row + at[which, 1], column + at[which, 0]
    inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
    which, row, column = which[inside], row[inside], column[inside]
    label_maps[scene[which], row, column] = value[which]
    boxes = np.zeros((len(scene), 4), dtype=np.int64)
    boxes[:, :2] = SIDE
    np.minimum.at(boxes[:, 0], which, column)
    np.minimum.at(boxes[:, 1], which, row)
    np.maximum.at(boxes[:, 2], which, column + 1)
    np.maximum.at(boxes[:, 3], which, row + 1)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def _overlapping(
    corner: NDArray[np.int64], size: NDArray[np.int64], squares: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a square at each corner, (n, tries, 2), meets any of the scene's squares, (n, k, 3)."""
    low = corner[:, :, None]
    other = squares[:, None, :, :2]
    apart = (low + size[:, None, None, None] <= other) | (low >= other + squares[:, None, :, 2:])
    overlapping: NDArray[np.bool_] = np.any(~np.any(apart, axis=3), axis=2)
    return overlapping
