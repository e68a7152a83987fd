"""What a person asks for, in layers: the declaration under the rules, then files, then options.

The benchmark here declares values that are nobody's defaults, so that it shows where each comes from.
"""

import pytest

from gnomon.core.errors import SettingsError, UnknownNameError, UsageError
from gnomon.core.execute import parse_options
from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.core.task import DataSource, Task
from gnomon.loadgen.campaign import prepare
from gnomon.loadgen.options import (
    LoadOptions,
    accuracy_settings,
    performance_settings,
    scenario_named,
    scenarios_of,
    unused_lines,
)
from gnomon.loadgen.settings import (
    LATEST_ROUND,
    NS_PER_MS,
    NS_PER_S,
    ROUND_SEEDS,
    LoadBenchmark,
    Mode,
    Scenario,
    Seeds,
)

SINGLE, MULTI, SERVER, OFFLINE = Scenario
DECLARED = LoadBenchmark(
    performance_sample_count=60,
    server_target_latency_ns=15 * NS_PER_MS,
    server_percentile=0.95,
    single_stream_percentile=0.80,
    multi_stream_percentile=0.90,
    multi_stream_samples_per_query=4,
    multi_stream_min_query_count=270,
    offline_min_sample_count=5000,
    default_scenarios=(Scenario.OFFLINE,),
)
BENCHMARK = Benchmark(
    name="hundred",
    title="A hundred samples",
    suite="tests",
    task="hundred",
    protocol="load",
    quality=QualityTarget(metric="share right", reference=1.0),
    default_system="null",
    settings=DECLARED.model_dump(mode="json"),
    specification="none",
)


class Hundred(Task):
    """A hundred samples, or as many as wanted."""

    name = "hundred"
    metric = "share right"

    def __init__(self, count=100):
        self.count = count

    def __len__(self):
        return self.count

    def source(self):
        return DataSource("integers", official=False, sha256="-")

    def inputs(self, samples):
        return samples

    def score(self, samples, outputs):
        return 1.0


def asked(**options):
    return parse_options(LoadOptions, options)


def settings_of(scenario, /, benchmark=BENCHMARK, task=None, **options):
    """The settings of one performance test with these options."""
    options = asked(**({"scenario": scenario.value} | options))
    settings, _ = performance_settings(benchmark, task or Hundred(), options, scenario)
    return settings


def refusal(**options):
    """The one line with which these options are refused before anything is measured."""
    with pytest.raises(UsageError) as caught:
        prepare(BENCHMARK, Hundred(), asked(**options))
    words = str(caught.value)
    assert "\n" not in words
    return words


@pytest.fixture
def config(tmp_path):
    """Writes a configuration file and gives its path."""

    def write(text, name="user.conf"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# --- layers -----------------------------------------------------------------------------------------


def test_without_any_option_everything_comes_from_the_declaration_under_quick_rules():
    options = asked()
    assert scenarios_of(BENCHMARK, options) == (OFFLINE,)
    single = settings_of(SINGLE)
    assert single.target_latency_percentile == 0.80
    assert single.performance_sample_count == 60
    assert single.total_sample_count == 100
    assert single.min_duration_ns == 10 * NS_PER_S
    assert single.samples_per_query == 1
    multi = settings_of(MULTI)
    assert (multi.samples_per_query, multi.target_latency_percentile) == (4, 0.90)
    assert multi.min_query_count == 270
    server = settings_of(SERVER, target_qps=7)
    assert server.target_latency_ns == 15 * NS_PER_MS
    assert server.target_latency_percentile == 0.95
    assert server.target_qps == 7
    offline = settings_of(OFFLINE)
    assert offline.target_qps is None
    assert offline.target_latency_ns == 0


def test_the_loaded_set_is_never_larger_than_the_data_set():
    assert settings_of(OFFLINE, task=Hundred(33)).performance_sample_count == 33
    whole = BENCHMARK.model_copy(
        update={
            "settings": DECLARED.model_copy(update={"performance_sample_count": 0}).model_dump()
        }
    )
    assert settings_of(OFFLINE, whole).performance_sample_count == 100


@pytest.mark.parametrize(
    ("scenario", "line", "option", "setting", "declared", "from_file", "from_option"),
    [
        (SERVER, "target_latency = 30", {"target_latency_ms": 40}, "target_latency_ns", 15, 30, 40),
        (SINGLE, "min_duration = 5000", {"duration_s": 3}, "min_duration_ns", 10_000, 5000, 3000),
        (SINGLE, "max_duration = 50000", {"max_duration_s": 60}, "max_duration_ns", 0, 50e3, 60e3),
        (OFFLINE, "min_query_count = 11", {"min_query_count": 13}, "min_query_count", 1, 11, 13),
        (
            SINGLE,
            "max_query_count = 9999",
            {"max_query_count": 8888},
            "max_query_count",
            0,
            9999,
            8888,
        ),
        (MULTI, "samples_per_query = 3", {"samples_per_query": 2}, "samples_per_query", 4, 3, 2),
        (
            OFFLINE,
            "performance_sample_count_override = 50",
            {"performance_sample_count": 40},
            "performance_sample_count",
            60,
            50,
            40,
        ),
        (
            SINGLE,
            "sample_concatenate_permutation = 1",
            {"sample_concatenate_permutation": False},
            "sample_concatenate_permutation",
            False,
            True,
            False,
        ),
        (SERVER, "target_qps = 70", {"target_qps": 80}, "target_qps", 1.0, 70, 80),
        (SERVER, "max_async_queries = 5", {"max_async_queries": 6}, "max_async_queries", 0, 5, 6),
    ],
)
def test_an_option_goes_over_a_file_and_a_file_over_the_declaration(
    config, scenario, line, option, setting, declared, from_file, from_option
):
    path = config(f"hundred.{scenario.field_name}.{line}\n")
    scale = NS_PER_MS if setting.endswith("_ns") else 1
    assert getattr(settings_of(scenario), setting) == declared * scale
    assert getattr(settings_of(scenario, config=path), setting) == from_file * scale
    assert getattr(settings_of(scenario, config=path, **option), setting) == from_option * scale
    assert getattr(settings_of(scenario, **option), setting) == from_option * scale


def test_a_later_file_goes_over_an_earlier_one(config):
    first = config("*.*.min_duration = 5000\n*.*.min_query_count = 70\n", "mlperf.conf")
    second = config("hundred.*.min_duration = 6000\n")
    settings = settings_of(OFFLINE, config=(first, second))
    assert settings.min_duration_ns == 6 * NS_PER_S
    assert settings.min_query_count == 70
    swapped = settings_of(OFFLINE, config=(second, first))
    assert swapped.min_duration_ns == 5 * NS_PER_S


def test_a_line_for_another_scenario_or_benchmark_changes_nothing_here(config):
    path = config("*.Server.min_duration = 5000\nother.Offline.min_duration = 6000\n")
    assert settings_of(OFFLINE, config=path).min_duration_ns == 10 * NS_PER_S


def test_a_single_config_may_be_given_without_a_list(config):
    path = config("*.*.min_duration = 5000\n")
    assert asked(config=path).config == (path,)
    assert asked(config=str(path)).config == (path,)


def test_options_that_are_left_out_of_a_python_call_may_be_none():
    assert asked(target_qps=None, duration_s=None, seeds=None) == LoadOptions()


# --- rules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "quick", "official"),
    # 0.95^90 < 1 %, and 31 queries are the fewest of which one may be set aside for a claim of p80.
    [(SINGLE, 31, 31), (MULTI, 270, 270), (SERVER, 90, 90), (OFFLINE, 1, 5000)],
)
def test_official_rules_have_the_counts_of_the_statistics_and_the_benchmarks_own_for_offline(
    scenario, quick, official
):
    rate = {"target_qps": 5} if scenario is SERVER else {}
    assert settings_of(scenario, **rate).min_query_count == quick
    assert settings_of(scenario, rules="official", **rate).min_query_count == official


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 10),
        ({"quick": True}, 2),
        ({"duration_s": 2}, 2),
        ({"quick": True, "duration_s": 4}, 4),
        ({"rules": "official"}, 600),
        ({"rules": "official", "quick": True}, 600),
        ({"rules": "official", "duration_s": 700}, 700),
    ],
)
def test_the_duration_is_the_rules_default_the_shortest_or_the_one_asked_for(options, seconds):
    assert settings_of(OFFLINE, **options).min_duration_ns == seconds * NS_PER_S


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"duration_s": 1.9}, "quick rules need at least 2 s a test, --duration asks for 1.9 s"),
        (
            {"rules": "official", "duration_s": 599},
            "official rules need at least 600 s a test, --duration asks for 599 s",
        ),
        (
            {"rules": "official", "seeds": "1,2,3"},
            "official rules prescribe the seeds of round v6.1: leave out --seeds",
        ),
        ({"rules": "official", "performance_issue_unique": True}, "in audits only"),
        ({"rules": "official", "performance_issue_same": True}, "in audits only"),
    ],
)
def test_what_could_never_be_valid_under_the_rules_is_refused_before_the_clock_starts(
    options, words
):
    assert words in refusal(scenario="single-stream", **options)


def test_a_file_cannot_ask_for_what_the_rules_refuse_either(config):
    path = config("*.*.min_duration = 1999\n")
    assert "quick rules need at least 2 s" in refusal(config=path)
    seeds = "".join(f"*.*.{name}_rng_seed = 1\n" for name in ("qsl", "sample_index", "schedule"))
    path = config(seeds, "mlperf.conf")
    assert settings_of(OFFLINE, config=path).seeds == Seeds(qsl=1, sample_index=1, schedule=1)
    assert "prescribe the seeds" in refusal(rules="official", config=path)


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("server", {"target_qps": 5, "target_latency_ms": 15.1}),
        ("offline", {"performance_sample_count": 59}),
        ("offline", {"min_query_count": 4999}),
        ("multi-stream", {"samples_per_query": 3}),
        ("multi-stream", {"min_query_count": 269}),
    ],
)
def test_official_rules_refuse_options_that_make_the_benchmark_easier_than_declared(
    scenario, options
):
    words = refusal(rules="official", scenario=scenario, **options)
    assert words.startswith("official rules ")


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("server", "target_latency = 16"),
        ("server", "target_latency_percentile = 94"),
        ("single-stream", "target_latency_percentile = 50"),
        ("multi-stream", "target_latency_percentile = 50"),
        ("multi-stream", "samples_per_query = 1"),
        ("offline", "performance_sample_count_override = 1"),
        ("offline", "min_query_count = 1"),
    ],
)
def test_official_rules_refuse_files_that_make_the_benchmark_easier_than_declared(
    config, scenario, line
):
    path = config(f"hundred.*.{line}\n")
    rate = {"target_qps": 5} if scenario == "server" else {}
    words = refusal(rules="official", scenario=scenario, config=path, **rate)
    assert words.startswith("official rules ")


def test_official_rules_allow_what_makes_the_benchmark_harder():
    assert settings_of(SERVER, rules="official", target_qps=5, target_latency_ms=14)
    assert settings_of(OFFLINE, rules="official", performance_sample_count=100)
    assert settings_of(OFFLINE, rules="official", min_query_count=6000)


# --- options that mean nothing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "flag", "fits"),
    [
        ("target_qps", 5, "--target-qps", (SERVER, OFFLINE)),
        ("find_peak", True, "--find-peak", (SERVER,)),
        ("target_latency_ms", 20, "--target-latency", (SERVER,)),
        ("server_coalesce_queries", True, "--coalesce", (SERVER,)),
        ("max_async_queries", 3, "--max-async-queries", (SERVER,)),
        ("samples_per_query", 2, "--samples-per-query", (MULTI,)),
    ],
)
def test_an_option_without_a_scenario_to_apply_to_is_refused_with_the_one_to_add(
    option, value, flag, fits
):
    for scenario in Scenario:
        if scenario in fits:
            prepare(BENCHMARK, Hundred(), asked(scenario=scenario.value, **{option: value}))
        else:
            assert refusal(scenario=scenario.value, **{option: value}) == (
                f"{flag} means nothing in {scenario}: add --scenario {fits[0]} or leave it out"
            )
    prepare(BENCHMARK, Hundred(), asked(scenario=tuple(Scenario), **{option: value}))


def test_the_index_of_the_one_sample_means_nothing_unless_one_sample_is_issued():
    prepare(
        BENCHMARK,
        Hundred(),
        asked(performance_issue_same=True, performance_issue_same_index=3),
    )
    assert "means nothing without --issue-same" in refusal(performance_issue_same_index=3)


def test_a_scenario_the_benchmark_does_not_have_is_refused_with_those_it_has():
    limited = BENCHMARK.model_copy(
        update={
            "settings": LoadBenchmark(
                scenarios=(OFFLINE, SERVER), performance_sample_count=0
            ).model_dump()
        }
    )
    with pytest.raises(SettingsError) as caught:
        scenarios_of(limited, asked(scenario="single-stream"))
    assert str(caught.value) == (
        "benchmark 'hundred' has no single-stream scenario: choose from offline, server"
    )


def test_leaving_out_both_performance_and_accuracy_leaves_nothing_to_measure():
    words = refusal(performance=False, accuracy=False)
    assert words == "--no-performance and --no-accuracy together leave nothing to measure"


# --- rates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "count"),
    [(1000, 11_000), (4545.45, 49_999), (3, 33), (0.001, 1)],
)
def test_an_expected_rate_in_offline_asks_for_more_samples(rate, count):
    settings = settings_of(OFFLINE, target_qps=rate)
    assert settings.min_query_count == count
    assert settings.target_qps is None  # the test still goes on until its time is over


def test_an_expected_rate_in_offline_never_asks_for_fewer_samples_than_the_rules(config):
    assert settings_of(OFFLINE, rules="official", target_qps=1).min_query_count == 5000
    assert settings_of(OFFLINE, rules="official", target_qps=100).min_query_count == 66_000
    path = config("*.Offline.target_qps = 1\n*.Offline.min_query_count = 777\n")
    assert settings_of(OFFLINE, config=path).min_query_count == 777


@pytest.mark.parametrize("rate", [0, -3, float("nan")])
@pytest.mark.parametrize("scenario", ["server", "offline"])
def test_a_rate_that_is_no_positive_number_is_refused(scenario, rate):
    words = refusal(scenario=scenario, target_qps=rate)
    assert words == f"target_qps must be positive, got {float(rate):g}"


def test_beside_server_a_rate_is_meant_for_server_alone():
    options = {"scenario": (SERVER, OFFLINE), "target_qps": 1000}
    assert settings_of(SERVER, **options).target_qps == 1000
    assert settings_of(OFFLINE, **options).min_query_count == 1


def test_beside_the_stream_scenarios_a_rate_is_meant_for_offline():
    options = {"scenario": (SINGLE, OFFLINE), "target_qps": 1000}
    assert settings_of(OFFLINE, **options).min_query_count == 11_000


@pytest.mark.parametrize("scenario", [SINGLE, MULTI])
def test_a_rate_for_offline_does_not_find_its_way_into_a_stream_scenario(scenario):
    options = {"scenario": (scenario, OFFLINE), "target_qps": 1000}
    assert settings_of(scenario, **options) == settings_of(scenario)


def test_a_file_may_give_each_scenario_its_own_rate(config):
    path = config("*.Server.target_qps = 200\n*.Offline.target_qps = 1000\n")
    options = {"scenario": (SERVER, OFFLINE), "config": path}
    assert settings_of(SERVER, **options).target_qps == 200
    assert settings_of(OFFLINE, **options).min_query_count == 11_000


def test_the_server_rate_is_sought_when_asked_for_and_when_none_is_given(config):
    def peak(**options):
        return performance_settings(BENCHMARK, Hundred(), asked(**options), SERVER)[1]

    path = config("*.Server.target_qps = 200\n")
    assert peak(scenario="server")
    assert peak(scenario="server", target_qps=5, find_peak=True)
    assert peak(scenario="server", config=path, find_peak=True)
    assert not peak(scenario="server", target_qps=5)
    assert not peak(scenario="server", config=path)


# --- accuracy ---------------------------------------------------------------------------------------


def test_the_accuracy_test_asks_for_every_sample_once_whatever_bounds_the_others(config):
    path = config("*.Offline.performance_issue_unique = 1\n*.*.max_query_count = 9999\n")
    settings = accuracy_settings(
        BENCHMARK,
        Hundred(),
        asked(
            scenario=(SINGLE, OFFLINE),
            config=path,
            target_qps=5,
            max_duration_s=20,
            performance_issue_same=True,
            performance_sample_count=7,
        ),
    )
    assert settings.mode is Mode.ACCURACY
    assert settings.scenario is OFFLINE
    assert settings.total_sample_count == 100
    assert settings.performance_sample_count == 7
    assert (settings.max_duration_ns, settings.max_query_count) == (0, 0)
    assert not settings.performance_issue_same
    assert not settings.performance_issue_unique
    assert settings.target_qps is None


# --- how options are written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["1,2,18446744073709551615", "1, 2, 18446744073709551615", ["1", "2", 2**64 - 1]]
)
def test_seeds_are_three_whole_numbers_as_text_or_numbers(text):
    seeds = Seeds(qsl=1, sample_index=2, schedule=2**64 - 1)
    assert asked(seeds=text).seeds == seeds
    assert settings_of(OFFLINE, seeds=text).seeds == seeds
    assert asked(seeds=seeds).seeds == seeds
    assert asked(seeds=seeds.model_dump()).seeds == seeds


@pytest.mark.parametrize(
    "text",
    ["", "1", "1,2", "1,2,3,4", "1,2,x", "1,2,-3", "1,2,18446744073709551616", "1,2,3.5", (1, 2)],
)
def test_seeds_that_are_not_three_whole_numbers_are_refused_with_their_form(text):
    words = refusal(seeds=text)
    assert words.startswith(
        "--seeds takes three whole numbers below 2^64, QSL,SAMPLE_INDEX,SCHEDULE, got "
    )


@pytest.mark.parametrize("seeds", [(1.9, 2, 3), (1, 2, None), 5, {"qsl": 1}])
def test_seeds_of_another_type_are_refused_and_never_rounded(seeds):
    assert "seeds" in refusal(seeds=seeds)


def test_without_seeds_every_profile_uses_those_of_the_round():
    for rules in ("quick", "official"):
        assert settings_of(OFFLINE, rules=rules).seeds == ROUND_SEEDS[LATEST_ROUND]


@pytest.mark.parametrize("scenario", Scenario)
def test_a_scenario_may_be_named_as_here_or_as_in_the_fields_logs(scenario):
    for name in (scenario, scenario.value, scenario.field_name, scenario.name):
        assert scenario_named(name) is scenario
        assert asked(scenario=name).scenario == (scenario,)


def test_several_scenarios_are_a_list_or_parted_by_commas():
    assert asked(scenario="server,Offline").scenario == (SERVER, OFFLINE)
    assert asked(scenario=["SingleStream", "multi-stream"]).scenario == (SINGLE, MULTI)
    assert scenarios_of(BENCHMARK, asked(scenario="server,offline")) == (SERVER, OFFLINE)


def test_an_unknown_scenario_is_met_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match="unknown scenario 'Sever': did you mean 'server'"):
        asked(scenario="Sever")
    with pytest.raises(UnknownNameError, match="unknown scenario ''"):
        asked(scenario="")


@pytest.mark.parametrize("value", [5, 2.5, True])
def test_a_scenario_that_is_no_name_is_refused_as_a_usage_error(value):
    assert "scenario" in refusal(scenario=value)


def test_a_scenario_that_is_named_twice_is_measured_once():
    assert scenarios_of(BENCHMARK, asked(scenario="offline,server,Offline")) == (OFFLINE, SERVER)


@pytest.mark.parametrize(
    ("option", "scenario"),
    [
        ("duration_s", "offline"),
        ("max_duration_s", "offline"),
        ("target_latency_ms", "server"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon"])
def test_a_time_that_is_no_positive_number_is_refused_by_name(option, scenario, value):
    words = refusal(scenario=scenario, **{option: value})
    assert option.rsplit("_", 1)[0].split("_")[-1] in words


@pytest.mark.parametrize(
    "option", ["min_query_count", "max_query_count", "performance_sample_count", "workers"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "many"])
def test_a_count_that_is_no_positive_whole_number_is_refused_by_name(option, value):
    assert refusal(**{option: value}).startswith(f"{option}: ")


def test_contradictions_between_the_layers_are_found_before_anything_runs(config):
    path = config("*.*.max_query_count = 20\n")
    assert "max_query_count (20) is below min_query_count (31)" in refusal(
        scenario="single-stream", config=path
    )
    path = config("*.*.performance_sample_count_override = 101\n")
    assert "performance_sample_count (101) is more than the data set holds (100)" in refusal(
        config=path
    )
    path = config("*.Server.target_latency_percentile = 100\n")
    assert "target_latency_percentile must lie between 0 and 1" in refusal(
        scenario="server", config=path
    )


@pytest.mark.parametrize("line", ["target_latency = inf", "target_latency = 1e400"])
def test_a_time_without_end_in_a_file_is_refused(config, line):
    path = config(f"*.Server.{line}\n")
    assert "target_latency" in refusal(scenario="server", target_qps=5, config=path)


# --- lines that change nothing ----------------------------------------------------------------------


def test_lines_that_change_nothing_become_notes_with_their_place_and_reason(config):
    path = config(
        "# a comment\n"
        "*.SingleStream.target_latency = 7\n"
        "*.*.mode = 2\n"
        "*.*.target_qps = 5\n"
        "*.*.min_duration = 5000\n"
    )
    options = asked(scenario="single-stream", config=path)
    assert unused_lines(BENCHMARK, options) == prepare(BENCHMARK, Hundred(), options)
    assert sorted(unused_lines(BENCHMARK, options)) == [
        f"{path}:2: target_latency is not used: no expected latency is needed in single-stream",
        f"{path}:3: mode is not used: what is measured is chosen by options",
        f"{path}:4: target_qps is not used: it means nothing in single-stream",
    ]


def test_a_line_that_is_used_in_one_of_the_scenarios_is_still_noted_for_the_other(config):
    path = config("*.*.target_qps = 50\n*.*.mode = 2\n")
    options = asked(scenario="single-stream,server", config=path)
    notes = prepare(BENCHMARK, Hundred(), options)
    assert [note for note in notes if "target_qps" in note] == [
        f"{path}:1: target_qps is not used: it means nothing in single-stream"
    ]
    assert len([note for note in notes if "mode" in note]) == 1  # once, not once a scenario


def test_lines_for_other_scenarios_or_benchmarks_are_no_notes(config):
    path = config("*.Server.mode = 2\nother.*.mode = 2\n*.Offline.min_duration = 3000\n")
    assert prepare(BENCHMARK, Hundred(), asked(scenario="offline", config=path)) == ()
