"""Compare runs: what differs, by how much, and whether that may be called a difference.

Takes run folders, groups them into sides, and gives a tree of plain values; only VALID runs enter a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gnomon.core import resampling
from gnomon.core.errors import UsageError
from gnomon.core.run import Run
from gnomon.results.claims import (
    FEW_RUNS_FLOOR,
    FEWEST_RUNS,
    PRACTICAL_FLOOR,
    SIGNIFICANCE,
    Row,
    concluded,
    invalid_sides,
)
from gnomon.results.fleet_claims import fleet_notes, fleet_rows
from gnomon.results.load_claims import load_rows
from gnomon.results.locate import load
from gnomon.results.sides import Group, Side, grouped, names_of, warnings
from gnomon.results.tiny_claims import tiny_notes, tiny_rows
from gnomon.results.training_claims import training_notes, training_rows

COMPARED = ("load", "fleet", "device", "timetotrain")
"""Protocols whose runs can be compared."""
ROWS = {"fleet": fleet_rows, "device": tiny_rows, "timetotrain": training_rows}
NOTES = {"fleet": fleet_notes, "device": tiny_notes, "timetotrain": training_notes}
"""By protocol: rows and notes of its own; those of the load protocol need the sides' peers as well."""


@dataclass(frozen=True)
class Comparison:
    """What comparing runs found.

    Attributes:
        benchmark: Name of the benchmark that all runs measured.
        sides: The baseline first.
        rows: By candidate, then by measurement.
        warnings: What differs between the sides besides what is compared.
        notes: How far the rows may be trusted.
        valid: Whether every run is VALID.
    """

    benchmark: str
    sides: tuple[Side, ...]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    valid: bool

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self)


def compare(runs: Sequence[Run | Path | str]) -> Comparison:
    """Compare runs of one benchmark; the first is the baseline.

        comparison = gnomon.compare(["runs/before", "runs/after"])
        [(row.measurement, row.ratio, row.conclusion) for row in comparison.rows]

    Runs of the same system, settings and environment make up one side. A difference is claimed only
    if the 95 % interval excludes equality, the p-value after Holm's correction over all rows is below
    0.05, and the difference exceeds a practical floor: 1 % with three or more runs a side, whose own
    figures are then the sample, and 5 % or the spread between a side's runs with fewer, where interval
    and test come from inside the runs. Repeating runs is what a measurement of speed stands on: Kalibera
    and Jones, "Rigorous benchmarking in reasonable time" (2013).

    Federations are held against each other in cost, time, energy and rounds to the target; seeds are what
    repeats them. Boards are in time, instructions or energy per inference, and in quality. Training runs are
    in time to train, throughput and samples to the target, a campaign's runs being the sample.

    Args:
        runs: At least two: runs, their folders, or the starts of their names.

    Raises:
        UsageError: Fewer than two runs, one given twice, or runs of different benchmarks.
        RunFolderError: A run, or the raw samples of one, cannot be read.
    """
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    _require_comparable(opened)
    protocol = opened[0].record["protocol"]
    groups, repeated = grouped(opened)
    baseline, *candidates = groups
    rows: list[Row] = []
    for candidate in candidates:
        peers = [group for group in groups if group is not candidate] if repeated else []
        for name in names_of(baseline, candidate):
            if protocol in ROWS:
                rows += ROWS[protocol](baseline, candidate, name)
            else:
                rows += load_rows(baseline, candidate, name, peers)
    if not rows and all(group.side.valid for group in groups):
        raise UsageError(
            "the runs have no measurement in common: measure the same scenarios in each"
        )
    tested = [place for place, row in enumerate(rows) if row.p_value is not None]
    adjusted = resampling.holm([float(rows[place].p_value or 0.0) for place in tested])
    for place, p_adjusted in zip(tested, adjusted, strict=True):
        rows[place] = replace(rows[place], p_adjusted=p_adjusted)
    rows = [row if row.conclusion else concluded(row) for row in rows]
    return Comparison(
        benchmark=opened[0].record["benchmark"]["name"],
        sides=tuple(group.side for group in groups),
        rows=tuple(rows),
        warnings=tuple(
            warning for candidate in candidates for warning in warnings(baseline, candidate)
        ),
        notes=tuple(
            NOTES[protocol](groups)
            if protocol in NOTES
            else _notes(groups, rows, repeated=repeated)
        ),
        valid=all(run.verdict.valid for run in opened),
    )


def _require_comparable(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise UsageError(
            f"compare needs at least two runs, the baseline first, got {len(runs)}: gnomon compare "
            f"BASELINE RUN"
        )
    ids = [run.id for run in runs]
    for run_id in ids:
        if ids.count(run_id) > 1:
            raise UsageError(f"the run {run_id} is given twice: name each run once")
    first = runs[0].record
    for run in runs[1:]:
        name = run.record["benchmark"]["name"]
        if name != first["benchmark"]["name"]:
            raise UsageError(
                f"{runs[0].id} measured {first['benchmark']['name']!r}, {run.id} {name!r}: only runs "
                f"of one benchmark can be compared"
            )
    for run in runs:
        if run.record["protocol"] not in COMPARED:
            raise UsageError(
                f"{run.id} was measured by the protocol {run.record['protocol']!r}: compare knows "
                f"runs of {' and '.join(COMPARED)}"
            )


def _notes(groups: Sequence[Group], rows: Sequence[Row], *, repeated: bool) -> list[str]:
    """How far the rows may be trusted."""
    found = [
        "a difference is claimed if its 95 % interval excludes equality, p < "
        f"{SIGNIFICANCE:g} after Holm's correction over all rows, and it exceeds "
        f"{100 * PRACTICAL_FLOOR:g} % ({100 * FEW_RUNS_FLOOR:g} % with fewer than {FEWEST_RUNS} runs "
        "a side; accuracy: any)"
    ]
    compared = [group for group in groups if group.side.valid]
    found += invalid_sides(groups)
    if repeated and len(compared) == len(groups):
        found.append(
            "nothing on record differs between these runs: what differs is the variation from run to "
            "run, or something that is not on record, such as the code of a callable; differences "
            "within the spread of the other runs are not claimed"
        )
    sizes = [len(group.runs) for group in compared]
    if sizes and max(sizes) == 1:
        found.append(
            "each side is one run: the intervals do not hold the variation from run to run, which is "
            f"often several percent; {FEWEST_RUNS} or more runs a side would"
        )
    elif sizes and min(sizes) < FEWEST_RUNS:
        found.append(
            f"a side has fewer than {FEWEST_RUNS} runs: intervals come from inside the runs, and "
            "differences within the spread between a side's runs are not claimed either"
        )
    if any(row.metric.endswith("latency") for row in rows):
        found.append(
            "latency is compared at the measured percentile, not at the early-stopping estimate, "
            "which depends on the number of queries"
        )
    if any(row.method == "counts of samples" for row in rows):
        found.append(
            "accuracy: interval of the difference, from counts; the runs answer the same samples, so "
            "it is on the wide side"
        )
    return found
