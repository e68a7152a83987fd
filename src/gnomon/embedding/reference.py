"""The layout and every kernel in plain NumPy: what the compiled kernels are held against.

Slow, short, and read with the definition in `layout.py` beside it. It also does the work where the package
was installed without a compiler.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.embedding.bags import Bags
from gnomon.embedding.layout import PRIME, RobeLayout

Floats = NDArray[np.float32]
_U = np.uint64
_SIGN_WORDS = 1 << 32
"""Sign bits are hashed as the blocks from this number on, so that they do not follow the positions."""


def mixed(x: NDArray[np.int64], c: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """64 well-mixed bits of row and block: the SplitMix64 finaliser over a combination of both.

    Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (finaliser: Stafford's
    variant 13).
    """
    with np.errstate(over="ignore"):
        z = (
            (x.astype(_U) + _U(1)) * _U(0x9E3779B97F4A7C15)
            + c.astype(_U) * _U(0xD1B54A32D192ED03)
            + _U(seed) * _U(0x2545F4914F6CDD1D)
        )
        z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> _U(31)))


def starts(layout: RobeLayout, x: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where block c of row x starts: the h of `layout.py`, same shape as x and c broadcast."""
    x, c = np.broadcast_arrays(x, c)
    if layout.hash == "identity":
        return x * layout.dim + c * layout.block
    if layout.hash == "modular":
        _, r1, r2, r3, *_ = layout.numbers
        hashed: NDArray[np.int64] = (x * r3 + c * r2 + r1) % PRIME % layout.slots * layout.unit
        return hashed
    bits, slots = mixed(x, c, layout.seed), _U(layout.slots)
    high, low = bits >> _U(32), bits & _U(0xFFFFFFFF)
    return ((high * slots + (low * slots >> _U(32))) >> _U(32)).astype(np.int64) * layout.unit


def positions(layout: RobeLayout, table: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each element of these rows lies: int64 (n, dim)."""
    x = (np.asarray(ids, dtype=np.int64) + layout.first_rows[table])[:, None]
    element = np.arange(layout.dim, dtype=np.int64)
    if layout.span:
        block, inside = np.divmod(x * layout.dim + element, layout.block)
        start = starts(layout, block, np.zeros_like(block))
    else:
        block = element // layout.block if layout.block < layout.dim else np.zeros_like(element)
        inside = element - block * layout.block
        start = starts(layout, x, block)
    found: NDArray[np.int64] = (start + inside) % layout.size
    return found


def signs(layout: RobeLayout, table: int, ids: NDArray[np.int64]) -> Floats:
    """+1 or -1 for each element of these rows: float32 (n, dim)."""
    x = (np.asarray(ids, dtype=np.int64) + layout.first_rows[table])[:, None]
    element = np.arange(layout.dim, dtype=np.int64)
    if layout.sign == "none":
        return np.ones((len(x), layout.dim), dtype=np.float32)
    if layout.hash == "modular":
        r4, r5, r6 = layout.numbers[4:]
        bits = (x * r4 + element * r5 + r6) % PRIME & 1
    else:
        words = mixed(x, _SIGN_WORDS + element // 64, layout.seed)
        bits = (words >> (element % 64).astype(_U) & _U(1)).astype(np.int64)
    drawn: Floats = (2 * bits - 1).astype(np.float32)
    return drawn


def lookup(layout: RobeLayout, array: Floats, bags: Bags) -> Floats:
    """Pooled rows, float32 (batch, tables, dim): each bag summed in its order, then divided if mean."""
    out = np.zeros((bags.batch, layout.tables, layout.dim), dtype=np.float32)
    for table, sample, ids, weights in _each(layout, bags):
        rows = array[positions(layout, table, ids)] * signs(layout, table, ids)
        if weights is not None:
            rows *= weights[:, None]
        for row in rows:
            out[sample, table] += row
        if bags.pooling == "mean" and len(ids):
            out[sample, table] /= np.float32(len(ids))
    return out


def backward(layout: RobeLayout, bags: Bags, gradient: Floats) -> Floats:
    """Gradient of the array, float32 (size,), from that of the output; summed table after table, in order."""
    total = np.zeros(layout.size, dtype=np.float32)
    for table, sample, ids, weights in _each(layout, bags):
        if not len(ids):
            continue
        given = gradient[sample, table]
        if bags.pooling == "mean":
            given = given / np.float32(len(ids))
        parts = given * signs(layout, table, ids)
        if weights is not None:
            parts = parts * weights[:, None]
        for where, part in zip(positions(layout, table, ids), parts, strict=True):
            np.add.at(total, where, part)
    return total


def weight_gradient(layout: RobeLayout, array: Floats, bags: Bags, gradient: Floats) -> Floats:
    """Gradient of the per-sample weights, float32 of the shape of `bags.indices`."""
    found = np.zeros(bags.indices.shape, dtype=np.float32)
    for number, (table, sample, ids, _) in enumerate(_each(layout, bags)):
        rows = array[positions(layout, table, ids)] * signs(layout, table, ids)
        parts = rows @ gradient[sample, table]
        if bags.offsets is None:
            found[sample, table] = parts
        else:
            found[bags.offsets[number] : bags.offsets[number + 1]] = parts
    return found


def sgd(array: Floats, gradient: Floats, learning_rate: float) -> None:
    """One step of gradient descent, in place."""
    array -= np.float32(learning_rate) * gradient


def adagrad(
    array: Floats,
    state: Floats,
    gradient: Floats,
    learning_rate: float,
    epsilon: float,
    cell: int,
) -> None:
    """One step of Adagrad with one accumulator a cell of `cell` weights, in place.

    Each accumulator gains the mean square of its cell's gradient: row-wise Adagrad (as in FBGEMM) with
    cells of the array in place of rows; `cell=1` is Adagrad itself.
    """
    for number in range(len(state)):
        inside = slice(number * cell, (number + 1) * cell)
        part = gradient[inside]
        if not part.any():
            continue
        state[number] += np.float32(np.dot(part, part)) / np.float32(len(part))
        array[inside] -= np.float32(learning_rate) * part / (np.sqrt(state[number]) + epsilon)


def dot_interaction(dense: Floats, embeddings: Floats) -> Floats:
    """The dense vector, then the products of every pair below the diagonal, row by row."""
    vectors = np.concatenate([dense[:, None], embeddings], axis=1)
    lower = np.tril_indices(vectors.shape[1], -1)
    products = np.matmul(vectors, vectors.transpose(0, 2, 1))[:, lower[0], lower[1]]
    return np.concatenate([dense, products], axis=1)


def _each(
    layout: RobeLayout, bags: Bags
) -> Iterator[tuple[int, int, NDArray[np.int64], Floats | None]]:
    """Table, sample, ids and weights of every bag, table after table.

    Raises:
        DataError: An id is not a row of its table.
    """
    for table, rows in enumerate(layout.rows):
        for sample in range(bags.batch):
            weights = None
            if bags.offsets is None:
                inside: Any = (sample, table)
            else:
                number = table * bags.batch + sample
                inside = slice(int(bags.offsets[number]), int(bags.offsets[number + 1]))
            ids = bags.indices[inside].astype(np.int64)
            if bags.weights is not None:
                weights = bags.weights[inside]
            wrong = np.flatnonzero((ids < 0) | (ids >= rows))
            if wrong.size:
                raise out_of_range(layout, table, sample, int(ids[wrong[0]]))
            yield table, sample, ids, weights


def out_of_range(layout: RobeLayout, table: int, sample: int, row: int) -> DataError:
    """An id that is not a row of its table, told in one way everywhere."""
    return DataError(
        f"index {row} of sample {sample} is not a row of table {table}, which has "
        f"{layout.rows[table]:,} rows: 0 to {layout.rows[table] - 1:,}"
    )
