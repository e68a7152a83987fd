"""Where a speed-up comes from: more samples a second, or fewer samples until the target.

Time to train is samples to the target over samples a second. Two sets of runs are compared by that, and so
are runs of one benchmark on more and more processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.core.errors import UsageError
from gnomon.core.resampling import RatioTest, welch_ratio
from gnomon.timetotrain.olympic import olympic_mean


@dataclass(frozen=True)
class RunSet:
    """Runs of one benchmark on one system.

    Attributes:
        seconds: Time to train of each run; infinity for one that failed.
        samples: Samples each run trained on until the target; infinity for one that failed.

    Raises:
        UsageError: There is not a positive number of seconds and of samples for every run.
    """

    seconds: tuple[float, ...]
    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.seconds) != len(self.samples):
            raise UsageError(
                f"{len(self.seconds)} runs have seconds and {len(self.samples)} have samples: "
                "give both of every run"
            )
        for index, pair in enumerate(zip(self.seconds, self.samples, strict=True)):
            if not (pair[0] > 0 and pair[1] > 0) or math.isinf(pair[0]) != math.isinf(pair[1]):
                raise UsageError(
                    f"run {index} has {pair[0]} s and {pair[1]} samples: both must be positive, "
                    "or both infinity if it did not converge"
                )

    @property
    def converged(self) -> tuple[tuple[float, float], ...]:
        """Seconds and samples of the runs that reached the target."""
        pairs = zip(self.seconds, self.samples, strict=True)
        return tuple(pair for pair in pairs if math.isfinite(pair[0]))


@dataclass(frozen=True)
class SpeedUp:
    """A candidate's speed-up over a baseline, in its two parts.

    All three are ratios of geometric means over the converged runs, above 1 where the candidate is better,
    with Welch's 95 % interval; `total.ratio` is the product of the other two.

    Attributes:
        total: In time to train.
        throughput: In samples a second.
        convergence: In samples to the target (the baseline's over the candidate's).
        throughput_share: Which share of the total's logarithm comes from throughput; below 0 or above 1
            where the parts work against each other. None if the total is 1.
        left_out: How many runs failed, of baseline and candidate. What is said holds for runs that converge.
    """

    total: RatioTest
    throughput: RatioTest
    convergence: RatioTest
    throughput_share: float | None
    left_out: tuple[int, int]


def compare_run_sets(baseline: RunSet, candidate: RunSet) -> SpeedUp:
    """How much faster the candidate trains, and how much of that is throughput and how much convergence.

    The logarithm of time to train is that of samples to the target less that of samples a second, run by
    run, so the means of logarithms add up. Source: `gnomon.core.resampling.welch_ratio`.

    Raises:
        UsageError: Either has fewer than two converged runs.
    """
    for name, runs in (("baseline", baseline), ("candidate", candidate)):
        if len(runs.converged) < 2:
            raise UsageError(
                f"the {name} has {len(runs.converged)} converged runs of {len(runs.seconds)}: "
                "a comparison takes at least 2"
            )
    before, after = baseline.converged, candidate.converged
    total = welch_ratio([seconds for seconds, _ in after], [seconds for seconds, _ in before])
    convergence = welch_ratio([samples for _, samples in after], [samples for _, samples in before])
    throughput = welch_ratio(
        [samples / seconds for seconds, samples in before],
        [samples / seconds for seconds, samples in after],
    )
    whole = math.log(total.ratio)
    share = math.log(throughput.ratio) / whole if abs(whole) > 1e-12 else None
    left_out = (len(baseline.seconds) - len(before), len(candidate.seconds) - len(after))
    return SpeedUp(total, throughput, convergence, share, left_out)


@dataclass(frozen=True)
class ScalingPoint:
    """One point of a scaling curve. Ratios are to the point with the fewest processes.

    Attributes:
        processes: That train together.
        seconds: Olympic mean of the time to train.
        samples: Olympic mean of the samples to the target.
        samples_per_second: `samples / seconds`.
        speed_up: In time to train.
        throughput_speed_up: In samples a second.
        efficiency: `speed_up` over the ratio of processes: 1 is perfect.
        throughput_efficiency: `throughput_speed_up` over the ratio of processes.
        convergence_efficiency: Samples to the target there over here: below 1, what larger batches cost.
            `efficiency` is the product of the other two.
    """

    processes: int
    seconds: float
    samples: float
    samples_per_second: float
    speed_up: float
    throughput_speed_up: float
    efficiency: float
    throughput_efficiency: float
    convergence_efficiency: float


def scaling_curve(
    runs_at: Sequence[tuple[int, RunSet]], dropped: int = 1
) -> tuple[ScalingPoint, ...]:
    """What more processes bring in time to train, and what is lost to more samples to the target.

    Args:
        runs_at: Numbers of processes with their runs, in any order.
        dropped: Runs dropped at each end.

    Returns:
        By number of processes, ascending.

    Raises:
        UsageError: A number stands there twice or is below 1, or its runs have no olympic mean.
    """
    means: list[tuple[int, float, float]] = []
    for processes, runs in sorted(runs_at, key=lambda pair: pair[0]):
        if processes < 1 or (means and means[-1][0] == processes):
            raise UsageError(
                f"a scaling curve takes each number of processes once, from 1 on, got {processes}"
            )
        seconds = olympic_mean(runs.seconds, dropped)
        samples = olympic_mean(runs.samples, dropped)
        if seconds is None or samples is None:
            raise UsageError(
                f"the {len(runs.seconds)} runs at {processes} processes have no olympic mean, "
                f"{len(runs.seconds) - len(runs.converged)} failed: make more, or leave them out"
            )
        means.append((processes, seconds, samples))
    points = []
    for processes, seconds, samples in means:
        fewest, seconds_there, samples_there = means[0]
        more = processes / fewest
        speed_up, convergence = seconds_there / seconds, samples_there / samples
        throughput = speed_up / convergence
        points.append(
            ScalingPoint(
                processes=processes,
                seconds=seconds,
                samples=samples,
                samples_per_second=samples / seconds,
                speed_up=speed_up,
                throughput_speed_up=throughput,
                efficiency=speed_up / more,
                throughput_efficiency=throughput / more,
                convergence_efficiency=convergence,
            )
        )
    return tuple(points)
