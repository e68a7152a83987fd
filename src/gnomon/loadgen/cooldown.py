"""Rest between performance tests, so that one does not heat the device for the next.

The device is this machine whatever run a test belongs to: of several runs in one process each rests after the
one before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from gnomon.core.protocol import Job, Progress
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.rules import RuleProfile

TICK_S = 0.25


@dataclass
class _Device:
    """When the last performance test of this process ended, by the monotonic clock; None before the first."""

    ended_s: float | None = None


DEVICE = _Device()


def rest_before_a_test(job: Job, profile: RuleProfile) -> float | None:
    """Wait until the device has rested; seconds since the test before, None if there was none."""
    if DEVICE.ended_s is None:
        return None
    assert isinstance(job.options, LoadOptions)
    declared_s = profile.mode.cooldown_s if profile.mode else 0.0
    asked_s = job.options.cooldown_s
    wanted_s = declared_s if asked_s is None else asked_s
    while (rested_s := time.monotonic() - DEVICE.ended_s) < wanted_s:
        left_s = wanted_s - rested_s
        if job.observer is not None:
            words = f"{left_s:.0f} s until the next test"
            job.observer(Progress("cooldown", rested_s / wanted_s, rested_s, words))
        time.sleep(min(TICK_S, left_s))
    return rested_s


def rest_begins() -> None:
    """A performance test has ended."""
    DEVICE.ended_s = time.monotonic()
