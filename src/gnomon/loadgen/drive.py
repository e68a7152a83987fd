"""The drivers: hand queries to a system as its scenario says, and write down when.

The load generator is a schedule, not a thread. Workers *pull* every query that is due by now, up to
the system's batch size, or wait until the next is due. Latency counts from the scheduled time, so a
late pull is never hidden. In the stream scenarios the next query follows the previous answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gnomon.core.task import Outputs
from gnomon.loadgen.scheduling import fine_sleep
from gnomon.loadgen.session import Session, now_ns
from gnomon.loadgen.settings import Mode, Scenario
from gnomon.loadgen.system import (
    AsynchronousSystem,
    Query,
    SynchronousSystem,
    System,
    of_the_system,
)

NEVER_NS = 1 << 62
SPIN_ALONE_NS = 200_000
"""One worker: sleep until this long before the next arrival, then watch the clock."""
SPIN_SHARED_NS = 60_000
"""With other threads about, which need the interpreter: sleep longer, watch less."""
LONGEST_SLEEP_S = 0.1
"""Between arrivals that lie far apart, look up this often whether the test was stopped."""
FIRST_CHUNK = 1
MOST_CHUNK = 4096
CHUNK_NS = 25_000_000
MOST_CHUNK_NS = 4 * CHUNK_NS
"""Stream scenarios keep the times of a chunk of queries in lists, and a chunk about this long."""

PENDING: Any = object()
"""Stands for outputs while the call that will give them is out."""


def drive(session: Session, system: System, workers: int) -> None:
    """Issue one loaded set to the end. Returns when every worker has returned.

    Runs in a thread of its own beside the monitor; see `run_test`.
    """
    scenario, mode = session.settings.scenario, session.settings.mode
    closed = scenario.closed_loop and mode is Mode.PERFORMANCE
    if isinstance(system, SynchronousSystem):
        if closed:
            _closed_loop(session, system)
        else:
            pull = _feed(session, system, shared=workers > 1)
            _in_threads(session, lambda: _pull_and_predict(session, system, pull), workers)
    elif isinstance(system, AsynchronousSystem):
        if closed:
            _closed_loop_asynchronous(session, system)
        else:
            _pull_and_issue(session, system, _feed(session, system, shared=True))
    session.all_issued = True


def _in_threads(session: Session, work: Callable[[], None], workers: int) -> None:
    if workers == 1:
        work()
        return

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # handed to the watching thread
            session.fail(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- stream scenarios -------------------------------------------------------------------------------


def _closed_loop(session: Session, system: SynchronousSystem) -> None:
    """SingleStream and MultiStream: the next query when the previous one is answered."""
    predict, order = system.predict, session.order
    width = order.samples_per_query
    minimum_ns = session.start_ns + session.settings.min_duration_ns
    chunk, query = FIRST_CHUNK, 0
    while not session.stopping:
        count, alarm_ns = _next_chunk(session, query, chunk)
        if count == 0:
            return
        session.journal.reserve((query + count) * width)
        begins: list[int] = []
        ends: list[int] = []
        session.in_chunk = (query, begins, ends)
        began, ended = begins.append, ends.append
        outputs: Outputs = ()
        error: BaseException | None = None
        try:
            for samples in order.samples(query, query + count):
                outputs = PENDING
                begin = now_ns()
                began(begin)
                outputs = predict(samples)
                end = now_ns()
                if len(outputs) != width:
                    break
                ended(end)
                if begin >= alarm_ns:
                    break
        except BaseException as caught:
            error = of_the_system(caught)
        done = len(ends)
        session.flush_chunk()
        if done < len(begins):
            _explain(session, error, outputs, (query + done) * width)
            return
        if error is not None:
            raise error
        session.last_outputs = outputs
        query += done
        if begins and query >= session.settings.min_query_count and begins[-1] >= minimum_ns:
            return
        if begins and _past_maximum(session, begins[-1]):
            return
        chunk = _adapted(chunk, begins, ends)


def _next_chunk(session: Session, query: int, chunk: int) -> tuple[int, int]:
    """How many queries to issue next, and the time of issue after which to look up."""
    settings, limit = session.settings, session.order.query_count
    if settings.max_query_count and query >= settings.max_query_count:
        _past_count(session)
        return 0, NEVER_NS
    alarm_ns = NEVER_NS
    if settings.max_duration_ns:
        alarm_ns = session.start_ns + settings.max_duration_ns
    if query < settings.min_query_count:
        chunk = min(chunk, settings.min_query_count - query)
    else:
        alarm_ns = min(alarm_ns, session.start_ns + settings.min_duration_ns)
    if settings.max_query_count:
        chunk = min(chunk, settings.max_query_count - query)
    if limit is not None:
        chunk = min(chunk, limit - query)
    # A system that slows down must not sit in a chunk that was sized for a quick one.
    return chunk, min(alarm_ns, now_ns() + MOST_CHUNK_NS)


def _adapted(chunk: int, begins: list[int], ends: list[int]) -> int:
    """A chunk size that keeps chunks short in time, so that little is ever in the lists alone."""
    if not ends:
        return chunk
    took_ns = ends[-1] - begins[0]
    if took_ns > CHUNK_NS:
        return max(FIRST_CHUNK, chunk // 2)
    return min(MOST_CHUNK, chunk * 2) if took_ns < CHUNK_NS // 2 else chunk


def _explain(session: Session, error: BaseException | None, outputs: Outputs, row: int) -> None:
    """Put on record why the query at `row` was issued but not answered."""
    if outputs is PENDING and error is not None:
        session.raised(error, row)
    elif session.count_matches(outputs, session.order.samples_per_query, row):
        session.raised(error or TypeError("its outputs change their number"), row)


def _past_maximum(session: Session, at_ns: int) -> bool:
    maximum_ns = session.settings.max_duration_ns
    if maximum_ns and at_ns - session.start_ns > maximum_ns:
        session.fault(
            "max_duration",
            f"the test ended early after max_duration ({maximum_ns / 1e9:g} s): raise it or leave it out",
            once=True,
        )
        return True
    return False


def _past_count(session: Session) -> None:
    session.fault(
        "max_query_count",
        f"the test ended early after max_query_count ({session.settings.max_query_count} queries): "
        f"raise it or leave it out",
        once=True,
    )


def _closed_loop_asynchronous(session: Session, system: AsynchronousSystem) -> None:
    order, journal = session.order, session.journal
    width = order.samples_per_query
    settings = session.settings
    query = 0
    while not session.stopping:
        count, _ = _next_chunk(session, query, 1)
        if count == 0:
            return
        journal.reserve((query + 1) * width)
        samples = order.samples(query, query + 1)[0]
        ids = np.arange(query * width, (query + 1) * width)
        session.idle.clear()
        session.issued += width
        begin_ns = now_ns()
        journal.issued_ns[ids] = max(1, begin_ns - session.start_ns)
        try:
            system.issue(Query(ids, samples, session.complete))
        except BaseException as error:
            session.raised(of_the_system(error), query * width)
            return
        session.idle.wait()
        query += 1
        elapsed_ns = begin_ns - session.start_ns
        if query >= settings.min_query_count and elapsed_ns >= settings.min_duration_ns:
            return
        if _past_maximum(session, begin_ns):
            return


# --- Server, Offline and accuracy mode: pull what is due --------------------------------------------

Pull = Callable[[int], tuple[int, int] | None]
"""Takes the most rows wanted; gives the rows to issue now, or None at the end."""


def _feed(session: Session, system: System, *, shared: bool) -> Pull:
    if session.settings.scenario is Scenario.SERVER and session.settings.mode is Mode.PERFORMANCE:
        return _arrivals(session, shared=shared)
    return _everything_at_once(session, system)


def _everything_at_once(session: Session, system: System) -> Pull:
    """Offline, and accuracy mode in every scenario: all rows are due at the start."""
    order, settings = session.order, session.settings
    journal, width, offset = session.journal, order.samples_per_query, session.first_row
    limit = None if order.query_count is None else order.query_count * width
    whole_sets = len(order.loaded) if settings.sample_concatenate_permutation else 1
    pulling = threading.Lock()
    position = 0

    def enough() -> bool:
        """Open-ended: whether minimum time and count are reached (by completions, not by pulls)."""
        return (
            session.last_completed_ns >= settings.min_duration_ns
            and position >= settings.min_query_count
            and position % whole_sets == 0
        )

    def pull(most: int) -> tuple[int, int] | None:
        nonlocal position
        most = max(width, most - most % width)
        with pulling:
            if session.stopping:
                return None
            elapsed_ns = now_ns() - session.start_ns
            if limit is None:
                if enough():
                    return None
                room = whole_sets - position % whole_sets if whole_sets > 1 else most
                stop = position + min(most, room)
            else:
                stop = min(position + most, limit)
                if stop == position:
                    return None
            if settings.mode is Mode.PERFORMANCE and _past_maximum(
                session, session.start_ns + elapsed_ns
            ):
                return None
            start, position = position, stop
            journal.reserve(offset + stop)
            journal.issued_ns[offset + start : offset + stop] = max(1, elapsed_ns)
            session.issued = stop
        return start, stop

    return pull


def _arrivals(session: Session, *, shared: bool) -> Pull:
    """Server: rows fall due one by one; a worker takes all that are due, or waits for the next."""
    order, settings, journal = session.order, session.settings, session.journal
    total = order.query_count or 0
    if settings.max_query_count:
        total = min(total, settings.max_query_count)
    journal.reserve(total)
    arrivals_ns = order.arrivals_ns(0, total)
    start_ns, most_outstanding = session.start_ns, settings.max_async_queries
    spin_ns = SPIN_SHARED_NS if shared else SPIN_ALONE_NS
    pulling = threading.Lock()
    position = 0
    next_due_ns = int(arrivals_ns[0]) if total else 0

    def pull(most: int) -> tuple[int, int] | None:
        nonlocal position, next_due_ns
        with pulling:
            if position >= total:
                if settings.max_query_count and total < (order.query_count or 0):
                    _past_count(session)
                return None
            elapsed_ns = now_ns() - start_ns
            while elapsed_ns < next_due_ns:
                if session.stopping:
                    return None
                if next_due_ns - elapsed_ns > spin_ns:
                    time.sleep(min((next_due_ns - elapsed_ns - spin_ns) / 1e9, LONGEST_SLEEP_S))
                elapsed_ns = now_ns() - start_ns
            if session.stopping or _past_maximum(session, start_ns + elapsed_ns):
                session.stopping = True
                return None
            start = position
            if most > 1 or most_outstanding:
                due = int(arrivals_ns.searchsorted(elapsed_ns, side="right"))
                if most_outstanding and due - session.completed > most_outstanding:
                    session.fault(
                        "overloaded",
                        f"{due - session.completed} queries were outstanding, more than "
                        f"max_async_queries ({most_outstanding}): lower target_qps",
                        stop=True,
                    )
                    return None
                position = min(due, start + most)
            else:
                position = start + 1
            if position < total:
                next_due_ns = int(arrivals_ns[position])
            journal.issued_ns[start:position] = elapsed_ns or 1
            session.issued = position
            return start, position

    return pull


def _pull_and_predict(session: Session, system: SynchronousSystem, pull: Pull) -> None:
    """A worker over a synchronous system."""
    predict, order, width = system.predict, session.order, session.order.samples_per_query
    most = _batch_size(session, system)
    rows = None
    with fine_sleep():
        while (rows := pull(most)) is not None:
            start, stop = rows
            samples = order.samples(start // width, stop // width).reshape(-1)
            try:
                outputs = predict(samples)
            except BaseException as error:
                session.raised(of_the_system(error), start)
                return
            session.answer(start, stop, outputs)
            if session.stopping:
                return


def _pull_and_issue(session: Session, system: AsynchronousSystem, pull: Pull) -> None:
    """The one issuer over an asynchronous system."""
    order, width, offset = session.order, session.order.samples_per_query, session.first_row
    most = _batch_size(session, system)
    open_loop = session.settings.scenario is Scenario.SERVER
    if open_loop and not session.settings.server_coalesce_queries:
        most = 1
    most_outstanding = max(system.max_outstanding, most)
    with fine_sleep():
        while True:
            if not open_loop and session.issued - session.completed + most > most_outstanding:
                session.idle.clear()
                if session.issued - session.completed + most > most_outstanding:
                    session.idle.wait(0.001)
                if session.stopping:
                    return
                continue
            rows = pull(most)
            if rows is None:
                return
            start, stop = rows
            samples = order.samples(start // width, stop // width).reshape(-1)
            ids = np.arange(offset + start, offset + stop)
            try:
                system.issue(Query(ids, samples, session.complete))
            except BaseException as error:
                session.raised(of_the_system(error), start)
                return


def _batch_size(session: Session, system: System) -> int:
    """Samples to pull at once: in accuracy mode of a stream scenario a query stays a query."""
    if session.settings.scenario.closed_loop:
        return session.order.samples_per_query
    return max(1, system.max_batch_size)
