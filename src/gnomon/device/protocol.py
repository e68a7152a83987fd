"""The device protocol, as the rest of the house sees it.

`recompute` makes figures and verdict again from windows, answers and energy samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.recompute import Again, measurements_again
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.device.campaign import adapt_system, carry_out, prepare
from gnomon.device.energy_record import read_samples as read_energy_samples
from gnomon.device.judge import Held, judge, verdict_on
from gnomon.device.options import (
    ACCURACY,
    ENERGY,
    MEASUREMENTS,
    TinyOptions,
    layered,
    recorded_options,
)
from gnomon.device.record import read_results, read_windows
from gnomon.device.rules import PROFILES
from gnomon.device.task import require_tiny


def read_samples(run: Run, name: str) -> Any:
    """The raw record of one measurement: windows, answers, or energy samples with their timestamps."""
    folder = measurement_folder(run, name)
    if name == ACCURACY:
        return read_results(folder)
    if name == ENERGY:
        return read_energy_samples(folder)
    return read_windows(folder)


def recompute(run: Run, task: Task) -> Recomputed:
    """Make results and verdict again from the run folder.

    Raises:
        GnomonError: The record cannot be read.
    """
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    options = recorded_options(run)
    profile = PROFILES[options.rules]
    held = Held(benchmark, require_tiny(task), layered(benchmark, options), profile)
    counts = "time"

    def again(name: str, stored: Mapping[str, Any]) -> Again:
        nonlocal counts
        judged = judge(name, measurement_folder(run, name), stored, held)
        counts = stored["board"]["counts"]
        apart = []
        if judged.result != stored["result"]:
            apart.append(f"{name}: the record's result is not what its files give")
        return Again(judged.checks, judged.result, apart)

    whole = measurements_again(
        run,
        again,
        rules=profile.name,
        known=MEASUREMENTS,
        wanted=options.measurements,
        what="a board",
    )
    verdict = verdict_on(
        whole.checks,
        benchmark,
        options,
        profile,
        measured=tuple(whole.results),
        official_data=bool(run.record["data"]["official"]),
        counts=counts,
    )
    return Recomputed(whole.results, verdict, tuple(whole.disagreements))


PROTOCOL = Protocol(
    name="device",
    options=TinyOptions,
    profile=lambda options: str(options.rules),
    adapt_system=adapt_system,
    prepare=prepare,
    carry_out=carry_out,
    recompute=recompute,
    recorded_options=recorded_options,
    read_samples=read_samples,
)
