"""Rest between performance tests, so that one does not heat the device for the next."""

from __future__ import annotations

import time

from gnomon.core.protocol import Job, Progress
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.rules import RuleProfile

TICK_S = 0.25


class Rest:
    """How long the device has rested, and waiting until it has for long enough."""

    def __init__(self, job: Job, profile: RuleProfile) -> None:
        assert isinstance(job.options, LoadOptions)
        asked_s = job.options.cooldown_s
        declared_s = profile.mode.cooldown_s if profile.mode else 0.0
        self._wanted_s = declared_s if asked_s is None else asked_s
        self._observer = job.observer
        self._ended_s: float | None = None

    def before_a_test(self) -> float | None:
        """Wait for the rest to be over; seconds since the test before, None if there was none."""
        if self._ended_s is None:
            return None
        while (rested_s := time.monotonic() - self._ended_s) < self._wanted_s:
            if self._observer is not None:
                share = rested_s / self._wanted_s
                left_s = self._wanted_s - rested_s
                words = f"{left_s:.0f} s until the next test"
                self._observer(Progress("cooldown", share, rested_s, words))
            time.sleep(min(TICK_S, self._wanted_s - rested_s))
        return time.monotonic() - self._ended_s

    def after_a_test(self) -> None:
        """The rest begins."""
        self._ended_s = time.monotonic()
