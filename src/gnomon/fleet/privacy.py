"""Differential privacy of clients: updates clipped to an L2 norm, Gaussian noise, and the epsilon spent.

Noise is added to the sum by a trusted server (central; McMahan et al., ICLR 2018) or by each client to its
own update (local). It comes from keyed generators, so that runs repeat: whoever knows the seed can take it
off again. A federation that has to protect somebody needs a seed that nobody else knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import SettingsError
from gnomon.core.extras import optional_module
from gnomon.fleet.aggregate import Aggregation, norm_bound
from gnomon.fleet.orders import Parameters
from gnomon.fleet.randomness import keyed

Sampling = Literal["fixed", "poisson", "none"]

ASSUMPTIONS: dict[Sampling, str] = {
    "fixed": "so many clients sampled uniformly without replacement; one client's data replaced by another's",
    "poisson": "every client sampled on its own with probability K / N; one client added or removed",
    "none": "no help from sampling; one client's data replaced by another's",
}
"""What an epsilon takes for granted, by kind of sampling; the second half is what it hides."""

# Fractional orders help only where epsilon is too large to mean anything, and not all converge there.
_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 1024)
_WORTH_TIGHTENING = 50.0
"""Above it, numerical accounting takes gigabytes and minutes for a figure that says the same: no privacy."""


@dataclass(frozen=True)
class Privacy:
    """What is done to updates.

    Attributes:
        clip_norm: L2 norm no update exceeds.
        noise_multiplier: Standard deviation of the noise in each coordinate, in units of `clip_norm`: on the
            sum of updates if central, on each update if local.
        place: Who adds the noise.
    """

    clip_norm: float
    noise_multiplier: float
    place: Literal["central", "local"] = "central"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise SettingsError(f"clip_norm must be positive, got {self.clip_norm}")
        _require_noise(self.noise_multiplier)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise in each coordinate of what it is added to."""
        return self.noise_multiplier * self.clip_norm


@dataclass(frozen=True)
class Spent:
    """A run's (epsilon, delta) guarantee.

    Attributes:
        epsilon: Infinite without noise.
        delta: As it was asked for.
        assumption: What it takes for granted, in words.
    """

    epsilon: float
    delta: float
    assumption: str


def require_accountable(aggregation: Aggregation, sampling: str) -> None:
    """Refuse what the noise is not made for.

    Raises:
        SettingsError: One client could weigh more than 1 / K: another aggregation than `mean`, or sampling
            that can draw a client twice.
    """
    if aggregation.kind != "mean":
        raise SettingsError(
            f"differential privacy bounds what each client adds to a plain sum, which aggregation "
            f"{aggregation} is not: use mean"
        )
    if sampling == "weighted":
        raise SettingsError(
            "differential privacy counts each client once, weighted sampling may draw it twice: use uniform"
        )


def central_mean(
    privacy: Privacy,
    updates: NDArray[np.float32],
    clients_per_round: int,
    seed: int,
    round_number: int,
) -> Parameters:
    """Clipped updates, summed, noised if the server is to do it, and divided by K, shape (P,).

    The noise on the mean has standard deviation `noise_multiplier * clip_norm / K` in each coordinate.

    Args:
        privacy: Clipping and noise.
        updates: Those that arrived, one a row, each client once, shape (at most K, P). With local noise they
            are not clipped again, for that would bend the noise.
        clients_per_round: K, as it was asked for: how many did report would be told by the divisor.
        seed: Of the federation.
        round_number: Key of the noise.
    """
    central = privacy.place == "central"
    total = (norm_bound(updates, privacy.clip_norm) if central else updates).sum(
        axis=0, dtype=np.float64
    )
    if central:
        total += _noise(privacy, len(total), keyed(seed, "privacy", round_number))
    mean: Parameters = (total / clients_per_round).astype(np.float32)
    return mean


def local_update(
    privacy: Privacy, update: Parameters, seed: int, round_number: int, client: int
) -> Parameters:
    """One client's update, clipped and noised before it leaves the client, shape (P,)."""
    clipped = norm_bound(update[None], privacy.clip_norm)[0]
    noise = _noise(privacy, len(update), keyed(seed, "local privacy", round_number, client))
    noisy: Parameters = (clipped + noise).astype(np.float32)
    return noisy


def spent(
    noise_multiplier: float,
    clients_per_round: ArrayLike,
    clients: int,
    delta: float,
    sampling: Sampling = "fixed",
) -> Spent:
    """The privacy that rounds of central noise cost each client; local noise is counted as `none`.

    By Google's dp-accounting: Renyi accounting (for `fixed`, Wang, Balle and Kasiviswanathan, AISTATS 2019),
    which for `poisson` and `none` is tightened by privacy loss distributions; each distinct K takes a second
    or so. `fixed` is how a server here samples, and its bound is much the larger: replacing a client moves a
    clipped sum by up to twice the norm. Published figures are mostly of the `poisson` kind. Losses that a
    server evaluates on clients' data, and K and E that a controller chooses by them, are not covered.

    Args:
        noise_multiplier: Of the sum, in units of the clipping norm.
        clients_per_round: How many were sampled in each round, late ones and those that dropped out too;
            shape (R,).
        clients: N.
        delta: Chance that the guarantee fails; well below 1 / N.
        sampling: How they were sampled (`ASSUMPTIONS`). With `none` all N count as having taken part in every
            round; so does a client with local noise in its own.

    Raises:
        SettingsError: A number is out of range.
        MissingExtraError: dp-accounting is not installed.
    """
    _require_noise(noise_multiplier)
    rounds = np.atleast_1d(np.asarray(clients_per_round, dtype=np.int64))
    if not 0 < delta < 1:
        raise SettingsError(f"delta must be between 0 and 1, got {delta}")
    if rounds.size and not (rounds.min() >= 1 and rounds.max() <= clients):
        raise SettingsError(
            f"clients per round must be from 1 to {clients}, got {rounds.min()} to {rounds.max()}"
        )
    if not rounds.size:
        return Spent(0.0, delta, ASSUMPTIONS[sampling])
    if not noise_multiplier:
        return Spent(math.inf, delta, ASSUMPTIONS[sampling])
    accounting = _imported("dp_accounting")
    # The accountants take noise relative to what one client can change, and leave that to their caller: it is
    # the clipping norm where a client comes or goes, twice that where it is replaced.
    noise = accounting.GaussianDpEvent(noise_multiplier / (1 if sampling == "poisson" else 2))
    events = [
        (_sampled(accounting, noise, int(sampled), clients, sampling), int(times))
        for sampled, times in zip(*np.unique(rounds, return_counts=True), strict=True)
    ]
    relations = accounting.NeighboringRelation
    relation = relations.REPLACE_ONE if sampling == "fixed" else relations.ADD_OR_REMOVE_ONE
    renyi = _imported("dp_accounting.rdp").RdpAccountant(_ORDERS, relation)
    epsilon = _epsilon(renyi, events, delta)
    if sampling != "fixed" and epsilon < _WORTH_TIGHTENING:
        tighter = _imported("dp_accounting.pld").PLDAccountant(relation)
        epsilon = min(epsilon, _epsilon(tighter, events, delta))
    return Spent(epsilon, delta, ASSUMPTIONS[sampling])


def _sampled(accounting: Any, noise: Any, sampled: int, clients: int, sampling: Sampling) -> Any:
    """A round of noise, on so many clients of all."""
    if sampling == "poisson":
        return accounting.PoissonSampledDpEvent(sampled / clients, noise)
    if sampling == "fixed":
        return accounting.SampledWithoutReplacementDpEvent(clients, sampled, noise)
    return noise


def _epsilon(accountant: Any, events: list[tuple[Any, int]], delta: float) -> float:
    for event, times in events:
        accountant.compose(event, times)
    return float(accountant.get_epsilon(delta))


def _require_noise(multiplier: float) -> None:
    if not (math.isfinite(multiplier) and multiplier >= 0):
        raise SettingsError(f"noise_multiplier must be 0 or more, got {multiplier}")


def _noise(privacy: Privacy, size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    return generator.normal(0.0, privacy.noise_std, size)


def _imported(module: str) -> Any:
    """A module of Google's accountants, which have no types."""
    return optional_module(module, "dp-accounting", "fed", "the privacy spent")
