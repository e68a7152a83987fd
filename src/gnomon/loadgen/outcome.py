"""From raw samples to figures: latencies, throughput, early stopping. A pure function of the record.

Formulas follow the reference load generator's `results.cc` (mlcommons/inference, loadgen 6.0), so that
the same record gives the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core import stats
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import NS_PER_S, Scenario, Settings

PERCENTILES = (0.50, 0.90, 0.95, 0.97, 0.99, 0.999)


@dataclass(frozen=True)
class Latencies:
    """Summary of one set of latencies, in nanoseconds; `percentiles` runs along `PERCENTILES`."""

    min_ns: int
    max_ns: int
    mean_ns: int
    percentiles_ns: tuple[int, ...]

    @classmethod
    def of(cls, ordered_ns: NDArray[np.int64]) -> Latencies:
        """Summarise sorted latencies, shape (n,), n >= 1."""
        return cls(
            int(ordered_ns[0]),
            int(ordered_ns[-1]),
            int(ordered_ns.sum()) // len(ordered_ns),
            tuple(stats.percentile(ordered_ns, share) for share in PERCENTILES),
        )

    def to_json(self) -> dict[str, int]:
        """Flat, with the field's percentile names: `p50_ns`, `p99_ns`, `p99_9_ns`."""
        named = {
            f"p{100 * share:g}_ns".replace(".", "_"): value
            for share, value in zip(PERCENTILES, self.percentiles_ns, strict=True)
        }
        return {"min_ns": self.min_ns, "mean_ns": self.mean_ns, **named, "max_ns": self.max_ns}


@dataclass(frozen=True)
class Outcome:
    """The figures of one performance test.

    Attributes:
        query_count: Queries issued and fully answered.
        sample_count: Samples answered.
        unanswered_count: Samples issued that were never answered.
        sample_latency: Over samples.
        query_latency: Over queries: the slowest sample of each. Equal to `sample_latency` unless
            queries hold several samples.
        percentile: The share the scenario is judged at.
        percentile_latency_ns: Latency (of queries) at that share.
        over_bound_count: Server: queries whose latency exceeds the bound.
        final_query_scheduled_ns, final_query_issued_ns, final_query_completed_ns: Of the query
            issued last.
        duration_ns: What the minimum duration is held against: the last issue (stream scenarios), the
            last scheduled arrival (Server), the last completion (Offline).
        early_stopping: None in Offline, which has no such test.
        early_stopping_99: SingleStream: the same at the 99th percentile, from which MultiStream may
            be inferred.
    """

    scenario: Scenario
    query_count: int
    sample_count: int
    unanswered_count: int
    sample_latency: Latencies
    query_latency: Latencies
    percentile: float
    percentile_latency_ns: int
    over_bound_count: int
    final_query_scheduled_ns: int
    final_query_issued_ns: int
    final_query_completed_ns: int
    duration_ns: int
    early_stopping: stats.EarlyStopping | None
    early_stopping_99: stats.EarlyStopping | None

    @property
    def samples_per_second(self) -> float:
        """Offline: samples over the time of the last completion. Server: completed rate (n-1)/T."""
        if self.scenario is Scenario.OFFLINE:
            return self.sample_count * NS_PER_S / self.sample_latency.max_ns
        return (self.sample_count - 1) * NS_PER_S / self.final_query_completed_ns

    @property
    def scheduled_samples_per_second(self) -> float:
        """Server: the rate at which queries were due."""
        return (self.sample_count - 1) * NS_PER_S / max(1, self.final_query_scheduled_ns)

    @property
    def queries_per_second(self) -> float:
        """Stream scenarios: queries a second, the load generator's own time included."""
        return (self.query_count - 1) * NS_PER_S / max(1, self.final_query_issued_ns)

    @property
    def metric(self) -> tuple[str, float, str]:
        """The scenario's headline: name, value, unit.

        Stream scenarios claim the early-stopping estimate, as submissions do, and fall back to the
        measured percentile where there are too few queries for one.
        """
        if self.scenario is Scenario.OFFLINE:
            return "throughput", self.samples_per_second, "samples/s"
        if self.scenario is Scenario.SERVER:
            return "completed throughput", self.samples_per_second, "queries/s"
        estimate = self.early_stopping.estimate_ns if self.early_stopping else None
        value = self.percentile_latency_ns if estimate is None else estimate
        return f"p{100 * self.percentile:g} latency", float(value), "ns"

    def to_json(self) -> dict[str, Any]:
        """What `run.json` holds under `result`."""
        name, value, unit = self.metric
        result: dict[str, Any] = {
            "metric": {"name": name, "value": value, "unit": unit},
            "query_count": self.query_count,
            "sample_count": self.sample_count,
            "unanswered_count": self.unanswered_count,
            "duration_ns": self.duration_ns,
            "percentile": self.percentile,
            "percentile_latency_ns": self.percentile_latency_ns,
            "latency": self.query_latency.to_json(),
        }
        if self.scenario is Scenario.MULTI_STREAM:
            result["sample_latency"] = self.sample_latency.to_json()
        if self.scenario.closed_loop:
            result["queries_per_second"] = self.queries_per_second
        else:
            result["samples_per_second"] = self.samples_per_second
        if self.scenario is Scenario.SERVER:
            result["scheduled_samples_per_second"] = self.scheduled_samples_per_second
            result["over_bound_count"] = self.over_bound_count
        if self.early_stopping is not None:
            result["early_stopping"] = {
                "met": self.early_stopping.met,
                "queries": self.early_stopping.queries,
                "needed": self.early_stopping.needed,
                "over": self.early_stopping.over,
                "estimate_ns": self.early_stopping.estimate_ns,
            }
        return result


def query_latencies_ns(samples: Samples, settings: Settings) -> NDArray[np.int64]:
    """Latency of each query answered in full, that of its slowest sample, in the order of issue."""
    width = settings.samples_per_query
    if width == 1:
        return samples.latency_ns[samples.answered]
    complete = len(samples) // width * width  # a killed run may end in the middle of a query
    whole = samples.answered[:complete].reshape(-1, width).all(axis=1)
    queries_ns = samples.latency_ns[:complete].reshape(-1, width)
    latencies_ns: NDArray[np.int64] = queries_ns[whole].max(axis=1)
    return latencies_ns


def compute_outcome(samples: Samples, settings: Settings) -> Outcome | None:
    """The figures of a performance test, or None if no query was answered in full."""
    answered = samples.answered
    if not answered.any():
        return None
    all_answered = bool(answered.all())
    ordered_ns = samples.latency_ns if all_answered else samples.latency_ns[answered]
    ordered_ns.sort()

    final = int(samples.query[-1])
    last = samples.query == final if len(samples) > 1 else np.ones(1, dtype=bool)
    if settings.samples_per_query == 1:
        query_ordered_ns = ordered_ns
        query_count = len(ordered_ns) if settings.scenario is not Scenario.OFFLINE else 1
    else:
        query_ordered_ns = np.sort(query_latencies_ns(samples, settings))
        query_count = len(query_ordered_ns)
        if query_count == 0:
            return None

    share = settings.target_latency_percentile
    early = early_99 = None
    over_bound = 0
    if settings.scenario is Scenario.SERVER:
        within = int(np.searchsorted(query_ordered_ns, settings.target_latency_ns, side="right"))
        over_bound = query_count - within
        early = stats.early_stopping_bound(over_bound, query_count, share)
    elif settings.scenario.closed_loop:
        early = stats.early_stopping_estimate(query_ordered_ns, share)
        if settings.scenario is Scenario.SINGLE_STREAM:
            early_99 = stats.early_stopping_estimate(query_ordered_ns, 0.99)

    final_scheduled_ns = int(samples.scheduled_ns[-1])
    final_issued_ns = int(samples.issued_ns[-1])
    # A test that a fault ended may lack its last answer: then the last one there is counts.
    final_completed_ns = int(samples.completed_ns[last].max() or samples.completed_ns.max())
    duration_ns = {
        Scenario.OFFLINE: int(ordered_ns[-1]),
        Scenario.SERVER: final_scheduled_ns,
    }.get(settings.scenario, final_issued_ns)
    return Outcome(
        scenario=settings.scenario,
        query_count=query_count,
        sample_count=len(ordered_ns),
        unanswered_count=len(samples) - len(ordered_ns),
        sample_latency=Latencies.of(ordered_ns),
        query_latency=Latencies.of(query_ordered_ns),
        percentile=share,
        percentile_latency_ns=stats.percentile(query_ordered_ns, share),
        over_bound_count=over_bound,
        final_query_scheduled_ns=final_scheduled_ns,
        final_query_issued_ns=final_issued_ns,
        final_query_completed_ns=final_completed_ns,
        duration_ns=duration_ns,
        early_stopping=early,
        early_stopping_99=early_99,
    )
