"""The monotonic and the wall clock read as of one moment, so that one can be held against the other."""

from __future__ import annotations

import time

AT_ONCE_NS = 1_000_000
TRIES = 50


def read_clocks() -> tuple[int, int]:
    """Monotonic and wall clock of one moment, in ns.

    On a busy machine a thread may be held up for a tenth of a second between two calls, which would look like
    a jump: the monotonic clock is read before and after, until both are the same moment.
    """
    closest: tuple[int, int, int] | None = None
    for _ in range(TRIES):
        before_ns, wall_ns, after_ns = (
            time.perf_counter_ns(),
            time.time_ns(),
            time.perf_counter_ns(),
        )
        apart_ns = after_ns - before_ns
        if closest is None or apart_ns < closest[0]:
            closest = apart_ns, before_ns + apart_ns // 2, wall_ns
        if apart_ns < AT_ONCE_NS:
            break
    assert closest is not None
    return closest[1:]
