"""Numbers with units, as people read them: the one place that formats them."""

from __future__ import annotations

import math

_DURATION_STEPS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_BYTE_STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def format_duration_ns(duration_ns: float) -> str:
    """Three significant digits with the unit that suits: `4.21 ms`, `850 ns`, `12.3 s`."""
    for size_ns, unit in _DURATION_STEPS:
        if abs(duration_ns) >= size_ns * 0.9995:
            return f"{_significant(duration_ns / size_ns)} {unit}"
    return f"{_significant(duration_ns)} ns"


def format_rate(value: float, unit: str) -> str:
    """A rate with its unit: `412,300 samples/s`, `3.814 queries/s`."""
    return f"{_significant(value, 4)} {unit}"


def format_count(count: int) -> str:
    """Thousands set apart: `1,234,567`."""
    return f"{count:,}"


def format_bytes(count: float) -> str:
    """Binary units: `23.4 GiB`."""
    for size, unit in _BYTE_STEPS:
        if abs(count) >= size * 0.9995:
            return f"{_significant(count / size)} {unit}"
    return f"{count:.0f} B"


def _significant(value: float, digits: int = 3) -> str:
    """At least `digits` significant digits, never scientific, whole part never rounded away."""
    if not math.isfinite(value):
        return str(value)
    magnitude = f"{abs(value):.{digits - 1}e}"
    exponent = int(magnitude.split("e")[1])
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"
