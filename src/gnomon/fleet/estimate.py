"""The convergence bound's constants from a few short runs at different E and K.

Each run goes from the same parameters down to a loss F_a, then to F_b < F_a. With R_a and R_b rounds to get
there and g the bound's factor of K, `d = E (R_b - R_a)` is `Delta (A0 + B0 g(K) E²)`, where Delta is the same
for all runs and holds the unknown F*: constants are found up to that factor, on which no choice of K and E
depends (Luo et al., INFOCOM 2021, section IV-C).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.fleet.devices import Floats
from gnomon.fleet.randomness import keyed
from gnomon.fleet.rounds import Bound, RoundsModel, ThreeParameter, sampling_spread

Method = Literal["pairwise", "least-squares", "three-parameter"]
METHODS: dict[str, Method] = {
    "pairwise": "pairwise",
    "least-squares": "least-squares",
    "three-parameter": "three-parameter",
}

ASSUMED_NOISE = 0.15
"""Relative noise of a run's `d` where too few runs tell it; in the measured studies it was 5 to 20 %."""
LEAST_NOISE = 0.02
DRAWS = 200
FAR_ENOUGH = 1.3
"""Runs whose g(K) E² differ by less than this factor tell noise apart, not constants."""


@dataclass(frozen=True)
class SampledRun:
    """One short run.

    Attributes:
        local_iterations: E.
        clients_per_round: K.
        rounds: R_b - R_a, from the first loss to the second.
    """

    local_iterations: int
    clients_per_round: int
    rounds: float


@dataclass(frozen=True)
class Estimate:
    """Constants, and how sure they are.

    Attributes:
        method: How they were found.
        model: The rounds model with these constants; rounds are relative.
        ratio: A0 / B0; infinite if no drift was visible.
        ratio_interval: Its 90 % interval.
        draws: Models that noise of this size could have given as well, for intervals of whatever follows.
        noise: Relative noise of one run, measured where there are more runs than constants, else assumed.
        noise_measured: Which of the two.
        warning: What cannot be told from these runs, and what to sample next; empty if all can.
    """

    method: Method
    model: RoundsModel
    ratio: float
    ratio_interval: tuple[float, float]
    draws: tuple[RoundsModel, ...]
    noise: float
    noise_measured: bool
    warning: str = ""


def estimate(
    runs: Sequence[SampledRun],
    clients: int,
    method: Method = "least-squares",
    *,
    with_replacement: bool = False,
) -> Estimate:
    """Constants of the bound from sampled runs.

    * `pairwise`: A0/B0 of every two runs, averaged, as in the paper; nearly equal runs make it wild.
    * `least-squares`: all runs at once, weighted by 1/d since the noise of a count of rounds is relative.
    * `three-parameter`: what sampling few clients costs gets a constant of its own.

    The interval is a parametric bootstrap: the same method on runs with as much noise added.

    Args:
        runs: At least two, three for `three-parameter`, at different E and K.
        clients: N.
        method: One of `METHODS`.
        with_replacement: How clients were drawn; see `rounds.Bound`.

    Raises:
        SettingsError: The constants cannot be told from these runs; the message says what to sample next.
    """
    rows = np.array(
        [(run.local_iterations, run.clients_per_round, run.rounds) for run in runs], dtype=float
    ).reshape(-1, 3)
    iterations, chosen, rounds = rows.T
    if len(runs) and not (np.isfinite(rows).all() and (rounds > 0).all()):
        raise SettingsError("sampled runs need a positive number of rounds between the two losses")
    spread = sampling_spread(chosen, clients, with_replacement=with_replacement)
    _require_identifiable(iterations, spread, clients, method)
    fit = _FITS[method]
    d = iterations * rounds
    constants = fit(d, iterations, spread)
    noise, measured = _noise(d, iterations, spread, constants, spare=len(d) - _CONSTANTS[method])
    generator = keyed(0, "estimate", len(runs))
    drawn = [
        fit(d * np.exp(noise * generator.standard_normal(len(d))), iterations, spread)
        for _ in range(DRAWS)
    ]
    ratios = np.array([_ratio(each) for each in drawn])
    low, high = np.quantile(ratios, [0.05, 0.95], method="nearest")
    return Estimate(
        method=method,
        model=_model(constants, method, with_replacement),
        ratio=_ratio(constants),
        ratio_interval=(float(low), float(high)),
        draws=tuple(_model(each, method, with_replacement) for each in drawn),
        noise=noise,
        noise_measured=measured,
        warning=_warning(constants, iterations, clients),
    )


def _pairwise(d: Floats, iterations: Floats, spread: Floats) -> Floats:
    """(A0, B0, C0) with B0 = C0 = 1: the mean of A0/B0 over pairs; where it comes out negative, 0."""
    g = (1 + spread) * iterations**2
    ratios = [
        (d[i] * g[j] - d[j] * g[i]) / (d[j] - d[i])
        for i, j in itertools.combinations(range(len(d)), 2)
        if d[i] != d[j]
    ]
    ratio = float(np.mean(ratios)) if ratios else 0.0
    return np.array([max(ratio, 0.0), 1.0, 1.0])


def _least_squares(d: Floats, iterations: Floats, spread: Floats) -> Floats:
    """(A0, B0, B0), neither negative."""
    from scipy.optimize import nnls

    columns = np.column_stack([np.ones_like(d), (1 + spread) * iterations**2])
    (a, b), _ = _scaled(nnls, columns, d)
    return np.array([a, b, b])


def _three_parameter(d: Floats, iterations: Floats, spread: Floats) -> Floats:
    """(A0, B0, C0), none negative."""
    from scipy.optimize import nnls

    columns = np.column_stack([np.ones_like(d), iterations**2, spread * iterations**2])
    constants, _ = _scaled(nnls, columns, d)
    return constants


def _scaled(
    solve: Callable[..., tuple[Floats, float]], columns: Floats, d: Floats
) -> tuple[Floats, float]:
    """Relative least squares, columns brought to one size first: E² is thousands of times 1."""
    relative = columns / d[:, None]
    size = np.linalg.norm(relative, axis=0)
    size[size == 0] = 1.0
    found, residual = solve(relative / size, np.ones_like(d))
    return found / size, residual


_FITS: dict[Method, Callable[[Floats, Floats, Floats], Floats]] = {
    "pairwise": _pairwise,
    "least-squares": _least_squares,
    "three-parameter": _three_parameter,
}
_CONSTANTS: dict[Method, int] = {"pairwise": 2, "least-squares": 2, "three-parameter": 3}


def _model(constants: Floats, method: Method, with_replacement: bool) -> RoundsModel:
    a, b, c = (float(value) for value in constants)
    if a == b == c == 0:
        a = 1.0
    if method == "three-parameter":
        return ThreeParameter(a, b, c, with_replacement=with_replacement)
    return Bound(a, b, with_replacement=with_replacement)


def _ratio(constants: Floats) -> float:
    a, b, _ = constants
    return float(a / b) if b > 0 else float("inf")


def _noise(
    d: Floats, iterations: Floats, spread: Floats, constants: Floats, *, spare: int
) -> tuple[float, bool]:
    """Relative noise of a run, from what the fit leaves over; and whether it was measured or assumed."""
    if spare < 1:
        return ASSUMED_NOISE, False
    fitted = constants[0] + (constants[1] + constants[2] * spread) * iterations**2
    left = np.log(d / fitted)
    left -= left.mean()  # the pairwise constants are known up to a factor
    return max(float(np.sqrt(left @ left / spare)), LEAST_NOISE), True


def _require_identifiable(iterations: Floats, spread: Floats, clients: int, method: Method) -> None:
    wanted = _CONSTANTS[method]
    if len(iterations) < wanted:
        raise SettingsError(
            f"{method} needs {wanted} sampled runs or more, got {len(iterations)}: "
            f"{_next_sample(iterations, clients)}"
        )
    g = (1 + spread) * iterations**2
    if g.max() < FAR_ENOUGH * g.min():
        raise SettingsError(
            f"A0 and B0 cannot be told apart: all sampled runs have nearly the same g(K) E² "
            f"({g.min():.3g} to {g.max():.3g}); {_next_sample(iterations, clients)}"
        )
    if method == "three-parameter" and clients > 1 and np.ptp(spread) < 0.05:
        raise SettingsError(
            "C0 cannot be told from B0: all sampled runs have nearly the same K; sample one with K=1 or 2, "
            "and one with many clients"
        )


def _next_sample(iterations: Floats, clients: int) -> str:
    largest = int(iterations.max()) if len(iterations) else 10
    return f"sample a run with E={4 * largest}, K={max(1, clients // 10)} next"


def _warning(constants: Floats, iterations: Floats, clients: int) -> str:
    a, b, c = constants
    if a > 0 and b == 0 and c == 0:
        return (
            f"no drift of local models was visible up to E={int(iterations.max())}, so that only a bound on "
            f"E is known: {_next_sample(iterations, clients)}"
        )
    if a == 0:
        return (
            f"rounds did not fall with E from E={int(iterations.min())} on: sample a run with E=1, "
            f"K={max(1, clients // 10)} next"
        )
    return ""
