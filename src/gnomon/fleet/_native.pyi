"""The compiled kernel of `native/logistic_module.cpp`; `softmax_sgd.py` checks shapes and ranges."""

import numpy as np
from numpy.typing import NDArray

def isas() -> list[str]: ...
def fast() -> bool: ...
def train(
    isa: str,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    width: int,
    classes: int,
    before: NDArray[np.float32],
    rows: NDArray[np.int64],
    step: float,
    keep: float,
    pull: float,
    threads: int,
    updates: NDArray[np.float32],
    chances: NDArray[np.float32],
) -> None: ...
