"""What is done to the 13 integers of a Criteo line before a model sees them.

Two recipes are in use, and results under one do not compare with results under the other.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError

DenseTransform = Literal["raw", "log1p", "log_shift"]
"""`raw`: as they are. `log1p`: log(max(x, 0) + 1), as facebookresearch/dlrm does. `log_shift`:
log(x - minimum + 2), where the minimum is that of a day's file over all 13 columns, as torchrec does."""


def check_transform(transform: DenseTransform, minimum: int | None) -> None:
    """Refuse a transform that does not exist, or one that lacks its minimum.

    Raises:
        SettingsError: Says what to give.
    """
    if transform not in get_args(DenseTransform):
        known = ", ".join(get_args(DenseTransform))
        raise SettingsError(f"transform must be one of {known}, got {transform!r}")
    if transform == "log_shift" and minimum is None:
        raise SettingsError(
            "transform 'log_shift' needs minimum=, the day's: see CriteoTsv.smallest_integer()"
        )


def transform_dense(
    integers: NDArray[Any], transform: DenseTransform, minimum: int | None, where: str
) -> NDArray[np.float32]:
    """Integers (n, 13) as features, float32 (n, 13). Missing values come in as 0.

    Raises:
        DataError: A value below the day's minimum, so that it is another day's.
    """
    if transform == "raw":
        return integers.astype(np.float32)
    shift = 1
    if transform == "log1p":
        integers = np.maximum(integers, 0)
    else:
        assert minimum is not None
        shift = 2 - minimum
        if integers.size and int(integers.min()) < minimum:
            raise DataError(
                f"{where}: value {int(integers.min())} is below minimum {minimum}: give the minimum of "
                "this file (CriteoTsv.smallest_integer())"
            )
    features = integers.astype(np.float32)
    features += np.float32(shift)
    return np.log(features, out=features)
