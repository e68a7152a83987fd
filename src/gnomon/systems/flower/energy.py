"""Joules of a client: the processor's own counters where they can be read, else a stated power model.

RAPL (Running Average Power Limit, /sys/class/powercap) counts a whole processor package, so it is right only
for a machine that runs one client; the power model charges a client for its own seconds alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gnomon.core.errors import SettingsError

POWERCAP = Path("/sys/class/powercap")
METHODS = ("auto", "rapl", "model")
Method = Literal["rapl", "model"]


@dataclass(frozen=True)
class PowerModel:
    """Watts a client draws above idle; the defaults are assumptions for a single-board computer.

    Attributes:
        watts_compute: While it trains.
        watts_radio: While it sends, receives or waits for the exchange.
    """

    watts_compute: float = 4.0
    watts_radio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("watts_compute", "watts_radio"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise SettingsError(f"{name} must be zero or more, got {value!r}")


def chosen_method(wanted: str, powercap: Path = POWERCAP) -> Method:
    """How to measure: `auto` is RAPL where it can be read.

    Raises:
        SettingsError: RAPL was asked for and cannot be read, or there is no such method.
    """
    if wanted not in METHODS:
        raise SettingsError(f"energy must be one of {', '.join(METHODS)}, got {wanted!r}")
    if wanted == "model":
        return "model"
    if read_rapl(powercap) is not None:
        return "rapl"
    if wanted == "rapl":
        raise SettingsError(
            f"RAPL cannot be read under {powercap}: run as a user who may, or use energy=model"
        )
    return "model"


@dataclass(frozen=True)
class Reading:
    """Counters of all packages at one time.

    Attributes:
        joules: By zone.
        wraps_at_j: Where each zone's counter starts again from zero.
    """

    joules: dict[str, float]
    wraps_at_j: dict[str, float]

    def since(self, earlier: Reading) -> float:
        """Joules from the earlier reading to this one; one wrap of each counter is seen through."""
        total = 0.0
        for zone, now in self.joules.items():
            spent = now - earlier.joules.get(zone, now)
            total += spent + self.wraps_at_j[zone] if spent < 0 else spent
        return total


def read_rapl(powercap: Path = POWERCAP) -> Reading | None:
    """All processor packages' counters; None if there are none or they may not be read."""
    joules, wraps = {}, {}
    for zone in sorted(powercap.glob("intel-rapl:*")):
        if zone.name.count(":") != 1:  # a part of a package, counted in it already
            continue
        try:
            joules[zone.name] = int((zone / "energy_uj").read_text()) * 1e-6
            wraps[zone.name] = int((zone / "max_energy_range_uj").read_text()) * 1e-6
        except (OSError, ValueError):
            return None
    return Reading(joules, wraps) if joules else None
