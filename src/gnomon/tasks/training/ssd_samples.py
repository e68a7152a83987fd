"""What SSD is shown of a photograph: made square, while training cropped, coloured and mirrored at random.

After Liu et al. 2016 (arXiv:1512.02325), section 2.2, in the variant of the field's reference: no expansion.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.extras import optional_module
from gnomon.tasks.training.jpeg_images import BILINEAR, Picture

SIDE = 300
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
DEVIATION = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""Of the photographs that the backbone was trained on."""
LEAST_OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""One is drawn: what every box of a crop must overlap with it; with None the photograph stays whole."""
CROP = (0.3, 1.0)
"""Width and height of a crop, as a share of the photograph's."""
RATIO = (0.5, 2.0)
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.125, 0.5, 0.5, 0.05
MOST_CROPS = 50

Boxes = NDArray[np.float64]
"""Left, upper, right and lower edge as shares of the photograph, (k, 4)."""


def resized(picture: Picture) -> NDArray[np.uint8]:
    """The whole picture, (300, 300, 3)."""
    return np.asarray(picture.resize((SIDE, SIDE), resample=BILINEAR), dtype=np.uint8)


def normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels (n, h, w, 3) as the model takes them, float32 (n, 3, h, w)."""
    mean, deviation = (np.array(values, dtype=np.float32) for values in (MEAN, DEVIATION))
    scaled: NDArray[np.float32] = (images - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def augmented(
    picture: Picture, boxes: Boxes, labels: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], Boxes, NDArray[np.int64]]:
    """A crop of the picture in other colours, every other mirrored, with the boxes that are left in it."""
    left, upper, right, lower = crop = random_crop(boxes, generator)
    boxes, labels = inside(boxes, labels, crop)
    width, height = picture.size
    edges = (left * width, upper * height, right * width, lower * height)
    cut = picture.resize((SIDE, SIDE), resample=BILINEAR, box=edges)
    image = np.asarray(_recoloured(cut, generator), dtype=np.uint8)
    if generator.random() < 0.5:
        image = image[:, ::-1]
        boxes = np.column_stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]])
    return image, boxes, labels


def random_crop(boxes: Boxes, generator: np.random.Generator) -> NDArray[np.float64]:
    """A part of the picture (4,) that overlaps each box as far as was drawn, with a box's middle in it."""
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    for _ in range(MOST_CROPS):
        least = LEAST_OVERLAPS[generator.integers(len(LEAST_OVERLAPS))]
        if least is None:
            return whole
        width, height = generator.uniform(*CROP, 2)
        if not RATIO[0] <= width / height <= RATIO[1]:
            continue
        left, upper = generator.uniform(0, 1 - width), generator.uniform(0, 1 - height)
        crop = np.array([left, upper, left + width, upper + height])
        if (overlaps(boxes, crop[None])[:, 0] > least).all() and _centred(boxes, crop).any():
            return crop
    return whole


def inside(
    boxes: Boxes, labels: NDArray[np.int64], crop: NDArray[np.float64]
) -> tuple[Boxes, NDArray[np.int64]]:
    """The boxes whose middle is in the crop, clipped, as shares of it."""
    kept = _centred(boxes, crop)
    low, size = np.tile(crop[:2], 2), np.tile(crop[2:] - crop[:2], 2)
    return np.clip((boxes[kept] - low) / size, 0, 1), labels[kept]


def overlaps(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Intersection over union of each with each, (k, 4) and (m, 4) to (k, m)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    overlap: NDArray[np.float64] = shared / np.maximum(union, 1e-12)
    return overlap


def _centred(boxes: Boxes, crop: NDArray[np.float64]) -> NDArray[np.bool_]:
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    within: NDArray[np.bool_] = np.all((middle > crop[:2]) & (middle < crop[2:]), axis=1)
    return within


def _recoloured(picture: Picture, generator: np.random.Generator) -> Any:
    """Brightness, contrast, saturation and hue changed, in an order of chance."""
    enhance = optional_module("PIL.ImageEnhance", "pillow", "tiny", "changing an image's colours")
    kinds = (
        (enhance.Brightness, BRIGHTNESS),
        (enhance.Contrast, CONTRAST),
        (enhance.Color, SATURATION),
    )
    for place in generator.permutation(4):
        if place < len(kinds):
            kind, amount = kinds[place]
            picture = kind(picture).enhance(generator.uniform(1 - amount, 1 + amount))
        else:
            hue, saturation, value = picture.convert("HSV").split()
            turned = round(generator.uniform(-HUE, HUE) * 255)
            hue = hue.point([(level + turned) % 256 for level in range(256)])
            merged = import_module("PIL.Image").merge("HSV", (hue, saturation, value))
            picture = merged.convert("RGB")
    return picture
