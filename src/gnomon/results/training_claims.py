"""Two sides of training runs: time to train, and its two parts, throughput and samples to the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gnomon.core.errors import UsageError
from gnomon.results.claims import (
    FEWEST_RUNS,
    INCONCLUSIVE,
    INVALID,
    PRACTICAL_FLOOR,
    SIGNIFICANCE,
    Row,
    between_runs,
    invalid_sides,
    mean_of,
    row_of,
)
from gnomon.results.sides import Group
from gnomon.results.training_charts import run_set
from gnomon.timetotrain.settings import MEASUREMENT
from gnomon.timetotrain.speed_up import RunSet, compare_run_sets


@dataclass(frozen=True)
class _Metric:
    """A figure of one run that converged."""

    name: str
    unit: str
    higher_is_better: bool
    value: Callable[[dict[str, Any]], float]


METRICS = (
    _Metric("time to train", "s", higher_is_better=False, value=lambda row: row["duration_s"]),
    _Metric(
        "throughput", "samples/s", higher_is_better=True, value=lambda row: row["samples_per_s"]
    ),
    _Metric(
        "samples to target", "samples", higher_is_better=False, value=lambda row: row["samples"]
    ),
)
ALIKE = ("evaluate_every_samples",)
"""Settings that must be the same on both sides."""


def training_rows(baseline: Group, candidate: Group, name: str) -> list[Row]:
    """The rows of two sides, without adjusted p-values; conclusions only where none is tested."""
    ours, theirs = baseline.measurement(name), candidate.measurement(name)
    valid = baseline.side.valid and candidate.side.valid
    return [_row(metric, name, candidate, ours, theirs, valid=valid) for metric in METRICS]


def _row(
    metric: _Metric,
    name: str,
    candidate: Group,
    ours: Sequence[dict[str, Any]],
    theirs: Sequence[dict[str, Any]],
    *,
    valid: bool,
) -> Row:
    values = [[metric.value(row) for row in converged(side)] for side in (ours, theirs)]
    means = [mean_of(side) for side in values]
    row = row_of(
        name, metric.name, metric.unit, candidate, means, higher_is_better=metric.higher_is_better
    )
    if not valid:
        return replace(row, conclusion=INVALID)
    for key in ALIKE:
        apart = {stored["settings"][key] for stored in (*ours, *theirs)}
        if len(apart) > 1:
            words = " and ".join(f"{value:,}" for value in sorted(apart))
            return replace(
                row,
                conclusion=f"not compared: {key} differs",
                why=f"{key} is {words}: set it alike",
            )
    if min(len(side) for side in values) < FEWEST_RUNS:
        return replace(
            row,
            conclusion=INCONCLUSIVE,
            why=f"{FEWEST_RUNS} runs a side that converge would tell it from chance: raise --runs",
        )
    return between_runs(row, *values)


def converged(side: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of a side that reached the target, of all its campaigns."""
    return [row for stored in side for row in stored["result"]["each"] if row["converged"]]


def training_notes(groups: Sequence[Group]) -> list[str]:
    """How far the rows may be trusted, and where a difference comes from."""
    found = [
        f"a difference is claimed if its 95 % interval excludes equality, p < {SIGNIFICANCE:g} after Holm's "
        f"correction over all rows, and it exceeds {100 * PRACTICAL_FLOOR:g} %; the sample are the runs that "
        f"converged, values are their geometric means"
    ]
    baseline, *candidates = groups
    for candidate in candidates:
        words = _parts(baseline, candidate)
        if words:
            found.append(f"{candidate.side.label}: {words}")
    return [*found, *invalid_sides(groups)]


def _parts(baseline: Group, candidate: Group) -> str:
    """How much of a speed-up is throughput, and how much convergence."""
    try:
        found = compare_run_sets(_all(baseline), _all(candidate))
    except UsageError:  # too few runs, which the rows say
        return ""
    failed = sum(found.left_out)
    text = (
        f"{found.total.ratio:.3g} times as fast to the target is {found.throughput.ratio:.3g} in throughput "
        f"times {found.convergence.ratio:.3g} in samples to the target"
    )
    return f"{text}; {failed} runs that did not converge are left out" if failed else text


def _all(group: Group) -> RunSet:
    rows = [row for stored in group.measurement(MEASUREMENT) for row in stored["result"]["each"]]
    return run_set(rows)
