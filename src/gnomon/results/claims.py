"""One metric on two sides: its ratio, interval and test, and what may be claimed of it.

Every protocol makes rows of its own (`load_claims.py`, `fleet_claims.py` and so on); what a row is, and when
a difference is one, is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnomon.core import resampling
from gnomon.core.resampling import Interval
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


def mean_of(values: Sequence[float]) -> float | None:
    """The geometric mean: that of the ratios is the ratio of the means."""
    if not values:
        return None
    if min(values) <= 0:
        return 0.0
    return float(values[0] if len(values) == 1 else np.exp(np.mean(np.log(values))))


def row_of(
    measurement: str,
    metric: str,
    unit: str,
    candidate: Group,
    values: Sequence[float | None],
    *,
    higher_is_better: bool,
) -> Row:
    """A row of the two sides' values, baseline first, without any claim yet."""
    ours, theirs = values
    return Row(
        measurement,
        metric,
        unit,
        candidate.side.label,
        ours,
        theirs,
        higher_is_better=higher_is_better,
        ratio=theirs / ours if ours and theirs is not None else None,
    )


def invalid_sides(groups: Sequence[Group]) -> list[str]:
    """The note on sides that enter no claim; none if all do."""
    left_out = ", ".join(group.side.label for group in groups if not group.side.valid)
    words = f"{left_out}: not VALID, shown but left out of every claim; gnomon show says why"
    return [words] if left_out else []


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
