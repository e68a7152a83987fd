"""Systems that misbehave, one fault at a time: the run says so and keeps its samples."""

import threading

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import DataError, SystemFault
from gnomon.core.run import Run, find_runs
from gnomon.loadgen.system import AsynchronousSystem, SynchronousSystem
from gnomon.results.check import check

GOOD_CALLS = 20
SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


def answers(samples):
    """Ten class scores a sample, all of them finite."""
    return np.zeros((len(samples), 10), dtype=np.float32)


class Faulty(SynchronousSystem):
    """Answers well `good_calls` times, then does `fault`."""

    name = "faulty"

    def __init__(self, fault, good_calls=GOOD_CALLS, max_batch_size=8):
        self.fault = fault
        self.good_calls = good_calls
        self.max_batch_size = max_batch_size
        self.calls = 0
        self.released = threading.Event()

    def load(self, task, samples):
        pass

    def predict(self, samples):
        self.calls += 1
        if self.calls > self.good_calls:
            return self.fault(self, samples)
        return answers(samples)

    def close(self):
        self.released.set()


class FaultyLater(AsynchronousSystem):
    """Completes well `good_calls` times, then does `fault` with each query."""

    name = "faulty-later"
    max_batch_size = 8

    def __init__(self, fault, good_calls=GOOD_CALLS):
        self.fault = fault
        self.good_calls = good_calls
        self.calls = 0

    def load(self, task, samples):
        pass

    def issue(self, query):
        self.calls += 1
        if self.calls > self.good_calls:
            self.fault(query)
        else:
            query.complete(answers(query.samples))


def raises(system, samples):
    raise ValueError("the device went away\nand a second line")


def exits(system, samples):
    raise SystemExit(0)


def hangs(system, samples):
    system.released.wait()
    return answers(samples)


def one_too_many(system, samples):
    return answers([*samples, 0])


def one_too_few(system, samples):
    return answers(samples)[1:]


def nothing(system, samples):
    return None


def not_a_number(system, samples):
    return answers(samples) + np.float32("nan")


def infinite(system, samples):
    return answers(samples) + np.float32("inf")


def raise_on_issue(query):
    raise ConnectionError("the server closed the connection")


def never_complete(query):
    pass


def complete_twice(query):
    query.complete(answers(query.samples))
    query.complete(answers(query.samples))


def complete_twice_within(query):
    ids = np.concatenate([query.ids, query.ids])
    query.complete(answers(ids), ids)


def complete_unknown(query):
    query.complete(answers(query.samples), query.ids + 1_000_000_000)
    query.complete(answers(query.samples))


def complete_negative(query):
    query.complete(answers(query.samples), -1 - query.ids)
    query.complete(answers(query.samples))


def complete_too_few(query):
    query.complete(answers(query.samples)[1:])


def complete_nothing(query):
    query.complete(None)


def complete_not_a_number(query):
    query.complete(answers(query.samples) + np.float32("nan"))


FATAL = {
    "raises": (lambda: Faulty(raises), "raised", "raised ValueError: the device went away"),
    "exits": (lambda: Faulty(exits), "raised", "raised SystemExit: 0"),
    "hangs": (lambda: Faulty(hangs), "stalled", "answered nothing for 0.4 s with"),
    "one output too many": (lambda: Faulty(one_too_many), "wrong_output_count", "outputs for"),
    "one output too few": (lambda: Faulty(one_too_few), "wrong_output_count", "outputs for"),
    "no outputs": (lambda: Faulty(nothing), "wrong_output_count", "returned NoneType"),
    "raises on issue": (lambda: FaultyLater(raise_on_issue), "raised", "raised ConnectionError"),
    "never completes": (lambda: FaultyLater(never_complete), "stalled", "answered nothing for"),
    "completes too few": (
        lambda: FaultyLater(complete_too_few),
        "wrong_output_count",
        "outputs for",
    ),
    "completes with None": (
        lambda: FaultyLater(complete_nothing),
        "wrong_output_count",
        "returned NoneType",
    ),
}
LASTING = {
    "answers NaN": (lambda: Faulty(not_a_number), "not_finite", "answered NaN or infinity"),
    "answers infinity": (lambda: Faulty(infinite), "not_finite", "answered NaN or infinity"),
    "completes with NaN": (
        lambda: FaultyLater(complete_not_a_number),
        "not_finite",
        "answered NaN or infinity",
    ),
    "completes twice": (lambda: FaultyLater(complete_twice), "completed_twice", "twice"),
    "completes twice in one call": (
        lambda: FaultyLater(complete_twice_within),
        "completed_twice",
        "twice",
    ),
    "completes an unknown query": (
        lambda: FaultyLater(complete_unknown),
        "unknown_query",
        "which was not issued",
    ),
    "completes a negative id": (
        lambda: FaultyLater(complete_negative),
        "unknown_query",
        "which was not issued",
    ),
}


def measure(system, out, scenario, **options):
    """A run of one scenario, as short as the rules allow."""
    if scenario == "server":
        options.setdefault("target_qps", 400)
    if scenario == "accuracy":
        options |= {"performance": False}
    else:
        options |= {"scenario": scenario, "accuracy": False}
    options.setdefault("stall_timeout_s", 20.0)
    return gnomon.run("digits", system=system, out=out, quick=True, **options)


def require_one_clear_line(run, scenario, kind, words):
    failed = [found for found in run.verdict.failures if found.name == kind]
    assert failed
    assert failed[0].measurement == scenario
    assert words in failed[0].why
    assert "\n" not in failed[0].why
    assert not run.verdict.valid
    assert not check(run.path).fine


@pytest.mark.parametrize("scenario", [*SCENARIOS, "accuracy"])
@pytest.mark.parametrize("fault", FATAL)
def test_a_fatal_fault_aborts_the_run_and_keeps_the_samples_before_it(tmp_path, scenario, fault):
    make, kind, words = FATAL[fault]
    run = measure(make(), tmp_path, scenario, stall_timeout_s=0.4)
    assert run.status == "aborted"
    require_one_clear_line(run, scenario, kind, words)
    samples = run.samples[scenario]
    answered = samples.answered
    # Twenty good calls, each of one sample at least, then one that was issued and not answered.
    assert GOOD_CALLS <= int(answered.sum()) < len(samples)
    assert answered[: int(answered.sum())].all()
    assert (samples.latency_ns[answered] >= 0).all()
    assert (samples.issued_ns > 0).all()


# Each of these tests lasts as long as the rules ask, so not every fault meets every scenario.
@pytest.mark.parametrize(
    ("fault", "scenario"),
    [
        *[
            (fault, scenario)
            for fault in ("answers NaN", "completes twice", "completes an unknown query")
            for scenario in ("single-stream", "server", "offline")
        ],
        *[(fault, "accuracy") for fault in LASTING],
    ],
)
def test_a_fault_that_does_not_end_the_test_makes_it_invalid(tmp_path, fault, scenario):
    make, kind, words = LASTING[fault]
    run = measure(make(), tmp_path, scenario)
    assert run.status == "complete"
    require_one_clear_line(run, scenario, kind, words)
    assert run.samples[scenario].answered.all()
    assert run.result[scenario]["sample_count"] == len(run.samples[scenario])


def test_one_answer_that_is_not_a_number_among_all_is_noticed_in_accuracy_mode(tmp_path):
    def one(system, samples):
        outputs = answers(samples)
        if system.calls == GOOD_CALLS + 1:
            outputs[-1, 4] = np.nan
        return outputs

    run = measure(Faulty(one), tmp_path, "accuracy")
    require_one_clear_line(run, "accuracy", "not_finite", "answered NaN or infinity")


def test_many_faults_are_counted_but_only_some_are_kept(tmp_path):
    run = measure(FaultyLater(complete_twice), tmp_path, "accuracy")
    assert len(run.measurements["accuracy"]["faults"]) == 20
    assert not check(run.path).fine


def test_a_query_answered_only_under_an_unknown_id_is_also_reported_as_outstanding(tmp_path):
    def only_unknown(query):
        query.complete(answers(query.samples), query.ids + 5_000_000)

    run = measure(FaultyLater(only_unknown), tmp_path, "single-stream", stall_timeout_s=0.4)
    assert run.status == "aborted"
    assert [fault["kind"] for fault in run.measurements["single-stream"]["faults"]] == [
        "unknown_query",
        "stalled",
    ]


def test_an_id_that_lies_ahead_of_what_was_issued_is_unknown(tmp_path):
    def next_one(query):
        query.complete(answers(query.samples), query.ids + len(query.ids))
        query.complete(answers(query.samples))

    run = measure(FaultyLater(next_one), tmp_path, "single-stream")
    require_one_clear_line(run, "single-stream", "unknown_query", "which was not issued")


def test_answers_that_come_after_a_test_was_given_up_change_nothing(tmp_path):
    held = []
    run = measure(FaultyLater(held.append), tmp_path, "server", stall_timeout_s=0.4)
    before = run.samples["server"]
    assert held
    for query in held:
        query.complete(answers(query.samples))
    after = Run.open(run.path).samples["server"]
    np.testing.assert_array_equal(before.completed_ns, after.completed_ns)
    assert not check(run.path).fine


@pytest.mark.parametrize("fault", [raises, hangs, one_too_many])
def test_one_bad_worker_of_several_ends_the_test(tmp_path, fault):
    run = measure(Faulty(fault), tmp_path, "offline", workers=3, stall_timeout_s=0.4)
    assert run.status == "aborted"
    assert not check(run.path).fine
    assert run.samples["offline"].answered.sum() >= GOOD_CALLS


def test_a_fatal_fault_in_one_scenario_keeps_the_scenario_before_it(tmp_path):
    class SecondTime(Faulty):
        """Well behaved until it is loaded for its second test."""

        def load(self, task, samples):
            self.calls, self.good_calls = 0, GOOD_CALLS if hasattr(self, "loaded") else 1 << 60
            self.loaded = True

    run = measure(SecondTime(raises), tmp_path, ("offline", "single-stream"))
    assert run.status == "aborted"
    assert run.verdict.of("offline").valid
    assert run.result["offline"]["sample_count"] == len(run.samples["offline"])
    assert run.samples["single-stream"].answered.sum() == GOOD_CALLS
    assert not check(run.path).fine


def test_a_system_that_cannot_load_leaves_an_aborted_run(tmp_path):
    class Unloadable(Faulty):
        def load(self, task, samples):
            raise OSError("no such device")

    with pytest.raises(
        SystemFault, match="system 'faulty' could not load: OSError: no such device"
    ):
        measure(Unloadable(raises), tmp_path, "offline")
    (path,) = find_runs(tmp_path)
    run = Run.open(path)
    assert run.status == "aborted"
    assert "could not load" in run.record["aborted_because"]
    assert not check(path).fine


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        pytest.param(lambda images: images[:, 0, 0, :5], "10 class scores a sample", id="too few"),
        pytest.param(
            lambda images: [[0.5] * (3 + place % 2) for place in range(len(images))],
            "cannot score the outputs",
            id="ragged",
        ),
        pytest.param(lambda images: ["seven"] * len(images), "digits", id="words"),
    ],
)
def test_answers_of_the_wrong_shape_are_told_in_one_line(tmp_path, outputs, words):
    with pytest.raises(DataError, match=words) as caught:
        measure(outputs, tmp_path, "accuracy")
    assert "\n" not in str(caught.value)
    (path,) = find_runs(tmp_path)
    assert Run.open(path).status == "aborted"
    assert len(Run.open(path).samples["accuracy"]) == 797
    with pytest.raises(DataError, match=words):
        check(path)
