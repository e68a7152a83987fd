"""Two sides of boards: time or instructions, energy and quality per inference, and what may be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gnomon.results.claims import (
    FEWEST_RUNS,
    INCONCLUSIVE,
    INVALID,
    NO_DIFFERENCE,
    PRACTICAL_FLOOR,
    SIGNIFICANCE,
    Row,
    between_runs,
    invalid_sides,
    mean_of,
    row_of,
)
from gnomon.results.load_claims import accuracy_row
from gnomon.results.sides import Group

EXACT = 1e-4
"""Instructions are counted to a timer's tick; two counts closer than this are the same."""


def tiny_rows(baseline: Group, candidate: Group, name: str) -> list[Row]:
    """The rows of one measurement, without adjusted p-values; conclusions only where none is tested."""
    ours, theirs = baseline.measurement(name), candidate.measurement(name)
    valid = baseline.side.valid and candidate.side.valid
    if not ours or not theirs:
        return []
    if name == "accuracy":
        row = accuracy_row(baseline, candidate, name, valid=valid)
        return [row if valid else replace(row, conclusion=INVALID)]
    counts = {stored["board"]["counts"] for stored in (*ours, *theirs)}
    values = [[_per_inference(stored["result"]) for stored in side] for side in (ours, theirs)]
    metric, unit = _metric_of(ours[0]["result"])
    means = [mean_of(side) for side in values]
    row = row_of(name, metric, unit, candidate, means, higher_is_better=False)
    if not valid:
        return [replace(row, conclusion=INVALID)]
    if len(counts) > 1:
        why = "one side counts instructions of an emulated board, which are no time"
        return [replace(row, ratio=None, conclusion="not compared: time and instructions", why=why)]
    if unit == "instructions":
        return [_counted(row)]
    if min(map(len, values)) < FEWEST_RUNS:
        why = f"{FEWEST_RUNS} runs a side would tell it from the variation between runs"
        return [replace(row, conclusion=INCONCLUSIVE, why=why)]
    return [between_runs(row, *values)]


def tiny_notes(groups: Sequence[Group]) -> list[str]:
    """How far the rows may be trusted."""
    found = [
        f"a difference of time or energy is claimed if its 95 % interval excludes equality, p < "
        f"{SIGNIFICANCE:g} after Holm's correction over all rows, and it exceeds "
        f"{100 * PRACTICAL_FLOOR:g} %; the sample are the runs, at least {FEWEST_RUNS} a side; "
        "instructions are counted and need no test"
    ]
    return [*found, *invalid_sides(groups)]


def _per_inference(result: dict[str, Any]) -> float:
    if "latency_ns" in result:
        return float(result["latency_ns"])
    return float(result["metric"]["value"])


def _metric_of(result: dict[str, Any]) -> tuple[str, str]:
    if "latency_ns" in result:
        return "time per inference", "ns"
    return result["metric"]["name"], result["metric"]["unit"]


def _counted(row: Row) -> Row:
    assert row.ratio is not None
    if abs(row.ratio - 1) <= EXACT:
        return replace(row, conclusion=NO_DIFFERENCE, method="counted")
    words = "fewer instructions" if row.ratio < 1 else "more instructions"
    return replace(row, conclusion=words, method="counted")
