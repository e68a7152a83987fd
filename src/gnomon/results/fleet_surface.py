"""Costs over K and E: measured by a finished grid, predicted from a run's rounds, or of a single round."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.units import format_dollars, format_energy, format_seconds
from gnomon.fleet.cost import Uniform, Weighted, round_duration_s, round_energy_j, total_cost
from gnomon.fleet.grid_file import Grid, GridPoint
from gnomon.fleet.progress import Progress, fit
from gnomon.fleet.record import FleetSamples
from gnomon.fleet.server import AVERAGED

FINE = 48


@dataclass(frozen=True)
class Surface:
    """Costs over a grid; arrays have shape (M, L).

    Attributes:
        local_iterations: Values of E, shape (M,).
        clients_per_round: Values of K, shape (L,).
        cost: Dollars; NaN where the target was not reached.
        words: For the reader who points there.
        missed: (K, E, words) of points without a cost.
        best: (K, E, words) of the least cost, if it was measured.
    """

    local_iterations: NDArray[np.int64]
    clients_per_round: NDArray[np.int64]
    cost: NDArray[np.float64]
    words: list[list[str]] = field(repr=False)
    missed: tuple[tuple[int, int, str], ...] = ()
    best: tuple[int, int, str] | None = None


def grid_surface(grid: Grid, gamma: float) -> Surface:
    """The measured costs of a grid."""
    iterations = np.unique([point.local_iterations for point in grid.points])
    clients = np.unique([point.clients_per_round for point in grid.points])
    cost = np.full((len(iterations), len(clients)), np.nan)
    words = [["not measured"] * len(clients) for _ in iterations]
    missed = []
    for point in grid.points:
        row = int(np.searchsorted(iterations, point.local_iterations))
        column = int(np.searchsorted(clients, point.clients_per_round))
        text = words[row][column] = _measured(point, gamma)
        if point.reached:
            cost[row, column] = point.cost(gamma)
        else:
            missed.append((point.clients_per_round, point.local_iterations, text))
    best = grid.best(gamma)
    least = None
    if best is not None:
        least = (best.clients_per_round, best.local_iterations, _measured(best, gamma))
    return Surface(iterations, clients, cost, words, tuple(missed), least)


def run_surface(samples: FleetSamples, settings: dict[str, Any]) -> tuple[Surface, str]:
    """The best that is known of costs around a run, and in words what it is.

    Args:
        samples: Of the run.
        settings: Of its federation (`FederatedSettings`, as JSON).
    """
    gamma = float(settings["gamma"])
    if samples.grid is not None and samples.grid.points:
        seeds = max(1, *(len(point.trials) for point in samples.grid.points))
        mean = f", mean of {seeds} seeds" if seeds > 1 else ""
        return grid_surface(samples.grid, gamma), f"Measured at every point of the grid{mean}."
    iterations, clients = (
        np.unique(np.geomspace(1, most, FINE).round().astype(np.int64))
        for most in (int(settings["max_local_iterations"]), len(samples.devices))
    )
    shares = _shares(samples)
    sampling = Weighted(shares) if settings["sampling"] == "weighted" else Uniform()
    duration_s = round_duration_s(samples.devices, iterations, clients, sampling)
    energy_j = round_energy_j(samples.devices, iterations, clients, sampling)
    progress = _learnt(samples, shares)
    if progress is None:
        told = "Expected cost of one round: nothing is known of how many are needed (pass --grid)."
    else:
        model, made = progress
        rounds = made * model.rounds(iterations[:, None], clients[None, :], len(samples.devices))
        duration_s, energy_j = rounds * duration_s, rounds * energy_j
        told = (
            "Predicted cost of the progress that this run made, from a fit to its own rounds; far from its "
            "choices it is a guess (pass --grid for measured costs)."
        )
    cost = total_cost(duration_s, energy_j, gamma)
    unit = "a round" if progress is None else "predicted"
    words = [
        [
            f"K {k}, E {e}: {format_dollars(cost[row, column])} {unit}<br>"
            f"{format_seconds(duration_s[row, column])}, {format_energy(energy_j[row, column])}"
            for column, k in enumerate(clients.tolist())
        ]
        for row, e in enumerate(iterations.tolist())
    ]
    return Surface(iterations, clients, cost, words), told


def _learnt(samples: FleetSamples, shares: NDArray[np.float64]) -> tuple[Progress, float] | None:
    """How rounds depend on E and K by the last course of training, and its progress in that measure."""
    rounds = samples.rounds
    begun = np.flatnonzero(rounds["start"] != "here")
    course = rounds[begun[-1] if len(begun) else 0 :]
    losses = course["average_loss"]
    if np.count_nonzero(np.isfinite(losses) & (losses > 0)) < 3:
        return None
    model = fit(course, Progress.prior(shares), AVERAGED)
    needed = model.rounds(
        course["local_iterations"], course["clients_per_round"], len(samples.devices)
    )
    made = float((1 / needed).sum())
    return (model, made) if math.isfinite(made) and made > 0 else None


def _shares(samples: FleetSamples) -> NDArray[np.float64]:
    """p_k, shape (N,), from the clients that were asked; one that never was counts as their mean."""
    counts = np.full(len(samples.devices), np.nan)
    counts[samples.clients["client"]] = samples.clients["samples"]
    known = counts[np.isfinite(counts)]
    counts[np.isnan(counts)] = known.mean() if len(known) else 1.0
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _measured(point: GridPoint, gamma: float) -> str:
    where = f"K {point.clients_per_round}, E {point.local_iterations}"
    spent = f"{point.rounds:.0f} rounds, {format_seconds(point.duration_s)}, {format_energy(point.energy_j)}"
    if not point.reached:
        missed = sum(not trial.reached for trial in point.trials)
        seeds = f" for {missed} of {len(point.trials)} seeds" if len(point.trials) > 1 else ""
        return (
            f"{where}: target not reached{seeds}<br>given up at loss {point.loss:.4f} after {spent}"
        )
    error = point.standard_error(gamma)
    noise = "" if error is None else f" ± {format_dollars(error)}"
    return f"{where}: {format_dollars(point.cost(gamma))}{noise}<br>{spent}"
