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
    seed: int,
    round_number: int,
    clients: NDArray[np.int64],
    iterations: int,
    batch_size: int,
    samples: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Clients' samples for each local iteration, drawn with replacement, shape (K, iterations, batch_size).

    SplitMix64 as a counter-based generator (Steele et al., OOPSLA 2014): a generator object per client and
    round would cost more than the training of a small model. The product with the client's number of
    `samples` takes the upper 32 bits, so the bias is below `samples / 2**32`.
    """
    key = np.uint64(_mixed(seed + _STEP * (int(round_number) + 1) & _WORD))
    keys = (np.asarray(clients).astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP) + key
    _mix(keys)
    counters = np.arange(1, iterations * batch_size + 1, dtype=np.uint64) * np.uint64(_STEP)
    drawn: NDArray[np.uint64] = counters + keys[:, None]
    _mix(drawn)
    drawn >>= np.uint64(32)
    drawn *= np.asarray(samples).astype(np.uint64)[:, None]
    drawn >>= np.uint64(32)
    return drawn.view(np.int64).reshape(len(clients), iterations, batch_size)
