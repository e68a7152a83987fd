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
NEGLIGIBLE = 0.01
"""As a share of the largest answer: a smaller one proves nothing, as its own error would not be seen."""


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
    if [one.shape for one in found] != [other.shape for other in single]:
        return False
    beyond_half = 0
    for one, other in zip(found, single, strict=True):
        if one.dtype != np.float32 or other.dtype != np.float32 or not one.size:
            continue
        values, sure = np.asarray(one, np.float64), np.asarray(other, np.float64)
        largest = np.abs(sure).max()
        if not np.abs(values - sure).max() <= SINGLE_APART * largest:  # nor where one is no number
            return False
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        telling = np.abs(values) > NEGLIGIBLE * largest
        beyond_half += int(np.count_nonzero((rounded != values) & telling))
    return beyond_half >= DISTINCT
