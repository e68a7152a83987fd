"""One test of a run, measured in this process: announced, carried out, handed over to be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.protocol import Job, Progress
from gnomon.core.task import IndexArray, Outputs, Task, single_precision
from gnomon.core.units import format_duration_ns
from gnomon.loadgen.accuracy_log import AccuracyLog
from gnomon.loadgen.conditions import Conditions, between, read_host
from gnomon.loadgen.judge import ACCURACY, ACCURACY_LOG
from gnomon.loadgen.keep import announce, keep_accuracy, keep_performance
from gnomon.loadgen.measure import Hopeless, Observer, Snapshot, measure
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.outcome import Outcome
from gnomon.loadgen.session import Fault, all_finite
from gnomon.loadgen.settings import Settings


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
    outcome, faults, _ = _performance_test(job, settings, name, hopeless)
    return outcome, faults


def watched_performance_test(
    job: Job, settings: Settings, name: str, rested_s: float | None
) -> tuple[Outcome | None, tuple[Fault, ...], Conditions]:
    """The same, with this machine's power and heat before and after it on record.

    Args:
        job: The run.
        settings: Of the test.
        name: Of the test.
        rested_s: Since the end of the test before; None if there was none.
    """
    before = read_host()
    outcome, faults, conditions = _performance_test(
        job, settings, name, conditions=lambda: between(before, read_host(), rested_s)
    )
    assert conditions is not None
    return outcome, faults, conditions


def _performance_test(
    job: Job,
    settings: Settings,
    name: str,
    hopeless: Hopeless | None = None,
    conditions: Callable[[], Conditions] | None = None,
) -> tuple[Outcome | None, tuple[Fault, ...], Conditions | None]:
    options = _options(job)
    announce(job, name, settings)
    measured = measure(
        job.system,
        job.task,
        settings,
        job.writer.measurement_path(name),
        workers=options.workers,
        observer=_observer(job, name, settings),
        stall_timeout_s=options.stall_timeout_s,
        hopeless=hopeless,
    )
    found = None if conditions is None else conditions()
    outcome = keep_performance(job, settings, name, measured, found)
    if measured.interrupted:
        raise KeyboardInterrupt
    return outcome, measured.faults, found


def accuracy_test(job: Job, settings: Settings) -> tuple[dict[str, Any] | None, tuple[Fault, ...]]:
    """The accuracy test: every sample once, its answer in the accuracy log; its result and faults.

    Raises:
        KeyboardInterrupt: It was interrupted; the answers so far are on record, marked as unfinished.
    """
    options = _options(job)
    announce(job, ACCURACY, settings)
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
    result, faults = keep_accuracy(job, settings, measured, finite=finite)
    if measured.interrupted:
        raise KeyboardInterrupt
    return result, faults


def _options(job: Job) -> LoadOptions:
    assert isinstance(job.options, LoadOptions)
    return job.options


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
