"""The charts of a load run's measurements, from raw samples and settings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.loadgen.outcome import query_latencies_ns
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.results.charts import (
    NS,
    Chart,
    Curve,
    band_over_time,
    latency_distribution,
    latency_histogram,
    probes,
    rate_over_time,
)

SLICES = 200
FEWEST_A_SLICE = 20
"""Fewer queries than this in a slice would make its p99 just its greatest latency."""


def load_charts(samples: Samples, stored: dict[str, Any]) -> list[Chart]:
    """The charts of one measurement; none for an accuracy test, whose times mean nothing.

    Args:
        samples: Its raw samples.
        stored: Its entry in `run.json`.
    """
    settings = Settings.model_validate(stored["settings"])
    if settings.mode is Mode.ACCURACY or not samples.answered.any():
        return []
    if settings.scenario is Scenario.OFFLINE:
        return [_throughput(samples, settings)]
    bound_ns = settings.target_latency_ns or None
    ordered_ns = np.sort(query_latencies_ns(samples, settings))
    charts = []
    if stored.get("probes"):
        charts.append(
            probes(stored["probes"], settings.target_latency_ns, settings.target_latency_percentile)
        )
    if len(ordered_ns):
        charts += [
            latency_histogram(ordered_ns, bound_ns),
            latency_distribution([Curve(settings.scenario.value, ordered_ns)], bound_ns),
            _latency_over_time(samples, settings),
        ]
    return [*charts, _throughput(samples, settings)]


def latency_curve(name: str, samples: Samples, stored: dict[str, Any]) -> Curve | None:
    """The sorted query latencies of a measurement, for charts that hold several runs together."""
    settings = Settings.model_validate(stored["settings"])
    if settings.mode is Mode.ACCURACY or settings.scenario is Scenario.OFFLINE:
        return None
    ordered_ns = np.sort(query_latencies_ns(samples, settings))
    return Curve(name, ordered_ns) if len(ordered_ns) else None


def _latency_over_time(samples: Samples, settings: Settings) -> Chart:
    answered = samples.answered
    issued_s = samples.scheduled_ns[answered] * NS
    latency_s = samples.latency_ns[answered] * NS
    edges = _edges(float(issued_s[-1]), len(issued_s))
    places = np.searchsorted(issued_s, edges[1:-1])  # issue times ascend
    slices = np.split(latency_s, places)
    empty = np.array([np.nan])
    filled = [chosen if len(chosen) else empty for chosen in slices]
    bands = {
        "min": np.array([chosen.min() for chosen in filled]),
        "median": np.array([np.median(chosen) for chosen in filled]),
        "p99": np.array([np.percentile(chosen, 99) for chosen in filled]),
        "max": np.array([chosen.max() for chosen in filled]),
    }
    return band_over_time((edges[:-1] + edges[1:]) / 2, bands, settings.target_latency_ns or None)


def _throughput(samples: Samples, settings: Settings) -> Chart:
    done_s = samples.completed_ns[samples.answered] * NS
    calls = (
        len(np.unique(samples.issued_ns)) if settings.scenario is Scenario.OFFLINE else len(done_s)
    )
    edges = _edges(float(done_s.max()), calls)
    widths = np.diff(edges)
    rates = {}
    if settings.scenario is Scenario.SERVER:
        rates["scheduled"] = np.histogram(samples.scheduled_ns * NS, edges)[0] / widths
    rates["completed"] = np.histogram(done_s, edges)[0] / widths
    unit = "queries/s" if settings.scenario is Scenario.SERVER else "samples/s"
    return rate_over_time((edges[:-1] + edges[1:]) / 2, rates, unit)


def _edges(end_s: float, events: int) -> NDArray[np.float64]:
    """The edges of equal slices of time, each with enough events to say something."""
    count = int(np.clip(events // FEWEST_A_SLICE, 1, SLICES))
    return np.linspace(0.0, max(end_s, 1e-9), count + 1)
