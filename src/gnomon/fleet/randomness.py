"""Random numbers keyed by what they are for: (seed, purpose, round, client).

A client's draws do not depend on who else takes part or in which order clients are computed, so that a
simulation, a real federation and a resumed run of one seed draw the same batches.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


def keyed(seed: int, purpose: str, *places: int) -> np.random.Generator:
    """A generator of its own for this purpose and these places (a round, a client)."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *places]))
    )


_WORD = (1 << 64) - 1
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STEP = 0x9E3779B97F4A7C15


def _mixed(word: int) -> int:
    """SplitMix64's finaliser: each input bit reaches each output bit."""
    for shift, factor in _MIX:
        word = (word ^ (word >> shift)) * factor & _WORD
    return word ^ (word >> 31)


def _mix(words: NDArray[np.uint64]) -> None:
    """The same of each word, in place."""
    for shift, factor in _MIX:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)


def batch_indices(
    seed: int, round_number: int, client: int, iterations: int, batch_size: int, samples: int
) -> NDArray[np.int64]:
    """A client's samples for each local iteration, drawn with replacement, shape (iterations, batch_size).

    SplitMix64 as a counter-based generator (Steele et al., OOPSLA 2014): a generator object per client and
    round would cost more than the training of a small model. The product with `samples` takes the upper
    32 bits, so the bias is below `samples / 2**32`.
    """
    key = seed
    for place in (round_number, client):
        key = _mixed(key + _STEP * (int(place) + 1) & _WORD)
    drawn = np.arange(1, iterations * batch_size + 1, dtype=np.uint64)
    drawn *= np.uint64(_STEP)
    drawn += np.uint64(key)
    _mix(drawn)
    drawn >>= np.uint64(32)
    drawn *= np.uint64(samples)
    drawn >>= np.uint64(32)
    return drawn.astype(np.int64).reshape(iterations, batch_size)
