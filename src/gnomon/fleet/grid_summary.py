"""What a finished grid says: the best fixed choice at a gamma, how flat and how noisy costs are there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.fleet.grid_file import Grid, GridPoint

GAMMAS = (0.0, 0.25, 0.5, 0.75, 1.0)
NEAR = 0.1
"""Points whose cost is at most so much above the best are counted as near it."""
STANDARD_ERRORS = 2.0
"""Points that are less than so many standard errors of the difference above the best may be as good."""


@dataclass(frozen=True)
class BestChoice:
    """The point with the least mean cost at one gamma.

    Attributes:
        gamma: Dollars a joule.
        clients_per_round: K.
        local_iterations: E.
        rounds: Mean over seeds, as the figures below.
        duration_s: To the target.
        energy_j: To the target.
        cost: Dollars to the target.
        standard_error: Of the cost, over seeds; None of a single seed.
        near: Points that cost at most `NEAR` more, itself included.
        as_good: Points that are within the noise of it, itself included; None of a single seed.
        reached: Points that reached the target for every seed.
    """

    gamma: float
    clients_per_round: int
    local_iterations: int
    rounds: float
    duration_s: float
    energy_j: float
    cost: float
    standard_error: float | None
    near: int
    as_good: int | None
    reached: int

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def best_choices(grid: Grid, gammas: Sequence[float] = GAMMAS) -> list[BestChoice]:
    """The best point at each gamma; none if no point reached the target."""
    found = ((gamma, grid.best(gamma)) for gamma in gammas)
    return [_choice(grid, gamma, best) for gamma, best in found if best is not None]


def _choice(grid: Grid, gamma: float, best: GridPoint) -> BestChoice:
    reached = [point for point in grid.points if point.reached]
    least = best.cost(gamma)
    error = best.standard_error(gamma)
    return BestChoice(
        gamma=gamma,
        clients_per_round=best.clients_per_round,
        local_iterations=best.local_iterations,
        rounds=best.rounds,
        duration_s=best.duration_s,
        energy_j=best.energy_j,
        cost=least,
        standard_error=error,
        near=sum(point.cost(gamma) <= (1 + NEAR) * least for point in reached),
        as_good=None if error is None else sum(_as_good(point, best, gamma) for point in reached),
        reached=len(reached),
    )


def _as_good(point: GridPoint, best: GridPoint, gamma: float) -> bool:
    if point is best:
        return True
    errors = (point.standard_error(gamma), best.standard_error(gamma))
    noise = math.hypot(*(error or 0.0 for error in errors))
    return point.cost(gamma) - best.cost(gamma) < STANDARD_ERRORS * noise
