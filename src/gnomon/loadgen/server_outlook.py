"""Whether a Server test that still runs can end VALID at all: lets find-peak give up early."""

from __future__ import annotations

import numpy as np

from gnomon.core.stats import fewest_passing
from gnomon.core.units import format_duration_ns
from gnomon.loadgen.measure import Hopeless
from gnomon.loadgen.session import Session
from gnomon.loadgen.settings import Settings


def most_over_bound(queries: int, share: float) -> int:
    """The most queries over the bound with which a test of so many queries passes early stopping."""
    low, high = 0, queries
    while low < high:
        middle = (low + high + 1) // 2
        passes = fewest_passing(middle, share) + middle <= queries
        low, high = (middle, high) if passes else (low, middle - 1)
    return low


def hopeless_server(settings: Settings) -> Hopeless:
    """A function that says why a running Server test cannot pass any more, or None while it can."""
    allowed: int | None = None
    counted = over = 0

    def judge(session: Session, elapsed_ns: int) -> str | None:
        nonlocal allowed, counted, over
        total = session.order.query_count or 0
        if allowed is None:
            allowed = most_over_bound(total, settings.target_latency_percentile)
        due_ns = session.order.arrivals_ns(0, total)
        bound_ns = settings.target_latency_ns
        # Queries whose bound has run out by now are decided, answered or not.
        decided = int(np.searchsorted(due_ns, elapsed_ns - bound_ns, side="left"))
        if decided > counted:
            completed_ns = session.journal.completed_ns[counted:decided]
            late = (completed_ns == 0) | (completed_ns - due_ns[counted:decided] > bound_ns)
            over += int(np.count_nonzero(late))
            counted = decided
        if over <= allowed:
            return None
        return (
            f"stopped early: {over} of the first {counted} queries missed "
            f"{format_duration_ns(bound_ns)}, and at most {allowed} of {total} may"
        )

    return judge
