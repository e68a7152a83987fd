"""The compiled kernels of `native/module.cpp`; `functional.py` checks shapes and types before it calls."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Array = NDArray[np.float32] | NDArray[np.uint16]
_Ids = NDArray[np.integer[Any]]
_Offsets = NDArray[np.int64] | None
_Wrong = tuple[int, int, int] | None
"""Table, sample and value of the first index out of range."""

class Plan:
    def __init__(
        self,
        first_rows: NDArray[np.int64],
        dim: int,
        size: int,
        block: int,
        unit: int,
        slots: int,
        hash: int,  # noqa: A002
        signs: bool,
        span: bool,
        numbers: Sequence[int],
        seed: int,
        /,
    ) -> None: ...

def allocate(count: int) -> _Floats: ...
def isa() -> str: ...
def use_isa(name: str) -> bool: ...
def lookup(
    plan: Plan,
    array: _Array,
    indices: _Ids,
    offsets: _Offsets,
    weights: _Floats | None,
    mean: bool,
    batch: int,
    out: _Floats,
    threads: int,
) -> _Wrong: ...
def backward(
    plan: Plan,
    indices: _Ids,
    offsets: _Offsets,
    weights: _Floats | None,
    mean: bool,
    batch: int,
    gradient: _Floats,
    total: _Floats,
    threads: int,
) -> _Wrong: ...
def weight_gradient(
    plan: Plan,
    array: _Array,
    indices: _Ids,
    offsets: _Offsets,
    weights: _Floats | None,
    mean: bool,
    batch: int,
    gradient: _Floats,
    found: _Floats,
    threads: int,
) -> _Wrong: ...
def sgd(
    plan: Plan,
    array: _Array,
    indices: _Ids,
    offsets: _Offsets,
    weights: _Floats | None,
    mean: bool,
    batch: int,
    gradient: _Floats,
    learning_rate: float,
    threads: int,
) -> _Wrong: ...
def adagrad(
    plan: Plan,
    array: _Array,
    indices: _Ids,
    offsets: _Offsets,
    weights: _Floats | None,
    mean: bool,
    batch: int,
    gradient: _Floats,
    state: _Floats,
    cell: int,
    learning_rate: float,
    epsilon: float,
    threads: int,
) -> _Wrong: ...
def dot_interaction(dense: _Floats, embeddings: _Floats, out: _Floats, threads: int) -> None: ...
