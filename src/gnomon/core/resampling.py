"""Intervals and tests for measurements whose neighbours are alike. Pure functions of arrays.

Arrays are in the order of time. Runs of neighbours are drawn together, so that what one slow query
does to the next stays in the interval. The same arrays and seed always give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

Values: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95
REPLICATES = 1000
MAX_PIECES = 2048
"""A long series is drawn in pieces of neighbours, this many: blocks get longer, none is left out."""
MAX_ROWS = 1 << 19
"""Of a longer series, each piece keeps its first rows: about this many in all."""
FEWEST = 30
"""Fewer values than this in a series, and no interval is given."""
FEWEST_BEYOND = 5
"""Fewer values than this beyond a percentile, and the sample says nothing about its spread."""
FEWEST_BLOCKS = 16
_LEVELS = 128


@dataclass(frozen=True)
class Interval:
    """A range that holds the true value in `confidence` of all repetitions."""

    low: float
    high: float
    confidence: float = CONFIDENCE

    def holds(self, value: float) -> bool:
        """Whether `value` lies in it, ends included."""
        return self.low <= value <= self.high


def thinned(values: NDArray[Any]) -> Values:
    """At most about `MAX_ROWS` values, as evenly spaced stretches of neighbours."""
    if len(values) <= MAX_ROWS:
        return np.asarray(values, dtype=np.float64)
    step = len(values) // MAX_PIECES
    stretches = values[: step * MAX_PIECES].reshape(MAX_PIECES, step)
    return stretches[:, : MAX_ROWS // MAX_PIECES].astype(np.float64).reshape(-1)


def block_length(series: Values) -> int:
    """How many neighbours to draw together: the automatic choice of Politis and White.

    Never below the cube root of the length, the rate at which the best length grows (Künsch 1989),
    nor so long that fewer than `FEWEST_BLOCKS` blocks are left.

    Sources: Politis and White, "Automatic block-length selection for the dependent bootstrap",
    Econometric Reviews 23 (2004), for the circular bootstrap; Patton, Politis and White, "Correction",
    Econometric Reviews 28 (2009).

    Args:
        series: Shape (n,), in the order of time.
    """
    count = len(series)
    least = int(np.ceil(count ** (1 / 3)))
    most = max(1, count // FEWEST_BLOCKS)
    covariance = _autocovariance(series)
    if covariance[0] <= 0:
        return min(least, most)
    # The lag after which correlations look like noise for a while.
    quiet = max(5, int(np.ceil(np.sqrt(np.log10(count)))))
    bound = 2 * np.sqrt(np.log10(count) / count)
    correlation = np.abs(covariance / covariance[0])
    furthest = min(len(correlation) - quiet - 1, 4 * most)
    last = next(
        (lag for lag in range(furthest) if (correlation[lag + 1 : lag + 1 + quiet] < bound).all()),
        max(furthest, 0),
    )
    lags = np.arange(1, min(2 * max(last, 1), count - 1) + 1)
    taper = np.clip(2 * (1 - lags / (2 * max(last, 1))), 0, 1)  # flat to half way, then down to 0
    tapered = taper * covariance[lags]
    spread = covariance[0] + 2 * tapered.sum()
    slope = 2 * (lags * tapered).sum()
    if spread <= 0:
        return min(least, most)
    best = int(np.ceil((1.5 * slope**2 / spread**2 * count) ** (1 / 3)))
    return min(max(best, least), most)


def _autocovariance(series: Values) -> Values:
    """Autocovariance at lags 0 to n - 1, by fast Fourier transform."""
    count = len(series)
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(series - series.mean(), size)
    covariance: Values = np.fft.irfft(np.abs(spectrum) ** 2, size)[:count] / count
    return covariance


def _pieces(count: int) -> NDArray[np.int64]:
    """For each of `count` rows, the piece it belongs to."""
    return np.arange(count, dtype=np.int64) * min(count, MAX_PIECES) // count


def _sums_by(piece: NDArray[np.int64], weights: NDArray[Any]) -> Values:
    """The sum of `weights` in each piece."""
    return np.bincount(piece, weights=weights).astype(np.float64)


def _windows(pieces: Values, length: int) -> Values:
    """Sums over each block of `length` neighbouring rows, the end joined to the beginning.

    Args:
        pieces: Shape (p, columns).
        length: Rows a block.

    Returns:
        Shape (p, columns): row i sums rows i to i + length - 1.
    """
    joined = np.concatenate([np.zeros((1, pieces.shape[1])), pieces, pieces[: length - 1]])
    total = np.cumsum(joined, axis=0)
    return np.asarray(total[length:] - total[:-length])


def _resampled_sums(pieces: Values, length: int, generator: np.random.Generator) -> Values:
    """Column sums of `REPLICATES` series made of blocks drawn at random, with replacement.

    The circular block bootstrap: Künsch, "The jackknife and the bootstrap for general stationary
    observations", Annals of Statistics 17 (1989); Politis and Romano, "A circular block-resampling
    procedure for stationary data" (1992).
    """
    count = len(pieces)
    draws = max(1, round(count / length))
    starts = generator.integers(0, count, size=(REPLICATES, draws))
    rows = np.arange(REPLICATES)[:, np.newaxis] * count
    times = np.bincount((rows + starts).reshape(-1), minlength=REPLICATES * count)
    weights = times.reshape(REPLICATES, count).astype(np.float64)
    return np.asarray(weights @ _windows(pieces, length))


def percentile_replicates(
    values: NDArray[Any], share: float, generator: np.random.Generator
) -> Values | None:
    """A percentile of `REPLICATES` resampled series.

    Args:
        values: Shape (n,), in the order of time.
        share: The percentile as a share, between 0 and 1.
        generator: Where the draws come from.

    Returns:
        Shape (REPLICATES,); None if there are too few values to say anything about this percentile.
    """
    values = thinned(values)
    count = len(values)
    if count < FEWEST:
        return None
    ordered = np.sort(values)
    piece = _pieces(count)
    beyond = _sums_by(piece, values >= ordered[int(count * share)])
    length = block_length(beyond)
    if len(np.unique(np.flatnonzero(beyond) // length)) < FEWEST_BEYOND:
        return None
    # Counting values between a few hundred order statistics, dense around the percentile, makes the
    # percentile a function of sums over blocks: no resampled series is ever written out.
    steps = np.linspace(0, 1, _LEVELS) ** 3
    levels = np.concatenate([share * (1 - steps), share + (1 - share) * steps])
    edges = np.unique(ordered[np.minimum((levels * count).astype(np.int64), count - 1)])
    bins = np.searchsorted(edges, values, side="left")
    cells = np.bincount(piece * len(edges) + bins, minlength=len(beyond) * len(edges))
    table = cells.reshape(len(beyond), len(edges)).astype(np.float64)
    sums = _resampled_sums(table, length, generator)
    below = np.cumsum(sums, axis=1)
    target = share * below[:, -1]
    upper = np.minimum((below <= target[:, np.newaxis]).sum(axis=1), len(edges) - 1)
    lower = np.maximum(upper - 1, 0)
    rows = np.arange(REPLICATES)
    from_lower = np.where(upper > 0, below[rows, lower], 0.0)
    part = (target - from_lower) / np.maximum(below[rows, upper] - from_lower, 1.0)
    return np.asarray(edges[lower] + np.clip(part, 0, 1) * (edges[upper] - edges[lower]))


def rate_replicates(
    counts: NDArray[Any], durations: NDArray[Any], generator: np.random.Generator
) -> Values | None:
    """The rate `sum(counts) / sum(durations)` of `REPLICATES` resampled series.

    Args:
        counts: What was done in each step, shape (n,), in the order of time.
        durations: How long each step took, shape (n,).
        generator: Where the draws come from.

    Returns:
        Shape (REPLICATES,), in counts per unit of duration; None if there are too few steps.
    """
    if len(counts) < FEWEST:
        return None
    piece = _pieces(len(counts))
    table = np.stack([_sums_by(piece, counts), _sums_by(piece, durations)], axis=1)
    rate = table[:, 0].sum() / table[:, 1].sum()
    # What a step adds to the rate's error, to first order: its correlation is what matters.
    sums = _resampled_sums(table, block_length(table[:, 0] - rate * table[:, 1]), generator)
    return np.asarray(sums[:, 0] / sums[:, 1])


def ratio_interval(numerator: Values, denominator: Values) -> Interval:
    """The percentile interval of a ratio from independent replicates of its two parts."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(numerator / denominator, [tail, 1 - tail])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class RankTest:
    """What the Mann-Whitney test found.

    Attributes:
        p_value: Two-sided; None if there are too few values.
        superiority: The common-language effect size: the chance that a value of the candidate is
            greater than one of the baseline, ties counted half. Cliff's delta is twice this less 1.
    """

    p_value: float | None
    superiority: float

    @property
    def cliffs_delta(self) -> float:
        """From -1 (every candidate's value is lower) over 0 to 1 (every one is greater)."""
        return 2 * self.superiority - 1


def mann_whitney(baseline: NDArray[Any], candidate: NDArray[Any]) -> RankTest:
    """The Mann-Whitney U test for two series whose neighbours are alike.

    The textbook variance holds for independent values; here each length is replaced by the number of
    independent values that would know the mean rank as well, and the normal distribution by Student's
    with as many degrees of freedom as the shorter series has blocks, less one.

    Sources: Mann and Whitney (1947); McGraw and Wong, "A common language effect size statistic"
    (1992); Cliff (1993).

    Args:
        baseline: Shape (n,), in the order of time.
        candidate: Shape (m,), in the order of time.
    """
    baseline, candidate = thinned(baseline), thinned(candidate)
    first, second = len(baseline), len(candidate)
    together = np.concatenate([baseline, candidate])
    ranks = distributions.rankdata(together)
    rank_sum = float(ranks[first:].sum())
    superiority = (rank_sum - second * (second + 1) / 2) / (first * second)
    if min(first, second) < FEWEST:
        return RankTest(None, superiority)
    _, tied = np.unique(together, return_counts=True)
    total = float(len(together))
    tie_share = float((tied.astype(np.float64) ** 3 - tied).sum()) / (total**3 - total)
    if tie_share >= 1:
        return RankTest(1.0, superiority)
    alone, blocks = _effective_count(baseline)
    alone_second, blocks_second = _effective_count(candidate)
    variance = (1 - tie_share) / 12 * (1 / alone + 1 / alone_second + 1 / (alone * alone_second))
    distance = abs(superiority - 0.5) / np.sqrt(variance)
    freedom = min(blocks, blocks_second) - 1
    return RankTest(float(2 * distributions.t.sf(distance, freedom)), superiority)


def _effective_count(values: Values) -> tuple[float, int]:
    """How many independent values would know the mean rank as well, and how many blocks tell so."""
    ranks = distributions.rankdata(values)
    piece = _pieces(len(ranks))
    table = np.stack([_sums_by(piece, ranks), _sums_by(piece, np.ones(len(ranks)))], axis=1)
    centre = ranks.mean()
    length = block_length(table[:, 0] - centre * table[:, 1])
    blocks = max(2, len(table) // length)
    windows = _windows(table, length)
    spread_of_mean = float(np.var(windows[:, 0] / windows[:, 1])) / (blocks - 1)
    if spread_of_mean <= 0:
        return float(len(values)), blocks
    return min(float(len(values)), float(np.var(ranks)) / spread_of_mean), blocks


@dataclass(frozen=True)
class RatioTest:
    """A ratio of means with its interval and two-sided p-value."""

    ratio: float
    interval: Interval
    p_value: float


def welch_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> RatioTest:
    """The ratio of geometric means of two small samples of positive values, such as whole runs.

    Welch's t-test of the logarithms. (Ranks cannot tell here: with three values a side the exact
    Mann-Whitney p-value never falls below 0.1.)

    Source: Welch, "The generalization of Student's problem", Biometrika 34 (1947).

    Args:
        baseline: At least two positive values.
        candidate: At least two positive values.
    """
    logs = [np.log(np.asarray(side, dtype=np.float64)) for side in (baseline, candidate)]
    means = [float(side.mean()) for side in logs]
    errors = [float(side.var(ddof=1)) / len(side) for side in logs]
    distance, error = means[1] - means[0], sum(errors)
    if error == 0:
        ratio = float(np.exp(distance))
        return RatioTest(ratio, Interval(ratio, ratio), 1.0 if distance == 0 else 0.0)
    freedom = error**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(errors, logs, strict=True)
    )
    reach = float(distributions.t.ppf((1 + CONFIDENCE) / 2, freedom)) * float(np.sqrt(error))
    p_value = float(2 * distributions.t.sf(abs(distance) / np.sqrt(error), freedom))
    interval = Interval(float(np.exp(distance - reach)), float(np.exp(distance + reach)))
    return RatioTest(float(np.exp(distance)), interval, p_value)


def share_difference(
    baseline: tuple[int, int], candidate: tuple[int, int]
) -> tuple[Interval, float]:
    """The difference of two shares, candidate less baseline: its interval and two-sided p-value.

    Sources: Newcombe, "Interval estimation for the difference between independent proportions",
    Statistics in Medicine 17 (1998), method 10, made of two Wilson (1927) intervals; the pooled
    score test.

    Args:
        baseline: Hits and trials.
        candidate: Hits and trials.
    """
    reach = float(distributions.norm.ppf((1 + CONFIDENCE) / 2))
    (hits, trials), (hits_second, trials_second) = baseline, candidate
    share, share_second = hits / trials, hits_second / trials_second
    low, high = _wilson(hits, trials, reach)
    low_second, high_second = _wilson(hits_second, trials_second, reach)
    difference = share_second - share
    interval = Interval(
        difference - float(np.hypot(share_second - low_second, high - share)),
        difference + float(np.hypot(high_second - share_second, share - low)),
    )
    pooled = (hits + hits_second) / (trials + trials_second)
    error = np.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / trials_second))
    if error == 0:
        return interval, 1.0
    return interval, float(2 * distributions.norm.sf(abs(difference) / error))


def _wilson(hits: int, trials: int, reach: float) -> tuple[float, float]:
    """Wilson's interval for a share."""
    share, square = hits / trials, reach**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = (
        reach
        * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
        / (1 + square / trials)
    )
    return float(centre - half), float(centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being many, in the order given; none is below what it was.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    adjusted = [0.0] * len(p_values)
    greatest = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        greatest = max(greatest, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = greatest
    return adjusted
