"""Controllers: `K, E = controller.next(state)`, from a fixed choice to one that learns while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.core.errors import SettingsError
from gnomon.fleet.orders import Decision, Stop
from gnomon.fleet.state import Controller, State


@dataclass(frozen=True)
class Fixed:
    """The same K and E in every round."""

    clients_per_round: int
    local_iterations: int
    name: str = "fixed"

    def next(self, state: State) -> Decision | Stop:
        """The fixed choice."""
        return Decision(self.clients_per_round, self.local_iterations)

    def describe(self) -> dict[str, object]:
        """Name, K and E."""
        return {"name": self.name, "K": self.clients_per_round, "E": self.local_iterations}


def parse_controller(text: str) -> Controller:
    """A controller from its name and parameters, as `gnomon run federated --controller` takes it.

    Args:
        text: `fixed:K,E`.

    Raises:
        SettingsError: There is no such controller, or its parameters are wrong.
    """
    name, _, parameters = text.partition(":")
    if name == "fixed":
        try:
            clients, iterations = (int(part) for part in parameters.split(","))
        except ValueError:
            raise SettingsError(f"a fixed controller is fixed:K,E, got {text!r}") from None
        return Fixed(clients, iterations)
    raise SettingsError(f"unknown controller {name!r}: known are fixed:K,E")
