"""How long the slowest client of a round is expected to take, exactly, for each number of clients a round.

From the times of all clients at one or many values of E; `cost.py` turns it into what a round costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.fleet.devices import Floats

Counts = NDArray[np.int64]

NEGLIGIBLE = 1e-18
MOST_CACHED_CLIENTS = 10_000
SMALL_BLOCK = 1 << 16
QUIET_PRODUCT = 1 << 18
ROW_BYTES = 1 << 20


def expected_slowest(durations_s: Floats, clients_per_round: Counts | None = None) -> Floats:
    """Expected longest time among K of N clients, drawn uniformly without replacement.

    With times sorted, `E[max] = sum_{i=K..N} C(i-1, K-1) / C(N, K) * t_(i)`. The weights follow from
    `W[K, N] = K / N` and `W[K, i] = W[K, i+1] * (i - K + 1) / i`, so that no factorial is taken; a tail of
    the weights whose sum is below 1e-18 is left out, which no sum in double precision would notice.

    Args:
        durations_s: Times of the clients, shape (M, N): one row for each value of E, each sorted by itself.
        clients_per_round: Values of K, shape (L,); None for 1 to N.

    Returns:
        Shape (M, L).

    Raises:
        SettingsError: A K that is not from 1 to N.
    """
    clients = durations_s.shape[1]
    wanted = checked_counts(clients_per_round, clients)
    descending = -np.sort(-durations_s, axis=1)
    slowest = np.empty((len(durations_s), len(wanted)))
    if clients_per_round is None and clients <= MOST_CACHED_CLIENTS:
        blocks: Iterator[tuple[Counts, Floats]] = iter(_all_weights(clients))
    else:
        blocks = _weights(clients, wanted)
    for places, weights in blocks:
        # Small products one after the other stay on one thread: beside a training that keeps all cores busy,
        # BLAS waits for its threads fifty times longer than it computes.
        rows = QUIET_PRODUCT // weights.size or len(descending)
        for start in range(0, len(descending), rows):
            part = slice(start, start + rows)
            slowest[part, places] = descending[part, : weights.shape[1]] @ weights.T
    return slowest


def expected_slowest_weighted(
    durations_s: Floats, probabilities: Floats, clients_per_round: Counts | None = None
) -> Floats:
    """Expected longest time among K draws with replacement, client k with probability q_k.

    Scheme I of Li et al., "On the convergence of FedAvg on non-IID data" (ICLR 2020). With times sorted,
    `P(max <= t_(i)) = (q_(1) + ... + q_(i))**K`; a client that is drawn twice trains once.

    Args:
        durations_s: Times of the clients, shape (M, N).
        probabilities: q_k, shape (N,), summing to 1.
        clients_per_round: Values of K, shape (L,); None for 1 to N.

    Returns:
        Shape (M, L).

    Raises:
        SettingsError: A K that is not from 1 to N.
    """
    clients = durations_s.shape[1]
    wanted = checked_counts(clients_per_round, clients)
    rows_at_once = max(1, ROW_BYTES // (8 * clients))  # a power of Q stays in the processor's cache
    parts = [
        _slowest_of_draws(durations_s[start : start + rows_at_once], probabilities, wanted)
        for start in range(0, len(durations_s), rows_at_once)
    ]
    return np.concatenate(parts)


def expected_drawn(
    values: Floats, probabilities: Floats, clients_per_round: Counts | None = None
) -> Floats:
    """Expected sum of `values` over the different clients among K draws with replacement.

    `sum_k (1 - (1 - q_k)**K) * values[..., k]`.

    Args:
        values: Shape (M, N).
        probabilities: q_k, shape (N,).
        clients_per_round: Values of K, shape (L,); None for 1 to N.

    Returns:
        Shape (M, L).
    """
    clients = values.shape[1]
    wanted = checked_counts(clients_per_round, clients)
    log_missed = np.log1p(-np.minimum(probabilities, 1 - 1e-16))
    drawn = np.empty((len(values), len(wanted)))
    at_once = max(1, SMALL_BLOCK // clients)
    for start in range(0, len(wanted), at_once):
        part = wanted[start : start + at_once]
        drawn[:, start : start + at_once] = values @ -np.expm1(np.outer(log_missed, part))
    return drawn


def checked_counts(clients_per_round: Counts | None, clients: int) -> Counts:
    """Values of K as an array; 1 to N if none are given.

    Raises:
        SettingsError: One that is not from 1 to N.
    """
    if clients_per_round is None:
        return np.arange(1, clients + 1)
    wanted = np.asarray(clients_per_round, dtype=np.int64)
    wrong = wanted[(wanted < 1) | (wanted > clients)]
    if len(wrong):
        raise SettingsError(
            f"clients a round must be from 1 to the number of clients {clients}, got {wrong[0]}"
        )
    return wanted


@lru_cache(maxsize=4)
def _all_weights(clients: int) -> tuple[tuple[Counts, Floats], ...]:
    """The weights for K from 1 to N: under 50 MB for 10,000 clients, where all of them would take 800."""
    return tuple(_weights(clients, np.arange(1, clients + 1)))


def _weights(clients: int, wanted: Counts) -> Iterator[tuple[Counts, Floats]]:
    """Blocks of weights: places in `wanted`, and for these K the weights of clients, slowest first.

    A block spans a factor of two in K, so that its rows need about equally many columns.
    """
    order = np.argsort(wanted, kind="stable")
    start = 0
    while start < len(order):
        least = int(wanted[order[start]])
        width = _width(clients, least)
        stop = int(np.searchsorted(wanted[order], 2 * least))
        stop = max(stop, min(len(order), start + SMALL_BLOCK // width))
        places = order[start:stop]
        chosen = wanted[places, None]
        rank = clients - np.arange(width)
        factors = np.maximum(0, rank - chosen + 1) / rank
        factors[:, :1] = chosen / clients
        yield places, np.cumprod(factors, axis=1, out=factors)
        start = stop


def _width(clients: int, clients_per_round: int) -> int:
    """How many of the slowest clients matter: that none of them is drawn has a chance below `NEGLIGIBLE`."""
    return max(1, math.ceil(-clients * math.expm1(math.log(NEGLIGIBLE) / clients_per_round)))


def _slowest_of_draws(durations_s: Floats, probabilities: Floats, wanted: Counts) -> Floats:
    """`expected_slowest_weighted` for a few rows."""
    order = np.argsort(durations_s, axis=1, kind="stable")
    ascending = np.take_along_axis(durations_s, order, axis=1)
    gaps = np.diff(ascending, axis=1)
    below = np.minimum(1, np.cumsum(probabilities[order], axis=1)[:, :-1])
    slowest = np.empty((len(durations_s), len(wanted)))
    power, reached, renewed_at = below, 1, 1
    for place in np.argsort(wanted, kind="stable"):
        draws = int(wanted[place])
        if draws == reached + 1:
            power = power * below
        elif draws != reached:
            power = below**draws
        reached = draws
        if draws >= 1.2 * renewed_at:  # leave out what has become negligible, and round-off with it
            kept = int((power > NEGLIGIBLE).any(axis=0).argmax()) if power.size else 0
            below, gaps, renewed_at = below[:, kept:], gaps[:, kept:], draws
            power = below**draws
        slowest[:, place] = ascending[:, -1] - np.einsum("mi,mi->m", power, gaps)
    return slowest
