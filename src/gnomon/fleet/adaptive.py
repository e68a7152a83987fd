"""The controller that learns while it trains: every round it runs to learn from is a round of training.

Three ideas, each measured in docs/performance.md:

* No round is spent on sampling alone. E goes up and down around its best value, where the cost is flat, and
  norms of updates and the fall of the loss tell how progress depends on it (`progress.py`).
* The choice is the one with the least expected regret over what the constants could be, not the least cost
  at their best guess: what is not known yet makes it careful.
* Few clients a round make models jump about, but the average of recent models falls nearly as fast as with
  many. So K is small while the target is far, and grows only when the noise is what is left of the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.fleet.cost import Uniform, Weighted, round_duration_s, round_energy_j, total_cost
from gnomon.fleet.devices import Floats
from gnomon.fleet.ledger import Rows
from gnomon.fleet.order_statistics import Counts
from gnomon.fleet.orders import Decision, Stop
from gnomon.fleet.progress import Progress, fit
from gnomon.fleet.state import State

DRAWS = 64
RUNGS = 40
SWING_PER_DOUBT = 1.5
LEAST_SWING, MOST_SWING = 0.2, 0.5
"""Bounds of ln(E / E*): a factor of 1.2 to 1.65."""
SETTLING = 4
"""Rounds with more clients until the noise of few has gone."""
NOISE_SHARE = 0.5
"""Of the noise that is seen: the target is reached by the first model below it, and half are below."""


@dataclass(frozen=True)
class Candidates:
    """Choices to compare; the costs of one round have shape (M, L)."""

    local_iterations: Counts
    clients_per_round: Counts
    duration_s: Floats
    energy_j: Floats


@dataclass(frozen=True)
class Adaptive:
    """Choose again every few rounds, from the rounds so far.

    Attributes:
        every: Rounds between choices.
    """

    every: int = 8
    name: str = "adaptive"

    def next(self, state: State) -> Decision | Stop:
        """The choice for the next rounds; the same one until it is time to choose again."""
        history = state.history
        rounds = len(history)
        if rounds % self.every:
            last = history[-1]
            return Decision(int(last["clients_per_round"]), int(last["local_iterations"]))
        _require_losses(state)
        prior = Progress.prior(state.weights)
        learnt = rounds >= 2 * self.every
        progress = fit(history, prior, state.averaged) if learnt else prior
        candidates = _candidates(state)
        row, column = _least_regret(state, candidates, progress)
        clients = int(candidates.clients_per_round[column])
        iterations = float(candidates.local_iterations[row])
        why = progress.words
        if learnt and state.target_loss is not None:
            last_clients = _for_the_last_rounds(
                state, candidates, progress, row, column, self.every
            )
            if last_clients > clients:
                clients = last_clients
                why = f"the noise of few clients is what is left of the way; {why}"
        swing = _swing(progress)
        swung = iterations * (swing if rounds // self.every % 2 else 1 / swing)
        chosen = min(max(round(swung), 1), state.max_local_iterations)
        return Decision(clients, chosen, why=why)

    def describe(self) -> dict[str, object]:
        """Name and parameters."""
        return {"name": self.name, "every": self.every}


def _swing(progress: Progress) -> float:
    """How far E goes up and down, turn about: the farther, the less is known of what it brings."""
    doubt = math.sqrt(float(progress.covariance[0, 0]))
    return math.exp(min(max(SWING_PER_DOUBT * doubt, LEAST_SWING), MOST_SWING))


def _require_losses(state: State) -> None:
    if not math.isfinite(state.initial_loss):
        raise SettingsError(
            "the adaptive controller learns from the loss: evaluate it (--evaluate-every 1), or choose a "
            "fixed controller (--controller fixed:10,10)"
        )


def _candidates(state: State) -> Candidates:
    iterations, clients = _rungs(state.max_local_iterations), _rungs(state.clients)
    sampling = Weighted(state.weights) if state.weighted_sampling else Uniform()
    return Candidates(
        iterations,
        clients,
        round_duration_s(state.devices, iterations, clients, sampling),
        round_energy_j(state.devices, iterations, clients, sampling),
    )


def _rungs(most: int) -> Counts:
    """Whole numbers from 1 to `most`, evenly in the logarithm."""
    return np.unique(np.round(np.geomspace(1, most, RUNGS)).astype(np.int64))


def _least_regret(state: State, candidates: Candidates, progress: Progress) -> tuple[int, int]:
    """Row and column of the choice that costs least more than the best, on average over what could be."""
    round_cost = total_cost(candidates.duration_s, candidates.energy_j, state.gamma)
    iterations = candidates.local_iterations[:, None]
    clients = candidates.clients_per_round[None, :]
    regret = np.zeros_like(round_cost)
    for draw in progress.draws(DRAWS):
        cost = round_cost * draw.rounds(iterations, clients, state.clients)
        regret += cost / cost.min()
    regret = np.where(_affordable(state, candidates, progress), regret, np.inf)
    row, column = np.unravel_index(int(np.argmin(regret)), regret.shape)
    return int(row), int(column)


def _affordable(state: State, candidates: Candidates, progress: Progress) -> NDArray[np.bool_]:
    """Which choices are expected to reach the target within the budgets; the nearest to it if none is."""
    overrun = np.zeros_like(candidates.duration_s)
    limits = (
        (state.max_duration_s, state.duration_s, candidates.duration_s),
        (state.max_energy_j, state.energy_j, candidates.energy_j),
    )
    if state.target_loss is None or not math.isfinite(progress.loss):
        return np.isfinite(overrun)
    last = state.history[-1]
    to_go = max(math.log(progress.loss / state.target_loss), 0.0) / progress.rate
    relative = progress.rounds(
        candidates.local_iterations[:, None], candidates.clients_per_round[None, :], state.clients
    ) / progress.rounds(last["local_iterations"], last["clients_per_round"], state.clients)
    for limit, spent, of_round in limits:
        if limit is not None:
            overrun = np.maximum(overrun, to_go * relative * of_round / max(limit - spent, 1e-9))
    return overrun <= max(1.0, float(overrun.min()))


def _for_the_last_rounds(
    state: State, candidates: Candidates, progress: Progress, row: int, column: int, every: int
) -> int:
    """K for the end of the way: as now, or more if that reaches the target within the next rounds.

    The mean loss of recent models less the loss of their average is the noise; it goes with 1/K. For each K,
    so many rounds are left until the loss without noise is below the target by that K's noise. All but the
    last of them are best run at the present K.
    """
    target = state.target_loss
    assert target is not None
    recent = state.history[-state.averaged :]
    noise = _noise(recent)
    present = 1 / float(np.mean(1 / recent["clients_per_round"]))
    clients = candidates.clients_per_round[column:]
    level = target - NOISE_SHARE * noise * present / clients
    with np.errstate(divide="ignore", invalid="ignore"):
        to_go = np.where(level > 0, np.log(progress.loss / level) / progress.rate, np.inf)
    to_go = np.maximum(to_go, SETTLING)
    cost = total_cost(candidates.duration_s, candidates.energy_j, state.gamma)[row, column:]
    whole = (to_go - SETTLING) * cost[0] + SETTLING * cost
    best = int(np.argmin(whole))
    if to_go[best] <= SETTLING + every / 2:
        return int(clients[best])
    return int(clients[0])


def _noise(recent: Rows) -> float:
    """Loss that is due to jumping about, in the loss's unit."""
    mean = float(np.nanmean(recent["loss"]))
    averages = recent["average_loss"][np.isfinite(recent["average_loss"])]
    if not len(averages) or not math.isfinite(mean):
        return 0.0
    return max(mean - float(averages[-1]), 0.0)
