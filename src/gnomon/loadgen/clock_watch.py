"""The monotonic clock held against the wall clock: a jump means a suspended or adjusted machine."""

from __future__ import annotations

from gnomon.core.clocks import read_clocks
from gnomon.loadgen.session import Session

CLOCK_STEP_NS = 50_000_000
CLOCK_DRIFT_SHARE = 0.01
"""The reference reports an error when its clock and the system's differ by more than 1 %."""


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
