"""Runs measured elsewhere: the schedule goes out, times and answers come back, the judge is the same."""

from datetime import UTC, datetime

import numpy as np
import onnxruntime
import pytest

from gnomon.core.errors import SettingsError, UsageError
from gnomon.core.run import Run
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.remote import Elsewhere, RemoteRun, Returned, scheduled_samples
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import NS_PER_MS
from gnomon.results.check import check
from gnomon.tasks.digits import DATA, Digits
from tests.loadgen.small_mobile import SMALL

BROWSER = Elsewhere("onnxruntime-web", {"provider": "wasm", "threads": 2})
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def begin(out, **options):
    return RemoteRun.begin(SMALL, LoadOptions(**options), BROWSER, out)


def times(rows, latency_ns=NS_PER_MS, gap_ns=2_025_000):
    """By default the 100th query is the first that is issued after 0.2 s, which ends a quick test here."""
    issued_ns = np.arange(rows, dtype=np.int64) * gap_ns
    return issued_ns, issued_ns + latency_ns


def stream(rows=100, **more):
    more.setdefault("conditions", Conditions(clock_resolution_ns=5e3))
    return Returned(*times(rows), NOW, **more)


def offline(rows=500):
    return Returned(*times(rows), NOW, conditions=Conditions(cooldown_s=1.0))


def answers(run):
    settings = run.tests["accuracy"].settings
    samples = scheduled_samples(settings, len(Digits()))
    session = onnxruntime.InferenceSession(DATA / "digits.onnx")
    inputs = Digits().inputs(samples.astype(np.int64))
    scores = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    return Returned(*times(len(samples)), NOW, answers=scores)


def test_a_whole_run_is_judged_as_one_of_this_process_and_checks_out(tmp_path):
    run = begin(tmp_path)
    result, checks = run.record("single-stream", stream())
    assert result["query_count"] == 100
    assert result["latency"]["p90_ns"] == NS_PER_MS
    assert all(check.passed for check in checks)
    run.record("offline", offline())
    run.record("accuracy", answers(run))
    verdict = run.end()
    assert verdict.valid, verdict.failures
    assert not verdict.comparable
    report = check(run.path)
    assert report.fine, report.disagreements
    kept = Run.open(run.path)
    assert kept.status == "complete"
    assert kept.record["system"]["description"]["provider"] == "wasm"


def test_the_schedule_is_that_of_a_native_test(tmp_path):
    run = begin(tmp_path)
    run.record("single-stream", stream(rows=90))  # too short, and on record all the same
    run.suspend()
    expected = scheduled_samples(run.tests["single-stream"].settings, 90)
    found = Run.open(run.path).samples["single-stream"].sample_index
    np.testing.assert_array_equal(found, expected)
    longer = scheduled_samples(run.tests["single-stream"].settings, 5000)
    np.testing.assert_array_equal(longer[:90], expected)


def test_a_run_goes_on_after_its_server_was_stopped(tmp_path):
    run = begin(tmp_path)
    run.record("single-stream", stream())
    run.suspend()
    assert Run.open(run.path).status == "aborted"
    again = RemoteRun.reopen(run.path)
    assert again.recorded == {"single-stream"}
    again.record("offline", offline())
    again.record("accuracy", answers(again))
    assert again.end().valid
    assert check(run.path).fine
    with pytest.raises(UsageError, match="complete"):
        RemoteRun.reopen(run.path)


def test_too_few_queries_are_said_and_nothing_is_lost(tmp_path):
    run = begin(tmp_path)
    _, checks = run.record("single-stream", stream(rows=66))
    assert [check.name for check in checks if not check.passed] == ["min_duration", "min_queries"]
    verdict = run.end("the page was closed")
    assert not verdict.valid
    assert Run.open(run.path).record["aborted_because"] == "the page was closed"


def test_a_run_that_lacks_a_test_is_aborted_and_says_which(tmp_path):
    run = begin(tmp_path)
    run.record("single-stream", stream())
    assert "ended before offline, accuracy" in str(run.end().failures)


def test_a_fault_told_by_the_other_side_makes_the_test_invalid(tmp_path):
    run = begin(tmp_path)
    fault = Fault("raised", "the page ran out of memory: close other tabs")
    _, checks = run.record("single-stream", stream(faults=(fault,)))
    assert [(check.name, check.why) for check in checks if not check.passed] == [
        ("raised", fault.message)
    ]
    run.suspend()


def test_answers_that_are_not_numbers_are_a_fault(tmp_path):
    run = begin(tmp_path, performance=False)
    returned = answers(run)
    wrong = np.array(returned.answers)
    wrong[3] = np.nan
    _, checks = run.record(
        "accuracy", Returned(returned.issued_ns, returned.completed_ns, NOW, answers=wrong)
    )
    assert "not_finite" in [check.name for check in checks if not check.passed]
    run.suspend()


@pytest.mark.parametrize(
    ("name", "returned", "words"),
    [
        ("server", stream(), "no test 'server'"),
        ("single-stream", Returned(np.zeros(0, int), np.zeros(0, int), NOW), "one time of issue"),
        ("single-stream", Returned(np.arange(5), np.arange(4), NOW), "one time of issue"),
        (
            "single-stream",
            Returned(np.array([5, 3]), np.array([6, 7]), NOW),
            "cannot have happened",
        ),
        (
            "single-stream",
            Returned(np.array([5, 8]), np.array([4, 9]), NOW),
            "cannot have happened",
        ),
        (
            "single-stream",
            Returned(np.array([-5, 8]), np.array([4, 9]), NOW),
            "cannot have happened",
        ),
        (
            "accuracy",
            Returned(*times(10), NOW, answers=np.zeros((10, 10))),
            "has 797 samples, 10 came",
        ),
        ("accuracy", Returned(*times(797), NOW), "needs answers"),
        ("accuracy", Returned(*times(797), NOW, answers=np.zeros((9, 10))), "9 answers came back"),
        ("single-stream", stream(answers=np.zeros(100)), "takes no answers"),
        ("single-stream", stream(rows=101), "went on after its end: it was over after 100 samples"),
        ("offline", stream(rows=501), "went on after its end: it was over after 500 samples"),
        ("single-stream", stream(conditions=None), "without its conditions"),
        (
            "single-stream",
            Returned(*times(100, latency_ns=0), NOW, conditions=Conditions()),
            "took no time",
        ),
        (
            "single-stream",
            Returned(*times(100, latency_ns=5 * NS_PER_MS), NOW, conditions=Conditions()),
            "issued when the one before is answered",
        ),
    ],
)
def test_what_cannot_be_of_the_test_is_refused_and_leaves_it_open(tmp_path, name, returned, words):
    run = begin(tmp_path)
    with pytest.raises((SettingsError, UsageError), match=words):
        run.record(name, returned)
    assert run.recorded == set()
    run.record("single-stream", stream())
    run.suspend()


def test_a_test_on_record_is_not_replaced(tmp_path):
    run = begin(tmp_path)
    run.record("single-stream", stream())
    with pytest.raises(SettingsError, match="on record already"):
        run.record("single-stream", stream(rows=200))
    run.suspend()


def test_what_the_other_sides_loop_rounds_by_is_no_breach(tmp_path):
    run = begin(tmp_path, scenario="single-stream", accuracy=False)
    issued_ns, completed_ns = times(101)
    early_ns = issued_ns.copy()
    early_ns[99] = 200_000_000  # 0.2 s after rounding, and a little less before: the loop went on
    _, checks = run.record(
        "single-stream", Returned(early_ns, completed_ns, NOW, conditions=Conditions())
    )
    assert all(check.passed for check in checks)
    run.suspend()


def test_a_test_that_passed_its_longest_time_has_ended(tmp_path):
    run = begin(tmp_path, scenario="single-stream", accuracy=False)
    slow = times(
        40, latency_ns=NS_PER_MS, gap_ns=800 * NS_PER_MS
    )  # over after 30 s, with few queries
    with pytest.raises(SettingsError, match="over after 39 samples and 30"):
        run.record("single-stream", Returned(*slow, NOW, conditions=Conditions()))
    _, checks = run.record(
        "single-stream", Returned(slow[0][:39], slow[1][:39], NOW, conditions=Conditions())
    )
    assert "min_queries" in [check.name for check in checks if not check.passed]
    run.suspend()
