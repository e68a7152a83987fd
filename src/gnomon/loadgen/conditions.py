"""Under what conditions a test ran: rest before it, power, heat, attention, what its clock is worth.

A native run reads them from this machine; a browser tells what it knows. `condition_checks.py` judges them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psutil
from pydantic import Field

from gnomon.core.spec import Declared


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
class Reading:
    """What this machine's sensors say at one moment; None where there is none."""

    charging: bool | None
    battery_level: float | None
    temperature_c: float | None


def read_host() -> Reading:
    """Power and heat of this machine now."""
    battery = _battery()
    return Reading(
        bool(battery.power_plugged)
        if battery is not None and battery.power_plugged is not None
        else None,
        max(0.0, min(1.0, battery.percent / 100)) if battery is not None else None,
        _hottest_c(),
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
        clock_resolution_ns=time.get_clock_info("perf_counter").resolution * 1e9,
    )


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
