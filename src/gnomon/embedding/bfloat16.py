"""bfloat16 in NumPy, which has no such type: the upper half of a float32, kept as uint16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = NDArray[np.float32] | NDArray[np.uint16]


def as_float32(array: Weights) -> Floats:
    """The weights as float32: the same array, or bfloat16 widened."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array  # type: ignore[return-value]


def as_bfloat16(array: Floats) -> NDArray[np.uint16]:
    """Weights rounded to the nearest bfloat16 (ties to even), as uint16."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + (bits >> 16 & 1))
    # Rounding would carry a NaN's low bits into another value: a NaN keeps its top half, made quiet.
    narrow: NDArray[np.uint16] = np.where(np.isnan(array), bits >> 16 | 0x40, rounded >> 16).astype(
        np.uint16
    )
    return narrow
