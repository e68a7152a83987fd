"""How queries reach a system: due or not yet, how many at once, by which worker, answered from where.

No test here depends on the machine being quick: bounds on times are from below only.
"""

import asyncio
import itertools
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest

from gnomon.core.errors import SystemFault
from gnomon.loadgen.measure import measure
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings
from gnomon.loadgen.system import AsynchronousSystem, SynchronousSystem
from gnomon.tasks.digits import Digits

SINGLE, MULTI, SERVER, OFFLINE = Scenario
WIDTH = 4


def settings_of(scenario, **changes):
    """A test of digits that is over at once unless it is given a duration or a count."""
    chosen = {
        "scenario": scenario,
        "total_sample_count": 797,
        "performance_sample_count": 797,
        "min_duration_ns": 0,
        "target_qps": 2000 if scenario is SERVER else None,
        "target_latency_ns": 10 * NS_PER_MS,
        "samples_per_query": WIDTH if scenario is MULTI else 1,
    }
    return Settings(**(chosen | changes))


class Calls(SynchronousSystem):
    """Answers with `function(samples)`."""

    name = "calls"

    def __init__(self, function=lambda samples: samples, max_batch_size=1):
        self.function = function
        self.max_batch_size = max_batch_size

    def load(self, task, samples):
        pass

    def predict(self, samples):
        return self.function(samples)


class Takes(AsynchronousSystem):
    """Does `function(query)` with each query."""

    name = "takes"

    def __init__(self, function=lambda query: query.complete(query.samples), max_batch_size=1):
        self.function = function
        self.max_batch_size = max_batch_size

    def load(self, task, samples):
        pass

    def issue(self, query):
        self.function(query)


def measured(system, settings, folder, **options):
    options.setdefault("stall_timeout_s", 20.0)
    return measure(system, Digits(), settings, folder, **options)


def kinds(found):
    return [fault.kind for fault in found.faults]


# --- when -------------------------------------------------------------------------------------------


def test_server_latency_holds_the_time_a_query_waited_for_a_slow_system(tmp_path):
    service_s = 0.004
    found = measured(
        Calls(lambda samples: time.sleep(service_s) or samples),
        settings_of(SERVER, min_query_count=100, target_qps=1000),
        tmp_path,
    )
    samples = found.samples
    # One at a time: whatever the machine does, the k-th answer cannot be there before k + 1 services.
    earliest_ns = (np.arange(len(samples)) + 1) * int(service_s * NS_PER_S)
    assert (samples.completed_ns >= earliest_ns).all()
    assert (samples.latency_ns >= earliest_ns - samples.scheduled_ns).all()
    assert samples.latency_ns[-1] > 50 * service_s * NS_PER_S
    # The queue is in the latency, not in what is told of the service.
    assert (samples.issued_ns >= samples.scheduled_ns).all()
    assert (samples.issued_ns[1:] >= samples.completed_ns[:-1]).all()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("max_batch_size", [1, 7])
def test_a_query_is_never_issued_before_it_is_due(tmp_path, workers, max_batch_size):
    settings = settings_of(SERVER, target_qps=4000, min_query_count=1200)
    found = measured(Calls(max_batch_size=max_batch_size), settings, tmp_path, workers=workers)
    assert found.faults == ()
    samples = found.samples
    assert (samples.issued_ns >= samples.scheduled_ns).all()
    assert (samples.completed_ns >= samples.issued_ns).all()
    assert (samples.issued_ns > 0).all()
    assert (np.diff(samples.issued_ns) >= 0).all()


@pytest.mark.parametrize("coalesce", [False, True])
def test_an_asynchronous_system_is_never_given_a_query_before_it_is_due(tmp_path, coalesce):
    settings = settings_of(
        SERVER, target_qps=4000, min_query_count=1200, server_coalesce_queries=coalesce
    )
    found = measured(Takes(max_batch_size=16), settings, tmp_path)
    assert found.faults == ()
    assert (found.samples.issued_ns >= found.samples.scheduled_ns).all()


def test_offline_latency_counts_from_the_start_of_the_test(tmp_path):
    found = measured(
        Calls(lambda samples: time.sleep(0.002) or samples),
        settings_of(OFFLINE, min_query_count=20),
        tmp_path,
    )
    assert not found.samples.scheduled_ns.any()
    assert (found.samples.latency_ns >= np.arange(1, 21) * 2 * NS_PER_MS).all()


# --- how many at once -------------------------------------------------------------------------------


def slow_to_take(taken):
    """Notes each query and blocks the issuer, so that further queries fall due meanwhile."""

    def issue(query):
        taken.append(query.ids.tolist())
        time.sleep(0.005)
        query.complete(query.samples)

    return issue


def test_coalesced_queries_reach_an_asynchronous_system_as_one_and_keep_their_own_times(tmp_path):
    taken = []
    settings = settings_of(
        SERVER, target_qps=4000, min_query_count=500, server_coalesce_queries=True
    )
    found = measured(Takes(slow_to_take(taken), max_batch_size=16), settings, tmp_path)
    assert found.faults == ()
    assert max(map(len, taken)) == 16
    assert [row for ids in taken for row in ids] == list(range(len(found.samples)))
    samples = found.samples
    assert samples.query.tolist() == list(range(len(samples)))  # each is still a query of its own
    np.testing.assert_array_equal(
        samples.scheduled_ns, plan(settings)[0].arrivals_ns(0, len(samples))
    )
    one = np.array(next(ids for ids in taken if len(ids) == 16))
    assert len(set(samples.issued_ns[one])) == 1
    assert len(set(samples.scheduled_ns[one])) == 16


def test_without_coalescing_an_asynchronous_system_gets_server_queries_one_by_one(tmp_path):
    taken = []
    settings = settings_of(SERVER, target_qps=4000, min_query_count=60)
    measured(Takes(slow_to_take(taken), max_batch_size=16), settings, tmp_path)
    assert {len(ids) for ids in taken} == {1}


@pytest.mark.parametrize("scenario", [SERVER, OFFLINE])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("max_batch_size", [1, 5, 64])
def test_no_call_holds_more_samples_than_the_system_takes(
    tmp_path, scenario, workers, max_batch_size
):
    sizes = []

    def predict(samples):
        sizes.append(len(samples))
        time.sleep(0.0005)
        return samples

    settings = settings_of(scenario, target_qps=20_000, min_query_count=333)
    system = Calls(predict, max_batch_size)
    found = measured(system, settings, tmp_path, workers=workers)
    assert sum(sizes) == len(found.samples) == 333
    assert 1 <= min(sizes) <= max(sizes) <= max_batch_size
    if scenario is OFFLINE:
        assert sizes.count(max_batch_size) >= 333 // max_batch_size


@pytest.mark.parametrize("scenario", [SINGLE, MULTI])
@pytest.mark.parametrize("kind", [Calls, Takes])
def test_in_the_stream_scenarios_a_call_is_one_query_whatever_the_batch_size(
    tmp_path, scenario, kind
):
    sizes = []

    def note(given):
        sizes.append(len(given if kind is Calls else given.ids))
        return given if kind is Calls else given.complete(given.samples)

    settings = settings_of(scenario, min_query_count=50)
    found = measured(kind(note, max_batch_size=1000), settings, tmp_path)
    assert sizes == [settings.samples_per_query] * 50
    assert len(found.samples) == sum(sizes)


@pytest.mark.parametrize("max_batch_size", [1, 30, 100, 5000])
def test_offline_with_whole_permutations_ends_with_a_whole_one(tmp_path, max_batch_size):
    settings = settings_of(
        OFFLINE,
        performance_sample_count=100,
        total_sample_count=100,
        min_query_count=250,
        sample_concatenate_permutation=True,
    )
    found = measured(Calls(max_batch_size=max_batch_size), settings, tmp_path)
    assert len(found.samples) == 300
    assert set(Counter(found.samples.sample_index.tolist()).values()) == {3}


# --- several workers --------------------------------------------------------------------------------


@pytest.mark.parametrize("round_number", range(8))
def test_several_workers_pull_every_row_once_and_answer_it_once(tmp_path, round_number):
    """Accuracy mode shows which answer went to which row: each sample once, with its own answer."""
    handed, rows = [], []

    def predict(samples):
        handed.append(samples.copy())
        return samples * 10

    def keep(ids, samples, outputs):
        rows.extend(zip(ids.tolist(), samples.tolist(), outputs.tolist(), strict=True))

    settings = settings_of(OFFLINE, mode=Mode.ACCURACY, performance_sample_count=200)
    found = measured(
        Calls(predict, max_batch_size=round_number + 1), settings, tmp_path, workers=4, sink=keep
    )
    assert found.faults == ()
    assert sorted(np.concatenate(handed).tolist()) == list(range(797))
    assert sorted(row for row, _, _ in rows) == list(range(797))
    assert all(output == 10 * sample for _, sample, output in rows)
    order = {row: sample for row, sample, _ in rows}
    assert [order[row] for row in range(797)] == found.samples.sample_index.tolist()
    assert found.samples.answered.all()


@pytest.mark.parametrize("max_batch_size", [1, 3])
def test_several_workers_share_a_server_schedule_without_loss_or_repetition(
    tmp_path, max_batch_size
):
    handed = []

    def predict(samples):
        handed.extend(samples.tolist())
        return samples

    settings = settings_of(SERVER, target_qps=20_000, min_query_count=3000)
    found = measured(Calls(predict, max_batch_size), settings, tmp_path, workers=4)
    assert found.faults == ()
    (order,) = plan(settings)
    expected = order.samples(0, order.query_count).reshape(-1)
    np.testing.assert_array_equal(found.samples.sample_index, expected)
    assert Counter(handed) == Counter(expected.tolist())
    assert found.samples.answered.all()


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (
            settings_of(OFFLINE, min_query_count=10**7, max_duration_ns=50 * NS_PER_MS),
            "max_duration",
        ),
        (settings_of(SERVER, max_query_count=50, min_duration_ns=NS_PER_S), "max_query_count"),
        (
            settings_of(SERVER, min_query_count=10**5, max_duration_ns=50 * NS_PER_MS),
            "max_duration",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_test_that_ends_early_says_so_once_however_many_workers_see_it(
    tmp_path, settings, kind, workers
):
    system = Calls(lambda samples: time.sleep(0.001) or samples)
    found = measured(system, settings, tmp_path, workers=workers)
    assert kinds(found) == [kind]
    assert found.samples.answered.all()


# --- answers from elsewhere -------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", Scenario)
def test_a_system_may_complete_a_query_before_issue_returns(tmp_path, scenario):
    settings = settings_of(scenario, min_query_count=300)
    found = measured(Takes(max_batch_size=8), settings, tmp_path)
    assert found.faults == ()
    assert found.samples.answered.all()
    assert len(found.samples) >= 300
    assert (found.samples.completed_ns >= found.samples.issued_ns).all()


@pytest.mark.parametrize("scenario", Scenario)
def test_many_threads_may_complete_parts_of_queries_at_once(tmp_path, scenario):
    """Eight threads take single samples off a list as fast as they can, newest first."""
    waiting, there = [], threading.Semaphore(0)
    ended = threading.Event()

    def issue(query):
        waiting.extend((query, place) for place in range(len(query.ids)))
        there.release(len(query.ids))

    def answer():
        while not ended.is_set():
            if there.acquire(timeout=0.01):
                query, place = waiting.pop()
                query.complete(query.samples[[place]], query.ids[[place]])

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        settings = settings_of(scenario, min_query_count=300)
        found = measured(Takes(issue, max_batch_size=16), settings, tmp_path)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert found.faults == ()
    assert found.samples.answered.all()
    assert waiting == []
    assert (found.samples.completed_ns >= found.samples.issued_ns).all()


def test_of_two_threads_that_complete_a_query_at_once_one_is_a_fault(tmp_path):
    queries = 40

    def issue(query):
        start = threading.Barrier(2)

        def answer():
            start.wait()
            query.complete(query.samples)

        threads = [threading.Thread(target=answer) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = measured(Takes(issue), settings_of(OFFLINE, min_query_count=queries), tmp_path)
    assert set(kinds(found)) == {"completed_twice"}
    assert found.fault_count == queries
    assert found.samples.answered.all()
    assert len(found.samples) == queries


@pytest.mark.parametrize("outputs", [np.zeros(3), None, np.zeros(1), iter([1, 2])])
def test_wrong_ids_with_wrong_outputs_are_faults_and_never_an_exception_in_the_systems_thread(
    tmp_path, outputs
):
    raised = []

    def issue(query):
        def answer():
            try:
                query.complete(outputs, [query.ids[0], 10**9])
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()

    settings = settings_of(OFFLINE, min_query_count=5)
    found = measured(Takes(issue), settings, tmp_path, stall_timeout_s=0.3)
    assert raised == []
    assert found.faults


# --- what a system may do wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("scenario", Scenario)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda samples: None, "the system returned NoneType, not a sequence of"),
        (lambda samples: (sample for sample in samples), "the system returned generator, not a"),
        (lambda samples: iter(samples), "not a sequence of"),
        (lambda samples: 5, "the system returned int, not a sequence of"),
        (lambda samples: np.float32(5), "not a sequence of"),
        (lambda samples: np.array(5), "not a sequence of"),
        (lambda samples: "seventeen", "the system returned 9 outputs for"),
        (lambda samples: [], "the system returned 0 outputs for"),
        (lambda samples: {}, "the system returned 0 outputs for"),
    ],
)
def test_answers_that_are_no_sequence_of_the_right_length_end_the_test(
    tmp_path, scenario, answer, words
):
    settings = settings_of(scenario, min_query_count=100)
    found = measured(Calls(answer, max_batch_size=4), settings, tmp_path)
    assert kinds(found) == ["wrong_output_count"]
    assert words in found.faults[0].message
    assert not found.samples.answered.any()
    assert len(found.samples) >= 1


@pytest.mark.timeout(10)
@pytest.mark.parametrize("scenario", [SINGLE, OFFLINE])
def test_an_endless_answer_ends_the_test_and_is_not_read_to_its_end(tmp_path, scenario):
    settings = settings_of(scenario, min_query_count=100)
    found = measured(Calls(lambda samples: itertools.repeat(0.0)), settings, tmp_path)
    assert kinds(found) == ["wrong_output_count"]
    assert "the system returned repeat, not a sequence of 1 outputs" in found.faults[0].message


@pytest.mark.parametrize("scenario", [SINGLE, OFFLINE])
@pytest.mark.parametrize("kind", [Calls, Takes])
def test_a_system_that_exits_the_interpreter_ends_the_test_and_not_the_process(
    tmp_path, scenario, kind
):
    settings = settings_of(scenario, min_query_count=100)
    found = measured(kind(lambda given: sys.exit(0)), settings, tmp_path)
    assert kinds(found) == ["raised"]
    assert "the system raised SystemExit: 0" in found.faults[0].message


def test_a_system_that_exits_the_interpreter_while_loading_is_told_so(tmp_path):
    system = Calls()
    system.load = lambda task, samples: sys.exit(0)
    with pytest.raises(SystemFault, match="system 'calls' could not load: SystemExit: 0"):
        measured(system, settings_of(OFFLINE), tmp_path)


@pytest.mark.parametrize("scenario", [SINGLE, OFFLINE])
@pytest.mark.parametrize("kind", [Calls, Takes])
def test_an_event_loops_cancellation_is_the_systems_fault_like_any_error(tmp_path, scenario, kind):
    """`asyncio.CancelledError` is no `Exception`."""

    def cancelled(given):
        raise asyncio.CancelledError("the server shut down")

    found = measured(kind(cancelled), settings_of(scenario, min_query_count=100), tmp_path)
    assert kinds(found) == ["raised"]
    assert "CancelledError: the server shut down" in found.faults[0].message


@pytest.mark.parametrize("scenario", Scenario)
def test_an_error_out_of_compiled_code_is_the_systems_fault_like_any_error(tmp_path, scenario):
    """Compiled code leaves no frame of its own in the traceback."""
    system = Calls()
    system.predict = np.zeros((700, 10), dtype=np.float32).__getitem__
    settings = settings_of(scenario, min_query_count=797)
    found = measured(system, settings, tmp_path, stall_timeout_s=1.0)
    assert kinds(found) == ["raised"]
    assert "the system raised IndexError: index" in found.faults[0].message


def test_a_system_that_slows_down_is_not_taken_for_one_that_hangs(tmp_path):
    """It was quick at first, so that many queries were expected to be done in no time."""
    calls = []

    def predict(samples):
        calls.append(None)
        if len(calls) > 20_000:
            time.sleep(0.001)
        return samples

    settings = settings_of(SINGLE, min_query_count=22_500)
    found = measured(Calls(predict), settings, tmp_path, stall_timeout_s=0.8)
    assert kinds(found) == []
    assert len(found.samples) == 22_500


@pytest.mark.parametrize("kind", [Calls, Takes])
def test_what_a_system_does_with_the_arrays_it_is_given_does_not_change_the_record(tmp_path, kind):
    def spoil(given):
        samples = given if kind is Calls else given.samples
        answer = samples.copy()
        samples[:] = 0
        return answer if kind is Calls else given.complete(answer)

    for scenario in Scenario:
        folder = tmp_path / scenario
        folder.mkdir()
        settings = settings_of(scenario, min_query_count=200)
        found = measured(kind(spoil, max_batch_size=8), settings, folder)
        assert found.faults == ()
        queries = len(found.samples) // settings.samples_per_query
        expected = plan(settings)[0].samples(0, queries).reshape(-1)
        np.testing.assert_array_equal(found.samples.sample_index, expected)


@pytest.mark.parametrize("scenario", Scenario)
def test_what_a_system_does_with_the_loaded_set_does_not_change_what_is_issued(tmp_path, scenario):
    """Sorting the indices in place is an innocent thing to do while loading."""
    system = Calls(max_batch_size=8)

    def load(task, samples):
        try:
            samples.sort()
        except ValueError:  # it may be that it cannot be written
            return

    system.load = load
    settings = settings_of(scenario, min_query_count=200)
    found = measured(system, settings, tmp_path)
    queries = len(found.samples) // settings.samples_per_query
    (order,) = plan(settings)
    np.testing.assert_array_equal(found.samples.sample_index, order.samples(0, queries).reshape(-1))
    np.testing.assert_array_equal(found.loaded_sets[0], order.loaded)


# --- outputs that are looked at ---------------------------------------------------------------------


def one_bad(calls, bad, good=0.0):
    """Answers `good`, but `bad` in the last place of the call number `calls`."""
    made = []

    def predict(samples):
        made.append(len(samples))
        outputs = np.full((len(samples), 3), good, dtype=np.float32)
        if sum(made) >= calls:
            outputs[-1, -1] = bad
        return outputs

    return predict


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scenario", Scenario)
def test_a_number_that_is_none_in_the_very_last_answer_is_found(tmp_path, scenario, bad):
    settings = settings_of(scenario, min_query_count=50, target_qps=2000)
    (order,) = plan(settings)
    rows = (order.query_count or 50) * order.samples_per_query
    found = measured(Calls(one_bad(rows, bad)), settings, tmp_path)
    assert len(found.samples) == rows
    assert kinds(found) == ["not_finite"]
    found = measured(Calls(one_bad(rows + 1, bad)), settings, _another(tmp_path))
    assert kinds(found) == []


def test_the_last_answer_of_an_asynchronous_system_is_looked_at_too(tmp_path):
    predict = one_bad(50, np.nan)
    system = Takes(lambda query: query.complete(predict(query.samples)))
    found = measured(system, settings_of(OFFLINE, min_query_count=50), tmp_path)
    assert kinds(found) == ["not_finite"]


def _another(folder):
    path = folder / "another"
    path.mkdir()
    return path


def boxes(samples):
    """As detectors answer: another number of boxes for each image."""
    return [[[0.5, 0.5, 1.0, 1.0]] * (1 + sample % 3) for sample in samples.tolist()]


ODD_OUTPUTS = {
    "object arrays": lambda samples: np.array([object()] * len(samples), dtype=object),
    "an object array of arrays": lambda samples: _objects(
        np.zeros(1 + sample % 3, dtype=np.float32) for sample in samples
    ),
    "None for each": lambda samples: [None] * len(samples),
    "words": lambda samples: ["seven"] * len(samples),
    "bytes": lambda samples: [b"\x00\xff"] * len(samples),
    "dictionaries": lambda samples: [{"boxes": [1.0]} for _ in samples],
    "tuples of numbers": lambda samples: tuple((1.0, 2) for _ in samples),
    "whole numbers": lambda samples: samples.tolist(),
    "lists of unequal length": boxes,
    "a label and its scores": lambda samples: [("seven", [0.1, 0.9])] * len(samples),
}


def _objects(values):
    values = list(values)
    outputs = np.empty(len(values), dtype=object)
    outputs[:] = values
    return outputs


@pytest.mark.parametrize("outputs", ODD_OUTPUTS)
@pytest.mark.parametrize("kind", [Calls, Takes])
def test_answers_of_any_form_are_measured(tmp_path, outputs, kind):
    answer = ODD_OUTPUTS[outputs]

    def do(given):
        return answer(given) if kind is Calls else given.complete(answer(given.samples))

    settings = settings_of(OFFLINE, min_query_count=50)
    found = measured(kind(do, max_batch_size=8), settings, tmp_path)
    assert kinds(found) == []
    assert found.samples.answered.all()


@pytest.mark.parametrize(
    "answer",
    [
        lambda samples: _objects(np.array([0.0, np.nan]) for _ in samples),
        lambda samples: [[0.0, float("nan")]] * len(samples),
        lambda samples: [float("inf")] * len(samples),
        lambda samples: [np.float16(np.nan)] * len(samples),
        lambda samples: np.full(len(samples), complex(0, np.nan)),
        lambda samples: [*([[0.0]] * (len(samples) - 1)), [np.nan]],
        lambda samples: [[[0.0], [1.0, float("nan")]] for _ in samples],
    ],
)
def test_a_number_that_is_none_is_found_in_answers_of_any_form(tmp_path, answer):
    settings = settings_of(OFFLINE, min_query_count=50)
    found = measured(Calls(answer, max_batch_size=8), settings, tmp_path)
    assert kinds(found) == ["not_finite"]


class Unready:
    """Answers that are worked out when somebody reads them, as frameworks with lazy arrays give."""

    def __init__(self, samples, read):
        self.samples = samples
        self.read = read

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, place):
        self.read.append(place)
        return float(self.samples[place])


@pytest.mark.parametrize("scenario", Scenario)
@pytest.mark.parametrize("kind", [Calls, Takes])
def test_answers_that_are_yet_to_be_worked_out_are_not_answers(tmp_path, scenario, kind):
    """Else the clock stops before the work begins."""
    read = []

    def do(given):
        if kind is Calls:
            return Unready(given, read)
        return given.complete(Unready(given.samples, read))

    settings = settings_of(scenario, min_query_count=100)
    found = measured(kind(do, max_batch_size=8), settings, tmp_path)
    assert found.faults or len(read) >= len(found.samples)
