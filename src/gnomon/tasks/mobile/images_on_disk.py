"""Photographs from disk as the field's app gives them to a model: decoded, resized, cut, normalised.

The steps and their rounding are those of TensorFlow Lite's evaluation stage, which the app uses
(github.com/tensorflow/tensorflow, `tensorflow/lite/tools/evaluation/stages/image_preprocessing_stage.cc`):
bilinear without antialiasing, corners aligned at the upper left. Needs Pillow, imported at the first image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, described
from gnomon.core.extras import optional_module

Pixels = NDArray[np.float32]
"""Red, green and blue of 0 to 255, (rows, columns, 3)."""

PHOTOGRAPHS = (".jpg", ".jpeg", ".rgb8")
PICTURES = (*PHOTOGRAPHS, ".png")
RAW = ".rgb8"
"""The ending of a file of bytes, red, green and blue of one pixel after the other."""
CHANNELS = 3
KEPT = np.float32(0.875)
"""Of each side of an image, when its middle is cut out."""


def list_files(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files with these endings in the order that samples are numbered: by name. Hidden ones are no data.

    Raises:
        DataError: There is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: it must hold {' or '.join(endings)} files")
    files = sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in endings and not entry.name.startswith(".")
    )
    if not files:
        raise DataError(f"{folder} has no {' or '.join(endings)} files: unpack the data there")
    return files


def is_raw(file: Path) -> bool:
    """Whether it is a file of bytes, which does not say how many rows it has."""
    return file.suffix.lower() == RAW


def pixels_of_size(file: Path, width: int, height: int) -> Pixels:
    """An image in colour that must have this size.

    Raises:
        DataError: It has another, or cannot be read: see `pixels`.
    """
    image = pixels(file, width, height)
    require_size(file, image, width, height)
    return image


def require_size(file: Path, image: NDArray[Any], width: int, height: int) -> None:
    """Refuse an image, (rows, columns, ...), of another size than this.

    Raises:
        DataError: It is.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) != (height, width):
        raise DataError(
            f"{file} has {columns}x{rows} pixels, not {width}x{height}: prepare it, or set image_width and "
            f"image_height in task.json"
        )


def pixels(file: Path, width: int = 0, height: int = 0) -> Pixels:
    """An image in colour.

    Args:
        file: Of any format that Pillow reads, or `.rgb8`.
        width: Of a raw file, which does not say; 0: not known.
        height: As `width`.

    Raises:
        DataError: It is missing, cannot be decoded, or has not as many bytes as pixels.
        MissingExtraError: Pillow is not installed.
    """
    if is_raw(file):
        return _raw(file, width, height)
    return np.asarray(_decoded(file, "RGB"), dtype=np.float32)


def label_map(file: Path) -> NDArray[np.uint8]:
    """A class a pixel, (rows, columns), from a grey or palette image.

    Raises:
        DataError: It is missing, cannot be decoded, or is in colour.
        MissingExtraError: Pillow is not installed.
    """
    labels = np.asarray(_decoded(file, None))
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise DataError(f"{file} is no map of labels: it must be a grey image of 8 bits a pixel")
    return labels


def middle(image: Pixels, width: int, height: int) -> Pixels:
    """The middle of the image made so large that 7/8 of its shorter side are kept, (height, width, 3)."""
    target_width, target_height = int(width / KEPT), int(height / KEPT)
    rows, columns = image.shape[:2]
    ratio_width = np.float32(target_width) / np.float32(columns)
    ratio_height = np.float32(target_height) / np.float32(rows)
    if ratio_width >= ratio_height:
        target_height = _rounded(rows * ratio_width)
    else:
        target_width = _rounded(columns * ratio_height)
    left, upper = (target_width - width + 1) // 2, (target_height - height + 1) // 2
    return _interpolated(
        image,
        _places(rows, target_height, slice(upper, upper + height)),
        _places(columns, target_width, slice(left, left + width)),
    )


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """The whole image, bilinearly, (height, width, 3)."""
    rows, columns = image.shape[:2]
    return _interpolated(
        image, _places(rows, height, slice(None)), _places(columns, width, slice(None))
    )


def normalised(images: Sequence[Pixels], mean: float, divisor: float) -> NDArray[np.float32]:
    """Images of one size, their pixels less the mean and divided, float32 (n, 3, rows, columns)."""
    batch = np.stack(images).transpose(0, 3, 1, 2)
    scaled: NDArray[np.float32] = (batch - np.float32(mean)) / np.float32(divisor)
    return np.ascontiguousarray(scaled)


class _Places(NamedTuple):
    """Along one side, of each new pixel the two old ones that it lies between, and the second one's share."""

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    share: NDArray[np.float32]


def _places(size: int, wanted: int, part: slice) -> _Places:
    """Where the new pixels of a part are, when a side of some size is made the wanted one."""
    exact = np.arange(wanted, dtype=np.float32)[part] * (np.float32(size) / np.float32(wanted))
    lower = np.minimum(exact.astype(np.int64), size - 1)
    return _Places(lower, np.minimum(lower + 1, size - 1), exact - lower.astype(np.float32))


def _interpolated(image: Pixels, down: _Places, across: _Places) -> Pixels:
    first, second = image[down.lower], image[down.upper]
    rows = first + (second - first) * down.share[:, None, None]
    first, second = rows[:, across.lower], rows[:, across.upper]
    result: Pixels = first + (second - first) * across.share[:, None]
    return result


def _rounded(value: np.float32) -> int:
    """Halves away from zero, as C does it; Python would make them even."""
    return int(np.floor(value + np.float32(0.5)))


def _raw(file: Path, width: int, height: int) -> Pixels:
    try:
        stored = np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    if not len(stored) or len(stored) != width * height * CHANNELS:
        raise DataError(
            f"{file} has {len(stored)} bytes, not {width}x{height}x{CHANNELS}: set image_width and "
            f"image_height to its size in task.json, or make it again"
        )
    return stored.reshape(height, width, CHANNELS).astype(np.float32)


def _decoded(file: Path, mode: str | None) -> Any:
    image = optional_module("PIL.Image", "pillow", "mobile", f"reading {file.name}")
    try:
        with image.open(file) as picture:
            return picture.convert(mode) if mode else picture.copy()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read as an image: {described(error)}; download it again"
        ) from None
