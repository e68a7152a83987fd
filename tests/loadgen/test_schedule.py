"""Schedules held against the reference load generator itself, index for index and ns for ns.

Besides: a schedule is the same however it is drawn; pinned digests, for where there is no wheel.
"""

import hashlib
import json
import re
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Seeds, Settings

OPEN_ENDED = 300
"""How many rows are compared where the clock decides how many there are."""


def examples(count):
    return hypothesis.settings(deadline=None, derandomize=True, max_examples=count)


@dataclass
class ReferenceSet:
    """What the reference made of one loaded set."""

    loaded: list[int]
    queries: list[list[int]] = field(default_factory=list)
    arrivals_ns: list[int] = field(default_factory=list)
    generated_count: int = 0
    generated_ns: int = 0

    @property
    def samples(self):
        return [index for query in self.queries for index in query]


def reference_loadgen(settings, most_issued=0):
    """Run the wheel with a system that answers at once; return its loaded sets in order.

    Arrival times are read from its trace, which has them in whole nanoseconds (Server only). With
    `most_issued` it ends early, after having drawn its whole schedule.
    """
    lg = pytest.importorskip("mlperf_loadgen")
    asked = lg.TestSettings()
    asked.scenario = getattr(lg.TestScenario, settings.scenario.field_name)
    asked.mode = getattr(lg.TestMode, settings.mode.field_name)
    asked.min_query_count = settings.min_query_count
    asked.max_query_count = most_issued
    asked.min_duration_ms = settings.min_duration_ns // NS_PER_MS
    asked.qsl_rng_seed = settings.seeds.qsl
    asked.sample_index_rng_seed = settings.seeds.sample_index
    asked.schedule_rng_seed = settings.seeds.schedule
    asked.multi_stream_samples_per_query = settings.samples_per_query
    if settings.target_qps is not None:
        asked.server_target_qps = asked.offline_expected_qps = settings.target_qps
        gap_ns = round(NS_PER_S / settings.target_qps)
        asked.single_stream_expected_latency_ns = asked.multi_stream_expected_latency_ns = gap_ns
    for name in (
        "sample_concatenate_permutation",
        "performance_issue_unique",
        "performance_issue_same",
        "performance_issue_same_index",
    ):
        setattr(asked, name, getattr(settings, name))

    sets = []

    def issue(query):
        sets[-1].queries.append([sample.index for sample in query])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in query])

    with tempfile.TemporaryDirectory() as folder:
        output, logging = lg.LogOutputSettings(), lg.LogSettings()
        output.outdir = folder
        logging.log_output = output
        logging.enable_trace = settings.scenario is Scenario.SERVER
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(
            settings.total_sample_count,
            settings.performance_sample_count,
            lambda loaded: sets.append(ReferenceSet(loaded)),
            lambda _: None,
        )
        lg.StartTestWithLogSettings(system, library, asked, logging, f"{folder}/no audit.config")
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        detail = (Path(folder) / "mlperf_log_detail.txt").read_text().splitlines()
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
    _read_generated(sets, detail)
    _read_arrivals(sets, trace)
    return sets


def _read_generated(sets, detail):
    for key in ("generated_query_count", "generated_query_duration"):
        lines = [line for line in detail if f'"key": "{key}"' in line]
        for one_set, line in zip(sets, lines, strict=True):
            value = json.loads(line.removeprefix(":::MLLOG "))["value"]
            name = "generated_count" if key.endswith("count") else "generated_ns"
            setattr(one_set, name, value)


def _read_arrivals(sets, trace):
    """From the `Sample` events: their `ts` is the scheduled time in µs with three decimals."""
    due_ns = {}
    for line in trace.splitlines():
        found = re.match(
            r'\{"name":"Sample".*"ph":"b".*"ts":(\d+)\.(\d{3}),.*"query_seq":(\d+)', line
        )
        if found:
            due_ns[int(found[3])] = int(found[1] + found[2])
    start = 0
    for one_set in sets if due_ns else ():
        stop = start + len(one_set.queries)
        one_set.arrivals_ns = [due_ns[query] - due_ns[start] for query in range(start, stop)]
        start = stop


def assert_as_the_reference(settings, most_issued=0):
    """Hold every loaded set, index and time of `plan(settings)` against the wheel's."""
    reference = reference_loadgen(settings, most_issued)
    orders = plan(settings)
    assert len(orders) == len(reference)
    for order, expected in zip(orders, reference, strict=True):
        assert order.loaded.tolist() == expected.loaded
        rows = len(expected.samples) // order.samples_per_query
        assert order.samples(0, rows).reshape(-1).tolist() == expected.samples
        if settings.scenario is Scenario.OFFLINE:
            assert len(expected.queries) == 1
            assert order.query_count == rows
            assert not order.arrivals_ns(0, rows).any()
            continue
        count = expected.generated_count
        if settings.mode is Mode.ACCURACY or settings.scenario is Scenario.SERVER:
            assert order.query_count == count
        assert order.arrivals_ns(count, count + 1)[0] == expected.generated_ns
        if settings.scenario is Scenario.SERVER:
            assert order.arrivals_ns(0, rows).tolist() == expected.arrivals_ns


seeds = st.builds(Seeds, **dict.fromkeys(Seeds.model_fields, st.integers(0, 2**64 - 1)))
gaps_ns = st.sampled_from([1, 7, 1000, 12_345, 999_983, 10**8])
server_rates = st.floats(3, 9).map(lambda power: 10.0**power)


@st.composite
def short_runs(draw, scenario, mode):
    """Settings of a test that the wheel gets through in some hundredths of a second."""
    total = draw(st.one_of(st.integers(1, 12), st.integers(1, 3000)))
    fewest_loaded = 1 if mode is Mode.PERFORMANCE else -(-total // 40)
    loaded = draw(st.one_of(st.just(total), st.integers(fewest_loaded, total)))
    multi = scenario is Scenario.MULTI_STREAM
    chosen = {
        "scenario": scenario,
        "mode": mode,
        "total_sample_count": total,
        "performance_sample_count": loaded,
        "samples_per_query": draw(st.integers(1, min(17, loaded + 1))) if multi else 1,
        "min_query_count": draw(st.one_of(st.integers(1, 5), st.integers(1, 2000))),
        "min_duration_ns": 0,
        "target_qps": draw(server_rates)
        if scenario is Scenario.SERVER
        else NS_PER_S / draw(gaps_ns),
        "seeds": draw(seeds),
    }
    chosen["sample_concatenate_permutation"] = draw(st.booleans())
    special = draw(st.sampled_from(["", "", "unique", "same"]))
    # Concatenated permutations and unique MultiStream queries together end the reference.
    if special == "unique" and not (multi and chosen["sample_concatenate_permutation"]):
        chosen["performance_issue_unique"] = True
    if special == "same" and mode is Mode.PERFORMANCE:
        chosen["performance_issue_same"] = True
        chosen["performance_issue_same_index"] = draw(st.integers(0, loaded - 1))
    return Settings(**chosen)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("scenario", Scenario)
def test_any_short_test_is_the_references_index_for_index(scenario, mode):
    @examples(20)
    @given(short_runs(scenario, mode))
    def check(settings):
        assert_as_the_reference(settings)

    check()


LARGE = {
    "total_sample_count": 150_001,
    "target_qps": 1e6,
    "min_duration_ns": 0,
    "seeds": Seeds(qsl=2**64 - 59, sample_index=3**40, schedule=16159082839903944936),
}
"""Beyond 65,535 shuffling draws one place at a time; C++'s older scaling of integers differs."""


def large(scenario, mode=Mode.PERFORMANCE, **changes):
    chosen = LARGE | {
        "scenario": scenario,
        "mode": mode,
        "performance_sample_count": 70_001,
        "min_query_count": 150_000 if scenario is Scenario.OFFLINE else 20_000,
        "samples_per_query": 8 if scenario is Scenario.MULTI_STREAM else 1,
    }
    return Settings(**(chosen | changes))


@pytest.mark.parametrize("loaded", [65_535, 65_536, 70_001])
@pytest.mark.parametrize("scenario", Scenario)
def test_a_large_set_is_the_references_index_for_index(scenario, loaded):
    assert_as_the_reference(large(scenario, performance_sample_count=loaded))


@pytest.mark.parametrize("scenario", Scenario)
def test_concatenated_permutations_of_a_large_set_are_the_references(scenario):
    settings = large(
        scenario,
        performance_sample_count=66_001,
        min_query_count=70_000,
        sample_concatenate_permutation=True,
    )
    assert_as_the_reference(settings)


@pytest.mark.parametrize("scenario", Scenario)
def test_concatenated_permutations_that_end_with_a_set_are_the_references(scenario):
    settings = large(
        scenario,
        performance_sample_count=50,
        min_query_count=150,
        sample_concatenate_permutation=True,
    )
    assert_as_the_reference(settings)


@pytest.mark.parametrize("scenario", Scenario)
def test_an_accuracy_test_of_a_large_set_is_the_references(scenario):
    assert_as_the_reference(large(scenario, Mode.ACCURACY))


def test_many_draws_from_a_set_whose_size_rejects_some_are_the_references():
    # One draw in 29,000 is rejected, which moves every draw after it.
    settings = large(
        Scenario.SINGLE_STREAM, performance_sample_count=149_875, min_query_count=150_000
    )
    assert_as_the_reference(settings)


def server(**changes):
    chosen = {
        "scenario": Scenario.SERVER,
        "total_sample_count": 500,
        "performance_sample_count": 100,
        "target_qps": 1000.0,
        "min_duration_ns": NS_PER_S,
    }
    return Settings(**(chosen | changes))


@examples(30)
@given(
    rate=st.floats(-4, 5).map(lambda power: 10.0**power),
    duration_ms=st.one_of(st.integers(1, 10_000), st.sampled_from([60_000, 600_000])),
    least=st.integers(1, 3000),
    concatenated=st.booleans(),
    seeds=seeds,
)
@example(1000.0, 600_000, 270_336, True, Seeds(qsl=1, sample_index=2, schedule=3))
def test_a_server_test_of_any_length_has_as_many_queries_as_the_references_and_ends_with_it(
    rate, duration_ms, least, concatenated, seeds
):
    hypothesis.assume(rate * duration_ms < 10**9)
    settings = server(
        target_qps=rate,
        min_duration_ns=duration_ms * NS_PER_MS,
        min_query_count=least,
        sample_concatenate_permutation=concatenated,
        seeds=seeds,
    )
    assert_as_the_reference(settings, most_issued=1)


@examples(15)
@given(
    rate=st.sampled_from([1.0, 12_345.678, 1e6]) | server_rates,
    least=st.integers(1, 20_000),
    duration_ms=st.integers(0, 2),
    seeds=seeds,
)
def test_server_arrivals_are_the_references_to_the_nanosecond(rate, least, duration_ms, seeds):
    settings = server(
        target_qps=rate,
        min_query_count=min(least, int(rate / 20) + 1),  # the reference waits for them
        min_duration_ns=duration_ms * NS_PER_MS if rate < 1e7 else 0,
        seeds=seeds,
    )
    assert_as_the_reference(settings)


@examples(20)
@given(
    rate=st.floats(1, 6).map(lambda power: 10.0**power),
    duration_ms=st.integers(1, 1000),
    least=st.integers(1, 3000),
    concatenated=st.booleans(),
)
def test_an_offline_test_with_an_expected_rate_has_the_references_samples(
    rate, duration_ms, least, concatenated
):
    settings = Settings(
        scenario=Scenario.OFFLINE,
        total_sample_count=999,
        performance_sample_count=777,
        target_qps=min(rate, 5e7 / duration_ms),
        min_duration_ns=duration_ms * NS_PER_MS,
        min_query_count=least,
        sample_concatenate_permutation=concatenated,
    )
    assert_as_the_reference(settings)


@examples(20)
@given(gap_ns=st.integers(20_000, 10**7), duration_ms=st.integers(1, 1000))
def test_a_long_single_stream_test_draws_the_references_permutations_before_it_starts(
    gap_ns, duration_ms
):
    settings = Settings(
        scenario=Scenario.SINGLE_STREAM,
        total_sample_count=150,
        performance_sample_count=97,
        target_qps=NS_PER_S / gap_ns,
        min_duration_ns=duration_ms * NS_PER_MS,
        sample_concatenate_permutation=True,
    )
    (expected,), (order,) = reference_loadgen(settings, most_issued=OPEN_ENDED), plan(settings)
    assert order.samples(0, len(expected.queries)).reshape(-1).tolist() == expected.samples
    drawn = expected.generated_count
    np.testing.assert_array_equal(order.samples(drawn, drawn + 97), order.samples(0, 97))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("loaded", "width"), [(1, 2), (2, 3), (1, 8), (3, 8), (5, 40)])
def test_queries_wider_than_their_loaded_set_are_the_references(loaded, width, mode):
    settings = Settings(
        scenario=Scenario.MULTI_STREAM,
        mode=mode,
        total_sample_count=2 * loaded + 1,
        performance_sample_count=loaded,
        samples_per_query=width,
        min_query_count=20,
        min_duration_ns=0,
        target_qps=1e6,
    )
    assert_as_the_reference(settings)


@pytest.mark.parametrize("scenario", Scenario)
def test_the_same_sample_over_and_over_in_accuracy_mode_is_the_references_or_refused(scenario):
    try:
        settings = Settings(
            scenario=scenario,
            mode=Mode.ACCURACY,
            total_sample_count=20,
            performance_sample_count=10,
            target_qps=1e6,
            performance_issue_same=True,
            performance_issue_same_index=4,
        )
    except SettingsError:
        return
    assert_as_the_reference(settings)


def row_count(order):
    return OPEN_ENDED * 5 if order.query_count is None else order.query_count


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("scenario", Scenario)
def test_a_schedule_drawn_further_is_the_longer_one_drawn_at_once(scenario, mode):
    @examples(25)
    @given(short_runs(scenario, mode), st.lists(st.floats(0, 1), max_size=6))
    def check(settings, shares):
        for at_once, piecewise in zip(plan(settings), plan(settings), strict=True):
            rows = row_count(at_once)
            samples, arrivals_ns = at_once.samples(0, rows), at_once.arrivals_ns(0, rows)
            assert samples.shape == (rows, at_once.samples_per_query)
            start = 0
            for stop in [*sorted(int(share * rows) for share in shares), rows]:
                np.testing.assert_array_equal(piecewise.samples(start, stop), samples[start:stop])
                np.testing.assert_array_equal(
                    piecewise.arrivals_ns(start, stop), arrivals_ns[start:stop]
                )
                start = stop
            np.testing.assert_array_equal(piecewise.samples(0, rows), samples)

    check()


@pytest.mark.parametrize("concatenated", [False, True])
@pytest.mark.parametrize(
    "scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.OFFLINE]
)
def test_a_long_schedule_goes_on_as_it_began(scenario, concatenated):
    changes = {
        "performance_sample_count": 7001,
        "min_query_count": 1,
        "target_qps": None,
        "sample_concatenate_permutation": concatenated,
    }
    (at_once,), (piecewise,) = (plan(large(scenario, **changes)) for _ in range(2))
    expected = at_once.samples(0, 400_000)
    for stop in (1, 1024, 1025, 2048, 30_000, 200_000, 400_000):
        np.testing.assert_array_equal(piecewise.samples(stop - 1, stop), expected[stop - 1 : stop])
    np.testing.assert_array_equal(piecewise.samples(0, 400_000), expected)


@pytest.mark.parametrize("concatenated", [False, True])
@pytest.mark.parametrize("scenario", Scenario)
def test_a_schedule_that_several_threads_draw_is_that_of_one(scenario, concatenated):
    changes = {
        "performance_sample_count": 501,
        "min_query_count": 60_000,
        "sample_concatenate_permutation": concatenated,
    }
    (alone,), (shared,) = (plan(large(scenario, **changes)) for _ in range(2))
    rows, step, workers = 60_000, 97, 4
    expected = alone.samples(0, rows)
    together = threading.Barrier(workers)
    wrong = []

    def ask(worker):
        together.wait()
        for start in range(worker * step, rows, workers * step):
            stop = min(start + step, rows)
            if not np.array_equal(shared.samples(start, stop), expected[start:stop]):
                wrong.append((start, stop))

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    np.testing.assert_array_equal(shared.samples(0, rows), expected)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("scenario", Scenario)
def test_equal_settings_give_equal_schedules(scenario, mode):
    @examples(10)
    @given(short_runs(scenario, mode))
    def check(settings):
        again = Settings.model_validate_json(settings.model_dump_json())
        assert again == settings
        for one, other in zip(plan(settings), plan(again), strict=True):
            rows = row_count(one)
            assert one.query_count == other.query_count
            np.testing.assert_array_equal(one.loaded, other.loaded)
            np.testing.assert_array_equal(one.samples(0, rows), other.samples(0, rows))
            np.testing.assert_array_equal(one.arrivals_ns(0, rows), other.arrivals_ns(0, rows))

    check()


@pytest.mark.parametrize(
    ("seed", "moved"),
    [
        ("qsl", {"loaded", "samples"}),
        ("sample_index", {"samples"}),
        ("schedule", {"arrivals"}),
    ],
)
def test_each_seed_moves_what_it_is_for_and_nothing_else(seed, moved):
    base = Seeds(qsl=1, sample_index=1, schedule=1)
    found = []
    for seeds_of_one in (base, base.model_copy(update={seed: 2})):
        (order,) = plan(server(seeds=seeds_of_one, min_query_count=500, min_duration_ns=0))
        found.append(
            {
                "loaded": order.loaded.tolist(),
                "samples": order.samples(0, 500).tolist(),
                "arrivals": order.arrivals_ns(0, 500).tolist(),
            }
        )
    assert {name for name in found[0] if found[0][name] != found[1][name]} == moved


def test_only_the_low_half_of_a_seed_counts():
    low = Seeds(qsl=7, sample_index=8, schedule=9)
    high = Seeds(**{name: value + 5 * 2**32 for name, value in low.model_dump().items()})
    (one,), (other,) = (
        plan(server(seeds=seeds_of_one, min_query_count=50)) for seeds_of_one in (low, high)
    )
    np.testing.assert_array_equal(one.samples(0, 50), other.samples(0, 50))
    np.testing.assert_array_equal(one.arrivals_ns(0, 50), other.arrivals_ns(0, 50))


@examples(60)
@given(
    rate=st.floats(-2, 5).map(lambda power: 10.0**power),
    duration_ns=st.integers(0, NS_PER_S),
    least=st.integers(1, 3000),
    seeds=seeds,
)
def test_the_last_server_query_is_the_first_due_at_the_end_or_later_unless_more_are_asked_for(
    rate, duration_ns, least, seeds
):
    settings = server(
        target_qps=rate, min_duration_ns=duration_ns, min_query_count=least, seeds=seeds
    )
    (order,) = plan(settings)
    arrivals_ns = order.arrivals_ns(0, order.query_count)
    assert arrivals_ns[0] == 0
    assert (np.diff(arrivals_ns) >= 0).all()
    assert order.query_count >= least
    assert arrivals_ns[-1] >= duration_ns
    if order.query_count > least:
        assert arrivals_ns[-2] < duration_ns


def test_a_server_query_due_exactly_at_the_end_is_the_last():
    (order,) = plan(server())
    due_ns = order.arrivals_ns(0, 100)
    for duration_ns, count in ((due_ns[50] - 1, 51), (due_ns[50], 51), (due_ns[50] + 1, 52)):
        (ended,) = plan(server(min_duration_ns=int(duration_ns)))
        assert ended.query_count == count


@pytest.mark.parametrize(
    "scenario", [Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.OFFLINE]
)
def test_the_clock_decides_how_many_queries_there_are_where_nothing_else_does(scenario):
    (order,) = plan(large(scenario, target_qps=None))
    assert order.query_count is None


@pytest.mark.parametrize(
    ("scenario", "width"),
    [(scenario, 1) for scenario in Scenario]
    + [(Scenario.MULTI_STREAM, 3), (Scenario.MULTI_STREAM, 8)],
)
def test_an_accuracy_test_asks_for_every_sample_of_the_data_set(scenario, width):
    settings = Settings(
        scenario=scenario,
        mode=Mode.ACCURACY,
        total_sample_count=100,
        performance_sample_count=30,
        samples_per_query=width,
        target_qps=100.0,
    )
    orders = plan(settings)
    assert [len(order.loaded) - (width - 1) for order in orders] == [30, 30, 30, 10]
    asked = np.concatenate([order.samples(0, order.query_count).reshape(-1) for order in orders])
    assert set(asked.tolist()) == set(range(100))
    if width == 1:
        assert len(asked) == 100


DIGESTS = {
    (Scenario.SINGLE_STREAM, Mode.PERFORMANCE): (
        "17694f3394eeab6fa573640caaa9c41352d7604993e883ed72c80cc3e38464b3"
    ),
    (Scenario.SINGLE_STREAM, Mode.ACCURACY): (
        "8f1982726ff5a97eb36aea5c2b44a5b6dfe7e8df9e3774640387ff2b0c917fe7"
    ),
    (Scenario.MULTI_STREAM, Mode.PERFORMANCE): (
        "40fdc0e7a125852347d9718daa74dd612c5aa236e9389ec4baedd17582740a58"
    ),
    (Scenario.MULTI_STREAM, Mode.ACCURACY): (
        "74475708295cf2db638c6e209a1ac9b43262175d7787f5a422447d5125cf7869"
    ),
    (Scenario.SERVER, Mode.PERFORMANCE): (
        "0d6813d3dc5c9458354e095e7abd2a8da99533e078545d3ea18d7c68c0ddab56"
    ),
    (Scenario.SERVER, Mode.ACCURACY): (
        "83c16d85ebf2a5ba9e822933fb8b4a1a22424c1a5aa905b803ded66ab5ec9e53"
    ),
    (Scenario.OFFLINE, Mode.PERFORMANCE): (
        "8731d50f38e6b74235b8516edc4039df3bd0119c794b53d0c39e73dd44282349"
    ),
    (Scenario.OFFLINE, Mode.ACCURACY): (
        "c625de190bbe327be3bbccccf4283991670b5a90dc5bee7e04231f0232da2241"
    ),
}
"""SHA-256 of loaded sets, indices and arrivals of large tests; the reference gives the same."""


def digest(loaded, samples, arrivals_ns):
    joined = hashlib.sha256()
    for part in (loaded, samples, arrivals_ns):
        joined.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return joined.hexdigest()


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("scenario", Scenario)
def test_a_large_schedule_is_the_pinned_one(scenario, mode):
    loaded, samples, arrivals_ns = [], [], []
    for order in plan(large(scenario, mode)):
        rows = 20_000 if order.query_count is None else order.query_count
        loaded.append(order.loaded)
        samples.append(order.samples(0, rows).reshape(-1))
        arrivals_ns.append(order.arrivals_ns(0, rows))
    found = digest(*map(np.concatenate, (loaded, samples, arrivals_ns)))
    assert found == DIGESTS[scenario, mode]
