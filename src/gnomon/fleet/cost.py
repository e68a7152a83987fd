"""What reaching the target costs at each E and K: seconds, joules, and dollars that weigh the two.

Exact expectations, problem P2 of Luo et al. (INFOCOM 2021); `solve.py` looks for the least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.order_statistics import (
    Counts,
    checked_counts,
    expected_drawn,
    expected_slowest,
    expected_slowest_weighted,
)
from gnomon.fleet.rounds import RoundsModel


@dataclass(frozen=True)
class Uniform:
    """K different clients a round, all equally likely."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """K draws a round with replacement; a client that is drawn twice trains once and counts twice.

    Scheme I of Li et al. (ICLR 2020), which takes client k with the probability p_k = n_k / n.

    Attributes:
        probabilities: Of each client, shape (N,), summing to 1.

    Raises:
        SettingsError: They do not sum to 1, or one is negative or NaN.
    """

    probabilities: Floats = field(repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.probabilities, dtype=np.float64)
        object.__setattr__(self, "probabilities", values)
        if values.ndim != 1 or not (np.isfinite(values).all() and (values >= 0).all()):
            raise SettingsError("probabilities must hold one number a client, each zero or more")
        if not math.isclose(values.sum(), 1, rel_tol=1e-9):
            raise SettingsError(
                f"probabilities must sum to 1, got {values.sum():.9g}: divide them by their sum"
            )


@dataclass(frozen=True)
class Problem:
    """A fleet, how seconds weigh against joules, and how many rounds training takes.

    Attributes:
        devices: What each of the N clients costs.
        gamma: Dollars a joule, from 0 to 1; a second is 1 - gamma dollars.
        rounds: Predicts rounds to the target.
        max_local_iterations: Greatest E to consider.
        sampling: Who takes part in a round.
        max_duration_s: Most seconds until the target; None for no limit.
        max_energy_j: Most joules until the target; None for no limit.

    Raises:
        SettingsError: One of them is out of range.
    """

    devices: Devices
    gamma: float
    rounds: RoundsModel
    max_local_iterations: int = 200
    sampling: Uniform | Weighted = field(default_factory=Uniform)
    max_duration_s: float | None = None
    max_energy_j: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise SettingsError(
                f"gamma must be from 0 (only seconds count) to 1 (only joules), got {self.gamma}"
            )
        if self.max_local_iterations < 1:
            raise SettingsError(
                f"max_local_iterations must be 1 or more, got {self.max_local_iterations}"
            )
        for name in ("max_duration_s", "max_energy_j"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise SettingsError(f"{name} must be positive, got {limit}")
        if isinstance(self.sampling, Weighted) and len(self.sampling.probabilities) != self.clients:
            raise SettingsError(
                f"there are {len(self.sampling.probabilities)} probabilities for {self.clients} clients: "
                f"give one a client"
            )

    @property
    def clients(self) -> int:
        """N."""
        return len(self.devices)


@dataclass(frozen=True)
class CostSurface:
    """Predictions over a grid; arrays have shape (M, L) except for the two axes.

    Attributes:
        local_iterations: Values of E, shape (M,).
        clients_per_round: Values of K, shape (L,).
        rounds: Rounds to the target.
        duration_s: Seconds to the target.
        energy_j: Joules to the target.
        cost: Dollars.
    """

    local_iterations: Counts
    clients_per_round: Counts
    rounds: Floats
    duration_s: Floats
    energy_j: Floats
    cost: Floats


def round_duration_s(
    devices: Devices,
    local_iterations: Counts,
    clients_per_round: Counts | None = None,
    sampling: Uniform | Weighted | None = None,
) -> Floats:
    """Expected seconds of a round, those of its slowest client.

    Args:
        devices: N of them.
        local_iterations: Values of E, shape (M,).
        clients_per_round: Values of K, shape (L,); None for 1 to N.
        sampling: Who takes part; None for uniform.

    Returns:
        Shape (M, L).
    """
    iterations = np.asarray(local_iterations, dtype=np.float64)[:, None]
    durations_s = devices.compute_s * iterations + devices.communication_s
    if isinstance(sampling, Weighted):
        return expected_slowest_weighted(durations_s, sampling.probabilities, clients_per_round)
    return expected_slowest(durations_s, clients_per_round)


def round_energy_j(
    devices: Devices,
    local_iterations: Counts,
    clients_per_round: Counts | None = None,
    sampling: Uniform | Weighted | None = None,
) -> Floats:
    """Expected joules of a round, those of all that take part in it; arguments as of `round_duration_s`."""
    iterations = np.asarray(local_iterations, dtype=np.float64)[:, None]
    if isinstance(sampling, Weighted):
        both = np.stack([devices.compute_j, devices.communication_j])
        compute_j, communication_j = expected_drawn(both, sampling.probabilities, clients_per_round)
        energy_j: Floats = compute_j * iterations + communication_j
        return energy_j
    mean_j: Floats = devices.compute_j.mean() * iterations + devices.communication_j.mean()
    return mean_j * checked_counts(clients_per_round, len(devices))


def total_cost(duration_s: Floats, energy_j: Floats, gamma: float) -> Floats:
    """Dollars: a second is 1 - gamma of them, a joule gamma (Luo et al., INFOCOM 2021, section III)."""
    return (1 - gamma) * duration_s + gamma * energy_j


def surface(
    problem: Problem,
    local_iterations: Counts | None = None,
    clients_per_round: Counts | None = None,
) -> CostSurface:
    """What reaching the target costs at every E and K of a grid.

    Args:
        problem: The fleet, the weights of seconds and joules, the rounds.
        local_iterations: Values of E, shape (M,); None for 1 to `problem.max_local_iterations`.
        clients_per_round: Values of K, shape (L,); None for 1 to N.

    Returns:
        Arrays of shape (M, L).

    Raises:
        SettingsError: An E below 1, or a K that is not from 1 to N.
    """
    if local_iterations is None:
        local_iterations = np.arange(1, problem.max_local_iterations + 1)
    iterations = np.asarray(local_iterations, dtype=np.int64)
    if (iterations < 1).any():
        raise SettingsError(f"local iterations must be 1 or more, got {iterations.min()}")
    chosen = checked_counts(clients_per_round, problem.clients)
    rounds = problem.rounds.rounds(iterations[:, None], chosen[None, :], problem.clients)
    duration_s = rounds * round_duration_s(
        problem.devices, iterations, clients_per_round, problem.sampling
    )
    energy_j = rounds * round_energy_j(
        problem.devices, iterations, clients_per_round, problem.sampling
    )
    cost = total_cost(duration_s, energy_j, problem.gamma)
    return CostSurface(iterations, chosen, rounds, duration_s, energy_j, cost)
