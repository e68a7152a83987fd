"""Random numbers bit for bit as the reference load generator draws them.

Its engine is C++'s `std::mt19937`, and its distributions are those of libstdc++ (GCC 11 and later):
`uniform_int_distribution` by Lemire's method, `shuffle` with two swaps a draw, `exponential_distribution`
over `generate_canonical`. Sources: ISO C++ [rand.eng.mers], [rand.dist]; D. Lemire, "Fast Random Integer
Generation in an Interval", ACM TOMACS 29 (2019).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RANGE = 1 << 32
BLOCK = 1 << 20
MOST_PAIRED = 65_535
"""Up to this length `shuffle` draws the places of two swaps at once: their product fits 32 bits."""
TRUNCATION_MARGIN_NS = 1e-4
"""Gaps this near a whole nanosecond are computed again with the C library's logarithm."""


class Engine:
    """One stream of 32-bit draws: `std::mt19937` seeded with the low 32 bits of `seed`."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed & (RANGE - 1))
        self._ahead = np.empty(0, dtype=np.uint64)

    def draw(self, count: int) -> NDArray[np.uint64]:
        """The next `count` draws, shape (count,)."""
        drawn = self._peek(count)
        self._ahead = self._ahead[count:]
        return drawn

    def _peek(self, count: int) -> NDArray[np.uint64]:
        missing = count - len(self._ahead)
        if missing > 0:
            fresh = self._state.randint(0, RANGE, size=max(missing, 1024), dtype=np.uint32)
            self._ahead = np.concatenate([self._ahead, fresh.astype(np.uint64)])
        return self._ahead[:count]

    def uniform(self, bound: int, count: int) -> NDArray[np.int64]:
        """`count` integers in [0, bound), shape (count,). A rejected draw costs one more draw."""
        accepted: list[NDArray[np.int64]] = []
        threshold = (RANGE - bound) % bound
        while count > 0:
            product = self.draw(min(count, BLOCK)) * np.uint64(bound)
            values = (product >> np.uint64(32)).astype(np.int64)
            if threshold:
                values = values[(product & np.uint64(RANGE - 1)) >= threshold]
            accepted.append(values)
            count -= len(values)
        return np.concatenate(accepted) if accepted else np.empty(0, dtype=np.int64)

    def _uniform_each(self, bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
        """One integer in [0, bounds[i]) for each i, in order."""
        values = np.empty(len(bounds), dtype=np.int64)
        thresholds = (np.uint64(RANGE) - bounds) % bounds
        done, step = 0, len(bounds)
        while done < len(bounds):
            stop = min(done + step, len(bounds))
            product = self._peek(stop - done) * bounds[done:stop]
            rejected = np.flatnonzero((product & np.uint64(RANGE - 1)) < thresholds[done:stop])
            good = int(rejected[0]) if len(rejected) else stop - done
            values[done : done + good] = (product[:good] >> np.uint64(32)).astype(np.int64)
            self._ahead = self._ahead[good + (1 if len(rejected) else 0) :]
            done += good
            # Near rejections look less far ahead; the work thrown away stays a small share.
            step = max(16, 2 * good) if len(rejected) else 2 * step
        return values

    def shuffle(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """A shuffled copy, as `std::shuffle` leaves it."""
        places = self._swap_places(len(items))
        shuffled = items.tolist()
        for place, other in enumerate(places, start=1):
            shuffled[place], shuffled[other] = shuffled[other], shuffled[place]
        return np.asarray(shuffled, dtype=np.int64)

    def skip_shuffles(self, length: int, count: int) -> None:
        """Draw what `count` shuffles of `length` items draw, and forget it."""
        if length < 2 or count < 1:
            return
        bounds = _shuffle_bounds(length)
        at_once = max(1, BLOCK // len(bounds))
        tiled = np.tile(bounds, min(at_once, count))
        while count > 0:
            batch = min(at_once, count)
            self._uniform_each(tiled[: batch * len(bounds)])
            count -= batch

    def _swap_places(self, length: int) -> list[int]:
        """For each place from 1 on, the earlier (or same) place it is swapped with, in order."""
        if length < 2:
            return []
        drawn = self._uniform_each(_shuffle_bounds(length))
        if length > MOST_PAIRED:
            each: list[int] = drawn.tolist()
            return each
        places = []
        first = 1
        if length % 2 == 0:
            places.append(int(drawn[0]))
            drawn, first = drawn[1:], 2
        second_bounds = np.arange(first, length, 2) + 2
        quotient, remainder = np.divmod(drawn, second_bounds)
        places.extend(np.stack([quotient, remainder], axis=1).reshape(-1).tolist())
        return places

    def exponential_gaps_ns(self, rate: float, count: int) -> NDArray[np.int64]:
        """`count` gaps of a Poisson process of `rate` events a second, in whole nanoseconds."""
        gaps = np.empty(count, dtype=np.int64)
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            gaps[start:stop] = self._some_gaps_ns(rate, stop - start)
        return gaps

    def _some_gaps_ns(self, rate: float, count: int) -> NDArray[np.int64]:
        draws = self.draw(2 * count).astype(np.float64)
        share = (draws[0::2] + draws[1::2] * float(RANGE)) / float(RANGE) ** 2
        share = np.minimum(share, np.nextafter(1.0, 0.0))
        gaps_ns = -np.log(1.0 - share) / rate * 1e9
        # NumPy's vector logarithm may differ from the C library's in the last bit: where that could
        # move the truncation, take the C library's.
        fraction = gaps_ns - np.floor(gaps_ns)
        scale = TRUNCATION_MARGIN_NS * np.maximum(1.0, gaps_ns * 1e-9)
        for index in np.flatnonzero((fraction < scale) | (fraction > 1.0 - scale)):
            gaps_ns[index] = -math.log(1.0 - float(share[index])) / rate * 1e9
        return gaps_ns.astype(np.int64)


def _shuffle_bounds(length: int) -> NDArray[np.uint64]:
    """The bounds of the draws that one shuffle makes, in order."""
    if length > MOST_PAIRED:
        return np.arange(2, length + 1, dtype=np.uint64)
    first = 2 if length % 2 == 0 else 1
    place = np.arange(first, length, 2, dtype=np.uint64)
    pairs = (place + np.uint64(1)) * (place + np.uint64(2))
    return np.concatenate([np.array([2], dtype=np.uint64), pairs]) if first == 2 else pairs
