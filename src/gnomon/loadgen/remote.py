"""A run measured elsewhere, in a browser say: its schedule goes out, times and raw outputs come back.

The other side issues the samples that the seeds give and keeps the time; everything else is as in a run of
this process: the folder, the judge, the logs. Sample indices are written from the schedule, never from what
the other side says it issued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.environment import capture
from gnomon.core.errors import SettingsError, UsageError
from gnomon.core.protocol import Job
from gnomon.core.run import Run, RunWriter
from gnomon.core.spec import Benchmark
from gnomon.core.task import make_task
from gnomon.core.verdict import Check, Verdict
from gnomon.core.version import __version__
from gnomon.loadgen.accuracy_log import AccuracyLog
from gnomon.loadgen.agreement import Agreement
from gnomon.loadgen.campaign import prepare
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.judge import (
    ACCURACY,
    ACCURACY_LOG,
    judge_test,
    verdict_on_run,
)
from gnomon.loadgen.keep import announce, keep_accuracy, keep_performance
from gnomon.loadgen.measure import Measured, samples_of
from gnomon.loadgen.options import (
    LoadOptions,
    Planned,
    planned_tests,
    profile_of,
    recorded_options,
)
from gnomon.loadgen.rules import coverage_checks
from gnomon.loadgen.samples import SAMPLES_FILE, write_samples
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.session import Fault, all_finite
from gnomon.loadgen.settings import NS_PER_S, Settings

LEAST_TIMED = 0.5
"""Of the queries, so many must have taken more than a step of the clock for the rest to mean something."""
ROUNDING_NS = 1000
"""Times came as fractions of a millisecond, by which the loop elsewhere decided that it was over."""


@dataclass(frozen=True)
class Elsewhere:
    """The system under test, which lives in another place and has only a name and a description here."""

    name: str
    description: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """What it said of itself."""
        return dict(self.description)

    def close(self) -> None:
        """Nothing is held here."""


@dataclass(frozen=True)
class Returned:
    """What came back from one test. Times are nanoseconds since its start, one row a sample issued.

    Attributes:
        issued_ns: When each sample was issued, int64 (n,).
        completed_ns: When it was answered, int64 (n,).
        started_at: Wall-clock start, by the other side's clock.
        faults: What went wrong there.
        conditions: Of a performance test.
        answers: Of the accuracy test: one a sample, in the order of the rows.
        agreement: Of the answers with those of the model that they are said to be of.
    """

    issued_ns: NDArray[np.int64]
    completed_ns: NDArray[np.int64]
    started_at: datetime
    faults: tuple[Fault, ...] = ()
    conditions: Conditions | None = None
    answers: Sequence[Any] | NDArray[Any] | None = None
    agreement: Agreement | None = None


def scheduled_samples(settings: Settings, rows: int) -> NDArray[np.int32]:
    """The sample indices of the first rows of a test, in the order of issue, shape (at most rows,).

    Fewer where the test has fewer, as an accuracy test does, which asks for every sample once.
    """
    found: list[NDArray[np.int64]] = []
    left = rows
    for order in plan(settings):
        width = order.samples_per_query
        count = -(-left // width)
        if order.query_count is not None:
            count = min(count, order.query_count)
        found.append(order.samples(0, count).reshape(-1)[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    return np.concatenate(found).astype(np.int32)


class RemoteRun:
    """A run in progress whose tests are measured elsewhere.

    Attributes:
        tests: What is planned, by name, in order.
    """

    def __init__(self, job: Job) -> None:
        options = job.options
        assert isinstance(options, LoadOptions)
        self._job = job
        self._profile = profile_of(job.benchmark, options.rules)
        self.tests: dict[str, Planned] = planned_tests(job.benchmark, job.task, options)

    @classmethod
    def begin(
        cls,
        benchmark: Benchmark,
        options: LoadOptions,
        system: Elsewhere,
        out: Path,
        extra: Mapping[str, Any] | None = None,
        data: Path | None = None,
    ) -> RemoteRun:
        """Make the folder of a new run.

        Args:
            benchmark: Of the load protocol.
            options: As for a run here.
            system: What is measured.
            out: Where run folders go.
            extra: Further entries of the record, such as the session that the run belongs to.
            data: Data of the user's own, for a task that takes some.

        Raises:
            UsageError: Nothing can be measured with these options; no folder is made.
            RunFolderError: `out` cannot be written.
        """
        task = make_task(benchmark.task, data)
        notes = prepare(benchmark, task, options)
        record = {
            "gnomon_version": __version__,
            "benchmark": benchmark.model_dump(mode="json"),
            "protocol": benchmark.protocol,
            "system": {"name": system.name, "description": system.describe()},
            "asked_system": None,
            "rules": options.rules,
            "data": vars(task.source()),
            "data_path": str(data) if data else None,
            "options": options.model_dump(mode="json", exclude_defaults=True),
            "notes": list(notes),
            "environment": capture(),
            **(extra or {}),
        }
        writer = RunWriter.create(out, f"{benchmark.name}-{system.name}", record)
        return cls(Job(benchmark, task, system, options, writer, None))

    @classmethod
    def reopen(cls, path: Path) -> RemoteRun:
        """Go on with a run whose server was stopped; tests on record stay.

        Raises:
            UsageError: It is complete, or another process holds it.
            RunFolderError: It cannot be read or written.
        """
        run = Run.open(path)
        benchmark = Benchmark.model_validate(run.record["benchmark"])
        options = recorded_options(run)
        task = make_task(benchmark.task, run.record.get("data_path"))
        stored = run.record["system"]
        system = Elsewhere(stored["name"], stored["description"])
        return cls(Job(benchmark, task, system, options, RunWriter.reopen(run), None))

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._job.writer.path

    @property
    def recorded(self) -> set[str]:
        """Tests that are on record with a result, or with the fault that they ended by."""
        return {
            name
            for name, stored in self._job.writer.record["measurements"].items()
            if stored["result"] is not None or stored["faults"]
        }

    def record(
        self, name: str, returned: Returned
    ) -> tuple[dict[str, Any] | None, tuple[Check, ...]]:
        """Put what came back of a test on record; its result and the checks on it.

        Raises:
            SettingsError: It is no test of this run, is on record already, or its arrays do not fit.
        """
        if name not in self.tests:
            raise SettingsError(
                f"this run has no test {name!r}: choose from {', '.join(self.tests)}"
            )
        if name in self.recorded:
            raise SettingsError(f"test {name!r} is on record already: a run keeps its first result")
        settings = self.tests[name].settings
        _require_fit(name, settings, returned)
        job = self._job
        announce(job, name, settings)
        folder = job.writer.measurement_path(name)
        orders = plan(settings)
        samples = samples_of(orders, settings, returned.issued_ns, returned.completed_ns)
        write_samples(samples, folder / SAMPLES_FILE)
        measured = Measured(
            samples=samples,
            faults=returned.faults,
            fault_count=len(returned.faults),
            started_at=returned.started_at,
            loaded_sets=tuple(order.loaded for order in orders),
        )
        if name == ACCURACY:
            assert returned.answers is not None
            self._write_answers(samples.sample_index.astype(np.int64), returned.answers)
            finite = all_finite(returned.answers)
            keep_accuracy(job, settings, measured, finite=finite, agreement=returned.agreement)
        else:
            keep_performance(job, settings, name, measured, returned.conditions)
        stored = job.writer.record["measurements"][name]
        judged = judge_test(folder, name, stored, job.benchmark, job.task, self._profile)
        return judged.result, tuple(judged.checks)

    def end(self, reason: str = "") -> Verdict:
        """Close the run with its verdict; with a reason, or with tests missing, as aborted."""
        job = self._job
        measurements = job.writer.record["measurements"]
        checks: list[Check] = []
        for name in self.tests:
            if name in measurements:
                folder = job.writer.measurement_path(name)
                stored = measurements[name]
                judged = judge_test(folder, name, stored, job.benchmark, job.task, self._profile)
                checks += judged.checks
        settings = {name: self.tests[name].settings for name in measurements}
        checks += coverage_checks(settings, self._profile)
        official = job.task.source().official
        verdict = verdict_on_run(
            checks, self._profile, job.benchmark, settings, official_data=official
        )
        missing = [name for name in self.tests if name not in measurements]
        if missing and not reason:
            reason = f"ended before {', '.join(missing)}"
        with job.writer:
            run = job.writer.abort(reason, verdict) if reason else job.writer.complete(verdict)
        return run.verdict

    def suspend(self) -> None:
        """Let go of the folder without ending the run; `reopen` goes on with it."""
        self._job.writer.release()

    def _write_answers(
        self, samples: NDArray[np.int64], answers: Sequence[Any] | NDArray[Any]
    ) -> None:
        log = AccuracyLog(self._job.writer.measurement_path(ACCURACY) / ACCURACY_LOG)
        try:
            encoded = [self._job.task.encode(answer) for answer in answers]
            log.append_encoded(np.arange(len(samples)), samples, encoded)
        finally:
            log.close()


def _require_fit(name: str, settings: Settings, returned: Returned) -> None:
    """Refuse arrays that cannot be those of the test.

    Raises:
        SettingsError: Names what does not fit.
    """
    issued_ns, completed_ns = returned.issued_ns, returned.completed_ns
    if (name == ACCURACY) != (returned.answers is not None):
        raise UsageError(f"test {name!r} {'needs' if name == ACCURACY else 'takes no'} answers")
    if issued_ns.ndim != 1 or issued_ns.shape != completed_ns.shape or not len(issued_ns):
        raise SettingsError(
            f"test {name!r} needs one time of issue and one of completion a sample, got "
            f"{issued_ns.shape} and {completed_ns.shape}"
        )
    if (issued_ns < 0).any() or (np.diff(issued_ns) < 0).any() or (completed_ns < issued_ns).any():
        raise SettingsError(
            f"the times of test {name!r} cannot have happened: samples are issued in order, and "
            f"answered after that"
        )
    known = sum(order.query_count or 0 for order in plan(settings))
    if known and len(issued_ns) != known * settings.samples_per_query:
        raise SettingsError(
            f"test {name!r} has {known} samples, {len(issued_ns)} came back: measure it again"
        )
    if returned.answers is None:
        _require_carried_out(name, settings, returned)
    elif len(returned.answers) != len(issued_ns):
        raise SettingsError(
            f"{len(returned.answers)} answers came back for {len(issued_ns)} samples of test {name!r}"
        )


def _require_carried_out(name: str, settings: Settings, returned: Returned) -> None:
    """Refuse times of a performance test that its loop cannot have made: whoever goes on picks the end.

    Raises:
        SettingsError: Says what the loop does otherwise.
    """
    issued_ns, completed_ns = returned.issued_ns, returned.completed_ns
    if returned.conditions is None:
        raise SettingsError(f"test {name!r} came without its conditions: measure it again")
    closed_loop = settings.scenario.closed_loop
    width = settings.samples_per_query
    if closed_loop and (issued_ns[width::width] < _ends_ns(completed_ns, width)).any():
        raise SettingsError(
            f"the times of test {name!r} cannot have happened: a query is issued when the one before is "
            f"answered"
        )
    if np.count_nonzero(completed_ns > issued_ns) <= (1 - LEAST_TIMED) * len(issued_ns):
        raise SettingsError(
            f"test {name!r} took no time by the clock of that device: it is too coarse to measure this; "
            f"open the https address, where it is finer"
        )
    # The last batch, or query, is the first after which the loop may end.
    before = int(np.searchsorted(issued_ns, issued_ns[-1]))
    if not before:
        return
    elapsed_ns = int((issued_ns if closed_loop else completed_ns)[before - 1])
    enough = (
        elapsed_ns > settings.min_duration_ns + ROUNDING_NS
        and before >= settings.min_query_count * width
    )
    longest_ns = settings.max_duration_ns if closed_loop else 0
    if (
        enough
        or 0 < longest_ns < elapsed_ns - ROUNDING_NS
        or 0 < settings.max_query_count * width <= before
    ):
        raise SettingsError(
            f"test {name!r} went on after its end: it was over after {before} samples and "
            f"{elapsed_ns / NS_PER_S:.2f} s, {len(issued_ns)} came back; measure it again"
        )


def _ends_ns(completed_ns: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """When each query but the last was answered in full."""
    whole = (len(completed_ns) - 1) // width * width
    ends_ns: NDArray[np.int64] = completed_ns[:whole].reshape(-1, width).max(axis=1)
    return ends_ns
