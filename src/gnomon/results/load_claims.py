"""Rows of the load protocol: latency, throughput, rate and accuracy on two sides, from raw samples.

With three or more runs a side the runs' own figures are the sample; with fewer, intervals come from inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gnomon.core import resampling
from gnomon.core.spec import Benchmark
from gnomon.loadgen.outcome import query_latencies_ns
from gnomon.loadgen.protocol import read_run_samples
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.results.claims import (
    FEW_RUNS_FLOOR,
    FEWEST_RUNS,
    INCONCLUSIVE,
    INVALID,
    Row,
    between_runs,
    mean_of,
    row_of,
)
from gnomon.results.sides import Group

SEED = 20260101


def load_rows(
    baseline: Group, candidate: Group, name: str, peers: Sequence[Group] = ()
) -> list[Row]:
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
        return row_of(
            self.name, metric, unit, self.candidate, values, higher_is_better=higher_is_better
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
