"""How fast training gets on at each E and K, learnt from the rounds that train: a fit in place of a bound.

Progress per round is taken as

    r(E, K) = x^m exp(-q ln(x)²) / (1 + c K^-p),    x = E / 10

(more local iterations bring more, but less and less; few clients cost something that fades with K), and the
loss of the averaged model as a falling power of the progress added up. m and c are learnt, with priors from
federations measured beforehand; q and p stay. The norms of updates tell m to about 0.1 within a few blocks of
rounds, the loss later, which is enough: costs are flat around their least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from gnomon.fleet.devices import Floats
from gnomon.fleet.ledger import Rows
from gnomon.fleet.randomness import keyed

REFERENCE_ITERATIONS = 10.0
CURVATURE = 0.09
SAMPLING_POWER = 2.0
EXPONENT, EXPONENT_SD = 0.3, 0.3
SAMPLING, SAMPLING_LOG_SD = 0.5, 0.8
"""c of clients with equally many samples; with unequal ones few clients are noisier, see `Progress.prior`."""
NORM_SLOPE, NORM_OFFSET, NORM_SD = 1.5, -0.15, 0.1
FEWEST_NORMS = 6
DECLINE, DECLINE_LOG_SD = 0.6, 0.5
"""Power with which the loss falls: 0.35 to 0.7 in the federations measured."""
ONSET, ONSET_LOG_SD = 8.0, 1.0
HALF_LIFE = 60
"""Rounds after which an observation counts half: what holds early in training need not hold later."""
WINDOW = 200
LEAST_NOISE = 0.004
REFITS = 2
INFLATE = 0.7
UNSETTLED = 3
"""The first rounds jump more than any noise estimate says; they count a tenth."""
LEAST_RATE = 1e-4


@dataclass(frozen=True)
class Progress:
    """What is known of r(E, K), and where training stands. A `RoundsModel`, with relative rounds.

    Attributes:
        exponent: m.
        sampling: c.
        covariance: Of (m, ln c), shape (2, 2).
        rate: Fall of the logarithm of the loss, per round, lately.
        loss: Where training stands, noise taken off; NaN before the first fit.
    """

    exponent: float
    sampling: float
    covariance: Floats = field(repr=False)
    rate: float = math.nan
    loss: float = math.nan

    @classmethod
    def prior(cls, weights: Floats) -> Progress:
        """Before the first round. Averages of few clients with unequal p_k are as noisy as those of fewer."""
        unequal = 1 + float(weights.var() / weights.mean() ** 2)
        covariance = np.diag([EXPONENT_SD**2, SAMPLING_LOG_SD**2])
        return cls(EXPONENT, SAMPLING * unequal**SAMPLING_POWER, covariance)

    def rounds(
        self, local_iterations: ArrayLike, clients_per_round: ArrayLike, clients: int
    ) -> Floats:
        """Rounds for the progress that one round makes at E = 10 with all clients; arrays broadcast."""
        return np.exp(
            -_log_progress(self.exponent, self.sampling, local_iterations, clients_per_round)
        )

    def draws(self, count: int) -> list[Progress]:
        """What m and c could be as well, in pairs around the estimate; the same ones every time."""
        normal = keyed(0, "progress").standard_normal((count // 2, 2))
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(2))
        offsets = np.concatenate([normal, -normal]) @ root.T
        return [
            Progress(self.exponent + a, self.sampling * math.exp(b), self.covariance)
            for a, b in offsets
        ]

    @property
    def words(self) -> str:
        """The estimate in a line."""
        m_sd, c_sd = np.sqrt(np.diag(self.covariance))
        return (
            f"progress grows as E^{self.exponent:.2f} (sd {m_sd:.2f}) at E=10, few clients cost "
            f"1 + {self.sampling:.2g} / K^{SAMPLING_POWER:g} (sd {100 * math.expm1(c_sd):.0f} %)"
        )


def fit(history: Rows, prior: Progress, averaged: int) -> Progress:
    """What the rounds of one course of training say, on top of the prior.

    Args:
        history: Rounds of the ledger, oldest first.
        prior: What is known without them.
        averaged: Models in the average that `average_loss` is of.
    """
    from scipy.optimize import least_squares

    history = history[-WINDOW:]
    seen = np.flatnonzero(np.isfinite(history["average_loss"]) & (history["average_loss"] > 0))
    if len(seen) < UNSETTLED:
        return prior
    iterations, clients = history["local_iterations"], history["clients_per_round"]
    prior = _told_by_norms(history, prior)
    observed = np.log(history["average_loss"][seen])
    weights = 0.5 ** ((len(history) - 1 - seen) / HALF_LIFE)
    weights[history["step"][seen] < UNSETTLED] *= 0.1
    before = np.array([prior.exponent, math.log(prior.sampling)])
    spread = np.sqrt(np.diag(prior.covariance))

    def curve(unknown: Floats) -> Floats:
        exponent, log_sampling, level, log_decline, log_onset = unknown
        progress = np.exp(_log_progress(exponent, math.exp(log_sampling), iterations, clients))
        fallen: Floats = level - math.exp(log_decline) * np.log(
            math.exp(log_onset) + np.cumsum(progress)
        )
        return fallen

    def misfit(unknown: Floats) -> Floats:
        left: Floats = observed - _trailing_mean(curve(unknown), averaged)[seen]
        return left

    def residuals(unknown: Floats, noise: float) -> Floats:
        left = misfit(unknown) / noise
        # Beyond a few sigmas a residual counts by its size, not its square: losses jump at times.
        damped = np.sign(left) * np.sqrt(2 * (np.sqrt(1 + left**2) - 1))
        held = [
            *((unknown[:2] - before) / spread),
            (unknown[3] - math.log(DECLINE)) / DECLINE_LOG_SD,
            (unknown[4] - math.log(ONSET)) / ONSET_LOG_SD,
        ]
        return np.concatenate([damped * np.sqrt(weights), held])

    start = np.array(
        [*before, observed[0] + DECLINE * math.log(ONSET), math.log(DECLINE), math.log(ONSET)]
    )
    scale = [*spread, 1.0, DECLINE_LOG_SD, ONSET_LOG_SD]
    noise = _noise(history["loss"][seen])
    for _ in range(REFITS):
        found = least_squares(residuals, start, x_scale=scale, max_nfev=50, kwargs={"noise": noise})
        start = found.x
        # Averages over a window overlap: as many of them as it is long tell as much as one.
        left = misfit(start)
        scatter = math.sqrt(float(weights @ left**2 / weights.sum()))
        noise = max(scatter * math.sqrt(averaged) * INFLATE, noise if _ == 0 else 0, LEAST_NOISE)
    precision = found.jac.T @ found.jac + 1e-9 * np.eye(len(start))
    fallen = curve(found.x)
    lately = min(6, len(fallen))
    rate = (fallen[-lately] - fallen[-1]) / max(lately - 1, 1)
    rate = max(float(rate), LEAST_RATE)
    # The average is of models that lie half a window back.
    behind = (min(averaged, len(fallen)) - 1) / 2
    return Progress(
        exponent=float(found.x[0]),
        sampling=math.exp(found.x[1]),
        covariance=np.linalg.inv(precision)[:2, :2],
        rate=rate,
        loss=float(np.exp(observed[-1] - rate * behind)),
    )


def _told_by_norms(history: Rows, prior: Progress) -> Progress:
    """The prior with what the norms of updates say of m.

    How far clients get in E iterations tells how soon more of them bring less, long before the loss does: the
    norm of their updates goes as E^n, with n near 1 where they are far from done and near 0 where they
    are. Over the federations measured m was 1.5 n - 0.15 to within 0.1.
    """
    norms = history["update_norm"]
    seen = np.flatnonzero(np.isfinite(norms) & (norms > 0))
    if len(seen) < FEWEST_NORMS or np.ptp(history["local_iterations"][seen]) == 0:
        return prior
    places = np.log(history["local_iterations"][seen] / REFERENCE_ITERATIONS)
    steps = history["step"][seen].astype(np.float64)
    weights = np.sqrt(
        history["clients_per_round"][seen] * 0.5 ** ((len(history) - 1 - seen) / HALF_LIFE)
    )
    # The norm also falls in the course of training; E goes up and down, which tells the two apart.
    columns = np.column_stack([places, np.ones_like(steps), np.log1p(steps), steps / HALF_LIFE])
    held = np.diag([0.0, 0.0, 1.0, 1.0])
    weighted = columns * weights[:, None]
    inverse = np.linalg.pinv(weighted.T @ weighted + held)
    found = inverse @ (weighted.T @ (np.log(norms[seen]) * weights))
    left = (np.log(norms[seen]) - columns @ found) * weights
    spare = max(len(seen) - len(found), 1)
    slope_variance = float(inverse[0, 0] * (left @ left) / spare)
    centre = float(np.average(places, weights=weights**2))
    told = NORM_SLOPE * float(found[0]) + NORM_OFFSET + 2 * CURVATURE * centre
    variance = NORM_SD**2 + NORM_SLOPE**2 * slope_variance
    before = float(prior.covariance[0, 0])
    share = before / (before + variance)
    covariance = prior.covariance.copy()
    covariance[0, 0] = before * (1 - share)
    return replace(
        prior, exponent=prior.exponent + share * (told - prior.exponent), covariance=covariance
    )


def _log_progress(
    exponent: float, sampling: float, local_iterations: ArrayLike, clients_per_round: ArrayLike
) -> Floats:
    x = np.log(np.asarray(local_iterations, dtype=np.float64) / REFERENCE_ITERATIONS)
    few = sampling * np.asarray(clients_per_round, dtype=np.float64) ** -SAMPLING_POWER
    progress: Floats = exponent * x - CURVATURE * x**2 - np.log1p(few)
    return progress


def _trailing_mean(values: Floats, width: int) -> Floats:
    """Mean of each value and up to `width - 1` before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    means: Floats = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _noise(losses: Floats) -> float:
    """Relative noise of the averaged model's loss: that of single models, of which half averages out."""
    if len(losses) < UNSETTLED or not (losses > 0).all():
        return 0.1
    second = np.diff(np.log(losses), 2)[-40:] / math.sqrt(6)
    return max(1.4826 * float(np.median(np.abs(second))) / math.sqrt(2), LEAST_NOISE)
