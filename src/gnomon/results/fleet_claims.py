"""Two sides of federated runs: cost, time, energy and rounds to the target, and what may be claimed of them.

A federation of one seed always comes out the same: what varies is the seed, and seeds are the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True)
class _Metric:
    """A figure of `to_target`, and the settings that must be alike for it to be compared."""

    name: str
    key: str
    unit: str
    alike: tuple[str, ...]


METRICS = (
    _Metric("cost to target", "cost", "$", ("target_loss", "gamma")),
    _Metric("time to target", "duration_s", "s", ("target_loss",)),
    _Metric("energy to target", "energy_j", "J", ("target_loss",)),
    _Metric("rounds to target", "rounds", "rounds", ("target_loss",)),
)


def fleet_rows(baseline: Group, candidate: Group, name: str) -> list[Row]:
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
    values = [_values(side, metric.key) for side in (ours, theirs)]
    means = [mean_of(side) for side in values]
    row = row_of(name, metric.name, metric.unit, candidate, means, higher_is_better=False)
    if not valid:
        return replace(row, conclusion=INVALID)
    if not all(values):
        return replace(
            row,
            conclusion="not compared: no target",
            why="a side has no target loss: run it with --target-loss",
        )
    for key in metric.alike:
        apart = {stored["settings"]["settings"][key] for stored in (*ours, *theirs)}
        if len(apart) > 1:
            words = " and ".join(f"{value:g}" for value in sorted(apart))
            return replace(
                row,
                conclusion=f"not compared: {key} differs",
                why=f"{key} is {words}: set it alike",
            )
    seeds = [
        len({stored["settings"]["settings"]["seed"] for stored in side}) for side in (ours, theirs)
    ]
    if min(seeds) < FEWEST_RUNS:
        return replace(
            row,
            conclusion=INCONCLUSIVE,
            why=f"{FEWEST_RUNS} seeds a side would tell it from chance: repeat with --seed 1, --seed 2 ...",
        )
    return between_runs(row, *(_once_a_seed(side, metric.key) for side in (ours, theirs)))


def _values(side: Sequence[dict[str, Any]], key: str) -> list[float]:
    found = (stored["result"]["to_target"] for stored in side)
    return [float(spent[key]) for spent in found if spent is not None]


def _once_a_seed(side: Sequence[dict[str, Any]], key: str) -> list[float]:
    """The same seed twice is the same federation twice, and counts once."""
    by_seed = {
        stored["settings"]["settings"]["seed"]: float(stored["result"]["to_target"][key])
        for stored in side
    }
    return list(by_seed.values())


def fleet_notes(groups: Sequence[Group]) -> list[str]:
    """How far the rows may be trusted."""
    found = [
        f"a difference is claimed if its 95 % interval excludes equality, p < {SIGNIFICANCE:g} after "
        f"Holm's correction over all rows, and it exceeds {100 * PRACTICAL_FLOOR:g} %; the sample are "
        f"the seeds, at least {FEWEST_RUNS} a side"
    ]
    return [*found, *invalid_sides(groups)]
