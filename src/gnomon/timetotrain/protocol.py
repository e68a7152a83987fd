"""The protocol of time to train, as the rest of the house sees it.

`recompute` makes figures and verdict again from journals and answers.
"""

from __future__ import annotations

from typing import Any

from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check
from gnomon.timetotrain.campaign import carry_out, prepare
from gnomon.timetotrain.judge import disagreements_of, judge, run_folder, verdict_on
from gnomon.timetotrain.rules import PROFILES
from gnomon.timetotrain.settings import MEASUREMENT, TrainingOptions, recorded_options
from gnomon.timetotrain.system import adapt_system
from gnomon.timetotrain.trace import RunTrace, read_trace


def read_samples(run: Run, name: str) -> list[RunTrace]:
    """The runs of a campaign that are over."""
    folder = measurement_folder(run, name)
    return [
        read_trace(run_folder(folder, int(number))) for number in run.measurements[name]["runs"]
    ]


def recompute(run: Run, task: Task) -> Recomputed:
    """Make results and verdict again from the run folder.

    Raises:
        GnomonError: The record cannot be read.
    """
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    options = recorded_options(run)
    profile = PROFILES[options.rules]
    disagreements = []
    if run.record["rules"] != profile.name:
        disagreements.append(
            f"the record says {run.record['rules']} rules, its options {profile.name}"
        )
    checks: list[Check] = []
    results: dict[str, dict[str, Any] | None] = {}
    for name, stored in run.measurements.items():
        if name != MEASUREMENT:
            disagreements.append(f"{name}: a training run has no such measurement")
            continue
        if run.status == "complete" and stored.get("interrupted"):
            disagreements.append(
                f"{name}: it was broken off, and the record says that it is complete"
            )
        folder = measurement_folder(run, name)
        judged = judge(folder, stored, benchmark, task, options)
        checks += judged.checks
        results[name] = judged.result
        disagreements += disagreements_of(folder, stored, judged, benchmark, options)
    if run.status == "complete" and MEASUREMENT not in run.measurements:
        disagreements.append(f"{MEASUREMENT}: it is not on record")
    verdict = verdict_on(checks, benchmark, options, task)
    return Recomputed(results, verdict, tuple(disagreements))


PROTOCOL = Protocol(
    name="timetotrain",
    options=TrainingOptions,
    profile=lambda options: str(options.rules),
    adapt_system=adapt_system,
    prepare=prepare,
    carry_out=carry_out,
    recompute=recompute,
    recorded_options=recorded_options,
    read_samples=read_samples,
)
