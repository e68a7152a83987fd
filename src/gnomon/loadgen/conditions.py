"""Under what conditions a test ran: rest before it, power, heat, others at work, what its clock is worth.

A native run reads them from this machine; a browser tells what it knows. `condition_checks.py` judges them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
from pydantic import Field

from gnomon.core.spec import Declared

AT_WORK = ("user", "nice", "system", "irq", "softirq", "steal")
"""Of the kinds of processor time that the system tells apart: all but idling."""


class Witness(Declared):
    """What the clock of the server that took a test saw of it, to hold what a page says against."""

    claimed_s: float = Field(
        ge=0,
        description="what the session's tests that the server saw begin are said to have lasted up to the "
        "end of this one, rests between them included",
    )
    passed_s: float = Field(
        ge=0, description="since the server heard that the first of them begins"
    )


class Conditions(Declared):
    """Conditions of one test. None is what nobody could tell, as the charge where there is no battery."""

    cooldown_s: float | None = Field(
        default=None,
        ge=0,
        description="rest since the performance test before; None: it was the first",
    )
    charging_start: bool | None = Field(default=None, description="external power at the start")
    charging_end: bool | None = None
    battery_level_start: float | None = Field(default=None, ge=0, le=1)
    battery_level_end: float | None = Field(default=None, ge=0, le=1)
    temperature_c_start: float | None = Field(default=None, description="hottest processor sensor")
    temperature_c_end: float | None = None
    others_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of this machine's processor time, all cores together: what other programs took",
    )
    hidden_ms: float = Field(default=0.0, ge=0, description="time the page was not in front")
    visibility_changes: int = Field(default=0, ge=0, description="repeated attempts included")
    clock_resolution_ns: float | None = Field(default=None, ge=0)
    clock_drift_ppm: float | None = Field(default=None, description="against the wall clock")
    long_tasks_ms: float = Field(default=0.0, ge=0, description="the page held up by other work")
    warm_up_calls: int | None = Field(default=None, ge=0, description="before the clock started")
    online: bool | None = Field(
        default=None,
        description="of a test measured elsewhere: whether the server was told before it began",
    )
    witness: Witness | None = Field(default=None, description="of a test that began in its sight")


@dataclass(frozen=True)
class Work:
    """What the processors have done up to one moment.

    Attributes:
        taken_s: Processor time since the machine began, of all programs on all cores, time that a
            hypervisor gave to other machines included.
        own_s: What of it this process took, and those that it started.
        at_s: The moment, by a clock of any beginning.
        cores: How many there are.
    """

    taken_s: float
    own_s: float
    at_s: float
    cores: int


@dataclass(frozen=True)
class Reading:
    """What this machine tells of one moment; None where it does not.

    Attributes:
        charging: External power.
        battery_level: 0 to 1.
        temperature_c: Of the hottest processor sensor.
        work: How much the processors have worked.
    """

    charging: bool | None
    battery_level: float | None
    temperature_c: float | None
    work: Work | None


def read_host() -> Reading:
    """Power, heat and work of this machine now."""
    battery = _battery()
    return Reading(
        bool(battery.power_plugged)
        if battery is not None and battery.power_plugged is not None
        else None,
        max(0.0, min(1.0, battery.percent / 100)) if battery is not None else None,
        _hottest_c(),
        read_work(),
    )


def between(start: Reading, end: Reading, cooldown_s: float | None) -> Conditions:
    """The conditions of a native test from readings before and after it."""
    return Conditions(
        cooldown_s=cooldown_s,
        charging_start=start.charging,
        charging_end=end.charging,
        battery_level_start=start.battery_level,
        battery_level_end=end.battery_level,
        temperature_c_start=start.temperature_c,
        temperature_c_end=end.temperature_c,
        others_share=others_share(start.work, end.work),
        clock_resolution_ns=time.get_clock_info("perf_counter").resolution * 1e9,
    )


def read_work() -> Work | None:
    """What the processors have done up to now; None where the system does not tell."""
    try:
        times = psutil.cpu_times()
        own_s = _own_s()
    except (psutil.Error, OSError, RuntimeError, ValueError):
        return None
    taken_s = sum(getattr(times, kind, 0.0) for kind in AT_WORK)
    return Work(taken_s, own_s, time.monotonic(), psutil.cpu_count() or 1)


def others_share(start: Work | None, end: Work | None) -> float | None:
    """What other programs took of all processor time in between, 0 to 1; None where it cannot be told."""
    if start is None or end is None or start.cores != end.cores:
        return None
    taken_s, own_s = end.taken_s - start.taken_s, end.own_s - start.own_s
    passed_s = (end.at_s - start.at_s) * end.cores
    # A sandbox shows no work at all; of processes that nobody waited for, the work is lost.
    if passed_s <= 0 or taken_s <= 0 or own_s < 0:
        return None
    return min(1.0, max(0.0, taken_s - own_s) / passed_s)


def _own_s() -> float:
    """Of this process, of those that it waited for, and of those that it has running."""
    own = psutil.Process()
    taken_s = 0.0
    for child in own.children(recursive=True):  # first: one that ends now is among those waited for
        with suppress(psutil.Error):
            taken_s += sum(child.cpu_times()[:4])
    return taken_s + float(sum(own.cpu_times()[:4]))


def _battery() -> Any:
    try:
        return psutil.sensors_battery()
    except (AttributeError, OSError, ValueError):  # no such call, or a driver that lies
        return None


def _hottest_c() -> float | None:
    """The hottest sensor of the processor; None where the system shows none."""
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError, ValueError):
        return None
    found = [
        reading.current
        for chip, readings in sensors.items()
        for reading in readings
        if chip in ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")
    ]
    return max(found, default=None)
