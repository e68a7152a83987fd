"""Connect Four on a small board: rules for many positions at once, and which moves are best, exactly.

A position is two whole numbers, one bit a square: the stones of whoever is to move, and all stones. A column
has a bit more than it has squares, so that no line runs over the edge (J. Tromp's representation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 4, 4
IN_A_ROW = 4
SQUARES = COLUMNS * ROWS
HEIGHT = ROWS + 1
"""Bits of a column."""

Bits = NDArray[np.int64]

_BOTTOM = np.array([1 << (HEIGHT * column) for column in range(COLUMNS)], dtype=np.int64)
_TOP = _BOTTOM << (ROWS - 1)
_COLUMN = _BOTTOM * ((1 << ROWS) - 1)
_FULL = int(_COLUMN.sum())
_SQUARES = np.array(
    [1 << (HEIGHT * column + row) for row in range(ROWS) for column in range(COLUMNS)],
    dtype=np.int64,
)


class Positions(NamedTuple):
    """Many positions.

    Attributes:
        own: Stones of whoever is to move, (n,).
        stones: All stones, (n,).
    """

    own: Bits
    stones: Bits

    def at(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Positions:
        """Some of them."""
        return Positions(self.own[chosen], self.stones[chosen])


def empty(count: int) -> Positions:
    """The beginning of so many games."""
    return Positions(np.zeros(count, np.int64), np.zeros(count, np.int64))


def legal(stones: Bits) -> NDArray[np.bool_]:
    """Whether a column has room, (..., columns)."""
    room: NDArray[np.bool_] = (stones[..., None] & _TOP) == 0
    return room


def play(positions: Positions, columns: NDArray[np.int64]) -> tuple[Positions, NDArray[np.bool_]]:
    """A stone in a column with room for each; the positions that the other finds, and which are won.

    Args:
        positions: (n,).
        columns: 0 to COLUMNS - 1, (n,).
    """
    own, stones = positions
    placed = (stones + _BOTTOM[columns]) & _COLUMN[columns]
    return Positions(stones ^ own, stones | placed), has_line(own | placed)


def has_line(stones: Bits) -> NDArray[np.bool_]:
    """Whether four of these stones are in a row: upright, flat or along a diagonal."""
    found = np.zeros(stones.shape, dtype=bool)
    for step in (1, HEIGHT, HEIGHT - 1, HEIGHT + 1):
        pairs = stones & (stones >> step)
        found |= (pairs & (pairs >> (2 * step))) != 0
    return found


def is_full(stones: Bits) -> NDArray[np.bool_]:
    """Whether no square is left."""
    full: NDArray[np.bool_] = stones == _FULL
    return full


def planes(positions: Positions) -> NDArray[np.float32]:
    """Own stones, then the other's, float32 (n, 2 * SQUARES), row by row from below."""
    own, stones = positions
    both = np.stack([own, own ^ stones], axis=-1)
    seen = (both[..., None] & _SQUARES) != 0
    flat: NDArray[np.float32] = seen.reshape(*own.shape, 2 * SQUARES).astype(np.float32)
    return flat


@dataclass(frozen=True)
class Solution:
    """Every position that can be reached and is not over, with the outcome of perfect play.

    Attributes:
        positions: By number of stones.
        values: For whoever is to move: 1 won, 0 drawn, -1 lost, int8 (n,).
        best: Which columns keep that value, bool (n, COLUMNS).
    """

    positions: Positions
    values: NDArray[np.int8]
    best: NDArray[np.bool_]


def solve() -> Solution:
    """Solve the game: all positions forward, one stone after another, then values backward."""
    layers, steps = [empty(1)], []
    while True:
        found, outcome, children = _expand(layers[-1])
        steps.append((outcome, children))
        if not len(found.own):
            break
        layers.append(found)
    values: list[NDArray[np.int8]] = []
    best: list[NDArray[np.bool_]] = []
    after = np.zeros(0, dtype=np.int8)
    for outcome, children in reversed(steps):
        worth = outcome.copy()
        goes_on = children >= 0
        worth[goes_on] = -after[children[goes_on]]
        after = worth.max(axis=1)
        values.insert(0, after)
        best.insert(0, worth == after[:, None])
    own, stones = (np.concatenate(part) for part in zip(*layers, strict=True))
    return Solution(Positions(own, stones), np.concatenate(values), np.concatenate(best))


_ILLEGAL = -2


def _expand(layer: Positions) -> tuple[Positions, NDArray[np.int8], NDArray[np.int64]]:
    """The different positions one stone on that are not over; for each move how it ends or where it leads.

    Returns:
        The positions; outcomes int8 (n, COLUMNS), 1 won, 0 drawn or open, `_ILLEGAL`; and places among the
        positions int64 (n, COLUMNS), -1 where a move ends the game or is illegal.
    """
    count = len(layer.own)
    outcome = np.full((count, COLUMNS), _ILLEGAL, dtype=np.int8)
    children = np.full((count, COLUMNS), -1, dtype=np.int64)
    row, column = np.nonzero(legal(layer.stones))
    following, won = play(layer.at(row), column)
    outcome[row, column] = won
    goes_on = ~won & ~is_full(following.stones)
    bits = HEIGHT * COLUMNS
    keys, place = np.unique(
        (following.stones[goes_on] << bits) | following.own[goes_on], return_inverse=True
    )
    children[row[goes_on], column[goes_on]] = place
    return Positions(keys & ((1 << bits) - 1), keys >> bits), outcome, children
