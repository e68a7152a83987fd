"""The fleet protocol, as the rest of the house sees it.

`recompute` makes figures and verdict again from rounds, clients and final parameters, on data dealt out again
from its seed; on a virtual clock every second and joule is made again as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.recompute import Again, measurements_again
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.fleet.assembly import assemble
from gnomon.fleet.campaign import carry_out, prepare
from gnomon.fleet.judge import disagreements_of, judge, verdict_on
from gnomon.fleet.options import MEASUREMENT, FleetOptions, recorded_options
from gnomon.fleet.record import FleetSamples, read_samples
from gnomon.fleet.rules import PROFILES
from gnomon.fleet.system import adapt_system


def read_run_samples(run: Run, name: str) -> FleetSamples:
    """The raw record of the federation of a run."""
    return read_samples(measurement_folder(run, name))


def recompute(run: Run, task: Task) -> Recomputed:
    """Make results and verdict again from the run folder.

    Raises:
        GnomonError: The record cannot be read.
    """
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    options = recorded_options(run)
    profile = PROFILES[options.rules]

    def again(name: str, stored: Mapping[str, Any]) -> Again:
        federation = assemble(benchmark, task, options)
        folder = measurement_folder(run, name)
        judged = judge(folder, stored, federation, benchmark, profile)
        apart = disagreements_of(folder, stored, judged, federation)
        return Again(judged.checks, judged.result, apart)

    whole = measurements_again(
        run,
        again,
        rules=profile.name,
        known=(MEASUREMENT,),
        wanted=(MEASUREMENT,),
        what="a federation",
    )
    official = bool(run.record["data"]["official"])
    verdict = verdict_on(whole.checks, profile, benchmark, options, official_data=official)
    return Recomputed(whole.results, verdict, tuple(whole.disagreements))


PROTOCOL = Protocol(
    name="fleet",
    options=FleetOptions,
    profile=lambda options: str(options.rules),
    adapt_system=adapt_system,
    prepare=prepare,
    carry_out=carry_out,
    recompute=recompute,
    recorded_options=recorded_options,
    read_samples=read_run_samples,
)
