"""How pictures of the mobile tasks are drawn: textures, digits, shapes and strokes, many pictures at a time.

Integer arithmetic only, so that a picture is the same on every machine. How much of a pixel is covered is
counted in 256ths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.int32]

ONE = 256
"""The whole of a pixel, of a source pixel, of a colour's distance."""
DIRECTIONS = 64
ANGLES = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
COSINES = np.rint(ONE * np.cos(ANGLES)).astype(np.int32)
SINES = np.rint(ONE * np.sin(ANGLES)).astype(np.int32)
TURNS = 4
"""A digit is turned by up to so many of the 64 directions, either way: 22 degrees."""
WAVES = 3
PHASES = 1024
SHORTEST_WAVE, LONGEST_WAVE = 6, 64
"""In pixels."""
NOISE = 5
"""Grey values by which a pixel may be off, either way."""
SHAPES = ("disc", "square", "triangle", "ring", "cross")


def textures(
    generator: np.random.Generator, count: int, side: int
) -> tuple[Plane, NDArray[np.int64]]:
    """Coloured patterns of a few waves over a slope, and the colour that each of them varies about.

    Returns:
        The patterns, int32 (count, 3, side, side), not clipped to 0 to 255; the colours, (count, 3).
    """
    colour = generator.integers(40, 216, (count, 3))
    slope = generator.integers(-60, 61, (count, 3, 2, 1, 1), dtype=np.int32)
    direction = generator.integers(0, DIRECTIONS, (WAVES, count, 1, 1))
    length = generator.integers(SHORTEST_WAVE, LONGEST_WAVE + 1, (WAVES, count, 1, 1))
    phase = generator.integers(0, PHASES, (WAVES, count, 1, 1))
    height = generator.integers(-22, 23, (WAVES, count, 3, 1, 1), dtype=np.int32)
    rows, columns = _middle_out(side)
    canvas = (slope[:, :, 0] * rows + slope[:, :, 1] * columns) // (2 * side)
    canvas += colour[..., None, None].astype(np.int32)
    for wave in range(WAVES):
        along = COSINES[direction[wave]] * columns + SINES[direction[wave]] * rows
        steps = (along * (PHASES // length[wave]).astype(np.int32)) // (2 * ONE)
        turn = (steps + phase[wave].astype(np.int32)) & (PHASES - 1)
        rise = np.abs(turn - PHASES // 2) - PHASES // 4
        canvas += (height[wave] * rise[:, None]) >> 8
    return canvas, colour


def contrasting(generator: np.random.Generator, behind: NDArray[np.int64]) -> NDArray[np.int64]:
    """A colour for each of these, (n, 3), which differs from it by at least 56 of 256 in each channel."""
    return (behind + generator.integers(56, 201, behind.shape)) % 256


def covered_by_digits(
    generator: np.random.Generator,
    digits: NDArray[np.uint8],
    size: NDArray[np.int64],
    side: int,
) -> Plane:
    """How much each digit covers of the pixels of a square, slightly turned, slanted and widened.

    Args:
        generator: Turn, slant and width are drawn from it.
        digits: Shape (n, 8, 8), 0 to 16.
        size: Height of each in pixels, (n,).
        side: Of the square in whose middle the digit is.

    Returns:
        Covers of 0 to 256, int32 (n, side, side).
    """
    count = len(digits)
    turn = generator.integers(-TURNS, TURNS + 1, (count, 1, 1))
    slant = generator.integers(-48, 49, (count, 1, 1), dtype=np.int32)
    widening = generator.integers(224, 321, (count, 1, 1), dtype=np.int32)
    rows, columns = _middle_out(side)
    pixels = size[:, None, None].astype(np.int32)
    down = COSINES[turn] * rows - SINES[turn] * columns
    right = SINES[turn] * rows + COSINES[turn] * columns
    right = ((right * widening) >> 8) + slant * rows
    # Steps are half pixels, so that a digit's 8 pixels are 2 * size of them; its middle lies at 3.5, two
    # pixels of border before it.
    middle = 5 * ONE + ONE // 2
    last = 11 * ONE - 1
    source_row = np.clip(4 * down // pixels + middle, 0, last)
    source_column = np.clip(4 * right // pixels + middle, 0, last)
    upper, left = source_row >> 8, source_column >> 8
    low, far = source_row & 255, source_column & 255
    padded = np.pad(digits, ((0, 0), (2, 2), (2, 2))).astype(np.int32)
    flat = padded.reshape(-1)
    first = np.arange(count, dtype=np.int32)[:, None, None] * 144 + upper * 12 + left
    ink = (ONE - low) * ((ONE - far) * flat[first] + far * flat[first + 1])
    ink += low * ((ONE - far) * flat[first + 12] + far * flat[first + 13])
    cover: Plane = np.clip(((ink >> 12) * 410 >> 8) - ONE // 4, 0, ONE)
    return cover


def covered_by_shapes(
    generator: np.random.Generator, shape: NDArray[np.int64], size: NDArray[np.int64], side: int
) -> Plane:
    """How much each shape, an index into `SHAPES`, covers of the pixels of a square; turned at will.

    Args:
        generator: Turns are drawn from it.
        shape: Which, (n,).
        size: Of the square that a shape fits into however it is turned, in pixels, (n,).
        side: Of the square in whose middle the shape is.

    Returns:
        Covers of 0 to 256, int32 (n, side, side).
    """
    turn = generator.integers(0, DIRECTIONS, (len(shape), 1, 1))
    rows, columns = _middle_out(side)
    pixels = size[:, None, None].astype(np.int32)
    # 256 is half the size.
    down = (COSINES[turn] * rows - SINES[turn] * columns) // pixels
    right = np.abs((SINES[turn] * rows + COSINES[turn] * columns) // pixels)
    across, distance = np.abs(down), (down * down + right * right) // (2 * ONE)
    inside = np.stack(
        [
            ONE // 2 - 8 - distance,
            170 - np.maximum(across, right),
            np.minimum(120 - down, (down + 240 - 2 * right) // 2),
            np.minimum(ONE // 2 - 8 - distance, distance - 36),
            np.maximum(np.minimum(64 - across, 232 - right), np.minimum(64 - right, 232 - across)),
        ]
    )[shape, np.arange(len(shape))]
    cover: Plane = np.clip(inside * pixels // 2 + ONE // 2, 0, ONE)
    return cover


def covered_by_strokes(
    generator: np.random.Generator, count: int, side: int, width: int = 3
) -> Plane:
    """How much of each pixel a straight stroke covers, one stroke a picture, int32 (count, side, side)."""
    direction = generator.integers(0, DIRECTIONS, (count, 1, 1))
    off = generator.integers(-side, side + 1, (count, 1, 1), dtype=np.int32)
    rows, columns = _middle_out(side)
    distance = np.abs(COSINES[direction] * columns + SINES[direction] * rows - off * ONE)
    cover: Plane = np.clip((width + 1) * ONE // 2 - distance // 2, 0, ONE)
    return cover


def paint(
    canvas: Plane,
    picture: NDArray[np.int64],
    at: NDArray[np.int64],
    cover: Plane,
    colour: NDArray[np.int64],
) -> None:
    """Paint one object into each of these pictures; what lies outside of them is cut off.

    Args:
        canvas: All pictures, int32 (n, 3, side, side); changed in place.
        picture: Which of them, each at most once, (m,).
        at: Column and row of the cover's corner, (m, 2).
        cover: How much of each pixel is painted, (m, rows, columns), 0 to 256.
        colour: Of the paint, (m, 3).
    """
    side = canvas.shape[-1]
    which, row, column = np.nonzero(cover)
    amount = cover[which, row, column][:, None]
    row, column = row + at[which, 1], column + at[which, 0]
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    which, row, column, amount = which[inside], row[inside], column[inside], amount[inside]
    where = (picture[which], slice(None), row, column)
    before = canvas[where]
    canvas[where] = before + (((colour[which].astype(np.int32) - before) * amount) >> 8)


def noisy(generator: np.random.Generator, canvas: Plane) -> NDArray[np.uint8]:
    """The pictures as a camera gives them: with a little noise, in 256 grey values a channel."""
    grain = generator.integers(-NOISE, NOISE + 1, canvas.shape, dtype=np.int8)
    picture: NDArray[np.uint8] = np.clip(canvas + grain, 0, 255).astype(np.uint8)
    return picture


def _middle_out(side: int) -> tuple[Plane, Plane]:
    """Row and column of each pixel from the middle, in half pixels, int32 (side, 1) and (1, side)."""
    steps = 2 * np.arange(side, dtype=np.int32) + 1 - side
    return steps[:, None], steps[None, :]
