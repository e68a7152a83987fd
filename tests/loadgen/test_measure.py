"""One test from start to raw samples: what is kept, when it ends, what the watcher notices."""

import gc
import re
import sys
import threading
import time

import numpy as np
import pytest

from gnomon.core import clocks
from gnomon.core.errors import RunFolderError, SystemFault
from gnomon.loadgen import clock_watch
from gnomon.loadgen.journal import JOURNAL_FOLDER, Journal
from gnomon.loadgen.measure import (
    measure,
    recorded_samples,
    samples_of,
)
from gnomon.loadgen.samples import SAMPLES_FILE, read_samples
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings
from gnomon.loadgen.system import AsynchronousSystem, SynchronousSystem
from gnomon.systems.null import NullSystem
from gnomon.tasks.digits import Digits

TENTH_NS = NS_PER_S // 10


def settings_of(scenario, **changes):
    """A short test of digits."""
    chosen = {
        "scenario": scenario,
        "total_sample_count": 797,
        "performance_sample_count": 797,
        "min_duration_ns": TENTH_NS,
        "target_qps": 2000 if scenario is Scenario.SERVER else None,
        "target_latency_ns": 10 * NS_PER_MS,
        "samples_per_query": 4 if scenario is Scenario.MULTI_STREAM else 1,
    }
    return Settings(**(chosen | changes))


class Slow(SynchronousSystem):
    """Answers after `delay_s`."""

    name = "slow"

    def __init__(self, delay_s=0.001, max_batch_size=4):
        self.delay_s = delay_s
        self.max_batch_size = max_batch_size

    def load(self, task, samples):
        pass

    def predict(self, samples):
        time.sleep(self.delay_s)
        return samples


@pytest.mark.parametrize("scenario", Scenario)
def test_the_samples_are_those_of_the_schedule_with_their_times(tmp_path, scenario):
    settings = settings_of(scenario)
    measured = measure(Slow(), Digits(), settings, tmp_path)
    samples = measured.samples
    assert measured.faults == ()
    assert measured.fault_count == 0
    assert not measured.interrupted
    assert samples.answered.all()
    (order,) = plan(settings)
    queries = len(samples) // order.samples_per_query
    np.testing.assert_array_equal(samples.sample_index, order.samples(0, queries).reshape(-1))
    assert (samples.issued_ns > 0).all()
    assert (samples.completed_ns - samples.issued_ns >= NS_PER_MS).all()
    assert (samples.issued_ns >= samples.scheduled_ns).all()
    if scenario is Scenario.SERVER:
        np.testing.assert_array_equal(samples.scheduled_ns, order.arrivals_ns(0, queries))
        assert samples.scheduled_ns[-1] >= TENTH_NS
    elif scenario is Scenario.OFFLINE:
        assert not samples.scheduled_ns.any()
        assert (samples.query == 0).all()
    else:
        np.testing.assert_array_equal(samples.scheduled_ns, samples.issued_ns)


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM])
def test_in_the_stream_scenarios_a_query_waits_for_the_one_before(tmp_path, scenario):
    settings = settings_of(scenario)
    samples = measure(Slow(), Digits(), settings, tmp_path).samples
    first = slice(None, None, settings.samples_per_query)
    assert (samples.issued_ns[first][1:] >= samples.completed_ns[first][:-1]).all()
    assert np.array_equal(
        samples.query, np.repeat(np.arange(samples.query[-1] + 1), settings.samples_per_query)
    )


@pytest.mark.parametrize("scenario", Scenario)
def test_what_is_returned_is_what_is_written_and_the_journal_is_gone(tmp_path, scenario):
    settings = settings_of(scenario)
    measured = measure(NullSystem(max_batch_size=64), Digits(), settings, tmp_path)
    written = read_samples(tmp_path / SAMPLES_FILE)
    for column in ("query", "sample_index", "scheduled_ns", "issued_ns", "completed_ns"):
        np.testing.assert_array_equal(getattr(written, column), getattr(measured.samples, column))
    assert [path.name for path in tmp_path.iterdir()] == [SAMPLES_FILE]
    assert len(recorded_samples(tmp_path, settings)) == len(measured.samples)


def require_ended_workers():
    for thread in threading.enumerate():
        if thread.name == "gnomon-load":  # it has said that it is done, and is about to be
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_a_test_leaves_the_interpreter_as_it_found_it(tmp_path):
    before = sys.getswitchinterval()
    measure(Slow(), Digits(), settings_of(Scenario.OFFLINE), tmp_path, workers=3)
    assert sys.getswitchinterval() == before
    assert gc.get_freeze_count() == 0
    require_ended_workers()


def test_a_test_goes_on_until_both_minimums_are_reached(tmp_path):
    by_count = settings_of(Scenario.SINGLE_STREAM, min_duration_ns=0, min_query_count=700)
    assert len(measure(NullSystem(), Digits(), by_count, tmp_path).samples) == 700


def test_an_offline_test_with_an_expected_rate_issues_a_fixed_number_of_samples(tmp_path):
    settings = settings_of(Scenario.OFFLINE, target_qps=10_000)
    (order,) = plan(settings)
    measured = measure(NullSystem(), Digits(), settings, tmp_path)
    assert len(measured.samples) == order.query_count
    assert order.query_count >= 1000


def test_a_test_past_its_maximum_duration_ends_with_a_fault(tmp_path):
    settings = settings_of(
        Scenario.SINGLE_STREAM, min_query_count=1_000_000, max_duration_ns=2 * TENTH_NS
    )
    measured = measure(Slow(), Digits(), settings, tmp_path)
    assert [fault.kind for fault in measured.faults] == ["max_duration"]
    assert "max_duration (0.2 s)" in measured.faults[0].message
    assert measured.samples.answered.all()
    assert measured.samples.issued_ns[-1] > 2 * TENTH_NS


def test_a_test_that_reaches_its_maximum_count_ends_with_a_fault(tmp_path):
    settings = settings_of(
        Scenario.SINGLE_STREAM, min_duration_ns=100 * NS_PER_S, max_query_count=30
    )
    measured = measure(Slow(), Digits(), settings, tmp_path)
    assert [fault.kind for fault in measured.faults] == ["max_query_count"]
    assert len(measured.samples) == 30


class Never(AsynchronousSystem):
    """Takes every query and answers none."""

    name = "never"

    def load(self, task, samples):
        pass

    def issue(self, query):
        pass


def test_more_outstanding_queries_than_allowed_end_a_server_test(tmp_path):
    settings = settings_of(
        Scenario.SERVER, max_async_queries=50, target_qps=100, min_query_count=200
    )
    measured = measure(Never(), Digits(), settings, tmp_path)
    assert measured.faults[0].kind == "overloaded"
    assert "max_async_queries (50): lower target_qps" in measured.faults[0].message
    assert 0 < len(measured.samples) <= 51


def test_accuracy_mode_loads_set_after_set_and_hands_over_each_answer_once(tmp_path):
    loaded = []

    class Recording(NullSystem):
        def load(self, task, samples):
            loaded.append(samples.tolist())

    settings = settings_of(
        Scenario.OFFLINE, mode=Mode.ACCURACY, performance_sample_count=300, target_qps=None
    )
    answers = []

    def keep(ids, samples, outputs):
        answers.extend(zip(ids.tolist(), samples.tolist(), outputs.tolist(), strict=True))

    measured = measure(Recording(max_batch_size=50), Digits(), settings, tmp_path, sink=keep)
    assert [len(samples) for samples in loaded] == [300, 300, 197]
    assert [samples.tolist() for samples in measured.loaded_sets] == loaded
    assert sorted(sample for samples in loaded for sample in samples) == list(range(797))
    assert [row for row, _, _ in answers] == list(range(797))
    assert all(sample == output for _, sample, output in answers)
    assert measured.samples.sample_index.tolist() == [sample for _, sample, _ in answers]
    assert (np.diff(measured.samples.issued_ns) >= 0).all()


def test_the_observer_sees_the_test_move_forward(tmp_path):
    seen = []
    settings = settings_of(Scenario.SERVER, min_duration_ns=6 * TENTH_NS)
    measured = measure(Slow(), Digits(), settings, tmp_path, observer=seen.append)
    assert seen
    shares = [snapshot.share_done for snapshot in seen]
    counts = [snapshot.samples for snapshot in seen]
    assert shares == sorted(shares)
    assert counts == sorted(counts)
    assert 0 < shares[-1] <= 1
    assert counts[-1] <= len(measured.samples)
    assert seen[-1].percentile_latency_ns >= NS_PER_MS


def test_an_interrupt_in_the_middle_keeps_the_samples_so_far(tmp_path):
    def interrupt(snapshot):
        if snapshot.samples > 10:
            raise KeyboardInterrupt

    settings = settings_of(Scenario.SINGLE_STREAM, min_duration_ns=600 * NS_PER_S)
    measured = measure(Slow(), Digits(), settings, tmp_path, observer=interrupt)
    assert measured.interrupted
    assert measured.samples.answered.sum() > 10
    assert len(read_samples(tmp_path / SAMPLES_FILE)) == len(measured.samples)


def test_an_error_of_the_watcher_stops_the_system_and_keeps_the_samples(tmp_path):
    """The error is not the system's, so it is raised; but nothing goes on in the background."""
    system = Slow()
    calls = []
    predict = system.predict
    system.predict = lambda samples: calls.append(len(samples)) or predict(samples)

    def fail(snapshot):
        if snapshot.samples > 10:
            raise BrokenPipeError("the terminal went away")

    settings = settings_of(Scenario.SINGLE_STREAM, min_duration_ns=600 * NS_PER_S)
    with pytest.raises(BrokenPipeError):
        measure(system, Digits(), settings, tmp_path, observer=fail)
    kept = read_samples(tmp_path / SAMPLES_FILE)
    assert kept.answered.sum() > 10
    require_ended_workers()
    assert 0 <= len(calls) - len(kept) <= 1  # the last answer may have come too late to be kept


def test_several_workers_issue_the_schedule_of_one(tmp_path):
    """An open-ended schedule is drawn further by whichever worker needs it."""
    settings = settings_of(Scenario.OFFLINE, min_duration_ns=3 * TENTH_NS)
    measured = measure(NullSystem(max_batch_size=512), Digits(), settings, tmp_path, workers=4)
    (order,) = plan(settings)
    expected = order.samples(0, len(measured.samples)).reshape(-1)
    assert measured.faults == ()
    assert measured.samples.answered.all()
    np.testing.assert_array_equal(measured.samples.sample_index, expected)


class AtOnceElsewhere(AsynchronousSystem):
    """Completes each query from a thread of its own."""

    name = "at-once-elsewhere"
    max_batch_size = 50

    def __init__(self):
        self.raised_here = []

    def load(self, task, samples):
        pass

    def issue(self, query):
        def answer():
            try:
                query.complete(query.samples)
            except BaseException as error:
                self.raised_here.append(error)

        threading.Thread(target=answer).start()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("system_type", [NullSystem, AtOnceElsewhere])
def test_a_log_that_cannot_be_written_ends_the_test_and_is_no_fault_of_the_system(
    tmp_path, system_type, workers
):
    kept = []

    def full(ids, samples, outputs):
        if len(kept) == 4:
            raise RunFolderError("cannot write log: No space left on device")
        kept.append(len(ids))

    system = system_type()
    system.max_batch_size = 50
    settings = settings_of(Scenario.OFFLINE, mode=Mode.ACCURACY)
    with pytest.raises(RunFolderError, match="No space left"):
        measure(system, Digits(), settings, tmp_path, sink=full, workers=workers)
    assert getattr(system, "raised_here", []) == []
    assert read_samples(tmp_path / SAMPLES_FILE).answered.sum() >= sum(kept)


def test_a_system_that_cannot_load_is_named_with_its_reason(tmp_path):
    class Unloadable(NullSystem):
        def load(self, task, samples):
            raise MemoryError("64 GiB wanted")

    with pytest.raises(
        SystemFault, match="system 'null' could not load: MemoryError: 64 GiB wanted"
    ):
        measure(Unloadable(), Digits(), settings_of(Scenario.OFFLINE), tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot write .*away.*choose another"):
        measure(NullSystem(), Digits(), settings_of(Scenario.OFFLINE), tmp_path / "away")


def test_a_hanging_system_is_reported_with_how_much_it_owes(tmp_path):
    settings = settings_of(Scenario.SERVER, min_duration_ns=NS_PER_S // 2)
    measured = measure(Never(), Digits(), settings, tmp_path, stall_timeout_s=0.1)
    (fault,) = measured.faults
    assert fault.kind == "stalled"
    told = int(re.search(r"(\d+) sample\(s\) outstanding", fault.message)[1])
    assert 0 <= len(measured.samples) - told <= 1  # one may be issued while it is being told
    assert not measured.samples.answered.any()


def test_an_empty_stretch_of_the_schedule_is_no_stall(tmp_path):
    settings = settings_of(Scenario.SERVER, target_qps=2, min_duration_ns=NS_PER_S)
    measured = measure(NullSystem(), Digits(), settings, tmp_path, stall_timeout_s=0.2)
    assert measured.faults == ()
    assert np.diff(measured.samples.scheduled_ns).max() > NS_PER_S // 4


def test_a_stop_between_arrivals_that_lie_far_apart_need_not_wait_for_the_next(tmp_path):
    def interrupt(snapshot):
        raise KeyboardInterrupt

    settings = settings_of(Scenario.SERVER, target_qps=0.001, min_duration_ns=NS_PER_S)
    (order,) = plan(settings)
    assert order.arrivals_ns(0, 2)[1] > 30 * NS_PER_S
    measured = measure(NullSystem(), Digits(), settings, tmp_path, observer=interrupt)
    assert measured.interrupted
    assert len(measured.samples) == 1
    for thread in threading.enumerate():
        if thread.name == "gnomon-load":
            thread.join(timeout=10)
            assert not thread.is_alive()


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 0.3])
def test_a_clock_that_jumps_is_reported_and_moves_no_latency(tmp_path, monkeypatch, jump_s):
    real = clock_watch.read_clocks
    looks = []

    def jumping():
        looks.append(None)
        monotonic_ns, wall_ns = real()
        return monotonic_ns, wall_ns + (int(jump_s * NS_PER_S) if len(looks) > 2 else 0)

    monkeypatch.setattr(clock_watch, "read_clocks", jumping)
    settings = settings_of(Scenario.SINGLE_STREAM, min_duration_ns=6 * TENTH_NS)
    measured = measure(Slow(), Digits(), settings, tmp_path)
    (fault,) = measured.faults
    assert fault.kind == "clock_jumped"
    assert f"jumped by {jump_s:+.1f}" in fault.message
    assert "run again" in fault.message
    assert measured.samples.answered.all()
    assert (measured.samples.latency_ns > 0).all()
    assert measured.samples.completed_ns.max() < 300 * NS_PER_S


def test_a_thread_that_is_held_up_between_the_clocks_sees_no_jump(monkeypatch):
    """The first three readings of the wall clock are a tenth of a second late."""
    held_up, real = [0.1, 0.1, 0.1], time.time_ns

    def late():
        if held_up:
            time.sleep(held_up.pop())
        return real()

    before = clocks.read_clocks()
    monkeypatch.setattr(clocks.time, "time_ns", late)
    after = clocks.read_clocks()
    assert not held_up
    assert abs((after[1] - before[1]) - (after[0] - before[0])) < 5_000_000


def test_a_clock_that_drifts_slowly_is_found_at_the_end(tmp_path, monkeypatch):
    real = clock_watch.read_clocks

    def drifting():
        monotonic_ns, wall_ns = real()
        return monotonic_ns, wall_ns + (monotonic_ns - began_ns) // 8

    began_ns = real()[0]
    monkeypatch.setattr(clock_watch, "read_clocks", drifting)
    settings = settings_of(Scenario.SINGLE_STREAM, min_duration_ns=10 * TENTH_NS)
    assert clock_watch.CLOCK_STEP_NS > NS_PER_S / 4 / 8  # no single look can see it
    measured = measure(Slow(), Digits(), settings, tmp_path)
    assert [fault.kind for fault in measured.faults] == ["clock_jumped"]


@pytest.mark.parametrize("scenario", Scenario)
def test_a_journal_alone_gives_the_samples_that_a_killed_test_left(tmp_path, scenario):
    settings = settings_of(scenario)
    journal = Journal(tmp_path)
    journal.reserve(40)
    journal.issued_ns[:12] = np.arange(1, 13) * 1000
    journal.completed_ns[:8] = np.arange(1, 9) * 2000
    journal.close()
    left = recorded_samples(tmp_path, settings)
    assert (tmp_path / JOURNAL_FOLDER).is_dir()
    assert len(left) == 12
    assert left.answered.sum() == 8
    expected = samples_of(plan(settings), settings, left.issued_ns, left.completed_ns)
    np.testing.assert_array_equal(left.sample_index, expected.sample_index)
    np.testing.assert_array_equal(left.scheduled_ns, expected.scheduled_ns)
