"""Photographs from disk as arrays: decoding, and the crops that the field trains and evaluates on.

Needs Pillow, which is imported when the first image is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, described
from gnomon.core.extras import optional_module

Picture: TypeAlias = Any
"""A Pillow image in RGB."""

AREA = (0.08, 1.0)
"""Share of the image's area that a random crop covers (Szegedy et al. 2015, section 6)."""
RATIO = (3 / 4, 4 / 3)
"""Of its width to its height."""
TRIES = 10
MARGIN = 256 / 224
"""Of the shorter side when an image is evaluated on, to the middle that is cut out."""


def opened(file: Path) -> Picture:
    """A picture in RGB.

    Raises:
        DataError: It is missing or cannot be decoded.
        MissingExtraError: Pillow is not installed.
    """
    image = optional_module("PIL.Image", "pillow", "tiny", f"reading {file.name}")
    try:
        with image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read as an image: {described(error)}; download it again"
        ) from None


def middle(picture: Picture, side: int) -> NDArray[np.uint8]:
    """The square in the middle of the picture, whose shorter side is made 256/224 of it: (side, side, 3)."""
    width, height = picture.size
    scale = side * MARGIN / min(width, height)
    width, height = max(round(width * scale), side), max(round(height * scale), side)
    left, upper = (width - side) // 2, (height - side) // 2
    resized = picture.resize((width, height), resample=BILINEAR)
    return np.asarray(resized.crop((left, upper, left + side, upper + side)), dtype=np.uint8)


def random_crop(picture: Picture, side: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A part of random area and ratio, made (side, side, 3), every other mirrored.

    Szegedy et al. 2015 (arXiv:1409.4842), section 6.
    """
    width, height = picture.size
    box = (0, 0, width, height)
    for _ in range(TRIES):
        area = width * height * generator.uniform(*AREA)
        ratio = np.exp(generator.uniform(*np.log(RATIO)))
        wide, high = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left = int(generator.integers(width - wide + 1))
            upper = int(generator.integers(height - high + 1))
            box = (left, upper, left + wide, upper + high)
            break
    cut = np.asarray(picture.resize((side, side), resample=BILINEAR, box=box), dtype=np.uint8)
    return cut[:, ::-1] if generator.random() < 0.5 else cut


BILINEAR = 2
"""Pillow's number for it."""
