"""Numbers with units, as people read them: the one place that formats them."""

from __future__ import annotations

import math

_DURATION_STEPS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_ENERGY_STEPS = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"))
_BYTE_STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def format_duration_ns(duration_ns: float) -> str:
    """Three significant digits with the unit that suits: `4.21 ms`, `850 ns`, `12.3 s`."""
    for size_ns, unit in _DURATION_STEPS:
        if abs(duration_ns) >= size_ns * 0.9995:
            return f"{_significant(duration_ns / size_ns)} {unit}"
    return f"{_significant(duration_ns)} ns"


def format_seconds(duration_s: float) -> str:
    """As `format_duration_ns`; from 100 s on in words: `5 min 02 s`, `1 h 02 min`, `3 d 04 h`."""
    if not 100 <= duration_s < math.inf:
        return format_duration_ns(1e9 * duration_s)
    whole_s = round(duration_s)
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60:02d} s"
    minutes = round(duration_s / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(duration_s / 3600)
    return f"{hours // 24:,} d {hours % 24:02d} h"


def format_energy(energy_j: float) -> str:
    """Three significant digits with the unit that suits: `4.21 mJ`, `12.3 J`, `1.50 kJ`."""
    for size_j, unit in _ENERGY_STEPS:
        if abs(energy_j) >= size_j * 0.9995:
            return f"{_significant(energy_j / size_j)} {unit}"
    return f"{_significant(1e3 * energy_j)} mJ"


def format_dollars(dollars: float) -> str:
    """Four significant digits: `$12.34`, `$0.001234`."""
    return f"${_significant(dollars, 4)}"


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
