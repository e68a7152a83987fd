"""The runs of a campaign, for the rules to judge, and the check that a rule makes of what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.spec import QualityTarget
from gnomon.core.verdict import Check
from gnomon.timetotrain.settings import MEASUREMENT, TrainingBenchmark
from gnomon.timetotrain.trace import RunTrace


@dataclass(frozen=True)
class Campaign:
    """The runs of a campaign, for the rules to judge.

    Attributes:
        runs: Those that are over, by number.
        seed: That their seeds were drawn from.
        settings: How they were trained.
        declared: How the benchmark declares that they are.
        target: The quality to reach.
        recomputed: By run, the quality of each evaluation whose answers are kept, by its number from 1.
        histories: By run, a fingerprint of the answers of its evaluations; empty if none are kept.
        begun_again: Numbers of runs that were broken off and begun again.
        machines: By run, what its machine is, if the runs were spread over several.
    """

    runs: Sequence[RunTrace]
    seed: int
    settings: TrainingBenchmark
    declared: TrainingBenchmark
    target: QualityTarget
    recomputed: Mapping[int, Mapping[int, float]]
    histories: Mapping[int, str]
    begun_again: Sequence[int]
    machines: Mapping[int, Mapping[str, Any]]


def check_of(name: str, faults: Sequence[str], found: str, required: str) -> Check:
    """Passed if there is no fault; the first ones say why it did not."""
    shown = "; ".join(faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Check(name, not faults, found, required, shown + more, MEASUREMENT)
