"""What a controller knows when it decides on the next round: the fleet's costs and the history so far.

A controller is a pure function of this: it keeps nothing between rounds, so that a server that was restarted
goes on with the same decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.ledger import Rows
from gnomon.fleet.orders import Decision, Stop


@dataclass(frozen=True)
class State:
    """The federation as it stands.

    Attributes:
        devices: What each client costs.
        weights: p_k = n_k / n, shape (N,).
        gamma: Dollars a joule; 1 - gamma a second.
        target_loss: F at which training ends; None if rounds are counted instead.
        initial_loss: F of the initial parameters; NaN if it was not evaluated.
        history: The ledger's rounds so far (`ledger.ROUND`), oldest first.
        max_local_iterations: Greatest E to consider.
        seed: Of the federation.
        max_duration_s: Seconds that may be spent; None for no limit.
        max_energy_j: Joules that may be spent; None for no limit.
        weighted_sampling: Clients are drawn with probabilities p_k and replacement; else uniformly.
        averaged: Models whose average `average_loss` in the history is of.
    """

    devices: Devices
    weights: Floats
    gamma: float
    target_loss: float | None
    initial_loss: float
    history: Rows = field(repr=False)
    max_local_iterations: int
    seed: int
    max_duration_s: float | None = None
    max_energy_j: float | None = None
    weighted_sampling: bool = False
    averaged: int = 8

    @property
    def clients(self) -> int:
        """N."""
        return len(self.devices)

    @property
    def duration_s(self) -> float:
        """Spent so far."""
        return float(self.history["duration_s"].sum())

    @property
    def energy_j(self) -> float:
        """Spent so far."""
        return float(self.history["energy_j"].sum())


class Controller(Protocol):
    """Chooses K and E, round by round: `K, E = controller.next(state)`."""

    @property
    def name(self) -> str:
        """As it was asked for (`fixed`, `paper`, `adaptive`)."""

    def next(self, state: State) -> Decision | Stop:
        """The next round, or the wish to stop."""

    def describe(self) -> dict[str, object]:
        """For the record: its name and parameters."""
