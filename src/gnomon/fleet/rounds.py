"""Models of the number of rounds that training needs to reach its target, as a function of E and K.

The convergence bound of Luo et al. (INFOCOM 2021), and the same with one constant more. Real-valued: the cost
model compares choices; how many whole rounds are run is found by running them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from gnomon.core.errors import SettingsError
from gnomon.fleet.devices import Floats


class RoundsModel(Protocol):
    """Predicts rounds to the target."""

    def rounds(
        self, local_iterations: ArrayLike, clients_per_round: ArrayLike, clients: int
    ) -> Floats:
        """R at E and K of N clients; arrays broadcast, values are positive."""


@dataclass(frozen=True)
class Bound:
    """R = (A0 + B0 g(K) E²) / (epsilon E), the bound of Luo et al. (INFOCOM 2021), section IV, solved for R.

    Attributes:
        a0: A0: variance of gradients, initial distance.
        b0: B0: how far local models drift apart.
        epsilon: F(w_R) - F* that is to be reached; where only costs are compared it cancels.
        with_replacement: Clients are drawn with replacement, which leaves 1/K in g instead of
            (N - K) / (K (N - 1)) (Li et al., ICLR 2020, lemma 5).

    Raises:
        SettingsError: A constant that is negative, NaN or infinite, or nothing that takes rounds.
    """

    a0: float
    b0: float
    epsilon: float = 1.0
    with_replacement: bool = False

    def __post_init__(self) -> None:
        _check(self.epsilon, a0=self.a0, b0=self.b0)

    def rounds(
        self, local_iterations: ArrayLike, clients_per_round: ArrayLike, clients: int
    ) -> Floats:
        """R at E and K of N clients; arrays broadcast."""
        growth = self.b0 * (
            1 + sampling_spread(clients_per_round, clients, with_replacement=self.with_replacement)
        )
        return _solved_for_rounds(self.a0, growth, local_iterations, self.epsilon)


@dataclass(frozen=True)
class ThreeParameter:
    """R = (A0 + (B0 + C0 (N - K) / (K (N - 1))) E²) / (epsilon E): sampling has a constant of its own.

    The bound before its two E² terms are merged into one: with C0 = B0 it is `Bound`.

    Attributes:
        a0: A0: variance of gradients, initial distance.
        b0: B0: drift of local models that sampling more clients does not mend.
        c0: C0: what sampling adds.
        epsilon: F(w_R) - F* that is to be reached.
        with_replacement: Clients are drawn with replacement; see `Bound`.

    Raises:
        SettingsError: A constant that is negative, NaN or infinite, or nothing that takes rounds.
    """

    a0: float
    b0: float
    c0: float
    epsilon: float = 1.0
    with_replacement: bool = False

    def __post_init__(self) -> None:
        _check(self.epsilon, a0=self.a0, b0=self.b0, c0=self.c0)

    def rounds(
        self, local_iterations: ArrayLike, clients_per_round: ArrayLike, clients: int
    ) -> Floats:
        """R at E and K of N clients; arrays broadcast."""
        spread = sampling_spread(clients_per_round, clients, with_replacement=self.with_replacement)
        return _solved_for_rounds(
            self.a0, self.b0 + self.c0 * spread, local_iterations, self.epsilon
        )


def sampling_spread(
    clients_per_round: ArrayLike, clients: int, *, with_replacement: bool = False
) -> Floats:
    """(N - K) / (K (N - 1)): 1 for one client a round, 0 for all; with replacement 1 / K."""
    chosen = np.asarray(clients_per_round, dtype=np.float64)
    if with_replacement:
        return 1 / chosen
    if clients == 1:
        return np.zeros_like(chosen)
    return (clients - chosen) / (chosen * (clients - 1))


def _solved_for_rounds(
    a0: float, growth: Floats, local_iterations: ArrayLike, epsilon: float
) -> Floats:
    iterations = np.asarray(local_iterations, dtype=np.float64)
    rounds: Floats = (a0 / iterations + growth * iterations) / epsilon
    return rounds


def _check(epsilon: float, **constants: float) -> None:
    for name, value in constants.items():
        if not (math.isfinite(value) and value >= 0):
            raise SettingsError(f"{name} must be zero or more, got {value}: estimate it again")
    if constants["a0"] == constants["b0"] == constants.get("c0", 0) == 0:
        raise SettingsError(
            f"{', '.join(constants)} are all zero, so that training would need no round: "
            f"give at least one that is positive"
        )
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise SettingsError(f"epsilon must be positive, got {epsilon}")
