"""Controllers that sample first: short runs at a few (E, K), constants from them, one choice for the rest.

`paper` is the algorithm of Luo et al. (INFOCOM 2021): every run, pairwise estimates, the alternating search,
and training anew. `plan` differs where it pays: least squares, sampling that stops when the choice is stable,
exact grid, and training that goes on from the best of the sampled models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gnomon.core.errors import SettingsError, UsageError
from gnomon.fleet.cost import Problem, Uniform, Weighted, surface
from gnomon.fleet.devices import Floats
from gnomon.fleet.estimate import Estimate, Method, SampledRun, estimate
from gnomon.fleet.ledger import Rows
from gnomon.fleet.orders import Choice, Decision, Stop
from gnomon.fleet.rounds import RoundsModel
from gnomon.fleet.solve import Method as Solver
from gnomon.fleet.solve import solve
from gnomon.fleet.state import State

FIRST_LOSS, SECOND_LOSS = 0.3, 0.6
"""F_a and F_b: so far on the way from the initial loss to the target."""
MOST_ROUNDS = 300
"""A sampled run that has not reached F_b by then tells nothing; it is left out."""
LEAST_ROUNDS = 0.1
STABLE = 1.05
"""The choice is stable when 9 of 10 models that fit the runs as well would save at most this factor."""
FALLBACK = Choice(10, 10)


@dataclass(frozen=True)
class PlanOnce:
    """Sample, estimate, solve, then train with that choice.

    Attributes:
        name: As it was asked for.
        method: How constants are estimated.
        solver: How K and E are found from them.
        until_stable: Stop sampling when the choice is stable; else run every pair.
        go_on: Train on from the best of the sampled models; else from the beginning.
    """

    name: str = "paper"
    method: Method = "pairwise"
    solver: Solver = "alternating"
    until_stable: bool = False
    go_on: bool = False

    def next(self, state: State) -> Decision | Stop:
        """Another round of a sampled run, the first of the next, or a round of training."""
        if state.weighted_sampling and self.solver == "alternating":
            raise UsageError(
                f"the {self.name} controller knows uniform sampling only: leave out --sampling weighted, or "
                f"choose another controller (--controller plan)"
            )
        history = state.history
        if len(history) and history["phase"][-1] == "train":
            last = history[-1]
            return Decision(int(last["clients_per_round"]), int(last["local_iterations"]))
        first_loss, second_loss = _losses(state)
        runs = _runs(history)
        if runs and not _over(runs[-1], second_loss):
            last = runs[-1][-1]
            return Decision(
                int(last["clients_per_round"]), int(last["local_iterations"]), "estimate"
            )
        pairs = sampled_pairs(state.clients, state.max_local_iterations)
        samples = _samples(runs, first_loss, second_loss)
        enough = self.until_stable and self._stable(state, samples)
        if len(runs) < len(pairs) and not enough:
            clients, iterations = pairs[len(runs)]
            return Decision(clients, iterations, "estimate", "beginning", f"sample {len(runs) + 1}")
        return self._chosen(state, samples)

    def describe(self) -> dict[str, object]:
        """Name and how it goes about it."""
        return {
            "name": self.name,
            "estimate": self.method,
            "solver": self.solver,
            "sampling": "until the choice is stable" if self.until_stable else "every pair",
            "training": "on from the best sampled model" if self.go_on else "anew",
        }

    def _chosen(self, state: State, samples: list[SampledRun]) -> Decision:
        try:
            found = self._estimate(state, samples)
        except SettingsError as error:
            clients = min(FALLBACK.clients_per_round, state.clients)
            iterations = min(FALLBACK.local_iterations, state.max_local_iterations)
            why = f"{error}; fell back on K={clients}, E={iterations}"
            return Decision(clients, iterations, "train", self._start, why)
        plan = solve(_problem(state, found.model), self.solver)
        low, high = found.ratio_interval
        why = f"A0/B0 {found.ratio:.4g} ({low:.4g} to {high:.4g})"
        if found.warning:
            why += f"; {found.warning}"
        return Decision(plan.clients_per_round, plan.local_iterations, "train", self._start, why)

    def _estimate(self, state: State, samples: list[SampledRun]) -> Estimate:
        return estimate(
            samples, state.clients, self.method, with_replacement=state.weighted_sampling
        )

    @property
    def _start(self) -> Literal["best", "beginning"]:
        return "best" if self.go_on else "beginning"

    def _stable(self, state: State, samples: list[SampledRun]) -> bool:
        try:
            found = self._estimate(state, samples)
        except SettingsError:
            return False
        return regret_under_draws(state, found) <= STABLE


def sampled_pairs(clients: int, max_local_iterations: int) -> tuple[Choice, ...]:
    """The (K, E) to sample, in order: first apart in E, then in K, so that few tell most."""
    wanted = (
        (clients / 10, 10),
        (clients / 10, 40),
        (clients / 4, 20),
        (clients / 50, 10),
        (clients / 20, 5),
    )
    chosen = (
        Choice(max(1, min(clients, round(k))), max(1, min(max_local_iterations, e)))
        for k, e in wanted
    )
    return tuple(dict.fromkeys(chosen))


def regret_under_draws(state: State, found: Estimate, share: float = 0.9) -> float:
    """How much could be saved if another model that fits as well were the true one, at this quantile."""
    iterations, clients = _thinned(state.max_local_iterations), _thinned(state.clients)
    problem = _problem(state, found.model)

    def costs(model: RoundsModel) -> Floats:
        return surface(replace(problem, rounds=model), iterations, clients).cost

    place = int(np.argmin(costs(found.model)))
    factors = []
    for draw in found.draws[::5]:
        cost = costs(draw)
        factors.append(float(cost.flat[place] / cost.min()))
    return float(np.quantile(factors, share))


def _problem(state: State, model: RoundsModel) -> Problem:
    sampling = Weighted(state.weights) if state.weighted_sampling else Uniform()
    return Problem(
        devices=state.devices,
        gamma=state.gamma,
        rounds=model,
        max_local_iterations=state.max_local_iterations,
        sampling=sampling,
    )


def _thinned(most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Whole numbers from 1 to `most`, evenly in the logarithm."""
    return np.unique(np.round(np.geomspace(1, most, 30)).astype(np.int64))


def _losses(state: State) -> tuple[float, float]:
    if state.target_loss is None or not math.isfinite(state.initial_loss):
        raise SettingsError(
            "sampling runs go to losses on the way to the target: set a target loss (--target-loss), or "
            "choose a fixed controller (--controller fixed:10,10)"
        )
    way = state.initial_loss - state.target_loss
    return state.initial_loss - FIRST_LOSS * way, state.initial_loss - SECOND_LOSS * way


def _runs(history: Rows) -> list[Rows]:
    """The rounds of each sampled run."""
    starts = np.flatnonzero(history["start"] == "beginning")
    return np.split(history, starts[1:]) if len(history) else []


def _over(run: Rows, second_loss: float) -> bool:
    return bool(np.nanmin(run["loss"], initial=np.inf) <= second_loss or len(run) >= MOST_ROUNDS)


def _samples(runs: list[Rows], first_loss: float, second_loss: float) -> list[SampledRun]:
    """Runs that came to the second loss."""
    samples = []
    for run in runs:
        if not (run["loss"] <= second_loss).any():
            continue
        rounds = _crossing(run["loss"], second_loss) - _crossing(run["loss"], first_loss)
        last = run[-1]
        iterations, clients = int(last["local_iterations"]), int(last["clients_per_round"])
        samples.append(SampledRun(iterations, clients, max(rounds, LEAST_ROUNDS)))
    return samples


def _crossing(losses: Floats, level: float) -> float:
    """When the loss first came to this level, between rounds by proportion: a fast run takes only a few."""
    after = int(np.argmax(losses <= level))
    before = losses[after - 1] if after else math.inf
    if not math.isfinite(before):
        return float(after)
    return after - 1 + float((before - level) / (before - losses[after]))
