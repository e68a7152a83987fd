"""Controllers: `K, E = controller.next(state)`, from a fixed choice to one that learns while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.fleet.adaptive import Adaptive
from gnomon.fleet.cost import Uniform, Weighted, round_duration_s, round_energy_j
from gnomon.fleet.estimate import METHODS
from gnomon.fleet.orders import Decision, Stop
from gnomon.fleet.plan_once import PlanOnce
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


@dataclass(frozen=True)
class Within:
    """Another controller, stopped before a round that would go over a budget."""

    controller: Controller

    @property
    def name(self) -> str:
        """The controller's own."""
        return self.controller.name

    def next(self, state: State) -> Decision | Stop:
        """The controller's decision, if what it is expected to take is still there."""
        decision = self.controller.next(state)
        if isinstance(decision, Stop):
            return decision
        clients, iterations = (
            np.array([decision.clients_per_round]),
            np.array([decision.local_iterations]),
        )
        sampling = Weighted(state.weights) if state.weighted_sampling else Uniform()
        for spent, limit, next_round, unit in (
            (state.duration_s, state.max_duration_s, round_duration_s, "s"),
            (state.energy_j, state.max_energy_j, round_energy_j, "J"),
        ):
            if limit is None:
                continue
            needed = float(next_round(state.devices, iterations, clients, sampling)[0, 0])
            if spent + needed > limit:
                return Stop(
                    f"the budget of {limit:g} {unit} is spent: {spent:.4g} {unit} are gone and another "
                    f"round takes {needed:.3g} {unit}"
                )
        return decision

    def describe(self) -> dict[str, object]:
        """The controller's own."""
        return self.controller.describe()


KNOWN = "fixed:K,E, adaptive, plan, plan:METHOD, paper"


def parse_controller(text: str) -> Controller:
    """A controller from its name and parameters, as `gnomon run federated --controller` takes it.

    Args:
        text: `fixed:K,E`; `adaptive`; `paper`; `plan` or `plan:METHOD` with a method of `estimate.METHODS`.

    Raises:
        SettingsError: There is no such controller, or its parameters are wrong.
    """
    return Within(_parsed(text))


def _parsed(text: str) -> Controller:
    name, _, parameters = text.partition(":")
    if name == "fixed":
        try:
            clients, iterations = (int(part) for part in parameters.split(","))
        except ValueError:
            raise SettingsError(f"a fixed controller is fixed:K,E, got {text!r}") from None
        if clients < 1 or iterations < 1:
            raise SettingsError(f"K and E must be 1 or more, got {text!r}")
        return Fixed(clients, iterations)
    if name == "plan" and (not parameters or parameters in METHODS):
        method = METHODS.get(parameters, METHODS["least-squares"])
        return PlanOnce(text, method, "exact", until_stable=True, go_on=True)
    if text == "adaptive":
        return Adaptive()
    if text == "paper":
        return PlanOnce()
    raise SettingsError(
        f"there is no controller {text!r}: choose one of {KNOWN}, with METHOD {' or '.join(METHODS)}"
    )
