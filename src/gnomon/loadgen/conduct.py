"""One test of a run, from its announcement in `run.json` to its raw samples, logs and result on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.protocol import Job, Progress
from gnomon.core.task import IndexArray, Outputs, Task, single_precision
from gnomon.core.units import format_duration_ns
from gnomon.core.version import __version__
from gnomon.loadgen.accuracy_log import AccuracyLog
from gnomon.loadgen.judge import ACCURACY, ACCURACY_LOG, accuracy_result
from gnomon.loadgen.log_facts import LogContext
from gnomon.loadgen.logs import write_logs
from gnomon.loadgen.measure import Hopeless, Measured, Observer, Snapshot, measure
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.outcome import Outcome, compute_outcome
from gnomon.loadgen.session import Fault, all_finite
from gnomon.loadgen.settings import Mode, Settings


def performance_test(
    job: Job,
    settings: Settings,
    name: str,
    hopeless: Hopeless | None = None,
) -> tuple[Outcome | None, tuple[Fault, ...]]:
    """One performance test, on record under `name` from its start; its figures and faults.

    Raises:
        KeyboardInterrupt: It was interrupted; what it measured is on record, marked as unfinished.
    """
    options = _options(job)
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
            **_unfinished(measured),
        },
    )
    if measured.interrupted:
        raise KeyboardInterrupt
    return outcome, measured.faults


def accuracy_test(job: Job, settings: Settings) -> tuple[dict[str, Any] | None, tuple[Fault, ...]]:
    """The accuracy test: every sample once, its answer in the accuracy log; its result and faults.

    Raises:
        KeyboardInterrupt: It was interrupted; the answers so far are on record, marked as unfinished.
    """
    options = _options(job)
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
            **_unfinished(measured),
        },
    )
    if measured.interrupted:
        raise KeyboardInterrupt
    return result, tuple(faults)


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


def _unfinished(measured: Measured) -> dict[str, bool]:
    """The mark of an interrupted test, which a resumed run measures anew."""
    return {"interrupted": True} if measured.interrupted else {}


def _options(job: Job) -> LoadOptions:
    assert isinstance(job.options, LoadOptions)
    return job.options


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
