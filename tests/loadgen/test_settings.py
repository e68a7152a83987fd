"""Settings of one test: what is out of range or contradicts itself is refused by name, with the mend.

A `Settings` is a value: frozen, complete, and the same after a trip through `run.json`.
"""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gnomon.core.errors import SettingsError, UsageError
from gnomon.loadgen.settings import (
    LATEST_ROUND,
    NS_PER_MS,
    NS_PER_S,
    ROUND_SEEDS,
    LoadBenchmark,
    Mode,
    Scenario,
    Seeds,
    Settings,
)

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""


def settings_of(scenario=Scenario.SINGLE_STREAM, **changes):
    """Settings of a data set of 100 samples that are in order, but for the changes."""
    chosen = {
        "scenario": scenario,
        "total_sample_count": 100,
        "performance_sample_count": 50,
        "target_qps": 10.0 if scenario is Scenario.SERVER else None,
    }
    return Settings(**(chosen | changes))


def refusal(scenario=Scenario.SINGLE_STREAM, **changes):
    """The one line with which these changes are refused."""
    with pytest.raises(SettingsError) as caught:
        settings_of(scenario, **changes)
    assert isinstance(caught.value, UsageError)
    words = str(caught.value)
    assert "\n" not in words
    return words


@pytest.mark.parametrize("scenario", Scenario)
def test_the_defaults_are_in_order_in_every_scenario(scenario):
    settings = settings_of(scenario)
    assert settings.mode is Mode.PERFORMANCE
    assert settings.seeds == ROUND_SEEDS[LATEST_ROUND]
    assert settings.samples_per_query == 1


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("total_sample_count", 1),
        ("performance_sample_count", 1),
        ("samples_per_query", 1),
        ("min_duration_ns", 0),
        ("max_duration_ns", 0),
        ("min_query_count", 1),
        ("max_query_count", 0),
        ("target_latency_ns", 0),
        ("max_async_queries", 0),
        ("performance_issue_same_index", 0),
    ],
)
def test_a_number_below_the_least_it_may_be_is_refused_by_name(name, least):
    for value in (least - 1, -(10**20)):
        assert refusal(**{name: value}) == f"{name} must be at least {least}, got {value}"


@pytest.mark.parametrize(
    "name",
    ["min_duration_ns", "max_duration_ns", "max_query_count", "target_latency_ns"],
)
def test_nothing_may_be_the_least_where_it_means_no_bound(name):
    assert getattr(settings_of(min_query_count=1, **{name: 0}), name) == 0


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, 99.0, float("nan"), float("inf")])
def test_a_percentile_outside_0_to_1_is_refused(share):
    words = refusal(target_latency_percentile=share)
    assert words == f"target_latency_percentile must lie between 0 and 1, got {share}"


@pytest.mark.parametrize("scenario", [Scenario.SERVER, Scenario.OFFLINE])
@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("-inf")])
def test_a_rate_that_is_no_positive_number_is_refused(scenario, rate):
    assert refusal(scenario, target_qps=rate) == f"target_qps must be positive, got {rate:g}"


def test_server_without_a_rate_is_told_both_ways_to_get_one():
    words = refusal(Scenario.SERVER, target_qps=None)
    assert "the server scenario needs a target_qps" in words
    assert "--find-peak to find one" in words


def test_a_loaded_set_larger_than_the_data_set_is_refused_with_both_numbers():
    words = refusal(performance_sample_count=101)
    assert words == (
        "performance_sample_count (101) is more than the data set holds (100): lower it"
    )
    assert settings_of(performance_sample_count=100).performance_sample_count == 100


def test_a_maximum_duration_below_the_minimum_is_refused_in_seconds():
    words = refusal(min_duration_ns=3 * NS_PER_S, max_duration_ns=2500 * NS_PER_MS)
    assert words == "max_duration (2.5 s) is below min_duration (3 s)"
    assert settings_of(min_duration_ns=NS_PER_S, max_duration_ns=NS_PER_S)


def test_a_maximum_count_below_the_minimum_is_refused_with_both_numbers():
    words = refusal(min_query_count=20, max_query_count=19)
    assert words == "max_query_count (19) is below min_query_count (20)"
    assert settings_of(min_query_count=20, max_query_count=20)


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE])
def test_several_samples_a_query_only_mean_something_in_multi_stream(scenario):
    words = refusal(scenario, samples_per_query=2)
    assert words == f"samples_per_query 2 only means something in multi-stream, not in {scenario}"


@pytest.mark.parametrize("rate", [1e-7, 1.1e9, float("inf")])
def test_a_rate_whose_times_do_not_fit_64_bit_nanoseconds_is_refused(rate):
    words = refusal(Scenario.SERVER, target_qps=rate)
    assert words == f"target_qps must lie between 1e-06 and 1e+09, got {rate:g}"


def test_one_sample_over_and_over_is_refused_in_accuracy_mode():
    words = refusal(mode=Mode.ACCURACY, performance_issue_same=True)
    assert words.startswith("performance_issue_same means nothing in accuracy mode")


def test_more_samples_than_32_bits_can_index_are_refused():
    assert "at most 2147483647, got 2147483648" in refusal(total_sample_count=2**31)


def test_unique_and_same_samples_at_once_are_refused_as_a_contradiction():
    words = refusal(performance_issue_unique=True, performance_issue_same=True)
    assert "performance_issue_unique and performance_issue_same contradict each other" in words
    assert words.endswith("choose one")


def test_the_one_sample_to_issue_must_be_in_the_loaded_set():
    words = refusal(performance_issue_same=True, performance_issue_same_index=50)
    assert words == (
        "performance_issue_same_index (50) must be below performance_sample_count (50)"
    )
    assert settings_of(performance_issue_same=True, performance_issue_same_index=49)


def test_settings_cannot_be_changed_after_they_were_made():
    settings = settings_of()
    with pytest.raises(ValidationError, match="frozen"):
        settings.min_query_count = 3
    with pytest.raises(ValidationError, match="frozen"):
        settings.seeds.qsl = 3


def test_a_setting_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValidationError, match="min_queries"):
        settings_of(min_queries=3)
    with pytest.raises(ValidationError, match="server_latency"):
        LoadBenchmark(performance_sample_count=0, server_latency=3)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5])
def test_a_seed_is_a_whole_number_of_64_bits(seed):
    with pytest.raises(ValidationError, match="qsl"):
        Seeds(qsl=seed, sample_index=0, schedule=0)
    assert Seeds(qsl=0, sample_index=2**64 - 1, schedule=1).sample_index == 2**64 - 1


def test_the_seeds_of_the_round_are_those_of_its_mlperf_conf():
    assert ROUND_SEEDS["v6.1"].model_dump() == {
        "qsl": 2085463073848966840,
        "sample_index": 2747215439041700203,
        "schedule": 16159082839903944936,
    }


seeds_64_bit = st.integers(min_value=0, max_value=2**64 - 1)


@patiently
@given(
    scenario=st.sampled_from(Scenario),
    mode=st.sampled_from(Mode),
    seeds=st.builds(Seeds, qsl=seeds_64_bit, sample_index=seeds_64_bit, schedule=seeds_64_bit),
    rate=st.floats(min_value=1e-6, max_value=1e9),
    share=st.floats(min_value=1e-6, max_value=1 - 1e-6),
    duration_ns=st.integers(min_value=0, max_value=10**15),
    count=st.integers(min_value=1, max_value=10**9),
    flag=st.booleans(),
)
def test_settings_are_the_same_after_a_trip_through_json(
    scenario, mode, seeds, rate, share, duration_ns, count, flag
):
    settings = settings_of(
        scenario,
        mode=mode,
        seeds=seeds,
        target_qps=rate,
        target_latency_percentile=share,
        min_duration_ns=duration_ns,
        max_duration_ns=duration_ns,
        min_query_count=count,
        max_query_count=count,
        samples_per_query=3 if scenario is Scenario.MULTI_STREAM else 1,
        sample_concatenate_permutation=flag,
        performance_issue_same=not flag and mode is Mode.PERFORMANCE,
        performance_issue_same_index=49,
        server_coalesce_queries=flag,
        max_async_queries=count,
    )
    assert Settings.model_validate(json.loads(json.dumps(settings.model_dump(mode="json")))) == (
        settings
    )
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_in_json_are_plain_words_and_numbers():
    stored = settings_of(Scenario.MULTI_STREAM, samples_per_query=8).model_dump(mode="json")
    assert stored["scenario"] == "multi-stream"
    assert stored["mode"] == "performance"
    assert stored["seeds"]["schedule"] == 16159082839903944936
    assert stored["target_qps"] is None


def test_a_contradiction_in_stored_settings_is_refused_like_one_that_was_asked_for():
    stored = settings_of().model_dump(mode="json") | {"performance_sample_count": 101}
    with pytest.raises(SettingsError, match="more than the data set holds"):
        Settings.model_validate(stored)


def test_scenarios_and_modes_have_the_names_of_the_fields_logs():
    assert [scenario.field_name for scenario in Scenario] == [
        "SingleStream",
        "MultiStream",
        "Server",
        "Offline",
    ]
    assert [mode.field_name for mode in Mode] == ["PerformanceOnly", "AccuracyOnly"]


def test_only_the_stream_scenarios_wait_for_the_answer_before():
    assert [scenario for scenario in Scenario if scenario.closed_loop] == [
        Scenario.SINGLE_STREAM,
        Scenario.MULTI_STREAM,
    ]


def test_a_benchmark_declares_the_fields_common_settings_unless_it_says_otherwise():
    declared = LoadBenchmark(performance_sample_count=0)
    assert declared.scenarios == tuple(Scenario)
    assert declared.server_percentile == declared.multi_stream_percentile == 0.99
    assert declared.single_stream_percentile == 0.90
    assert declared.multi_stream_samples_per_query == 8
    assert declared.multi_stream_min_query_count == 662
    assert declared.offline_min_sample_count == 24576
    assert LoadBenchmark.model_validate(declared.model_dump(mode="json")) == declared
