"""The K and E with the least cost to the target: over the whole grid, exactly, or as in the paper.

The exact method needs no more time than the paper's and loses nothing to its approximation of the slowest
client, which matters where devices differ; the paper's stays for comparison.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError, UnknownNameError, UsageError
from gnomon.fleet.closed_forms import Relaxed, best_clients_per_round, best_local_iterations
from gnomon.fleet.cost import (
    CostSurface,
    Problem,
    Uniform,
    surface,
    total_cost,
)
from gnomon.fleet.order_statistics import Counts
from gnomon.fleet.rounds import Bound

Method = Literal["exact", "alternating"]

WHOLE_GRID = 1 << 19
RUNGS = 16
MOST_STEPS = 1000
TOLERANCE = 1e-9
ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Plan:
    """A choice of K and E with what it is expected to come to.

    Attributes:
        clients_per_round: K.
        local_iterations: E.
        rounds: To the target, as the rounds model has it.
        duration_s: To the target, the exact expectation.
        energy_j: To the target, the exact expectation.
        cost: Dollars.
        method: `exact` or `alternating`.
        path: The real (E, K) that the alternating search went through.
    """

    clients_per_round: int
    local_iterations: int
    rounds: float
    duration_s: float
    energy_j: float
    cost: float
    method: Method
    path: tuple[tuple[float, float], ...] = ()


def solve(problem: Problem, method: Method = "exact") -> Plan:
    """The K and E that reach the target at the least expected cost.

    * `exact` compares every K from 1 to N at every E from 1 to `max_local_iterations` (P2 of Luo et al.,
      INFOCOM 2021). Equal costs go to the smaller E, then the smaller K.
    * `alternating` is the paper's search: the mean time in place of the slowest client's (P3), E*(K) and
      K*(E) in turn from K = N until neither moves, then the best whole numbers beside that point. P3 is a
      geometric program, so that the search ends at its global optimum. The plan's figures are exact all the
      same.

    Raises:
        SettingsError: Nothing keeps within the limits; the message has the least possible.
        UsageError: `alternating` with limits, with weighted sampling or with other rounds than `Bound`.
    """
    if method == "exact":
        return _exact(problem)
    if method == "alternating":
        return _alternating(problem)
    raise UnknownNameError("method", method, get_args(Method))


def plan_at(
    problem: Problem, clients_per_round: int, local_iterations: int, method: Method = "exact"
) -> Plan:
    """What one given choice of K and E comes to.

    Raises:
        SettingsError: K is not from 1 to N, or E below 1.
    """
    at = surface(problem, np.array([local_iterations]), np.array([clients_per_round]))
    return _plan(at, (0, 0), method)


def _plan(at: CostSurface, place: tuple[int, int], method: Method) -> Plan:
    row, column = place
    return Plan(
        int(at.clients_per_round[column]),
        int(at.local_iterations[row]),
        float(at.rounds[place]),
        float(at.duration_s[place]),
        float(at.energy_j[place]),
        float(at.cost[place]),
        method,
    )


def _exact(problem: Problem) -> Plan:
    chosen = None
    if problem.clients * problem.max_local_iterations > WHOLE_GRID:
        chosen = _worth_a_look(problem)
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        grid = surface(problem, clients_per_round=chosen)
    fits = _fits(problem, grid.duration_s, grid.energy_j)
    costs = np.where(fits & np.isfinite(grid.cost), grid.cost, np.inf)
    row, column = np.unravel_index(np.argmin(costs), costs.shape)
    if not math.isfinite(costs[row, column]):
        raise _impossible(problem, fits)
    return _plan(grid, (int(row), int(column)), "exact")


def _worth_a_look(problem: Problem) -> Counts | None:
    """The values of K that can hold the least cost; None for all of them.

    Seconds and joules of a round grow with K. Those at the rung below K on a ladder of values are therefore
    lower bounds, and a K whose bound at every E is above the best cost on the ladder is out.
    """
    rungs = np.unique(np.geomspace(1, problem.clients, RUNGS).round().astype(np.int64))
    ladder = surface(problem, clients_per_round=rungs)
    fits = _fits(problem, ladder.duration_s, ladder.energy_j)
    best = np.where(fits, ladder.cost, np.inf).min()
    if not math.isfinite(best):
        return None
    iterations = ladder.local_iterations
    duration_s, energy_j = ladder.duration_s / ladder.rounds, ladder.energy_j / ladder.rounds
    every = np.arange(1, problem.clients + 1)
    below = np.searchsorted(rungs, every, side="right") - 1
    rounds = problem.rounds.rounds(iterations[:, None], every[None, :], problem.clients)
    least_s, least_j = rounds * duration_s[:, below], rounds * energy_j[:, below]
    bound = total_cost(least_s, least_j, problem.gamma)
    slack = 1 + 1e-9  # round-off must not lose the optimum
    open_ = (bound <= best * slack) & _fits(problem, least_s / slack, least_j / slack)
    candidates: Counts = every[open_.any(axis=0)]
    return candidates


def _fits(
    problem: Problem, duration_s: NDArray[np.float64], energy_j: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which totals keep to the limits; one that is on its limit does, whatever its last digit."""
    fits = np.ones(duration_s.shape, dtype=bool)
    if problem.max_duration_s is not None:
        fits &= duration_s <= problem.max_duration_s * (1 + ROUND_OFF)
    if problem.max_energy_j is not None:
        fits &= energy_j <= problem.max_energy_j * (1 + ROUND_OFF)
    return fits


def _impossible(problem: Problem, fits: NDArray[np.bool_]) -> SettingsError:
    """Why no choice will do, with the least that each limit would have to be."""
    if fits.any():
        return SettingsError(
            "no cost is a finite number: look for a constant or a device's cost that is far too large"
        )
    free = replace(problem, max_duration_s=None, max_energy_j=None)
    least = []
    for name, gamma, unit in (("max_duration_s", 0.0, "s"), ("max_energy_j", 1.0, "J")):
        limit = getattr(problem, name)
        if limit is None:
            continue
        plan = solve(replace(free, gamma=gamma))
        value = plan.duration_s if unit == "s" else plan.energy_j
        where = f"(K={plan.clients_per_round}, E={plan.local_iterations})"
        least.append(f"{name} {limit:g} where {value:.4g} {unit} {where} is the least possible")
    together = ", and not both at one K and E" if len(least) > 1 else ""
    return SettingsError(
        f"no K and E keeps within {'; '.join(least)}{together}: raise the limit or accept a larger epsilon"
    )


def _alternating(problem: Problem) -> Plan:
    if not isinstance(problem.rounds, Bound) or problem.rounds.with_replacement:
        raise UsageError(
            f"the alternating search has closed forms for the bound without replacement only, got "
            f"{problem.rounds}: use the exact method"
        )
    if not isinstance(problem.sampling, Uniform):
        raise UsageError(
            "the alternating search is for uniform sampling, got weighted: use the exact method"
        )
    if problem.max_duration_s is not None or problem.max_energy_j is not None:
        raise UsageError("the alternating search knows no limits: use the exact method")
    relaxed = Relaxed.of(problem.devices, problem.gamma, problem.rounds)
    path = alternate(relaxed, problem.max_local_iterations)
    iterations, chosen = path[-1]
    neighbours = itertools.product(
        sorted({math.floor(iterations), math.ceil(iterations)}),
        sorted({math.floor(chosen), math.ceil(chosen)}),
    )
    best_iterations, best_chosen = min(neighbours, key=lambda place: relaxed.cost(*place))
    plan = plan_at(problem, best_chosen, best_iterations, "alternating")
    return replace(plan, path=path)


def alternate(relaxed: Relaxed, max_local_iterations: int) -> tuple[tuple[float, float], ...]:
    """The (E, K) that alternate convex search goes through, from K = N to where neither moves."""
    path: list[tuple[float, float]] = []
    chosen = float(relaxed.clients)
    for _ in range(MOST_STEPS):
        iterations = min(best_local_iterations(relaxed, chosen), float(max_local_iterations))
        chosen = best_clients_per_round(relaxed, iterations)
        path.append((iterations, chosen))
        if len(path) > 1 and all(
            math.isclose(now, before, rel_tol=TOLERANCE)
            for now, before in zip(path[-1], path[-2], strict=True)
        ):
            break
    return tuple(path)
