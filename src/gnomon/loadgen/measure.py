"""One test from start to raw samples: load, start the clock, watch, and keep what there is.

The drivers run in a thread of their own. The calling thread watches: it reports progress, notices a
system that hangs and a clock that jumps, and on Ctrl-C stops the test with its samples kept.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import GnomonError, SystemFault, described
from gnomon.core.task import Task
from gnomon.loadgen.clock_watch import ClockWatch
from gnomon.loadgen.drive import drive
from gnomon.loadgen.journal import Journal, read_journal
from gnomon.loadgen.samples import SAMPLES_FILE, Samples, read_samples, write_samples
from gnomon.loadgen.schedule import IssueOrder, plan
from gnomon.loadgen.scheduling import shared_interpreter
from gnomon.loadgen.session import Fault, OutputSink, Session
from gnomon.loadgen.settings import NS_PER_S, Mode, Scenario, Settings
from gnomon.loadgen.system import AsynchronousSystem, System, of_the_system

TICK_S = 0.25
STALL_TIMEOUT_S = 60.0
FEWEST_AHEAD, MOST_AHEAD = 1 << 12, 1 << 22
"""Rows drawn before the clock starts where their number is not known."""
RECENT_ROWS = 2_000
"""Enough for a percentile to look at, few enough not to hold up the workers."""


@dataclass(frozen=True)
class Snapshot:
    """How a test stands, for whoever shows it.

    Attributes:
        elapsed_s: Since the start of the test.
        share_done: From 0 to 1: of the minimum duration, or of the samples where their number is fixed.
        samples: Answered so far.
        percentile_latency_ns: Over the last answers, at the share the scenario is judged at.
    """

    elapsed_s: float
    share_done: float
    samples: int
    percentile_latency_ns: int | None


Observer = Callable[[Snapshot], None]
Hopeless = Callable[[Session, int], str | None]
"""Looks at a running session (and the elapsed ns) and may say why it cannot end well."""


@dataclass(frozen=True)
class Measured:
    """What a test left.

    Attributes:
        samples: One row a sample issued.
        faults: What went wrong, oldest first.
        fault_count: How often; more than `len(faults)` if many.
        started_at: Wall-clock start.
        loaded_sets: The samples loaded, one array a set.
        interrupted: Stopped from outside (Ctrl-C).
    """

    samples: Samples
    faults: tuple[Fault, ...]
    fault_count: int
    started_at: datetime
    loaded_sets: tuple[NDArray[np.int64], ...] = field(repr=False)
    interrupted: bool = False


def measure(
    system: System,
    task: Task,
    settings: Settings,
    folder: Path,
    *,
    workers: int = 1,
    observer: Observer | None = None,
    sink: OutputSink | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    hopeless: Hopeless | None = None,
) -> Measured:
    """Run one test and write its raw samples to `folder`.

    Args:
        system: What is measured; loaded here, closed by the caller.
        task: Where its inputs come from.
        settings: Scenario, mode, durations, counts, seeds.
        folder: Where the raw samples go; must exist.
        workers: Threads that call a synchronous system; an asynchronous one has one issuer.
        observer: Told a few times a second how the test stands.
        sink: Takes every output (accuracy mode).
        stall_timeout_s: A test without any completion for this long is stopped as stalled.
        hopeless: Asked a few times a second whether to give up.

    Raises:
        GnomonError: The system or the data cannot be loaded, or the folder cannot be written. What
            the system does wrong once the clock runs is no exception but a fault in the result.
    """
    orders = plan(settings)
    journal = Journal(folder)
    sessions: list[Session] = []
    started_at = datetime.now(UTC)
    start_ns: int | None = None
    interrupted = False
    gc.collect()
    gc.freeze()  # what exists now is not looked at again by collections during the test
    try:
        first_row = 0
        for order in orders:
            _load(system, task, order)
            session = Session(order, settings, journal, first_row=first_row, sink=sink)
            sessions.append(session)
            _generate_ahead(order, settings, journal, first_row)
            if start_ns is None:
                started_at = datetime.now(UTC)
            session.start(start_ns)
            start_ns = session.start_ns
            _watch(session, system, workers, observer, stall_timeout_s, hopeless)
            session.close()
            if any(fault.kind == "hopeless" for fault in session.faults):
                _drain(session, stall_timeout_s)  # the next probe must find the system idle
            first_row += session.issued
            if session.stopping:
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:
        gc.unfreeze()
        _stop(sessions)
        for session in sessions:
            session.flush_chunk()
            session.close()
        used = sum(session.issued for session in sessions)
        journal_view = (journal.issued_ns[:used], journal.completed_ns[:used])
        samples = samples_of(orders, settings, *journal_view)
        write_samples(samples, folder / SAMPLES_FILE)
        journal.remove()
    return Measured(
        samples=samples,
        faults=tuple(fault for session in sessions for fault in session.faults),
        fault_count=sum(session.fault_count for session in sessions),
        started_at=started_at,
        loaded_sets=tuple(order.loaded for order in orders),
        interrupted=interrupted,
    )


def _stop(sessions: list[Session]) -> None:
    """End what still goes on, after Ctrl-C or an error of the watcher's own."""
    if all(session.all_issued for session in sessions):
        return
    for session in sessions:
        session.stopping = True
        session.idle.set()
    time.sleep(TICK_S)  # a worker between two queries sees it and leaves


def _drain(session: Session, timeout_s: float) -> None:
    """Wait until a system that completes later has answered what it was given, or gives no sign."""
    seen, seen_at_s = -1, time.monotonic()
    while session.completed + session.completed_late < session.issued:
        if session.completed_late != seen:
            seen, seen_at_s = session.completed_late, time.monotonic()
        elif time.monotonic() - seen_at_s > timeout_s:
            return
        time.sleep(TICK_S / 10)


def recorded_samples(folder: Path, settings: Settings) -> Samples:
    """The raw samples in a measurement's folder, from the journal if the run was killed.

    Raises:
        RunFolderError: There are none, or they cannot be read.
    """
    if not (folder / SAMPLES_FILE).exists():
        left = read_journal(folder)
        if left is not None:
            return samples_of(plan(settings), settings, *left)
    return read_samples(folder / SAMPLES_FILE)


def samples_of(
    orders: tuple[IssueOrder, ...],
    settings: Settings,
    issued_ns: NDArray[np.int64],
    completed_ns: NDArray[np.int64],
) -> Samples:
    """The table of samples: times from the journal, the rest from the schedule, which is known."""
    rows = len(issued_ns)
    one_query = settings.scenario is Scenario.OFFLINE
    queries: list[NDArray[np.int64]] = []
    indices: list[NDArray[np.int32]] = []
    done = number = 0
    for order in orders:
        width = order.samples_per_query
        left = -(-(rows - done) // width)
        count = left if order.query_count is None else min(left, order.query_count)
        if count <= 0:
            break
        indices.append(order.samples(0, count).reshape(-1).astype(np.int32))
        if one_query:
            queries.append(np.broadcast_to(np.int64(number), count))
            number += 1
        else:
            queries.append(np.repeat(np.arange(number, number + count), width))
            number += count
        done += count * width
    if not indices:
        empty = np.empty(0, dtype=np.int64)
        return Samples(empty, empty.astype(np.int32), empty, empty, empty)
    scheduled_ns: NDArray[np.int64]
    if settings.mode is Mode.PERFORMANCE and settings.scenario is Scenario.SERVER:
        scheduled_ns = orders[0].arrivals_ns(0, rows)
    elif settings.mode is Mode.PERFORMANCE and one_query:
        scheduled_ns = np.broadcast_to(np.int64(0), rows)
    else:
        scheduled_ns = issued_ns
    return Samples(
        queries[0][:rows] if len(queries) == 1 else np.concatenate(queries)[:rows],
        indices[0][:rows] if len(indices) == 1 else np.concatenate(indices)[:rows],
        scheduled_ns,
        issued_ns,
        completed_ns,
    )


def _load(system: System, task: Task, order: IssueOrder) -> None:
    try:
        system.load(task, order.loaded.copy())  # its own: sorting it is an innocent thing to do
    except GnomonError:
        raise
    except BaseException as error:
        of_the_system(error)
        raise SystemFault(f"system {system.name!r} could not load: {described(error)}") from error


def _generate_ahead(
    order: IssueOrder, settings: Settings, journal: Journal, first_row: int
) -> None:
    """Make the schedule before the clock starts, as far as its end is known."""
    width = order.samples_per_query
    known = order.query_count
    if known is None:
        known = min(max(settings.min_query_count, FEWEST_AHEAD), MOST_AHEAD)
    order.samples(0, known)
    order.arrivals_ns(0, known if settings.scenario is Scenario.SERVER else 0)
    journal.reserve(first_row + known * width)


def _watch(
    session: Session,
    system: System,
    workers: int,
    observer: Observer | None,
    stall_timeout_s: float,
    hopeless: Hopeless | None,
) -> None:
    """Drive the session in a thread and stand by it until every sample is answered, or it stops."""
    failures = session.failures
    finished = threading.Event()

    def work() -> None:
        try:
            drive(session, system, workers)
        except BaseException as error:  # handed to the watching thread
            session.fail(error)
        finally:
            finished.set()

    threads_share = workers > 1 or isinstance(system, AsynchronousSystem)
    worker = threading.Thread(target=work, name="gnomon-load", daemon=True)
    clock = ClockWatch()
    seen, seen_at_s = -1, time.monotonic()
    with shared_interpreter() if threads_share else _nothing():
        worker.start()
        while True:
            if finished.is_set():
                answered = session.completed >= session.issued
                if answered or session.stopping or failures:
                    break
                session.idle.wait(TICK_S / 10)
                session.idle.clear()
            else:
                finished.wait(TICK_S)
            clock.look(session)
            session.look_at_outputs()
            now_s = time.monotonic()
            if session.completed != seen:
                seen, seen_at_s = session.completed, now_s
            elif now_s - seen_at_s > stall_timeout_s and _owes_answers(session):
                _stall(session, stall_timeout_s)
                break
            if hopeless is not None and not session.stopping:
                elapsed_ns = time.perf_counter_ns() - session.start_ns
                reason = hopeless(session, elapsed_ns)
                if reason:
                    session.fault("hopeless", reason, stop=True)
            if observer is not None:
                observer(_snapshot(session))
    clock.end(session)
    session.look_at_outputs()
    if failures:
        raise failures[0]


def _owes_answers(session: Session) -> bool:
    """Whether the system, not an empty schedule, is what is being waited for."""
    if session.settings.scenario is Scenario.SERVER:
        return session.issued > session.completed
    return True


def _stall(session: Session, timeout_s: float) -> None:
    session.flush_chunk()
    waiting = session.issued - session.completed
    session.fault(
        "stalled",
        f"the system answered nothing for {timeout_s:g} s with {waiting} sample(s) outstanding: mend "
        f"it, or raise --stall-timeout if a query may take that long",
        stop=True,
    )


class _nothing:  # noqa: N801 - the empty context
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _snapshot(session: Session) -> Snapshot:
    settings, order = session.settings, session.order
    elapsed_ns = max(1, time.perf_counter_ns() - session.start_ns)
    answered = session.completed
    if order.query_count is not None and settings.scenario is not Scenario.SERVER:
        share = answered / (order.query_count * order.samples_per_query)
    else:
        by_time = elapsed_ns / settings.min_duration_ns if settings.min_duration_ns else 1.0
        share = min(by_time, answered / (settings.min_query_count * order.samples_per_query))
    last = session.first_row + session.issued
    first = max(session.first_row, last - RECENT_ROWS)
    completed_ns = session.journal.completed_ns[first:last]
    done = completed_ns > 0
    latency = None
    if (
        settings.mode is Mode.PERFORMANCE
        and settings.scenario is not Scenario.OFFLINE
        and done.any()
    ):
        if settings.scenario is Scenario.SERVER:
            due_ns = order.arrivals_ns(first, last)
        else:
            due_ns = session.journal.issued_ns[first:last]
        recent = np.sort((completed_ns - due_ns)[done])
        latency = int(recent[int(len(recent) * settings.target_latency_percentile)])
    return Snapshot(elapsed_ns / NS_PER_S, min(1.0, share), session.first_row + answered, latency)
