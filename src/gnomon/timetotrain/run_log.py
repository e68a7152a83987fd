"""A run's journal as the field's training log, `result_0.txt`: what its checkers and summarisers read.

It is made from the journal and nothing else, and can be made again under another name: the field's checkers
know the benchmarks of its rounds alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.core.spec import Benchmark
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.journal import Event
from gnomon.timetotrain.logs.entries import LogEntry
from gnomon.timetotrain.logs.write import training_entry, write_log
from gnomon.timetotrain.trace import RunTrace

NS_PER_MS = 1e6
LOGGED_BY = "gnomon/timetotrain/run_log.py"
SEED_LINE = 1
"""The place that logs the seed is the same in every run, so that a seed used twice is noticed."""


@dataclass(frozen=True)
class Submission:
    """What a log says of who submits what.

    Attributes:
        benchmark: The name it goes by.
        organisation: Of the submitter.
        platform: The system.
        division: `closed` or `open`.
        status: `onprem`, `cloud`, `research` or `preview`.
        cache_cleared: Whether the data's pages were dropped from memory before each run.
        target: The quality to reach.
        metric: Its name.
        more: Further keys with their values.
    """

    benchmark: str
    organisation: str
    platform: str
    division: str
    status: str
    cache_cleared: bool
    target: float
    metric: str
    more: Mapping[str, Any] = field(default_factory=dict)


def submission_of(benchmark: Benchmark, *, platform: str, cache_cleared: bool) -> Submission:
    """What a log says that is not made to be handed in."""
    return Submission(
        benchmark=benchmark.name,
        organisation="gnomon",
        platform=platform,
        division="closed",
        status="research",
        cache_cleared=cache_cleared,
        target=benchmark.quality.threshold,
        metric=benchmark.quality.metric,
    )


def result_file(number: int) -> str:
    """The name of a run's log, as the field numbers them: from 0."""
    return f"result_{number - 1}.txt"


def write_run_log(path: Path, trace: RunTrace, submission: Submission) -> None:
    """Write one run's log.

    Raises:
        RunFolderError: The file cannot be written.
    """
    write_log(path, log_entries(trace, submission))


def log_entries(trace: RunTrace, submission: Submission) -> Iterator[LogEntry]:
    """The entries of a run's log, in order. Times are the wall clock's at the start plus monotonic time."""
    clock = _Clock(trace.events[0])
    began = clock.ms(trace.events[0])

    def entry(key: str, value: Any, time_ms: float, **metadata: Any) -> LogEntry:
        line = SEED_LINE if key == "seed" else 0
        return training_entry(
            key, value, time_ms=time_ms, file=LOGGED_BY, lineno=line, metadata=metadata
        )

    for key, value in (
        ("submission_benchmark", submission.benchmark),
        ("submission_division", submission.division),
        ("submission_org", submission.organisation),
        ("submission_platform", submission.platform),
        ("submission_status", submission.status),
        ("cache_clear", submission.cache_cleared),
    ):
        yield entry(key, value, began)
    yield entry("init_start", None, began)
    for key, value in {
        "seed": trace.seed,
        **trace.hyperparameters,
        "gradient_accumulation_steps": 1,
        "train_samples": trace.training_size,
        "eval_samples": trace.held_out,
        "eval_target": submission.target,
        "metric": submission.metric,
        **submission.more,
    }.items():
        yield entry(key, value, began)
    yield from _course(trace, clock, entry)


def _course(trace: RunTrace, clock: _Clock, entry: Any) -> Iterator[LogEntry]:
    """From the end of initialisation to the end of the run."""
    epoch, open_epoch = 1, False
    for event in trace.events:
        now, values = clock.ms(event), event.values
        if event.name == events.RUN_START:
            yield entry("init_stop", None, now)
            yield entry("run_start", None, now)
        elif event.name == events.EPOCH_START:
            epoch, open_epoch = int(values["epoch"]), True
            yield entry("epoch_start", None, now, epoch_num=epoch)
        elif event.name == events.EPOCH_STOP and open_epoch:
            open_epoch = False
            yield entry("epoch_stop", None, now, epoch_num=epoch, samples_count=values["samples"])
        elif event.name == events.EVALUATION:
            samples = int(values["samples"])
            # In fractions: it is what the field's checkers take for the epochs to converge.
            where = {"epoch_num": samples / trace.training_size, "samples_count": samples}
            began = now - values["duration_ns"] / NS_PER_MS
            yield entry("eval_start", None, began, **where)
            yield entry("eval_accuracy", values["quality"], now, **where)
            yield entry("eval_stop", None, now, **where)
        elif event.name == events.RUN_STOP:
            if open_epoch:  # the run ends within an epoch, which ends with it
                open_epoch = False
                yield entry("epoch_stop", None, now, epoch_num=epoch, samples_count=trace.samples)
            yield entry("run_stop", None, now, status="success" if trace.converged else "aborted")


class _Clock:
    """Milliseconds since the epoch that never run backwards."""

    def __init__(self, first: Event) -> None:
        self._first = first

    def ms(self, event: Event) -> float:
        """Of an event."""
        passed_ns = event.monotonic_ns - self._first.monotonic_ns
        return (self._first.wall_ns + passed_ns) / NS_PER_MS
