"""The monotonic clock held against the wall clock: a jump means a suspended or adjusted machine."""

from __future__ import annotations

import time

from gnomon.loadgen.session import Session

CLOCK_STEP_NS = 50_000_000
CLOCK_DRIFT_SHARE = 0.01
"""The reference reports an error when its clock and the system's differ by more than 1 %."""
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


class ClockWatch:
    """Compares the two clocks from its construction on."""

    def __init__(self) -> None:
        self._first = self._last = read_clocks()

    def look(self, session: Session) -> None:
        """Compare the time passed on both clocks since the last look."""
        before, self._last = self._last, read_clocks()
        apart_ns = (self._last[1] - before[1]) - (self._last[0] - before[0])
        if abs(apart_ns) > CLOCK_STEP_NS:
            self._report(session, apart_ns)

    def end(self, session: Session) -> None:
        """Compare over the whole test."""
        monotonic_ns, wall_ns = read_clocks()
        passed_ns = monotonic_ns - self._first[0]
        apart_ns = (wall_ns - self._first[1]) - passed_ns
        if abs(apart_ns) > max(CLOCK_STEP_NS, CLOCK_DRIFT_SHARE * passed_ns):
            self._report(session, apart_ns)

    @staticmethod
    def _report(session: Session, apart_ns: int) -> None:
        session.fault(
            "clock_jumped",
            f"the wall clock jumped by {apart_ns / 1e9:+.3f} s during the test (latencies use the "
            f"monotonic clock and stand): stop whatever sets the clock or suspends the machine, then "
            f"run again",
            once=True,
        )
