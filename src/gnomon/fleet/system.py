"""The interface of a fleet: what carries the server's orders out, simulated or real.

A fleet is a `drive` that is as small as this, and a name under `gnomon.systems`:

    def drive(self, server, observer=None):
        while (order := server.next_order()) is not None:
            server.receive(order, self.carry_out(order))
            if observer:
                observer(server)

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import SettingsError
from gnomon.fleet.server import Server

if TYPE_CHECKING:
    from gnomon.fleet.assembly import Federation

RoundObserver = Callable[[Server], None]


class FleetSystem(ABC):
    """A fleet of clients, simulated or real.

    Attributes:
        name: Shown with every result.
        virtual_clock: Whether seconds and joules follow from the devices' figures alone, so that they can be
            recomputed; False where they are measured.
    """

    name: str
    virtual_clock: bool = False

    def load(self, federation: Federation, folder: Path) -> None:  # noqa: B027 - few need it
        """Get ready for this federation; called once, before `drive`.

        Args:
            federation: What the server was made from; `federation.blueprint.to_json()` is how another process
                makes the same data and learner.
            folder: Where logs may be kept.
        """

    @abstractmethod
    def drive(self, server: Server, observer: RoundObserver | None = None) -> None:
        """Carry orders out until there are none.

        Args:
            server: At its start, or restored to where it was.
            observer: To be called after every round.
        """

    def describe(self) -> dict[str, Any]:
        """For the record."""
        return {}

    def close(self) -> None:  # noqa: B027 - few need it
        """Let go of everything; called however the run ended."""


def adapt_system(system: Any) -> FleetSystem:
    """A `FleetSystem` as it is.

    Raises:
        SettingsError: It is none.
    """
    if isinstance(system, FleetSystem):
        return system
    kind = system.__name__ if isinstance(system, type) else type(system).__name__
    raise SettingsError(f"a fleet is a registered name or a FleetSystem, got {kind}")
