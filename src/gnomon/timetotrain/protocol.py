"""The protocol of time to train, as the rest of the house sees it.

`recompute` makes figures and verdict again from journals and answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.recompute import Again, measurements_again
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.timetotrain.campaign import carry_out, prepare
from gnomon.timetotrain.judge import disagreements_of, judge, run_folder, verdict_on
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

    def again(name: str, stored: Mapping[str, Any]) -> Again:
        folder = measurement_folder(run, name)
        judged = judge(folder, stored, benchmark, task, options)
        apart = disagreements_of(folder, stored, judged, benchmark, options)
        return Again(judged.checks, judged.result, apart)

    whole = measurements_again(
        run,
        again,
        rules=options.rules,
        known=(MEASUREMENT,),
        wanted=(MEASUREMENT,),
        what="a training run",
    )
    verdict = verdict_on(whole.checks, benchmark, options, task)
    return Recomputed(whole.results, verdict, tuple(whole.disagreements))


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
