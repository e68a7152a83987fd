"""One metric on two sides: its ratio, interval and test, and what may be claimed of it.

Figures come from `run.json`; intervals are made from the raw samples in the run folders, or, with three
or more runs a side, from the figures of the runs themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gnomon.core import resampling
from gnomon.core.resampling import Interval
from gnomon.core.spec import Benchmark
from gnomon.loadgen.outcome import query_latencies_ns
from gnomon.loadgen.protocol import read_run_samples
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.results.sides import Group

SIGNIFICANCE = 0.05
PRACTICAL_FLOOR = 0.01
"""Smaller differences of speed are never claimed."""
FEW_RUNS_FLOOR = 0.05
"""The same where a side has fewer than `FEWEST_RUNS` runs: noise between runs is not seen inside one.

Of eight 2 s runs of one system on one shared virtual machine, six had a p90 latency within 5 % of
their median, one was 22 % below it.
"""
WIDE = 0.10
"""An interval that reaches further than this from equality cannot say that there is no difference."""
WIDE_QUALITY = 0.05
FEWEST_RUNS = 3
"""With this many runs on both sides, the runs themselves are the sample."""
SEED = 20260101

NO_DIFFERENCE = "no difference seen"
INCONCLUSIVE = "inconclusive"
INVALID = "not compared: INVALID"


@dataclass(frozen=True)
class Row:
    """One metric of one measurement, on the baseline and on one candidate.

    Attributes:
        measurement: `offline`, `accuracy`, ...
        metric: Name of the metric.
        unit: Of the values.
        candidate: Label of the side that is held against the baseline.
        baseline_value: Of several runs: their geometric mean (accuracy: their mean).
        candidate_value: The same.
        higher_is_better: The direction of the metric.
        ratio: Candidate over baseline.
        interval: 95 % interval; None where none can be given.
        interval_of: What the interval is about: `ratio`, or `difference` for accuracy.
        p_value: Two-sided, of this row alone.
        p_adjusted: After Holm's correction over all rows; what a claim rests on.
        superiority: The chance that a value of the candidate is greater than one of the baseline.
        cliffs_delta: The same from -1 to 1.
        floor: Differences up to this share are not claimed (accuracy: 0, for it has no noise of time).
        method: What interval and p-value rest on.
        conclusion: `faster`, `slower`, `better`, `worse`, `no difference seen`, `inconclusive`, or
            `not compared: ...`.
        why: What stands between the figures and a claim, in words; empty if nothing does.
    """

    measurement: str
    metric: str
    unit: str
    candidate: str
    baseline_value: float | None
    candidate_value: float | None
    higher_is_better: bool
    ratio: float | None = None
    interval: Interval | None = None
    interval_of: str = "ratio"
    p_value: float | None = None
    p_adjusted: float | None = None
    superiority: float | None = None
    cliffs_delta: float | None = None
    floor: float = PRACTICAL_FLOOR
    method: str = ""
    conclusion: str = ""
    why: str = ""


def rows_of(baseline: Group, candidate: Group, name: str, peers: Sequence[Group] = ()) -> list[Row]:
    """The rows of one measurement, without adjusted p-values; conclusions only where none is tested.

    Args:
        baseline: A side.
        candidate: Another.
        name: Of the measurement.
        peers: Sides that nothing on record tells from the baseline: differences within their spread
            are not claimed.
    """
    ours, theirs = baseline.measurement(name), candidate.measurement(name)
    valid = baseline.side.valid and candidate.side.valid
    pair = _Pair(baseline, candidate, name, ours, theirs, peers)
    settings = Settings.model_validate((ours + theirs)[0]["settings"]) if ours + theirs else None
    if settings is None:
        row = pair.row("result", "", (None, None), higher_is_better=True)
        return [replace(row, conclusion=INVALID)]
    if settings.mode is Mode.ACCURACY:
        rows = [_accuracy(pair, valid=valid)]
    elif settings.scenario is Scenario.OFFLINE:
        rows = [_offline(pair, valid=valid)]
    elif settings.scenario is Scenario.SERVER:
        rows = [_server_rate(pair, valid=valid), _latency(pair, valid=valid)]
    else:
        rows = [_latency(pair, valid=valid)]
    return rows if valid else [replace(row, conclusion=INVALID) for row in rows]


def accuracy_row(baseline: Group, candidate: Group, name: str, *, valid: bool) -> Row:
    """The row of a measurement of quality, of any protocol whose result has `quality` and `sample_count`."""
    ours, theirs = baseline.measurement(name), candidate.measurement(name)
    return _accuracy(_Pair(baseline, candidate, name, ours, theirs, ()), valid=valid)


Figure: TypeAlias = Callable[[dict[str, Any]], float]
"""Takes a figure out of a measurement's result."""


@dataclass(frozen=True)
class _Pair:
    """One measurement on both sides: what the runs have on record, and where their samples are."""

    baseline: Group
    candidate: Group
    name: str
    ours: list[dict[str, Any]]
    theirs: list[dict[str, Any]]
    peers: Sequence[Group]
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def figures(self, figure: Figure) -> tuple[list[float], list[float]]:
        """A figure of each run of either side."""
        return (
            [figure(stored["result"]) for stored in self.ours],
            [figure(stored["result"]) for stored in self.theirs],
        )

    def floor(self, figure: Figure) -> float:
        """The practical floor for sides of few runs: never below what runs of one side differ by."""
        peers = [stored for peer in self.peers for stored in peer.measurement(self.name)]
        alike = [*self.figures(figure), [figure(stored["result"]) for stored in peers]]
        spreads = [max(side) / min(side) - 1 for side in alike if side and min(side) > 0]
        return max(FEW_RUNS_FLOOR, *spreads)

    def row(
        self,
        metric: str,
        unit: str,
        values: tuple[float | None, float | None],
        *,
        higher_is_better: bool,
    ) -> Row:
        ours, theirs = values
        ratio = theirs / ours if ours and theirs is not None else None
        return Row(
            self.name,
            metric,
            unit,
            self.candidate.side.label,
            ours,
            theirs,
            higher_is_better=higher_is_better,
            ratio=ratio,
        )

    def samples(self, group: Group) -> Iterator[tuple[Samples, Settings]]:
        """The raw samples of each run of a side, one run in memory at a time."""
        for run in group.runs:
            settings = Settings.model_validate(run.measurements[self.name]["settings"])
            yield read_run_samples(run, self.name), settings

    def setting(self, key: str) -> set[Any]:
        """The values that a setting has on either side."""
        return {stored["settings"][key] for stored in self.ours + self.theirs}


def _percentile_latency_ns(result: dict[str, Any]) -> float:
    return float(result["percentile_latency_ns"])


def _metric(result: dict[str, Any]) -> float:
    return float(result["metric"]["value"])


def mean_of(values: Sequence[float]) -> float | None:
    """The geometric mean: that of the ratios is the ratio of the means."""
    if not values:
        return None
    if min(values) <= 0:
        return 0.0
    return float(values[0] if len(values) == 1 else np.exp(np.mean(np.log(values))))


def _latency(pair: _Pair, *, valid: bool) -> Row:
    """The measured percentile that the scenario is judged at.

    Not the early-stopping estimate: that leans to the safe side by an amount that depends on the number
    of queries, so that a longer test of the same system would look faster.
    """
    shares = pair.setting("target_latency_percentile")
    values = pair.figures(_percentile_latency_ns)
    name = " and ".join(f"p{100 * share:g}" for share in sorted(shares))
    means = (mean_of(values[0]), mean_of(values[1]))
    row = pair.row(f"{name} latency", "ns", means, higher_is_better=False)
    if not valid:
        return row
    for key in ("target_latency_percentile", "samples_per_query", "target_qps"):
        apart = pair.setting(key)
        if len(apart) > 1:
            words = " and ".join(f"{value:g}" for value in sorted(apart))
            return replace(
                row,
                conclusion=f"not compared: {key} differs",
                why=f"{key} is {words}: set it alike",
            )
    if min(len(side) for side in values) >= FEWEST_RUNS:
        return between_runs(row, values[0], values[1])
    (share,) = shares
    series, replicates = [], []
    for group in (pair.baseline, pair.candidate):
        latencies = [query_latencies_ns(*found) for found in pair.samples(group)]
        series.append(np.concatenate(latencies))
        replicates.append(
            [resampling.percentile_replicates(run, share, pair.generator) for run in latencies]
        )
    return _within_runs(row, pair.floor(_percentile_latency_ns), series, replicates)


def _offline(pair: _Pair, *, valid: bool) -> Row:
    """Throughput, resampled from what each completion added and how long that took."""
    values = pair.figures(_metric)
    means = (mean_of(values[0]), mean_of(values[1]))
    row = pair.row("throughput", "samples/s", means, higher_is_better=True)
    if not valid:
        return row
    if min(len(side) for side in values) >= FEWEST_RUNS:
        return between_runs(row, values[0], values[1])
    series, replicates = [], []
    for group in (pair.baseline, pair.candidate):
        steps = [_completions(samples) for samples, _ in pair.samples(group)]
        series.append(np.concatenate([counts / durations_ns for counts, durations_ns in steps]))
        replicates.append([resampling.rate_replicates(*run, pair.generator) for run in steps])
    return _within_runs(row, pair.floor(_metric), series, replicates)


def _completions(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples completed at once, and nanoseconds since the completion before, in order of time."""
    completed_ns = samples.completed_ns[samples.answered]
    if (completed_ns[1:] < completed_ns[:-1]).any():  # several workers
        completed_ns = np.sort(completed_ns)
    last = np.append(np.flatnonzero(completed_ns[1:] != completed_ns[:-1]), len(completed_ns) - 1)
    return np.diff(last, prepend=-1), np.diff(completed_ns[last], prepend=0)


def _server_rate(pair: _Pair, *, valid: bool) -> Row:
    """The completed rate: a result only where a peak was searched for."""
    values = pair.figures(_metric)
    means = (mean_of(values[0]), mean_of(values[1]))
    row = pair.row("completed throughput", "queries/s", means, higher_is_better=True)
    if not valid:
        return row
    if not all(stored.get("probes") for stored in pair.ours + pair.theirs):
        return replace(
            row,
            conclusion="not compared: the rate was set",
            why="completed throughput follows target_qps; the latency row tells the systems apart",
        )
    if min(len(side) for side in values) >= FEWEST_RUNS:
        return between_runs(row, values[0], values[1])
    return replace(
        row,
        conclusion=INCONCLUSIVE,
        why=f"a search ends at one rate, which has no spread: {FEWEST_RUNS} runs a side give one",
    )


def _accuracy(pair: _Pair, *, valid: bool) -> Row:
    """Quality, by counts of samples answered rightly where the metric is such a share."""
    target = Benchmark.model_validate(pair.baseline.runs[0].record["benchmark"]).quality
    results = [[stored["result"] for stored in side] for side in (pair.ours, pair.theirs)]
    metric = (results[0] + results[1])[0]["metric"]
    values = [
        float(np.mean([result["quality"] for result in side])) if side else None for side in results
    ]
    row = replace(
        pair.row(
            metric["name"],
            metric["unit"],
            (values[0], values[1]),
            higher_is_better=target.higher_is_better,
        ),
        interval_of="difference",
        floor=0.0,
    )
    if not valid or not all(_counts_samples(result) for side in results for result in side):
        return row
    # Runs of one system answer the same samples: they are no more independent than one run is.
    trials = [min(result["sample_count"] for result in side) for side in results]
    hits = [round((value or 0.0) * count) for value, count in zip(values, trials, strict=True)]
    interval, p_value = resampling.share_difference((hits[0], trials[0]), (hits[1], trials[1]))
    return replace(row, interval=interval, p_value=p_value, method="counts of samples")


def _counts_samples(result: dict[str, Any]) -> bool:
    """Whether the quality is a share of the samples, and not some other figure."""
    hits = result["quality"] * result["sample_count"]
    return bool(0 <= result["quality"] <= 1 and abs(hits - round(hits)) < 1e-6 * max(1.0, hits))


def _within_runs(
    row: Row,
    floor: float,
    series: Sequence[NDArray[Any]],
    replicates: Sequence[Sequence[NDArray[np.float64] | None]],
) -> Row:
    """Interval and test from the raw samples of fewer than three runs a side."""
    ranked = resampling.mann_whitney(series[0], series[1])
    row = replace(
        row,
        superiority=ranked.superiority,
        cliffs_delta=ranked.cliffs_delta,
        floor=floor,
        method="blocks of neighbouring samples within runs",
    )
    known = [
        [found for found in side if found is not None and found.min() > 0] for side in replicates
    ]
    if [len(side) for side in known] != [len(side) for side in replicates]:
        return replace(row, why="too few samples for an interval: raise --duration")
    means = [np.exp(np.mean(np.log(side), axis=0)) for side in known]
    return replace(
        row, interval=resampling.ratio_interval(means[1], means[0]), p_value=ranked.p_value
    )


def between_runs(row: Row, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Interval and test from the runs' own figures."""
    superiority = resampling.mann_whitney(np.asarray(ours), np.asarray(theirs)).superiority
    if min(*ours, *theirs) <= 0:
        return replace(row, why="a value is zero: there is no ratio")
    found = resampling.welch_ratio(ours, theirs)
    return replace(
        row,
        interval=found.interval,
        p_value=found.p_value,
        superiority=superiority,
        cliffs_delta=2 * superiority - 1,
        method=f"{len(ours)} and {len(theirs)} runs",
    )


def concluded(row: Row) -> Row:
    """The row with its conclusion, and what stands in the way of a claim."""
    quality = row.interval_of == "difference"
    ours, theirs = row.baseline_value, row.candidate_value
    if row.interval is None or row.p_adjusted is None or ours is None or theirs is None:
        if quality and ours == theirs:
            return replace(row, conclusion=NO_DIFFERENCE)
        why = row.why or "no interval: the metric is not a share of samples"
        return replace(row, conclusion=INCONCLUSIVE, why=why)
    equal, found = (0.0, theirs - ours) if quality else (1.0, theirs / ours)
    significant = row.p_adjusted < SIGNIFICANCE
    excluded = not row.interval.holds(equal)
    beyond = abs(found - equal) > row.floor
    # A tail may get longer while most values get smaller: then neither word would be true.
    opposed = row.superiority is not None and (row.superiority - 0.5) * (found - equal) < 0
    if significant and excluded and beyond and not opposed:
        gain = (found > equal) == row.higher_is_better
        of_speed = row.unit in ("ns", "s") or row.unit.endswith("/s")
        words = ("faster", "slower") if of_speed else ("better", "worse")
        return replace(row, conclusion=words[0] if gain else words[1])
    wide = WIDE_QUALITY if quality else WIDE
    reach = max(row.interval.high - equal, equal - row.interval.low)
    small = f"below the practical floor of {100 * row.floor:.2g} %"
    if row.floor > FEW_RUNS_FLOOR:
        small = f"within the {100 * row.floor:.2g} % that like runs differ by"
    if reach <= wide and (not beyond or not (significant or excluded)):
        why = small if significant and excluded else ""
        return replace(row, conclusion=NO_DIFFERENCE, why=why)
    if not significant and not excluded:
        why = "the interval is wide: measure longer, or more runs"
    elif not beyond:
        why = f"{small}, with a wide interval"
    elif opposed and significant:
        why = f"the {row.metric} and most of the values point opposite ways"
    elif excluded:
        why = "the interval excludes equality, the rank test does not: measure longer, or more runs"
    else:
        why = "most values differ, but the interval of the metric includes equality"
    return replace(row, conclusion=INCONCLUSIVE, why=why)
