"""What a federation amounts to: from its rounds alone to its figures.

Costs are in dollars: (1 - gamma) a second, gamma a joule (Luo et al., INFOCOM 2021).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gnomon.fleet.ledger import Rows

if TYPE_CHECKING:
    from gnomon.fleet.grid_file import Grid

ESTIMATE = "estimate"
METRIC = "cost to target"


@dataclass(frozen=True)
class Spent:
    """What some rounds took."""

    rounds: int
    duration_s: float
    energy_j: float
    cost: float


@dataclass(frozen=True)
class Overhead:
    """What the rounds took that were run to learn the constants, and their share of the whole."""

    rounds: int
    duration_s: float
    energy_j: float
    cost: float
    share_of_duration: float
    share_of_energy: float
    share_of_cost: float


@dataclass(frozen=True)
class Regret:
    """The run against the empirically best fixed K and E.

    Attributes:
        best_clients_per_round: K of the best point.
        best_local_iterations: E of it.
        best_cost: Dollars to the target there.
        points: How many points the grid has.
        share: Cost of the run over the best cost, minus 1.
        share_of_training: The same without the estimation: what the choice alone costs.
    """

    best_clients_per_round: int
    best_local_iterations: int
    best_cost: float
    points: int
    share: float
    share_of_training: float


@dataclass(frozen=True)
class Outcome:
    """The figures of a federation.

    Attributes:
        gamma: Dollars a joule.
        spent: All rounds.
        to_target: Rounds up to the first whose loss is at the target; None if none is.
        estimation: The rounds of phase `estimate`.
        target_loss: None if rounds were counted instead.
        initial_loss: Before the first round; NaN if it was not evaluated.
        loss: Of the final parameters.
        quality: Of the final parameters, on held-out samples.
        clients_per_round: K of the last round.
        local_iterations: E of the last round.
        most_used: K and E of most of the training rounds, and of how many.
        reported: Mean over rounds of the share of the reports waited for that were used.
        regret: Against a grid; None without one, or if the target was not reached.
    """

    gamma: float
    spent: Spent
    to_target: Spent | None
    estimation: Overhead
    target_loss: float | None
    initial_loss: float
    loss: float
    quality: float
    clients_per_round: int
    local_iterations: int
    most_used: tuple[int, int, int]
    reported: float
    regret: Regret | None

    def to_json(self) -> dict[str, Any]:
        """The result as it stands in `run.json`, the headline first."""
        chosen = self.to_target if self.target_loss is not None else self.spent
        clients, iterations, rounds = self.most_used
        return {
            "metric": {
                "name": METRIC if self.target_loss is not None else "cost",
                "value": None if chosen is None else chosen.cost,
                "unit": "$",
            },
            "gamma": self.gamma,
            **asdict(self.spent),
            "to_target": asdict(self.to_target) if self.to_target else None,
            "estimation": asdict(self.estimation),
            "target_loss": self.target_loss,
            "initial_loss": _known(self.initial_loss),
            "loss": _known(self.loss),
            "quality": _known(self.quality),
            "clients_per_round": self.clients_per_round,
            "local_iterations": self.local_iterations,
            "most_used": {
                "clients_per_round": clients,
                "local_iterations": iterations,
                "rounds": rounds,
            },
            "reported": self.reported,
            "regret": asdict(self.regret) if self.regret else None,
        }


def compute_outcome(
    rounds: Rows,
    *,
    gamma: float,
    target_loss: float | None,
    initial_loss: float,
    loss: float,
    quality: float,
    grid: Grid | None = None,
) -> Outcome | None:
    """The figures of these rounds (`ledger.ROUND`), or None if there are none.

    Args:
        rounds: All of them, oldest first.
        gamma: Dollars a joule.
        target_loss: F to reach; None if rounds were counted instead.
        initial_loss: Before the first round.
        loss: Of the final parameters.
        quality: Of the final parameters.
        grid: Of the same federation (`Grid.require_same_problem`).
    """
    if not len(rounds):
        return None
    whole = spent_in(rounds, gamma)
    estimation = _overhead(rounds, whole, gamma)
    to_target = None
    if target_loss is not None:
        there = np.flatnonzero(rounds["loss"] <= target_loss)
        if len(there):
            to_target = spent_in(rounds[: there[0] + 1], gamma)
    last = rounds[-1]
    return Outcome(
        gamma=gamma,
        spent=whole,
        to_target=to_target,
        estimation=estimation,
        target_loss=target_loss,
        initial_loss=initial_loss,
        loss=loss,
        quality=quality,
        clients_per_round=int(last["clients_per_round"]),
        local_iterations=int(last["local_iterations"]),
        most_used=_most_used(rounds),
        reported=reported_share(rounds),
        regret=_regret(grid, to_target, estimation, gamma) if grid and to_target else None,
    )


def spent_in(rounds: Rows, gamma: float) -> Spent:
    """What these rounds took."""
    duration_s = float(rounds["duration_s"].sum())
    energy_j = float(rounds["energy_j"].sum())
    return Spent(len(rounds), duration_s, energy_j, (1 - gamma) * duration_s + gamma * energy_j)


def reported_share(rounds: Rows) -> float:
    """Mean over rounds of the reports used, per report that the round waited for."""
    waited_for = np.minimum(rounds["clients_per_round"], rounds["asked"])
    return float(np.mean(np.minimum(rounds["used"] / np.maximum(waited_for, 1), 1.0)))


def _overhead(rounds: Rows, whole: Spent, gamma: float) -> Overhead:
    part = spent_in(rounds[rounds["phase"] == ESTIMATE], gamma)
    return Overhead(
        **asdict(part),
        share_of_duration=_share(part.duration_s, whole.duration_s),
        share_of_energy=_share(part.energy_j, whole.energy_j),
        share_of_cost=_share(part.cost, whole.cost),
    )


def _most_used(rounds: Rows) -> tuple[int, int, int]:
    training = rounds[rounds["phase"] != ESTIMATE]
    chosen = training if len(training) else rounds
    pairs = zip(
        chosen["clients_per_round"].tolist(), chosen["local_iterations"].tolist(), strict=True
    )
    (clients, iterations), count = Counter(pairs).most_common(1)[0]
    return clients, iterations, count


def _regret(grid: Grid, to_target: Spent, estimation: Overhead, gamma: float) -> Regret | None:
    best = grid.best(gamma)
    if best is None or best.cost(gamma) <= 0:
        return None
    best_cost = best.cost(gamma)
    return Regret(
        best.clients_per_round,
        best.local_iterations,
        best_cost,
        len(grid.points),
        share=to_target.cost / best_cost - 1,
        share_of_training=(to_target.cost - estimation.cost) / best_cost - 1,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
