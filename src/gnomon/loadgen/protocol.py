"""The load protocol, as the rest of the house sees it.

`recompute` makes every figure and the verdict again from the raw samples, the accuracy log and the
settings, and holds them against what the run said and against the schedule that its seeds give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gnomon.core.errors import GnomonError, SettingsError
from gnomon.core.protocol import Protocol, Recomputed, measurement_folder
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check
from gnomon.loadgen.campaign import carry_out, prepare
from gnomon.loadgen.find_peak import is_probe
from gnomon.loadgen.judge import ACCURACY, JudgedTest, judge_test, verdict_on
from gnomon.loadgen.measure import recorded_samples
from gnomon.loadgen.options import LoadOptions, scenarios_of
from gnomon.loadgen.read_logs import read_log_folder
from gnomon.loadgen.rules import coverage_checks, profile_named
from gnomon.loadgen.samples import SAMPLES_FILE, Samples
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.loadgen.system import CallableSystem, System


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
    profile = profile_named(run.record["rules"])
    results: dict[str, dict[str, Any] | None] = {}
    checks: list[Check] = []
    disagreements: list[str] = []
    for name, stored in run.measurements.items():
        judged = judge_test(measurement_folder(run, name), name, stored, benchmark, task, profile)
        results[name] = judged.result
        if not is_probe(name):
            checks += judged.checks
        disagreements += _against_schedule(name, judged.samples, judged.settings)
        disagreements += _against_record(name, judged.result, stored)
        disagreements += _against_logs(run, name, stored, judged)
    measured = [name for name in run.measurements if not is_probe(name)]
    checks += coverage_checks(measured, profile)
    disagreements += _missing(run, benchmark)
    official = bool(run.record["data"]["official"])
    verdict = verdict_on(checks, profile, measured, official_data=official)
    return Recomputed(results, verdict, tuple(disagreements))


def _missing(run: Run, benchmark: Benchmark) -> list[str]:
    """Which tests a complete run was asked for, or has samples of, without having them on record."""
    asked = LoadOptions.model_validate(run.record["options"])
    wanted = {path.parent.name for path in run.path.glob(f"*/{SAMPLES_FILE}")}
    if run.status == "complete":
        wanted |= {ACCURACY} if asked.accuracy else set()
        wanted |= (
            {str(name) for name in scenarios_of(benchmark, asked)} if asked.performance else set()
        )
    return [f"{name}: it is not on record" for name in sorted(wanted - set(run.measurements))]


def _against_schedule(name: str, samples: Samples, settings: Settings) -> list[str]:
    """Whether the samples are those that the seeds prescribe, at the prescribed times."""
    row = 0
    for order in plan(settings):
        width = order.samples_per_query
        left = len(samples) - row
        count = -(-left // width)  # a killed run may end in the middle of a query
        if order.query_count is not None:
            count = min(count, order.query_count)
        expected = order.samples(0, count).reshape(-1)[:left]
        rows = slice(row, row + len(expected))
        if not np.array_equal(samples.sample_index[rows], expected):
            return [f"{name}: the recorded samples are not those that its seeds give"]
        arrives = settings.scenario is Scenario.SERVER and settings.mode is Mode.PERFORMANCE
        if arrives and not np.array_equal(samples.scheduled_ns[rows], order.arrivals_ns(0, count)):
            return [f"{name}: the recorded arrivals are not those that its seeds give"]
        row += len(expected)
    if row < len(samples):
        return [f"{name}: there are more samples on record than its settings issue"]
    return []


def _against_record(name: str, result: dict[str, Any] | None, stored: dict[str, Any]) -> list[str]:
    """Where the stored result says something else than the raw samples."""
    said = stored["result"]
    if said is None or result is None:
        return [] if said == result else [f"{name}: result {said} on record, {result} recomputed"]
    return [
        f"{name}: {key} is {said.get(key)!r} on record but {result.get(key)!r} from the raw samples"
        for key in dict.fromkeys((*said, *result))
        if said.get(key) != result.get(key)
    ]


def _against_logs(run: Run, name: str, stored: dict[str, Any], judged: JudgedTest) -> list[str]:
    """Where the field's logs in the folder say something else than the raw samples."""
    if stored["result"] is None:
        return []
    try:
        log = read_log_folder(measurement_folder(run, name))
    except GnomonError as error:
        return [f"{name}: {error}"]
    found = []
    if len(log.errors) != len(stored["faults"]):
        found.append(
            f"{name}: the detail log has {len(log.errors)} error(s), run.json {len(stored['faults'])} "
            f"fault(s)"
        )
    valid = all(check.passed for check in judged.checks)
    if judged.settings.mode is Mode.PERFORMANCE and valid and log.validity == "INVALID":
        found.append(f"{name}: the logs say INVALID, the raw samples VALID")
    return found


PROTOCOL = Protocol(
    name="load",
    options=LoadOptions,
    profile=lambda options: str(options.rules),
    adapt_system=adapt_system,
    prepare=prepare,
    carry_out=carry_out,
    recompute=recompute,
    read_samples=read_run_samples,
)
