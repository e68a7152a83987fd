"""Drawing from a large discrete distribution with one 32-bit number and two table reads a draw.

Walker's alias method (A. J. Walker, ACM TOMS 3, 1977), its tables made without a loop: light and heavy
slots are paired by prefix sums, in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AliasTable:
    """A distribution over `[0, n)`, as 2^b >= n slots.

    Attributes:
        shift: A draw's slot is its upper bits, `draw >> shift`.
        threshold: A draw below its slot's threshold means the slot itself, uint32 (slots,).
        other: Any other means this, uint32 (slots,).
    """

    shift: np.uint32
    threshold: NDArray[np.uint32]
    other: NDArray[np.uint32]

    def sample(self, draws: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """One outcome for each uniform 32-bit number, uint32 (n,)."""
        slots = draws >> self.shift
        where = slots.astype(np.intp)
        own = draws < self.threshold.take(where, mode="clip")
        return np.where(own, slots, self.other.take(where, mode="clip"))


def alias_table(probabilities: NDArray[np.float64]) -> AliasTable:
    """The table for these probabilities (n,), which sum to 1, to within 2^-32 a slot."""
    bits = max(1, (len(probabilities) - 1).bit_length())
    slots, shift = 1 << bits, 32 - bits
    share = np.zeros(slots)
    share[: len(probabilities)] = probabilities * slots
    light, heavy = np.flatnonzero(share < 1), np.flatnonzero(share > 1)
    other = np.arange(slots)
    if not len(heavy):  # uniform, if rounding left a share just below one
        share[:] = 1
    elif len(light):
        lacking, spare = np.cumsum(1 - share[light]), np.cumsum(share[heavy] - 1)
        # A light slot takes all it lacks from the heavy one whose spare mass is reached by then.
        filler = np.searchsorted(spare, np.r_[0.0, lacking[:-1]], side="right")
        other[light] = heavy[np.minimum(filler, len(heavy) - 1)]
        # A heavy slot that gave too much to its last taker gets it back from the next heavy one.
        taker = np.searchsorted(lacking, spare, side="left")
        emptied = np.flatnonzero(taker < len(lacking))
        share[heavy] = 1
        share[heavy[emptied]] = 1 - (lacking[taker[emptied]] - spare[emptied])
        other[heavy[emptied]] = heavy[np.minimum(emptied + 1, len(heavy) - 1)]
    kept = np.floor(np.clip(share, 0, 1) * 2.0**shift).astype(np.uint64)
    threshold = (np.arange(slots, dtype=np.uint64) << np.uint64(shift)) + kept
    # A full last slot would need 2^32: its other outcome is itself, so one less changes nothing.
    threshold = np.minimum(threshold, (1 << 32) - 1)
    return AliasTable(np.uint32(shift), threshold.astype(np.uint32), other.astype(np.uint32))
