"""The precision that a model was really computed in, which need not be that of its file.

A processor without arithmetic in half precision widens such a model and computes it in single: a row of a
table that reads fp16 would then be about rounded weights alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SINGLE_APART = 3e-5
"""As a share of the largest answer: what apart from each other answers in single precision may be.

The embedded models are 1.4e-6 apart at most between two sets of kernels in single precision. One rounding to
half precision may be 4.9e-4 off.
"""
DISTINCT = 8
"""At least so many answers that half precision cannot hold show that the last step was not made in it."""


def over_layers(precisions: Sequence[str]) -> str:
    """The precisions of layers in words: `int8`, or `int8 (9 of 10 layers), fp32 (1 of 10 layers)`."""
    counted = Counter(precisions)
    return ", ".join(
        name if len(counted) == 1 else f"{name} ({count} of {len(precisions)} layers)"
        for name, count in counted.most_common()
    )


def in_single_precision(
    found: Sequence[NDArray[np.generic]], single: Sequence[NDArray[np.generic]]
) -> bool:
    """Whether these outputs can only have been computed in single precision.

    Args:
        found: One array for each output of the model.
        single: The same of kernels that are known to compute in it, from the same inputs.
    """
    pairs = [
        (np.asarray(one, np.float64), np.asarray(other, np.float64))
        for one, other in zip(found, single, strict=True)
        if one.dtype == other.dtype == np.float32
    ]
    beyond_half = sum(
        int(np.count_nonzero(one.astype(np.float16).astype(np.float64) != one)) for one, _ in pairs
    )
    return beyond_half >= DISTINCT and all(
        np.abs(one - other).max() <= SINGLE_APART * np.abs(other).max() for one, other in pairs
    )
