"""The tests that make up one load run, in order, each put on record as soon as it is over.

Performance tests come first, scenario by scenario, then the accuracy test. A system that raises, hangs
or miscounts ends the run there: what was measured is kept, and the run is INVALID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, GnomonError, SystemFault
from gnomon.core.protocol import Ending, Job, Progress
from gnomon.core.spec import Benchmark
from gnomon.core.task import IndexArray, Outputs, Task, single_precision
from gnomon.core.units import format_duration_ns
from gnomon.core.verdict import Check, Verdict
from gnomon.core.version import __version__
from gnomon.loadgen.accuracy_log import AccuracyLog, read_accuracy_log
from gnomon.loadgen.find_peak import Probe, find_peak
from gnomon.loadgen.logs import LogContext, write_logs
from gnomon.loadgen.measure import Hopeless, Measured, Observer, Snapshot, measure
from gnomon.loadgen.options import (
    LoadOptions,
    accuracy_settings,
    performance_settings,
    scenarios_of,
    unused_lines,
)
from gnomon.loadgen.outcome import Outcome, compute_outcome
from gnomon.loadgen.rules import (
    RuleProfile,
    accuracy_checks,
    coverage_checks,
    performance_checks,
    profile_named,
)
from gnomon.loadgen.server_outlook import hopeless_server
from gnomon.loadgen.session import Fault, all_finite
from gnomon.loadgen.settings import NS_PER_S, Mode, Scenario, Settings

ACCURACY = "accuracy"
ACCURACY_LOG = "mlperf_log_accuracy.json"
FATAL = {"raised", "stalled", "wrong_output_count"}
TRIAL_DURATION_NS = NS_PER_S // 2
PROBE_SHARE = 10
"""A probe of find-peak is this much shorter than the test that confirms, within the rules."""


def prepare(benchmark: Benchmark, task: Task, options: LoadOptions) -> tuple[str, ...]:
    """Make every setting once, so that a mistake is told before a run folder exists.

    Returns:
        What the user should know before the run starts.
    """
    for scenario in scenarios_of(benchmark, options):
        performance_settings(benchmark, task, options, scenario)
    accuracy_settings(benchmark, task, options)
    return unused_lines(benchmark, options)


def carry_out(job: Job) -> Ending:
    """Run every test of the job."""
    options = job.options
    assert isinstance(options, LoadOptions)
    profile = profile_named(options.rules)
    checks: list[Check] = []
    reason: str | None = None
    if options.performance:
        for scenario in scenarios_of(job.benchmark, options):
            settings, peak = performance_settings(job.benchmark, job.task, options, scenario)
            run_scenario = _seek_peak if peak else _run_performance
            test_checks, reason = run_scenario(job, options, profile, settings)
            checks += test_checks
            if reason:
                break
    if options.accuracy and reason is None:
        test_checks, reason = _run_accuracy(job, options)
        checks += test_checks
    measured = [name for name in job.writer.record["measurements"] if "-probe-" not in name]
    checks += coverage_checks(measured, profile)
    return Ending(judged(checks, profile, official_data=job.task.source().official), reason)


def judged(checks: list[Check], profile: RuleProfile, *, official_data: bool) -> Verdict:
    """The verdict on these checks; comparable only for official rules on official data."""
    official_rules = profile.seeds is not None
    lacking = [
        words
        for words, there in (
            ("quick rules", official_rules),
            ("not the official data", official_data),
        )
        if not there
    ]
    remark = f"not comparable with published results: {' and '.join(lacking)}" if lacking else ""
    return Verdict(profile.name, tuple(checks), comparable=not lacking, remark=remark)


TestChecks = tuple[list[Check], str | None]
"""The checks on one test, and why the run must end after it, if it must."""


def _run_performance(
    job: Job, options: LoadOptions, profile: RuleProfile, settings: Settings
) -> TestChecks:
    name = settings.scenario.value
    outcome, faults = _performance_test(job, options, settings, name)
    return performance_checks(outcome, settings, profile, faults, name), _fatal(faults)


def _performance_test(
    job: Job,
    options: LoadOptions,
    settings: Settings,
    name: str,
    hopeless: Hopeless | None = None,
) -> tuple[Outcome | None, tuple[Fault, ...]]:
    """One performance test, on record under `name` from its start."""
    _announce(job, name, settings)
    folder = job.writer.measurement_path(name)
    measured = measure(
        job.system,
        job.task,
        settings,
        folder,
        workers=options.workers,
        observer=_observer(job, name, settings),
        stall_timeout_s=options.stall_timeout_s,
        hopeless=hopeless,
    )
    outcome = compute_outcome(measured.samples, settings)
    write_logs(folder, settings, outcome, _log_context(job, measured))
    job.writer.record_measurement(
        name,
        {
            "kind": Mode.PERFORMANCE.value,
            "settings": settings.model_dump(mode="json"),
            "started_at": measured.started_at.isoformat(timespec="milliseconds"),
            "result": outcome.to_json() if outcome else None,
            "faults": [asdict(fault) for fault in measured.faults],
        },
    )
    if measured.interrupted:
        raise KeyboardInterrupt
    return outcome, measured.faults


def _run_accuracy(job: Job, options: LoadOptions) -> TestChecks:
    settings = accuracy_settings(job.benchmark, job.task, options)
    _announce(job, ACCURACY, settings)
    folder = job.writer.measurement_path(ACCURACY)
    log = AccuracyLog(folder / ACCURACY_LOG)
    finite = True
    plain = type(job.task).encode is Task.encode

    def keep(ids: NDArray[np.int64], samples: IndexArray, outputs: Outputs) -> None:
        nonlocal finite
        finite = finite and all_finite(outputs)
        if plain and isinstance(outputs, np.ndarray) and outputs.dtype != object:
            log.append(ids, samples, single_precision(outputs))
        else:
            log.append_encoded(ids, samples, [job.task.encode(output) for output in outputs])

    try:
        measured = measure(
            job.system,
            job.task,
            settings,
            folder,
            workers=options.workers,
            observer=_observer(job, ACCURACY, settings),
            sink=keep,
            stall_timeout_s=options.stall_timeout_s,
        )
    finally:
        log.close()
    faults = list(measured.faults)
    if not finite and not any(fault.kind == "not_finite" for fault in faults):
        faults.append(
            Fault(
                "not_finite",
                "the system answered NaN or infinity: check the model and its inputs",
            )
        )
    result = accuracy_result(job.benchmark, job.task, folder / ACCURACY_LOG)
    write_logs(folder, settings, None, _log_context(job, measured, faults))
    job.writer.record_measurement(
        ACCURACY,
        {
            "kind": Mode.ACCURACY.value,
            "settings": settings.model_dump(mode="json"),
            "started_at": measured.started_at.isoformat(timespec="milliseconds"),
            "result": result,
            "faults": [asdict(fault) for fault in faults],
        },
    )
    if measured.interrupted:
        raise KeyboardInterrupt
    checks = accuracy_checks(
        result["quality"] if result else None,
        job.benchmark.quality,
        result["sample_count"] if result else 0,
        settings.total_sample_count,
        faults,
        ACCURACY,
    )
    return checks, _fatal(measured.faults)


def accuracy_result(benchmark: Benchmark, task: Task, path: Any) -> dict[str, Any] | None:
    """Score an accuracy log: the quality, from the file alone. None if it holds no answer."""
    entries = read_accuracy_log(path)
    samples = np.asarray([entry.sample_index for entry in entries], dtype=np.int64)
    if not len(samples):
        return None
    if samples.min() < 0 or samples.max() >= len(task):
        raise DataError(f"{path} names samples that the data set of {task.name!r} does not have")
    try:
        outputs = [task.decode(entry.data) for entry in entries]
        quality = float(task.score(samples, outputs))
    except GnomonError:
        raise
    except Exception as error:
        raise DataError(
            f"task {task.name!r} cannot score the outputs in {path}: {type(error).__name__}: {error}"
        ) from error
    return {
        "metric": {"name": task.metric, "value": quality, "unit": task.unit},
        "quality": quality,
        "target": benchmark.quality.threshold,
        "sample_count": len(np.unique(samples)),
    }


def _seek_peak(
    job: Job, options: LoadOptions, profile: RuleProfile, settings: Settings
) -> TestChecks:
    """Find the highest valid Server rate; the confirming test is the measurement `server`."""
    name = Scenario.SERVER.value
    fatal: list[str] = []
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
            _rename(job, name, probes)
        label = name if confirm else f"{name}-probe-{len(probes) + 1:02d}"
        outcome, faults = _performance_test(
            job, options, tried, label, None if confirm else hopeless_server(tried)
        )
        made = performance_checks(outcome, tried, profile, faults, label)
        reason = _fatal(faults)
        if reason:
            fatal.append(reason)
            checks = made
            raise SystemFault(reason)
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

    try:
        start_qps = options.target_qps or _trial_rate(job, options, settings)
        find_peak(start_qps, probe)
    except SystemFault as fault:
        if not fatal:
            checks = [
                Check("peak", False, "no valid rate", "a valid Server rate", str(fault), name)
            ]
    stored = job.writer.record["measurements"].get(name)
    if stored is not None:
        stored["probes"] = [asdict(probe) for probe in probes]
        job.writer.record_measurement(name, stored)
    return checks, fatal[0] if fatal else None


def _trial_rate(job: Job, options: LoadOptions, settings: Settings) -> float:
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
    outcome, faults = _performance_test(job, options, trial, "server-probe-00")
    reason = _fatal(faults)
    if reason or outcome is None:
        raise SystemFault(reason or "the system answered nothing in a short trial")
    return max(outcome.samples_per_second / 2, 1.0)


def _rename(job: Job, name: str, probes: list[Probe]) -> None:
    """Keep a confirming test that was not valid as one of the probes."""
    label = f"{name}-probe-{len(probes):02d}"
    (job.writer.path / name).rename(job.writer.path / label)
    measurements = job.writer.record["measurements"]
    measurements[label] = measurements.pop(name)
    probes[-1] = replace(probes[-1], measurement=label)


def _fatal(faults: tuple[Fault, ...]) -> str | None:
    return next((fault.message for fault in faults if fault.kind in FATAL), None)


def _announce(job: Job, name: str, settings: Settings) -> None:
    """Put a test on record before it starts, so that a killed run can be read."""
    job.writer.record_measurement(
        name,
        {
            "kind": settings.mode.value,
            "settings": settings.model_dump(mode="json"),
            "result": None,
            "faults": [],
        },
    )


def _log_context(job: Job, measured: Measured, faults: Any = None) -> LogContext:
    return LogContext(
        system_name=job.system.name,
        task_name=job.task.name,
        gnomon_version=__version__,
        started_at=measured.started_at,
        loaded_sets=measured.loaded_sets,
        errors=tuple(fault.message for fault in (measured.faults if faults is None else faults)),
    )


def _observer(job: Job, name: str, settings: Settings) -> Observer | None:
    """Turn a test's snapshots into progress of the run."""
    tell: Callable[[Progress], None] | None = job.observer
    if tell is None:
        return None
    share = f"p{100 * settings.target_latency_percentile:g}"
    label = name if settings.target_qps is None else f"{name} at {settings.target_qps:g}/s"

    def observe(snapshot: Snapshot) -> None:
        words = f"{snapshot.samples:,} samples"
        if snapshot.percentile_latency_ns is not None:
            words += f", {share} {format_duration_ns(snapshot.percentile_latency_ns)}"
        tell(Progress(label, snapshot.share_done, snapshot.elapsed_s, words))

    return observe
