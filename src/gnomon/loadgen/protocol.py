"""The load protocol, as the rest of the house sees it.

`recompute` makes every figure and the verdict again from the raw samples, the accuracy log and the
settings; `witness.py` holds them against whatever else the folder says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.core.errors import SettingsError, UsageError
from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check
from gnomon.loadgen.campaign import carry_out, prepare
from gnomon.loadgen.find_peak import is_probe
from gnomon.loadgen.judge import (
    JudgedTest,
    is_own_model,
    judge_search,
    judge_test,
    verdict_on_run,
)
from gnomon.loadgen.measure import recorded_samples
from gnomon.loadgen.options import (
    LoadOptions,
    Planned,
    planned_tests,
    profile_of,
    recorded_options,
)
from gnomon.loadgen.rules import coverage_checks
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import Settings
from gnomon.loadgen.system import CallableSystem, System
from gnomon.loadgen.witness import against_plan, disagreements_of


def adapt_system(system: Any) -> System:
    """A `System` as it is; a callable as a synchronous system.

    Raises:
        SettingsError: It is neither.
    """
    if isinstance(system, System):
        return system
    if isinstance(system, type):
        name = system.__name__
        raise SettingsError(f"{name} is a class: pass a system made of it, {name}(...)")
    if callable(system):
        function: Callable[[Any], Any] = system
        return CallableSystem(function)
    raise SettingsError(
        f"a system is a registered name, a System or a callable, got {type(system).__name__}"
    )


def read_run_samples(run: Run, name: str) -> Samples:
    """The raw samples of one measurement of a run."""
    settings = Settings.model_validate(run.measurements[name]["settings"])
    return recorded_samples(measurement_folder(run, name), settings)


def recompute(run: Run, task: Task) -> Recomputed:
    """Make results and verdict again from the run folder.

    Raises:
        GnomonError: The raw samples of a measurement cannot be read.
    """
    benchmark = Benchmark.model_validate(run.record["benchmark"])
    profile = profile_of(benchmark, run.record["rules"])
    disagreements: list[str] = []
    planned: dict[str, Planned] = {}
    try:
        planned = planned_tests(benchmark, task, recorded_options(run))
    except UsageError as error:
        disagreements.append(f"nothing can be measured with the options on record: {error}")
    judged: dict[str, JudgedTest] = {}
    for name, stored in run.measurements.items():
        folder = measurement_folder(run, name)
        test = judge_test(folder, name, stored, benchmark, task, profile)
        judged[name] = test
        disagreements += disagreements_of(name, stored, test, folder)
    disagreements += against_plan(run, planned)
    checks: list[Check] = []
    for name in dict.fromkeys([*planned, *judged]):  # the order in which the run made them
        if name in judged and not is_probe(name):
            checks += judged[name].checks
        elif name in planned and planned[name].seeks_peak and any(map(is_probe, judged)):
            checks += judge_search(run.measurements)
    measured = {name: test.settings for name, test in judged.items() if not is_probe(name)}
    checks += coverage_checks(measured, profile)
    official = bool(run.record["data"]["official"])
    verdict = verdict_on_run(
        checks,
        profile,
        benchmark,
        measured,
        official_data=official,
        own_model=is_own_model(run.record["system"]["description"]),
    )
    results = {name: test.result for name, test in judged.items()}
    return Recomputed(results, verdict, tuple(disagreements))


PROTOCOL = Protocol(
    name="load",
    options=LoadOptions,
    profile=lambda options: str(options.rules),
    adapt_system=adapt_system,
    prepare=prepare,
    carry_out=carry_out,
    recompute=recompute,
    recorded_options=recorded_options,
    read_samples=read_run_samples,
)
