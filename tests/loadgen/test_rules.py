"""Rules: each passes and fails on a crafted outcome, and says in plain words what was found and what to do.

The number of further queries that early stopping asks for is taken at its word: with that many more good
ones the test passes, with one fewer it does not.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.core.spec import QualityTarget
from gnomon.core.stats import early_stopping_bound, early_stopping_estimate
from gnomon.core.verdict import Check
from gnomon.loadgen.judge import verdict_on
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.rules import (
    PROFILES,
    accuracy_checks,
    coverage_checks,
    early_stopping_words,
    least_query_count,
    performance_checks,
    profile_for,
    require_allowed,
)
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import (
    LATEST_ROUND,
    NS_PER_MS,
    NS_PER_S,
    ROUND_SEEDS,
    LoadBenchmark,
    Scenario,
    Seeds,
    Settings,
)

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""

SINGLE, MULTI, SERVER, OFFLINE = Scenario
QUICK, OFFICIAL = PROFILES["quick"], PROFILES["official"]
BOUND_NS = 10 * NS_PER_MS
STEP_NS = 10 * NS_PER_MS


def settings_of(scenario, **changes):
    chosen = {
        "scenario": scenario,
        "total_sample_count": 100,
        "performance_sample_count": 100,
        "target_qps": 100.0 if scenario is SERVER else None,
        "target_latency_ns": BOUND_NS,
        "target_latency_percentile": 0.90 if scenario is SINGLE else 0.99,
        "samples_per_query": 2 if scenario is MULTI else 1,
        "min_duration_ns": 2 * NS_PER_S,
        "min_query_count": 50,
    }
    return Settings(**(chosen | changes))


def outcome_of(settings, queries=1000, over=0, unanswered=0, step_ns=STEP_NS):
    """The outcome of a test: 1 ms a query, `over` queries 11 ms, the last `unanswered` samples lost."""
    width = settings.samples_per_query
    starts = np.repeat(np.arange(queries, dtype=np.int64) * step_ns + 1, width)
    latency_ns = np.full(queries, NS_PER_MS)
    latency_ns[:over] = BOUND_NS + NS_PER_MS
    done = starts + np.repeat(latency_ns, width)
    if settings.scenario is OFFLINE:
        done, starts = starts + NS_PER_MS, np.zeros_like(starts)
    done[len(done) - unanswered :] = 0
    query = np.repeat(np.arange(queries), width) * (settings.scenario is not OFFLINE)
    indices = np.zeros(len(starts), dtype=np.int32)
    return compute_outcome(Samples(query, indices, starts, starts, done), settings)


def checks_of(settings, profile=QUICK, faults=(), **crafted):
    made = performance_checks(outcome_of(settings, **crafted), settings, profile, faults, "a test")
    assert all(check.measurement == "a test" for check in made)
    assert all(bool(check.why) != check.passed for check in made)
    return {check.name: check for check in made}


# --- performance ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "names"),
    [
        (SINGLE, ["faults", "answered", "min_duration", "min_queries", "early_stopping"]),
        (MULTI, ["faults", "answered", "min_duration", "min_queries", "early_stopping"]),
        (
            SERVER,
            [
                "faults",
                "answered",
                "min_duration",
                "min_queries",
                "latency_bound",
                "early_stopping",
            ],
        ),
        (OFFLINE, ["faults", "answered", "min_duration", "min_queries"]),
    ],
)
def test_a_good_test_passes_every_rule_of_its_scenario(scenario, names):
    checks = checks_of(settings_of(scenario))
    assert list(checks) == names
    assert all(check.passed for check in checks.values())


@pytest.mark.parametrize("scenario", Scenario)
def test_one_lost_answer_fails_the_test_and_is_counted(scenario):
    settings = settings_of(scenario)
    answered = checks_of(settings, unanswered=1)["answered"]
    assert not answered.passed
    assert answered.found == f"1 of {1000 * settings.samples_per_query} unanswered"
    assert answered.required == "every sample answered"
    assert answered.why == "the system must complete every sample it was given"
    assert checks_of(settings)["answered"].passed


@pytest.mark.parametrize("scenario", Scenario)
def test_a_test_that_is_over_too_soon_is_told_how_long_it_was(scenario):
    # The clock is read at the last issue, the last arrival or the last answer; the longest is 2 s here.
    settings = settings_of(scenario)
    enough = checks_of(settings, queries=201)["min_duration"]
    assert (enough.passed, enough.required) == (True, "at least 2 s")
    short = checks_of(settings, queries=200 - (scenario is OFFLINE))["min_duration"]
    assert not short.passed
    assert short.found.startswith("1.9")
    assert "let the test run to its end" in short.why


def test_a_shorter_duration_in_the_settings_does_not_lower_that_of_the_rules():
    lowered = settings_of(OFFLINE, min_duration_ns=1)
    check = checks_of(lowered, queries=100)["min_duration"]
    assert not check.passed
    assert check.required == "at least 2 s"
    longer = settings_of(OFFLINE, min_duration_ns=30 * NS_PER_S)
    assert checks_of(longer)["min_duration"].required == "at least 30 s"
    assert checks_of(longer, OFFICIAL)["min_duration"].required == "at least 600 s"


@pytest.mark.parametrize("scenario", Scenario)
def test_too_few_queries_fail_and_offline_counts_samples(scenario):
    settings = settings_of(scenario, min_query_count=1001)
    check = checks_of(settings)["min_queries"]
    assert not check.passed
    assert check.found == f"1000 {'samples' if scenario is OFFLINE else 'queries'}"
    assert check.required == "at least 1001"
    assert "raise --duration" in check.why
    assert checks_of(settings, queries=1001)["min_queries"].passed


def test_the_latency_bound_is_held_against_the_percentile_not_the_slowest():
    settings = settings_of(SERVER)
    met = checks_of(settings, over=9)["latency_bound"]
    assert (met.passed, met.found, met.required) == (True, "p99 1.00 ms", "at most 10.0 ms")
    missed = checks_of(settings, over=10)["latency_bound"]  # int(1000 * 0.99) = 990 of 0 ... 999
    assert not missed.passed
    assert missed.found == "p99 11.0 ms"
    assert "lower --target-qps, or let --find-peak" in missed.why


def test_a_latency_that_is_just_the_bound_is_within_it():
    settings = settings_of(SERVER, target_latency_ns=NS_PER_MS)
    checks = checks_of(settings)
    assert checks["latency_bound"].passed
    assert checks["early_stopping"].passed
    settings = settings_of(SERVER, target_latency_ns=NS_PER_MS - 1)
    assert not checks_of(settings)["latency_bound"].passed


def test_the_percentile_may_hold_while_too_few_queries_prove_it():
    checks = checks_of(settings_of(SERVER), queries=400)
    assert checks["latency_bound"].passed
    early = checks["early_stopping"]
    assert not early.passed
    assert early.found == "0 of 400 queries over 10.0 ms"
    assert early.required == "0 over the bound need at least 459 queries for p99"
    assert early.why.startswith("59 more queries, all within the bound, would decide it")


def test_early_stopping_in_a_stream_says_what_can_be_claimed():
    early = checks_of(settings_of(SINGLE), over=3)["early_stopping"]
    assert early.passed
    found = re.fullmatch(
        r"1000 queries; (\d+) highest set aside, p90 is at most 1.00 ms with 99 % confidence",
        early.found,
    )
    assert int(found[1]) == early_stopping_estimate(np.arange(1000), 0.90).over > 3
    assert early.required == "at least 64 queries to claim p90"


def test_early_stopping_in_a_stream_says_how_many_queries_are_missing():
    early = checks_of(settings_of(SINGLE), queries=60)["early_stopping"]
    assert not early.passed
    assert early.found == "60 queries"
    assert early.why == "4 more queries would do: raise --duration"


def more_queries(why):
    return int(re.match(r"(\d+) more queries", why)[1])


@patiently
@given(
    queries=st.integers(1, 5000),
    over_share=st.floats(0, 0.2),
    share=st.sampled_from([0.5, 0.9, 0.99]),
)
def test_so_many_more_good_queries_decide_a_server_test_and_one_fewer_does_not(
    queries, over_share, share
):
    settings = settings_of(SERVER, target_latency_percentile=share)
    over = int(queries * over_share)
    outcome = outcome_of(settings, queries=queries, over=over)
    found, required, why = early_stopping_words(outcome, settings)
    assert found == f"{over} of {queries} queries over 10.0 ms"
    more = more_queries(why) if not outcome.early_stopping.met else 0
    assert early_stopping_bound(over, queries + more, share).met
    if more:
        assert not early_stopping_bound(over, queries + more - 1, share).met
        assert required.startswith(f"{over} over the bound need at least {queries + more} queries")


@patiently
@given(queries=st.integers(1, 700), scenario=st.sampled_from([SINGLE, MULTI]))
def test_so_many_more_queries_let_a_stream_claim_its_percentile_and_one_fewer_does_not(
    queries, scenario
):
    settings = settings_of(scenario)
    share = settings.target_latency_percentile
    outcome = outcome_of(settings, queries=queries)
    if outcome.early_stopping.met:
        return
    more = more_queries(early_stopping_words(outcome, settings)[2])
    assert early_stopping_estimate(np.arange(queries + more), share).met
    assert not early_stopping_estimate(np.arange(queries + more - 1), share).met


def test_a_test_without_any_answer_is_told_to_look_at_its_faults():
    settings = settings_of(SERVER)
    fault = Fault("stalled", "the system answered nothing for 60 s")
    checks = performance_checks(None, settings, QUICK, [fault], "server")
    assert [(check.name, check.passed) for check in checks] == [
        ("stalled", False),
        ("answered", False),
    ]
    assert checks[1].found == "no query answered in full"
    assert "mend the system" in checks[1].why


# --- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [False, True])
def test_every_fault_is_a_failed_check_in_its_own_words(stored):
    faults = [
        Fault(
            "completed_twice", "the system completed sample id 3 twice: complete each sample once"
        ),
        Fault("not_finite", "the system answered NaN or infinity: check the model and its inputs"),
    ]
    given_faults = [vars(fault) for fault in faults] if stored else faults
    checks = performance_checks(
        outcome_of(settings_of(SINGLE)), settings_of(SINGLE), QUICK, given_faults, "a test"
    )
    assert [(check.name, check.found, check.why) for check in checks[:2]] == [
        ("completed_twice", "completed twice", faults[0].message),
        ("not_finite", "not finite", faults[1].message),
    ]
    assert not any(check.passed for check in checks[:2])
    assert all(check.passed for check in checks[2:])


def test_no_fault_is_a_check_that_passed():
    (faults,) = accuracy_checks(
        0.99, QualityTarget(metric="accuracy", reference=1), 5, 5, [], "accuracy"
    )[:1]
    assert (faults.name, faults.passed, faults.found) == ("faults", True, "none")


# --- accuracy ---------------------------------------------------------------------------------------

TARGET = QualityTarget(metric="top-1 accuracy", reference=0.80, factor=0.99)


def accuracy_of(quality, answered=100, target=TARGET, faults=()):
    checks = accuracy_checks(quality, target, answered, 100, faults, "accuracy")
    return {check.name: check for check in checks}


def test_a_quality_at_the_target_passes_and_one_below_fails():
    met = accuracy_of(0.80 * 0.99)["quality"]
    assert met.passed
    assert met.found == "top-1 accuracy 0.7920"
    assert met.required == "at least 0.7920 (99 % of the reference, 0.8000)"
    missed = accuracy_of(np.nextafter(0.80 * 0.99, 0))["quality"]
    assert not missed.passed
    assert "check preprocessing and precision" in missed.why


def test_where_lower_is_better_the_target_is_the_most_it_may_be():
    target = QualityTarget(metric="perplexity", reference=10, factor=1.01, higher_is_better=False)
    assert accuracy_of(10.1, target=target)["quality"].passed
    missed = accuracy_of(10.2, target=target)["quality"]
    assert not missed.passed
    assert missed.required == "at most 10.1000 (101 % of the reference, 10.0000)"


@pytest.mark.parametrize("quality", [None, float("nan")])
def test_what_could_not_be_scored_never_passes(quality):
    assert not accuracy_of(quality)["quality"].passed
    assert accuracy_of(None)["quality"].found == "not scored"


def test_accuracy_needs_an_answer_to_every_sample_of_the_data_set():
    answered = accuracy_of(1.0, answered=99)["answered"]
    assert not answered.passed
    assert answered.found == "99 of 100 samples"
    assert accuracy_of(1.0)["answered"].passed


# --- the run as a whole -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "passed"),
    [
        (["server", "accuracy"], True),
        (["offline", "single-stream", "accuracy"], True),
        (["server"], False),
        (["accuracy"], False),
        ([], False),
    ],
)
def test_official_rules_need_a_performance_and_an_accuracy_test(measured, passed):
    (coverage,) = coverage_checks(measured, OFFICIAL)
    assert coverage.passed == passed
    assert coverage.measurement == ""
    assert coverage.found == (", ".join(sorted(measured)) or "nothing")
    assert bool(coverage.why) != passed
    assert coverage_checks(measured, QUICK) == []


def test_a_run_without_its_speed_or_its_quality_is_told_which_option_to_leave_out():
    assert "--no-accuracy" in coverage_checks(["server"], OFFICIAL)[0].why
    assert "--no-performance" in coverage_checks(["accuracy"], OFFICIAL)[0].why


GOOD = [Check("answered", True, "all", "all")]


def test_only_official_rules_on_official_data_with_accuracy_are_comparable():
    verdict = verdict_on(GOOD, OFFICIAL, ["offline", "accuracy"], official_data=True)
    assert verdict.comparable
    assert verdict.remark == ""
    assert str(verdict) == "VALID under official rules, comparable with published results"


@pytest.mark.parametrize(
    ("profile", "official_data", "lacking"),
    [
        (QUICK, True, "quick rules"),
        (OFFICIAL, False, "not the official data"),
        (QUICK, False, "quick rules and not the official data"),
    ],
)
def test_anything_else_is_never_worded_as_comparable(profile, official_data, lacking):
    verdict = verdict_on(GOOD, profile, ["offline", "accuracy"], official_data=official_data)
    assert not verdict.comparable
    assert verdict.remark == f"not comparable with published results: {lacking}"
    assert "comparable" not in str(verdict)


def test_a_model_that_a_person_brings_is_not_the_published_one():
    verdict = verdict_on(
        GOOD, OFFICIAL, ["offline", "accuracy"], official_data=True, own_model=True
    )
    assert not verdict.comparable
    assert verdict.remark == "not comparable with published results: a model of your own"


def test_an_invalid_run_is_not_worded_as_comparable():
    failed = [replace(GOOD[0], passed=False)]
    verdict = verdict_on(failed, OFFICIAL, ["offline", "accuracy"], official_data=True)
    assert str(verdict) == "INVALID under official rules"


# --- profiles ---------------------------------------------------------------------------------------


def test_the_profiles_differ_in_duration_seeds_and_the_offline_minimum():
    assert (QUICK.min_duration_ns, QUICK.default_duration_ns) == (2 * NS_PER_S, 10 * NS_PER_S)
    assert OFFICIAL.min_duration_ns == OFFICIAL.default_duration_ns == 600 * NS_PER_S
    assert not QUICK.official
    assert OFFICIAL.official
    assert OFFICIAL.seeds == ROUND_SEEDS[LATEST_ROUND]
    assert (QUICK.offline_min_samples, OFFICIAL.offline_min_samples) == (False, True)


def test_the_least_counts_are_what_the_claims_need_in_both_profiles():
    benchmark = LoadBenchmark(performance_sample_count=0)
    for profile in (QUICK, OFFICIAL):
        assert least_query_count(SINGLE, benchmark, profile) == 64
        assert least_query_count(MULTI, benchmark, profile) == 662
        assert least_query_count(SERVER, benchmark, profile) == 459
    assert least_query_count(OFFLINE, benchmark, QUICK) == 1
    assert least_query_count(OFFLINE, benchmark, OFFICIAL) == 24576


@pytest.mark.parametrize("scenario", [SINGLE, MULTI, SERVER])
def test_a_test_of_the_least_count_can_pass_early_stopping_and_one_query_fewer_cannot(scenario):
    declared = LoadBenchmark(performance_sample_count=0)
    least = least_query_count(scenario, declared, QUICK)
    settings = settings_of(scenario)
    assert outcome_of(settings, queries=least).early_stopping.met
    assert not outcome_of(settings, queries=least - 1).early_stopping.met


def test_an_unknown_profile_is_met_with_the_nearest_one():
    usual = LoadBenchmark(performance_sample_count=0)
    assert profile_for(usual, "official") is OFFICIAL
    with pytest.raises(UnknownNameError, match="unknown rules 'offical': did you mean 'official'"):
        profile_for(usual, "offical")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_duration_ns": 600 * NS_PER_S - 1}, "official rules need at least 600 s a test"),
        (
            {"seeds": Seeds(qsl=1, sample_index=2, schedule=3)},
            "prescribe the seeds of round v6.1: leave out --seeds",
        ),
        ({"performance_issue_unique": True}, "performance_issue_unique and _same in audits only"),
        ({"performance_issue_same": True}, "performance_issue_unique and _same in audits only"),
    ],
)
def test_settings_that_cannot_be_valid_under_official_rules_are_refused(changes, words):
    good = {"min_duration_ns": 600 * NS_PER_S}
    require_allowed(settings_of(OFFLINE, **good), OFFICIAL)
    with pytest.raises(SettingsError) as caught:
        require_allowed(settings_of(OFFLINE, **(good | changes)), OFFICIAL)
    assert words in str(caught.value)


def test_quick_rules_allow_any_seeds_and_audits_switches():
    require_allowed(settings_of(OFFLINE, seeds=Seeds(qsl=1, sample_index=2, schedule=3)), QUICK)
    require_allowed(settings_of(OFFLINE, performance_issue_same=True), QUICK)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": Seeds(qsl=1, sample_index=2, schedule=3)},
        {"performance_issue_same": True},
        {"performance_issue_unique": True},
    ],
)
def test_a_recorded_test_with_settings_that_official_rules_refuse_does_not_pass_them(changes):
    """A run made under quick rules and renamed official is judged by what it was run with."""
    settings = settings_of(OFFLINE, min_duration_ns=600 * NS_PER_S, **changes)
    checks = checks_of(settings, OFFICIAL, queries=70_000)
    assert not all(check.passed for check in checks.values())
