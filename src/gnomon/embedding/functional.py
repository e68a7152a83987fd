"""Lookup, gradient and update on NumPy arrays: the embedding array without any framework.

    layout = RobeLayout.compressed(rows=[1_000_000] * 26, dim=128, factor=1000, align=64)
    array = allocate(layout.size)                 # huge pages, 64-byte aligned
    out = lookup(array, layout, indices)          # indices (batch, 26) -> float32 (batch, 26, 128)
    sgd(array, layout, indices, gradient, learning_rate=0.1)

Compiled kernels do the work (`native/`); where the package was installed without them, plain NumPy does,
with the same results. An array is float32 (size,), or uint16 (size,) that holds bfloat16.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.environment import processors
from gnomon.core.errors import DataError, SettingsError
from gnomon.embedding import reference
from gnomon.embedding.bags import Bags, Integers, Pooling
from gnomon.embedding.bfloat16 import Weights, as_bfloat16, as_float32
from gnomon.embedding.layout import WIDEST_ROW, RobeLayout

try:
    from gnomon.embedding import _native
except ImportError:  # installed without a compiler: NumPy does the work
    _native = None  # type: ignore[assignment]

Floats = NDArray[np.float32]


def compiled() -> str | None:
    """The instruction set of the kernels in use ("avx512", "avx2", "portable"), None without kernels."""
    return _native.isa() if _native is not None else None


def lookup(
    array: Weights,
    layout: RobeLayout,
    indices: Integers,
    offsets: Integers | None = None,
    weights: Floats | None = None,
    *,
    pooling: Pooling = "sum",
    out: Floats | None = None,
    threads: int | None = None,
) -> Floats:
    """Pooled embedding rows.

    Args:
        array: The weights, (size,).
        layout: Where they lie.
        indices: int32 or int64; (batch, tables), (batch, tables, L), or (N,) with offsets: see `Bags`.
        offsets: int (tables * batch + 1,), for bags of any size.
        weights: float32, one for each index.
        pooling: "sum" or "mean".
        out: float32 (batch, tables, dim), C-contiguous; made if not given.
        threads: Default: every processor. The result is the same bit for bit with any number.

    Returns:
        float32 (batch, tables, dim).

    Raises:
        DataError: Indices, offsets or weights that do not fit, an id that is not a row of its table, or an
            array that is not of the layout.
        SettingsError: Unknown pooling, or fewer than one thread.
    """
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    _check_array(array, layout)
    shape = (bags.batch, layout.tables, layout.dim)
    if out is not None:
        check_contiguous("out", out, shape)
    if _native is None:
        found = reference.lookup(layout, as_float32(array), bags)
        if out is None:
            return found
        out[...] = found
        return out
    if out is None:
        out = _native.allocate(bags.batch * layout.tables * layout.dim).reshape(shape)
    _told(layout, _native.lookup(plan(layout), array, *native_bags(bags), out, _threads(threads)))
    return out


def backward(
    layout: RobeLayout,
    indices: Integers,
    gradient: Floats,
    offsets: Integers | None = None,
    weights: Floats | None = None,
    *,
    pooling: Pooling = "sum",
    threads: int | None = None,
) -> Floats:
    """Gradient of the array from the gradient of the pooled rows.

    Contributions are added table after table, in order, whatever the number of threads.

    Args:
        layout: Where weights lie.
        indices: As in `lookup`.
        gradient: float32 (batch, tables, dim), C-contiguous.
        offsets: As in `lookup`.
        weights: As in `lookup`.
        pooling: As in `lookup`.
        threads: Default: every processor.

    Returns:
        float32 (size,).

    Raises:
        DataError: As `lookup`.
        SettingsError: As `lookup`.
    """
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    check_contiguous("gradient", gradient, (bags.batch, layout.tables, layout.dim))
    if _native is None:
        return reference.backward(layout, bags, gradient)
    total: Floats = _native.allocate(layout.size)
    _told(
        layout,
        _native.backward(plan(layout), *native_bags(bags), gradient, total, _threads(threads)),
    )
    return total


def weight_gradient(
    array: Weights,
    layout: RobeLayout,
    indices: Integers,
    gradient: Floats,
    offsets: Integers | None = None,
    *,
    threads: int | None = None,
) -> Floats:
    """Gradient of the per-sample weights of a sum, float32 of the shape of `indices`.

    Raises:
        DataError: As `lookup`.
        SettingsError: As `lookup`.
    """
    shape = np.shape(indices)
    bags = Bags.of(layout, indices, offsets)
    _check_array(array, layout)
    check_contiguous("gradient", gradient, (bags.batch, layout.tables, layout.dim))
    if _native is None:
        found = reference.weight_gradient(layout, as_float32(array), bags, gradient)
    else:
        found = np.zeros(bags.indices.shape, dtype=np.float32)
        _told(
            layout,
            _native.weight_gradient(
                plan(layout), array, *native_bags(bags), gradient, found, _threads(threads)
            ),
        )
    return found.reshape(shape)


def sgd(
    array: Weights,
    layout: RobeLayout,
    indices: Integers,
    gradient: Floats,
    offsets: Integers | None = None,
    weights: Floats | None = None,
    *,
    learning_rate: float,
    pooling: Pooling = "sum",
    threads: int | None = None,
) -> None:
    """Gradient of the array and a step of gradient descent in one pass, in place.

    Equal bit for bit to `backward` followed by `array -= learning_rate * gradient`, without the array's
    gradient ever being held in memory.

    Raises:
        DataError: As `lookup`; the array is then as it was.
        SettingsError: As `lookup`.
    """
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    _check_array(array, layout)
    check_contiguous("gradient", gradient, (bags.batch, layout.tables, layout.dim))
    if _native is None:
        _on_float32(
            array,
            lambda wide: reference.sgd(
                wide, reference.backward(layout, bags, gradient), learning_rate
            ),
        )
        return
    _told(
        layout,
        _native.sgd(
            plan(layout), array, *native_bags(bags), gradient, learning_rate, _threads(threads)
        ),
    )


def adagrad(
    array: Weights,
    state: Floats,
    layout: RobeLayout,
    indices: Integers,
    gradient: Floats,
    offsets: Integers | None = None,
    weights: Floats | None = None,
    *,
    learning_rate: float,
    epsilon: float = 1e-8,
    cell: int = 16,
    pooling: Pooling = "sum",
    threads: int | None = None,
) -> None:
    """Gradient and a step of row-wise Adagrad in one pass, in place.

    A compressed array has no rows of its own: an accumulator belongs to each *cell* of `cell` neighbouring
    weights, and gains the mean square of their summed gradient. `cell=1` is `torch.optim.Adagrad`;
    `cell=dim` with full tables is the row-wise Adagrad of FBGEMM.

    Args:
        array: The weights, changed in place.
        state: float32 (ceil(size / cell),), the accumulators, changed in place; zeros to begin with.
        layout: Where weights lie.
        indices: As in `lookup`.
        gradient: As in `backward`.
        offsets: As in `lookup`.
        weights: As in `lookup`.
        learning_rate: Step size.
        epsilon: Added to the root of the accumulator.
        cell: Weights that share an accumulator.
        pooling: As in `lookup`.
        threads: Default: every processor.

    Raises:
        DataError: As `lookup`, or a state of another shape; array and state are then as they were.
        SettingsError: As `lookup`.
    """
    bags = Bags.of(layout, indices, offsets, weights, pooling)
    _check_array(array, layout)
    check_contiguous("gradient", gradient, (bags.batch, layout.tables, layout.dim))
    if not 1 <= cell <= WIDEST_ROW:
        raise SettingsError(f"cell must be in 1 to {WIDEST_ROW:,}, got {cell}")
    check_contiguous("state", state, (-(-layout.size // cell),))
    if _native is None:
        _on_float32(
            array,
            lambda wide: reference.adagrad(
                wide,
                state,
                reference.backward(layout, bags, gradient),
                learning_rate,
                epsilon,
                cell,
            ),
        )
        return
    _told(
        layout,
        _native.adagrad(
            plan(layout),
            array,
            *native_bags(bags),
            gradient,
            state,
            cell,
            learning_rate,
            epsilon,
            _threads(threads),
        ),
    )


def dot_interaction(
    dense: Floats, embeddings: Floats, *, out: Floats | None = None, threads: int | None = None
) -> Floats:
    """DLRM's dot interaction: the bottom MLP's output, then every pairwise product.

    Pairs are (1, 0), (2, 0), (2, 1), (3, 0), ...: the lower triangle row by row, vector 0 the dense one.
    Naumov et al., "Deep Learning Recommendation Model", 2019 (arXiv 1906.00091), section 2.1.

    Args:
        dense: float32 (batch, dim).
        embeddings: float32 (batch, tables, dim).
        out: float32 (batch, dim + (tables + 1) tables / 2); made if not given.
        threads: Default: every processor.

    Returns:
        float32 (batch, dim + (tables + 1) tables / 2).

    Raises:
        DataError: Shapes, types or strides that do not fit.
        SettingsError: Fewer than one thread.
    """
    if np.ndim(embeddings) != 3:
        raise DataError(f"embeddings must be (batch, tables, dim), got {np.shape(embeddings)}")
    batch, tables, dim = embeddings.shape
    check_contiguous("embeddings", embeddings, (batch, tables, dim))
    check_contiguous("dense", dense, (batch, dim))
    shape = (batch, dim + tables * (tables + 1) // 2)
    if out is not None:
        check_contiguous("out", out, shape)
    if _native is None:
        found = reference.dot_interaction(dense, embeddings)
        if out is None:
            return found
        out[...] = found
        return out
    if out is None:
        out = _native.allocate(shape[0] * shape[1]).reshape(shape)
    _native.dot_interaction(dense, embeddings, out, _threads(threads))
    return out


def allocate(count: int) -> Floats:
    """Zeros, float32 (count,), 64-byte aligned and in huge pages where the system grants them."""
    if _native is None:
        return np.zeros(count, dtype=np.float32)
    array: Floats = _native.allocate(count)
    array[...] = 0
    return array


def _on_float32(array: Weights, change: Any) -> None:
    if array.dtype == np.uint16:
        wide = as_float32(array)
        change(wide)
        array[...] = as_bfloat16(wide)
    else:
        change(array)


@lru_cache(maxsize=64)
def plan(layout: RobeLayout) -> _native.Plan:
    """The layout as the kernels take it, made once."""
    return _native.Plan(
        layout.first_rows,
        layout.dim,
        layout.size,
        layout.block,
        layout.unit,
        layout.slots,
        {"modular": 0, "mixer": 1, "identity": 2}[layout.hash],
        layout.sign == "element",
        layout.span,
        list(layout.numbers),
        layout.seed,
    )


def native_bags(
    bags: Bags,
) -> tuple[Integers, NDArray[np.int64] | None, Floats | None, bool, int]:
    """Bags as the kernels take them: indices, offsets, weights, whether to divide, batch."""
    return bags.indices, bags.offsets, bags.weights, bags.pooling == "mean", bags.batch


def _told(layout: RobeLayout, wrong: tuple[int, int, int] | None) -> None:
    """Raise for the first id that a kernel found out of range."""
    if wrong is not None:
        raise reference.out_of_range(layout, *wrong)


def _threads(asked: int | None) -> int:
    if asked is None:
        return processors()
    if asked < 1:
        raise SettingsError(f"threads must be at least 1, got {asked}")
    return asked


def _check_array(array: Weights, layout: RobeLayout) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.uint16):
        kind = getattr(array, "dtype", type(array).__name__)
        raise DataError(f"array must be float32, or uint16 that holds bfloat16, got {kind}")
    if array.shape != (layout.size,):
        raise DataError(f"array must have shape ({layout.size},), got {array.shape}")
    if not array.flags.c_contiguous:
        raise DataError("array must be contiguous: use numpy.ascontiguousarray")


def check_contiguous(name: str, given: Floats, shape: tuple[int, ...]) -> None:
    """Refuse what a kernel cannot read as it lies.

    Raises:
        DataError: Another type, shape or stride.
    """
    if not isinstance(given, np.ndarray) or given.dtype != np.float32 or given.shape != shape:
        kind = f"{getattr(given, 'dtype', type(given).__name__)} {np.shape(given)}"
        raise DataError(f"{name} must be float32 {shape}, got {kind}")
    if not given.flags.c_contiguous:
        raise DataError(f"{name} must be C-contiguous: use numpy.ascontiguousarray")
