"""The tests that make up one load run, in order, each put on record as soon as it is over.

Performance tests come first, scenario by scenario, then the accuracy test. A system that raises, hangs
or miscounts ends the run there: what was measured is kept, and the run is INVALID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from gnomon.core.errors import SystemFault, UsageError
from gnomon.core.protocol import Ending, Job
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.under_test import description_of
from gnomon.core.verdict import Check
from gnomon.loadgen.conduct import accuracy_test, performance_test, watched_performance_test
from gnomon.loadgen.cooldown import rest_before_a_test, rest_begins
from gnomon.loadgen.find_peak import Probe, find_peak, is_probe, probe_name
from gnomon.loadgen.judge import (
    ACCURACY,
    CURED_BY_A_LOWER_RATE,
    FATAL,
    fatal_fault,
    is_own_model,
    judge_accuracy,
    judge_performance,
    judge_search,
    judge_test,
    verdict_on_run,
)
from gnomon.loadgen.options import (
    LoadOptions,
    Planned,
    accuracy_settings,
    as_planned,
    keep_config,
    planned_tests,
    profile_of,
    unused_lines,
)
from gnomon.loadgen.rules import RuleProfile, coverage_checks
from gnomon.loadgen.server_outlook import hopeless_server
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import NS_PER_S, Scenario, Settings

TRIAL_DURATION_NS = NS_PER_S // 2
PROBE_SHARE = 10
"""A probe of find-peak is this much shorter than the test that confirms, within the rules."""


def prepare(benchmark: Benchmark, task: Task, options: LoadOptions) -> tuple[str, ...]:
    """Make every setting once, so that a mistake is told before a run folder exists.

    Returns:
        What the user should know before the run starts.
    """
    planned_tests(benchmark, task, options)
    accuracy_settings(benchmark, task, options)
    return unused_lines(benchmark, options)


TestChecks = tuple[list[Check], str | None]
"""The checks on one test, and why the run must end after it, if it must."""


def carry_out(job: Job) -> Ending:
    """Run every test of the job; of a resumed run, those that were not finished before."""
    options = job.options
    assert isinstance(options, LoadOptions)
    profile = profile_of(job.benchmark, options.rules)
    keep_config(options, job.writer.path)
    tests = planned_tests(job.benchmark, job.task, options)
    finished = _finished(job, tests)
    _clear(job, finished)
    checks: list[Check] = []
    reason: str | None = None
    for name, test in tests.items():
        if name in finished:
            made, reason = _kept(job, name, profile), None
        elif name == ACCURACY:
            made, reason = _run_accuracy(job, test.settings)
        elif test.seeks_peak:
            made, reason = _seek_peak(job, profile, test.settings, options.target_qps)
        else:
            made, reason = _run_performance(job, profile, test.settings)
        checks += made
        if reason:
            break
    measured = {
        name: Settings.model_validate(stored["settings"])
        for name, stored in job.writer.record["measurements"].items()
        if not is_probe(name)
    }
    checks += coverage_checks(measured, profile)
    official = job.task.source().official
    verdict = verdict_on_run(
        checks,
        profile,
        job.benchmark,
        measured,
        official_data=official,
        own_model=is_own_model(description_of(job.system)),
    )
    return Ending(verdict, reason)


def _finished(job: Job, tests: Mapping[str, Planned]) -> set[str]:
    """The tests that an earlier start of this run brought to their end.

    Raises:
        UsageError: One was made with other settings than the run would use now.
    """
    finished = set()
    for name, test in tests.items():
        stored = job.writer.record["measurements"].get(name)
        if stored is None or stored["result"] is None or stored.get("interrupted"):
            continue
        if any(fault["kind"] in FATAL for fault in stored["faults"]):
            continue
        if test.seeks_peak and "probes" not in stored:
            continue
        if not as_planned(test, stored["settings"]):
            raise UsageError(
                f"{name} was measured with other settings than it would be now; start a new run"
            )
        finished.add(name)
    return finished


def _clear(job: Job, finished: set[str]) -> None:
    """Put aside what unfinished tests left, so that they can be measured anew."""
    for name in list(job.writer.record["measurements"]):
        if (Scenario.SERVER.value if is_probe(name) else name) not in finished:
            job.writer.set_aside(name)


def _kept(job: Job, name: str, profile: RuleProfile) -> list[Check]:
    """The checks on a test that was finished before the run was resumed, judged from its raw samples."""
    stored = job.writer.record["measurements"][name]
    folder = job.writer.measurement_path(name)
    return judge_test(folder, name, stored, job.benchmark, job.task, profile).checks


def _run_performance(job: Job, profile: RuleProfile, settings: Settings) -> TestChecks:
    name = settings.scenario.value
    conditions = None
    if profile.mode is None:
        outcome, faults = performance_test(job, settings, name)
    else:
        rested_s = rest_before_a_test(job, profile)
        outcome, faults, conditions = watched_performance_test(job, settings, name, rested_s)
        rest_begins()
    checks = judge_performance(outcome, settings, job.benchmark, profile, faults, name, conditions)
    return checks, fatal_fault(faults)


def _run_accuracy(job: Job, settings: Settings) -> TestChecks:
    result, faults = accuracy_test(job, settings)
    return judge_accuracy(result, job.benchmark, settings, faults), fatal_fault(faults)


def _seek_peak(
    job: Job, profile: RuleProfile, settings: Settings, start_qps: float | None
) -> TestChecks:
    """Find the highest valid Server rate; the confirming test is the measurement `server`."""
    name = Scenario.SERVER.value
    checks: list[Check] = []
    probes: list[Probe] = []
    short_ns = max(profile.min_duration_ns, settings.min_duration_ns // PROBE_SHARE)

    def probe(target_qps: float, confirm: bool) -> Probe:
        nonlocal checks
        tried = settings.model_copy(
            update={
                "target_qps": target_qps,
                "min_duration_ns": settings.min_duration_ns if confirm else short_ns,
            }
        )
        if confirm and name in job.writer.record["measurements"]:
            label = _put_aside(job, name, len(probes))
            probes[-1] = replace(probes[-1], measurement=label)
        label = name if confirm else probe_name(len(probes) + 1)
        hopeless = None if confirm else hopeless_server(tried)
        outcome, faults = performance_test(job, tried, label, hopeless)
        made = judge_performance(outcome, tried, job.benchmark, profile, faults, label)
        for fault in faults:
            if fault.kind not in CURED_BY_A_LOWER_RATE:
                if confirm:  # the search failed: its last test is none that was found valid
                    _put_aside(job, name, len(probes) + 1)
                raise SystemFault(fault.message)
        if confirm:
            checks = made
        probes.append(
            Probe(
                target_qps,
                all(check.passed for check in made),
                outcome.percentile_latency_ns if outcome else None,
                outcome.samples_per_second if outcome else None,
                label,
                confirm,
            )
        )
        return probes[-1]

    measurements = job.writer.record["measurements"]
    try:
        find_peak(start_qps or _trial_rate(job, settings), probe)
    except SystemFault:
        made = [Fault(**fault) for stored in measurements.values() for fault in stored["faults"]]
        return judge_search(measurements), fatal_fault(made)
    found = {**measurements[name], "probes": [asdict(probe) for probe in probes]}
    job.writer.record_measurement(name, found)
    return checks, None


def _trial_rate(job: Job, settings: Settings) -> float:
    """Half the rate of a short Offline trial: where the search begins, so that nobody has to guess."""
    trial = settings.model_copy(
        update={
            "scenario": Scenario.OFFLINE,
            "target_qps": None,
            "target_latency_ns": 0,
            "min_query_count": 1,
            "min_duration_ns": TRIAL_DURATION_NS,
        }
    )
    outcome, faults = performance_test(job, trial, probe_name(0))
    if faults or outcome is None:
        raise SystemFault("the trial failed")  # judged from what it left on record
    return max(outcome.samples_per_second / 2, 1.0)


def _put_aside(job: Job, name: str, number: int) -> str:
    """Keep a confirming test that was not valid as one of the probes, and return its new name."""
    label = probe_name(number)
    (job.writer.path / name).rename(job.writer.path / label)
    measurements = job.writer.record["measurements"]
    measurements[label] = measurements.pop(name)
    return label
