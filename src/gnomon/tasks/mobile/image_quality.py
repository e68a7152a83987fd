"""Peak signal-to-noise ratio of images, as MLPerf Mobile measures super-resolution by it.

After mlcommons/mobile_app_open at 051a47af (flutter/cpp/datasets/snu_sr.cc), which cuts fractions off and
lets values beyond 255 wrap around; here they are rounded and clipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PEAK = 255


def psnr(answer: NDArray[Any], truth: NDArray[np.uint8]) -> float:
    """Of one image against the true one of the same shape, over all its values, in decibels.

    Equal images would be infinitely good; they count as if one value were off by one.
    """
    off = eight_bit(answer).astype(np.float64) - truth
    error = max(float(np.mean(off * off)), 1 / truth.size)
    return float(-10 * np.log10(error / PEAK**2))


def eight_bit(answer: NDArray[Any]) -> NDArray[np.uint8]:
    """Values as grey values of 8 bits, rounded and clipped to 0 to 255; what is no number becomes 0."""
    if answer.dtype == np.uint8:
        return answer
    whole: NDArray[np.uint8] = np.clip(np.rint(np.nan_to_num(answer)), 0, PEAK).astype(np.uint8)
    return whole
