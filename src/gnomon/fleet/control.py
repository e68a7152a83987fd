"""Controllers: `K, E = controller.next(state)`, from a fixed choice to one that learns while it trains."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.fleet.orders import Decision, Stop
from gnomon.fleet.state import State


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
