"""A test on record: announced before it starts; its figures, faults, conditions and logs when it has ended.

Whether this process measured it or a browser did, what is kept is the same, and is judged by the same judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gnomon.core.protocol import Job
from gnomon.core.version import __version__
from gnomon.loadgen.agreement import Agreement
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.judge import ACCURACY, ACCURACY_LOG, accuracy_result
from gnomon.loadgen.log_facts import LogContext
from gnomon.loadgen.logs import write_logs
from gnomon.loadgen.measure import Measured
from gnomon.loadgen.outcome import Outcome, compute_outcome
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import Settings


def announce(job: Job, name: str, settings: Settings) -> None:
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


def keep_performance(
    job: Job,
    settings: Settings,
    name: str,
    measured: Measured,
    conditions: Conditions | None = None,
) -> Outcome | None:
    """Write the logs of a performance test and put it on record; its figures."""
    outcome = compute_outcome(measured.samples, settings)
    folder = job.writer.measurement_path(name)
    write_logs(folder, settings, outcome, _log_context(job, measured, measured.faults))
    result = outcome.to_json() if outcome else None
    told = {} if conditions is None else {"conditions": conditions.model_dump(mode="json")}
    _record(job, name, settings, measured, result, measured.faults, told)
    return outcome


def keep_accuracy(
    job: Job,
    settings: Settings,
    measured: Measured,
    *,
    finite: bool,
    agreement: Agreement | None = None,
) -> tuple[dict[str, Any] | None, tuple[Fault, ...]]:
    """Score the accuracy log that lies in the test's folder and put the test on record; result and faults.

    Args:
        job: The run.
        settings: Of the test.
        measured: What the test left.
        finite: Whether every answer was finite.
        agreement: Of answers that were made elsewhere.
    """
    folder = job.writer.measurement_path(ACCURACY)
    faults = list(measured.faults)
    if not finite and not any(fault.kind == "not_finite" for fault in faults):
        words = "the system answered NaN or infinity: check the model and its inputs"
        faults.append(Fault("not_finite", words))
    result = accuracy_result(job.benchmark, job.task, folder / ACCURACY_LOG)
    write_logs(folder, settings, None, _log_context(job, measured, faults))
    held = {} if agreement is None else {"agreement": agreement.model_dump(mode="json")}
    _record(job, ACCURACY, settings, measured, result, faults, held)
    return result, tuple(faults)


def _record(
    job: Job,
    name: str,
    settings: Settings,
    measured: Measured,
    result: dict[str, Any] | None,
    faults: Sequence[Fault],
    more: dict[str, Any],
) -> None:
    stored: dict[str, Any] = {
        "kind": settings.mode.value,
        "settings": settings.model_dump(mode="json"),
        "started_at": measured.started_at.isoformat(timespec="milliseconds"),
        "result": result,
        "faults": [asdict(fault) for fault in faults],
        **more,
    }
    if measured.interrupted:
        stored["interrupted"] = True  # a resumed run measures it anew
    job.writer.record_measurement(name, stored)


def _log_context(job: Job, measured: Measured, faults: Sequence[Fault]) -> LogContext:
    return LogContext(
        system_name=job.system.name,
        task_name=job.task.name,
        gnomon_version=__version__,
        started_at=measured.started_at,
        loaded_sets=measured.loaded_sets,
        errors=tuple(fault.message for fault in faults),
    )
