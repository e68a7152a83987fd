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


_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: each input bit reaches each output bit."""
    words = (words ^ (words >> np.uint64(30))) * _MIX[0]
    words = (words ^ (words >> np.uint64(27))) * _MIX[1]
    return words ^ (words >> np.uint64(31))


def batch_indices(
    seed: int, round_number: int, client: int, iterations: int, batch_size: int, samples: int
) -> NDArray[np.int64]:
    """A client's samples for each local iteration, drawn with replacement, shape (iterations, batch_size).

    SplitMix64 as a counter-based generator (Steele et al., OOPSLA 2014): a generator object per client and
    round would cost more than the training of a small model. The product with `samples` takes the upper
    32 bits, so the bias is below `samples / 2**32`.
    """
    key = np.array([seed], dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in (round_number, client):
            key = _mixed(key + _STEP * np.uint64(place + 1))
        counter = np.arange(1, iterations * batch_size + 1, dtype=np.uint64)
        drawn = _mixed(key + _STEP * counter) >> np.uint64(32)
        indices = (drawn * np.uint64(samples)) >> np.uint64(32)
    return indices.astype(np.int64).reshape(iterations, batch_size)
