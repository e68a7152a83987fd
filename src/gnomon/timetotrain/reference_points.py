"""Reference convergence points: how much training the reference needs at each global batch size.

Points are made from measured runs here, and pruned to those that say how fast the reference can converge.
Their files are in `reference_point_files.py`, the test against them in `convergence_test.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from gnomon.core.errors import UsageError

Unit: TypeAlias = Literal["epochs", "samples"]
NAMED_IN_SAMPLES = ("llama2_70b_lora", "flux1")
"""Benchmarks of which the official checker reads `samples to converge`, not `Epochs to converge`."""
FEWEST_VALUES = 3


@dataclass(frozen=True)
class ReferencePoint:
    """One point: the reference's runs at one global batch size.

    Attributes:
        name: Its key in the file (`bert_ref_256`).
        benchmark: As the field names it.
        global_batch_size: Samples of one step.
        to_converge: Training of each run until the target, in `unit`; at least 3 values.
        unit: `epochs` (whatever the benchmark counts) or `samples`.
        hyperparameters: Of these runs.
        creator: Who ran them.
        when: For which round.
        platform: On what.
        precision: In which numbers; empty if it is not said.
    """

    name: str
    benchmark: str
    global_batch_size: int
    to_converge: tuple[float, ...]
    unit: Unit = "epochs"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    creator: str = ""
    when: str = ""
    platform: str = ""
    precision: str = ""

    def mean(self, dropped: int = 1) -> float:
        """The olympic mean, in `unit`.

        Raises:
            UsageError: No run is left when `dropped` at each end are.
        """
        return float(np.mean(self.trimmed(dropped)))

    def trimmed(self, dropped: int = 1) -> tuple[float, ...]:
        """The values without the `dropped` least and greatest, ascending.

        Raises:
            UsageError: None is left.
        """
        ordered = sorted(self.to_converge)
        if len(ordered) <= 2 * dropped:
            raise UsageError(
                f"reference point {self.name} has {len(ordered)} runs, and none is left when "
                f"{dropped} at each end are dropped: give it more runs"
            )
        return tuple(ordered[dropped : len(ordered) - dropped])


def make_reference_point(
    benchmark: str,
    global_batch_size: int,
    to_converge: Sequence[float],
    *,
    runs: int,
    unit: Unit = "epochs",
    hyperparameters: Mapping[str, Any] | None = None,
    creator: str = "",
    when: str = "",
    platform: str = "",
    precision: str = "",
) -> ReferencePoint:
    """A point made from measured runs of the reference.

    Source: MLPerf Training rules, "Reference Convergence Points (RCPs)".

    Args:
        benchmark: Name of the benchmark.
        global_batch_size: Of the runs.
        to_converge: Training of each run until the target, in `unit`.
        runs: How many runs a result is made of; a point needs twice as many.
        unit: What the values count.
        hyperparameters: Of the runs, by log key.
        creator: Who ran them.
        when: For which round.
        platform: On what.
        precision: In which numbers.

    Raises:
        UsageError: There are too few values, or a run that did not converge.
    """
    if global_batch_size < 1:
        raise UsageError(f"global_batch_size must be at least 1, got {global_batch_size}")
    for index, value in enumerate(to_converge):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"run {index} of the reference has {value} {unit} to converge: a reference point is made "
                "of runs that converged; lower the target or give more time"
            )
    if len(to_converge) < max(2 * runs, FEWEST_VALUES):
        raise UsageError(
            f"a reference point of {benchmark} needs {2 * runs} runs, twice the {runs} of a result, "
            f"got {len(to_converge)}: make more"
        )
    return ReferencePoint(
        f"{benchmark}_ref_{global_batch_size}",
        benchmark,
        global_batch_size,
        tuple(to_converge),
        unit,
        dict(hyperparameters or {}),
        creator,
        when,
        platform,
        precision,
    )


def under_official_name(points: Iterable[ReferencePoint], benchmark: str) -> list[ReferencePoint]:
    """The points as the field's checker reads them, which knows official benchmarks only.

    It looks for `samples to converge` in two benchmarks and for `Epochs to converge` in all others,
    whatever is counted.
    """
    unit: Unit = "samples" if benchmark in NAMED_IN_SAMPLES else "epochs"
    return [
        replace(
            point,
            name=f"{benchmark}_ref_{point.global_batch_size}",
            benchmark=benchmark,
            unit=unit,
        )
        for point in points
    ]


def pruned_by_neighbours(
    points: Sequence[ReferencePoint], dropped: int = 1
) -> list[ReferencePoint]:
    """The points that are left when the official checker has pruned them, by batch size.

    First those below the batch size of the fastest one go; then, in one pass upward, each that is slower
    than the line between its neighbours of that moment. It does not look back: where `pruned_by_all`
    finds the lower convex hull, this may keep more.

    Raises:
        UsageError: A point has too few runs.
    """
    left = _from_the_fastest(points, dropped)
    means = [point.mean(dropped) for point in left]
    place = 1
    while place < len(left) - 1:
        if means[place] > _line(left, means, place - 1, place + 1, place):
            del left[place], means[place]
        else:
            place += 1
    return left


def pruned_by_all(points: Sequence[ReferencePoint], dropped: int = 1) -> list[ReferencePoint]:
    """The points that are left under the rules as they are written, by batch size.

    Each goes that is slower than the line between any two around it: the lower convex hull stays.

    Source: MLPerf Training rules, "Reference Convergence Points (RCPs)".

    Raises:
        UsageError: A point has too few runs.
    """
    left = _from_the_fastest(points, dropped)
    means = [point.mean(dropped) for point in left]
    count = len(left)
    return [
        point
        for place, point in enumerate(left)
        if not any(
            means[place] > _line(left, means, below, above, place)
            for below in range(place)
            for above in range(place + 1, count)
        )
    ]


def _from_the_fastest(points: Sequence[ReferencePoint], dropped: int) -> list[ReferencePoint]:
    ordered = sorted(points, key=lambda point: point.global_batch_size)
    if not ordered:
        return []
    fastest = min(ordered, key=lambda point: point.mean(dropped))
    return [each for each in ordered if each.global_batch_size >= fastest.global_batch_size]


def _line(
    points: Sequence[ReferencePoint], means: Sequence[float], below: int, above: int, place: int
) -> float:
    """The mean that the line between two points has at the batch size of a third."""
    sizes = [points[below].global_batch_size, points[above].global_batch_size]
    return float(np.interp(points[place].global_batch_size, sizes, [means[below], means[above]]))
