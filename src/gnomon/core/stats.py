"""Statistics that verdicts and comparisons stand on. Pure functions of arrays.

Sources: MLPerf Inference rules, appendix "Early Stopping Criterion"; Clopper and Pearson (1934) for
the binomial bound behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

EARLY_STOPPING_CONFIDENCE = 0.99


def percentile(ordered: NDArray[np.int64], share: float) -> int:
    """The field's percentile: the element at `int(n * share)` of a sorted array, no interpolation."""
    return int(ordered[int(len(ordered) * share)])


def fewest_passing(over: int, share: float, confidence: float = EARLY_STOPPING_CONFIDENCE) -> int:
    """The least h such that h good and `over` bad queries prove the percentile is met.

    h is the smallest integer for which `P[Binomial(h + over, 1 - share) <= over] < 1 - confidence`.

    Args:
        over: Queries over the latency bound (t in the rules).
        share: The percentile as a share, e.g. 0.99 (p in the rules).
        confidence: The chance of being right, 0.99 in the rules.
    """
    # P[Binomial(h + t, 1 - p) <= t] is the regularised incomplete beta I_p(h, t + 1).
    low, high = 1, 64
    while special.betainc(high, over + 1, share) >= 1 - confidence:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if special.betainc(middle, over + 1, share) < 1 - confidence:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class EarlyStopping:
    """What the early-stopping test found.

    Attributes:
        met: Whether enough queries were processed for the claim.
        queries: Queries processed.
        needed: Queries that would be needed: at least this many in all.
        over: Server: queries over the bound. Stream scenarios: highest latencies set aside,
            the estimate being the next one.
        estimate_ns: Stream scenarios: the latency that can be claimed; None if not met.
    """

    met: bool
    queries: int
    needed: int
    over: int
    estimate_ns: int | None = None


def early_stopping_bound(over: int, queries: int, share: float) -> EarlyStopping:
    """Whether `over` of `queries` above the latency bound still proves the percentile (Server)."""
    needed = fewest_passing(over, share) + over
    return EarlyStopping(met=queries >= needed, queries=queries, needed=needed, over=over)


def early_stopping_estimate(ordered_ns: NDArray[np.int64], share: float) -> EarlyStopping:
    """The percentile latency that can be claimed from these sorted latencies (stream scenarios).

    With t the most that `fewest_passing(t) + t` allows, the estimate is the t-th highest latency.
    """
    queries = len(ordered_ns)
    needed = fewest_passing(1, share) + 1
    if queries < needed:
        return EarlyStopping(met=False, queries=queries, needed=needed, over=0)
    low, high = 1, queries
    while low < high:
        middle = (low + high + 1) // 2
        # Allowed iff fewest_passing(middle) <= queries - middle: one evaluation, h being monotone.
        rest = queries - middle
        allowed = rest >= 1 and bool(
            special.betainc(rest, middle + 1, share) < 1 - EARLY_STOPPING_CONFIDENCE
        )
        low, high = (middle, high) if allowed else (low, middle - 1)
    return EarlyStopping(
        met=True,
        queries=queries,
        needed=needed,
        over=low - 1,
        estimate_ns=int(ordered_ns[queries - low]),
    )
