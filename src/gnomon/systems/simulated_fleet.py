"""The simulated fleet as a system: clients really train, a virtual clock counts what their devices take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnomon.fleet.assembly import Federation
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.server import Server
from gnomon.fleet.simulated import simulate
from gnomon.fleet.system import FleetSystem, RoundObserver


class SimulatedFleet(FleetSystem):
    """Clients of this process on a virtual clock; seconds and joules follow from the devices' figures."""

    name = "simulated"
    virtual_clock = True

    def __init__(self) -> None:
        self._behaviour = Behaviour()

    def load(self, federation: Federation, folder: Path) -> None:
        """Take over the federation's faults."""
        self._behaviour = federation.behaviour

    def drive(self, server: Server, observer: RoundObserver | None = None) -> None:
        """Simulate until the federation is over."""
        simulate(server, self._behaviour, observer)

    def describe(self) -> dict[str, Any]:
        """That nothing here was measured with a clock."""
        return {"kind": "simulation", "clock": "virtual"}
