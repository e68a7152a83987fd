"""From the raw record to figures: worked by hand, against a slow oracle, against the reference's own.

The reference writes the latency of every sample into its trace; the same latencies must give its summary.
"""

import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.stats import fewest_passing
from gnomon.loadgen.outcome import PERCENTILES, compute_outcome, query_latencies_ns
from gnomon.loadgen.rules import early_stopping_words
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Scenario, Settings

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""

SINGLE, MULTI, SERVER, OFFLINE = Scenario
WIDTH = 3
BOUND_NS = 100


def settings_of(scenario, **changes):
    """Settings of a small test; a MultiStream query has three samples."""
    chosen = {
        "scenario": scenario,
        "total_sample_count": 64,
        "performance_sample_count": 64,
        "target_qps": 10.0 if scenario is SERVER else None,
        "target_latency_ns": BOUND_NS,
        "target_latency_percentile": 0.90 if scenario is SINGLE else 0.99,
        "samples_per_query": WIDTH if scenario is MULTI else 1,
    }
    return Settings(**(chosen | changes))


def record(scheduled_ns, completed_ns, issued_ns=None, query=None):
    """A table of samples; what is not given is as a good test has it."""
    rows = len(scheduled_ns)
    return Samples(
        np.arange(rows) if query is None else np.asarray(query, dtype=np.int64),
        np.zeros(rows, dtype=np.int32),
        np.asarray(scheduled_ns, dtype=np.int64),
        np.asarray(scheduled_ns if issued_ns is None else issued_ns, dtype=np.int64),
        np.asarray(completed_ns, dtype=np.int64),
    )


# --- worked by hand ---------------------------------------------------------------------------------


def test_single_stream_takes_the_element_at_the_share_without_interpolation():
    # Latencies 10, 20, ..., 100: int(10 * 0.9) = 9 is the last of the sorted ones.
    starts = np.arange(1, 11) * 1000
    outcome = compute_outcome(
        record(starts, starts + np.array([50, 10, 100, 20, 90, 30, 80, 40, 70, 60])),
        settings_of(SINGLE),
    )
    assert outcome.percentile == 0.90
    assert outcome.percentile_latency_ns == 100
    assert outcome.query_latency.percentiles_ns == (60, 100, 100, 100, 100, 100)
    assert outcome.query_latency == outcome.sample_latency
    latency = outcome.query_latency
    assert (latency.min_ns, latency.mean_ns, latency.max_ns) == (10, 55, 100)
    assert (outcome.query_count, outcome.sample_count, outcome.unanswered_count) == (10, 10, 0)
    assert outcome.duration_ns == 10_000  # the last issue
    assert outcome.queries_per_second == 9 * NS_PER_S / 10_000
    assert not outcome.early_stopping.met
    assert outcome.early_stopping.needed == 64
    # Too few for an estimate: the measured percentile is what can be said.
    assert outcome.metric == ("p90 latency", 100.0, "ns")


def test_the_mean_is_in_whole_nanoseconds_rounded_down():
    outcome = compute_outcome(record([1, 2, 3], [2, 4, 8]), settings_of(SINGLE))
    assert outcome.query_latency.mean_ns == 2  # (1 + 2 + 5) / 3


def test_single_stream_claims_the_early_stopping_estimate_and_one_for_the_99th():
    # 662 queries of 1 ... 662 ns. At p90, t = 48 is the most that h(t) + t <= 662 allows; at p99, t = 1.
    starts = np.arange(1, 663) * 1000
    outcome = compute_outcome(record(starts, starts + np.arange(1, 663)), settings_of(SINGLE))
    most = max(t for t in range(1, 300) if fewest_passing(t, 0.90) + t <= 662)
    assert most == 48
    assert outcome.early_stopping.estimate_ns == 662 - most + 1
    assert outcome.early_stopping.over == most - 1
    assert outcome.early_stopping_99.estimate_ns == 662
    assert outcome.metric == ("p90 latency", float(662 - most + 1), "ns")
    fewer = compute_outcome(record(starts[:661], starts[:661] + 5), settings_of(SINGLE))
    assert fewer.early_stopping_99.estimate_ns is None
    assert fewer.early_stopping_99.needed == 662


def test_a_multi_stream_query_is_as_slow_as_its_slowest_sample():
    starts = np.repeat([1000, 2000, 3000], WIDTH)
    done = starts + np.array([5, 9, 7, 40, 1, 2, 8, 8, 8])
    outcome = compute_outcome(
        record(starts, done, query=np.repeat([0, 1, 2], 3)), settings_of(MULTI)
    )
    assert outcome.query_latency.percentiles_ns[0] == 9  # of 8, 9, 40
    assert outcome.query_latency.max_ns == outcome.percentile_latency_ns == 40
    assert outcome.query_latency.mean_ns == 19
    assert outcome.sample_latency.percentiles_ns[0] == 8
    assert (outcome.query_count, outcome.sample_count) == (3, 9)
    assert outcome.duration_ns == 3000
    assert outcome.final_query_completed_ns == 3008
    assert outcome.queries_per_second == 2 * NS_PER_S / 3000
    stored = outcome.to_json()
    assert stored["sample_latency"]["p50_ns"] == 8
    assert stored["latency"]["p50_ns"] == 9


def test_server_completes_n_minus_1_queries_by_the_answer_to_the_query_issued_last():
    # The query issued last is answered before another one; its own answer is what counts.
    outcome = compute_outcome(
        record([0, 100, 250, 400], [90, 900, 350, 500], issued_ns=[1, 120, 250, 400]),
        settings_of(SERVER),
    )
    assert outcome.final_query_completed_ns == 500
    assert outcome.samples_per_second == 3 * NS_PER_S / 500
    assert outcome.scheduled_samples_per_second == 3 * NS_PER_S / 400
    assert outcome.duration_ns == 400  # the last arrival, not the last answer
    assert outcome.metric == ("completed throughput", 3 * NS_PER_S / 500, "queries/s")


def test_server_latency_counts_from_the_arrival_and_the_bound_itself_is_within_it():
    arrivals = [0, 1000, 2000]
    outcome = compute_outcome(
        record(arrivals, [100, 1101, 2099], issued_ns=[90, 1090, 2090]), settings_of(SERVER)
    )
    assert (outcome.query_latency.min_ns, outcome.query_latency.max_ns) == (99, 101)
    assert outcome.over_bound_count == 1
    assert outcome.early_stopping.over == 1
    assert outcome.early_stopping.needed == 662
    assert outcome.early_stopping_99 is None
    assert outcome.to_json()["over_bound_count"] == 1


def test_offline_is_all_samples_over_the_time_of_the_last_answer():
    outcome = compute_outcome(
        record([0] * 5, [10, 40, 20, 25, 30], issued_ns=[1, 1, 1, 15, 15], query=[0] * 5),
        settings_of(OFFLINE),
    )
    assert outcome.samples_per_second == 5 * NS_PER_S / 40
    assert outcome.metric == ("throughput", 5 * NS_PER_S / 40, "samples/s")
    assert outcome.query_count == 1
    assert outcome.sample_count == 5
    assert outcome.duration_ns == 40
    assert outcome.early_stopping is None
    assert outcome.early_stopping_99 is None
    assert "early_stopping" not in outcome.to_json()


@pytest.mark.parametrize("scenario", Scenario)
def test_a_single_query_has_figures_that_can_be_stored(scenario):
    width = WIDTH if scenario is MULTI else 1
    outcome = compute_outcome(
        record([3] * width, [10] * width, query=[0] * width), settings_of(scenario)
    )
    assert outcome.query_count == 1
    assert outcome.percentile_latency_ns == 7
    stored = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert stored["query_count"] == 1
    if scenario is OFFLINE:
        assert outcome.samples_per_second == NS_PER_S / 7
    elif scenario is SERVER:
        assert outcome.samples_per_second == 0  # (1 - 1) queries


@pytest.mark.parametrize("scenario", Scenario)
def test_without_any_answer_there_are_no_figures(scenario):
    assert compute_outcome(record([1, 2, 3], [0, 0, 0]), settings_of(scenario)) is None
    assert compute_outcome(record([], []), settings_of(scenario)) is None


def test_a_multi_stream_query_answered_in_part_is_not_a_query_but_its_samples_count():
    starts = np.repeat([1000, 2000], WIDTH)
    outcome = compute_outcome(
        record(starts, [1005, 1006, 1007, 2100, 0, 2101], query=[0, 0, 0, 1, 1, 1]),
        settings_of(MULTI),
    )
    assert outcome.query_count == 1
    assert outcome.query_latency.max_ns == 7
    assert outcome.sample_count == 5
    assert outcome.sample_latency.max_ns == 101
    assert outcome.unanswered_count == 1
    in_part = record(starts[:3], [1005, 0, 1006], query=[0, 0, 0])
    assert compute_outcome(in_part, settings_of(MULTI)) is None


@pytest.mark.parametrize("rows", [4, 5])
def test_a_killed_run_may_end_in_the_middle_of_a_multi_stream_query(rows):
    starts = np.repeat([1000, 2000], WIDTH)[:rows]
    done = np.array([1005, 1006, 1007, 2001, 0])[:rows]
    samples = record(starts, done, query=np.repeat([0, 1], WIDTH)[:rows])
    outcome = compute_outcome(samples, settings_of(MULTI))
    assert query_latencies_ns(samples, settings_of(MULTI)).tolist() == [7]
    assert outcome.query_count == 1
    assert outcome.sample_count == 4
    assert outcome.unanswered_count == rows - 4
    assert outcome.duration_ns == 2000


def test_unanswered_samples_are_left_out_of_latencies_and_counted():
    outcome = compute_outcome(record([0, 100, 200], [50, 0, 290]), settings_of(SERVER))
    assert (outcome.query_count, outcome.sample_count, outcome.unanswered_count) == (2, 2, 1)
    assert outcome.query_latency.max_ns == 90
    assert outcome.early_stopping.queries == 2


def test_when_the_last_query_was_never_answered_the_last_answer_stands_for_it():
    outcome = compute_outcome(record([0, 100, 200], [250, 190, 0]), settings_of(SERVER))
    assert outcome.final_query_completed_ns == 250
    assert outcome.duration_ns == 200


def test_the_record_is_not_changed_by_computing_from_it():
    samples = record([0, 100, 200], [90, 130, 210])
    before = [column.copy() for column in (samples.scheduled_ns, samples.completed_ns)]
    for scenario in (SINGLE, SERVER, OFFLINE):
        compute_outcome(samples, settings_of(scenario))
    np.testing.assert_array_equal(before[0], samples.scheduled_ns)
    np.testing.assert_array_equal(before[1], samples.completed_ns)


def test_the_stored_figures_have_the_fields_names_for_percentiles():
    stored = compute_outcome(record([1], [3]), settings_of(SINGLE)).to_json()
    assert list(stored["latency"]) == [
        "min_ns",
        "mean_ns",
        "p50_ns",
        "p90_ns",
        "p95_ns",
        "p97_ns",
        "p99_ns",
        "p99_9_ns",
        "max_ns",
    ]


# --- against a slow oracle --------------------------------------------------------------------------


def slow_percentile(latencies, share):
    return sorted(latencies)[int(len(latencies) * share)]


def slow_least_good(over, share):
    """The least h with P[Binomial(h + over, 1 - share) <= over] < 1 %, in exact fractions."""
    bad = 1 - Fraction(share).limit_denominator(1000)
    good = 0
    while True:
        good += 1
        total = good + over
        chance = sum(
            math.comb(total, k) * bad**k * (1 - bad) ** (total - k) for k in range(over + 1)
        )
        if chance < Fraction(1, 100):
            return good


SLOW_LEAST = {share: [slow_least_good(t, share) for t in range(9)] for share in (0.5, 0.9)}


def slow_early_stopping_estimate(latencies, share):
    allowed = [t for t, good in enumerate(SLOW_LEAST[share]) if t and good + t <= len(latencies)]
    return sorted(latencies)[len(latencies) - allowed[-1]] if allowed else None


def slow_figures(rows, settings):
    """Every figure from a list of (scheduled, issued, completed), in plain Python."""
    width, scenario = settings.samples_per_query, settings.scenario
    queries = [rows[start : start + width] for start in range(0, len(rows), width)]
    whole = [
        max(done - due for due, _, done in query)
        for query in queries
        if len(query) == width and all(done for _, _, done in query)
    ]
    single = [done - due for due, _, done in rows if done]
    last = rows if scenario is OFFLINE else queries[-1]
    final = max(done for _, _, done in last) or max(done for _, _, done in rows)
    share = settings.target_latency_percentile
    figures = {
        "samples": len(single),
        "unanswered": len(rows) - len(single),
        "percentile": slow_percentile(whole, share),
        "p50": slow_percentile(single, 0.5),
        "p97": slow_percentile(whole, 0.97),
        "max": max(whole),
        "mean": sum(whole) // len(whole),
    }
    if scenario is OFFLINE:
        figures["rate"] = len(single) * 1e9 / max(single)
        figures["duration"] = max(single)
    elif scenario is SERVER:
        over = sum(latency > settings.target_latency_ns for latency in whole)
        figures["over"] = over
        figures["rate"] = (len(single) - 1) * 1e9 / final
        figures["duration"] = rows[-1][0]
        if over < len(SLOW_LEAST[share]):
            figures["met"] = len(whole) >= SLOW_LEAST[share][over] + over
    else:
        figures["duration"] = rows[-1][1]
        figures["estimate"] = slow_early_stopping_estimate(whole, share)
    return figures


def figures_of(outcome, settings):
    """The same figures of an outcome."""
    figures = {
        "samples": outcome.sample_count,
        "unanswered": outcome.unanswered_count,
        "percentile": outcome.percentile_latency_ns,
        "p50": outcome.sample_latency.percentiles_ns[PERCENTILES.index(0.50)],
        "p97": outcome.query_latency.percentiles_ns[PERCENTILES.index(0.97)],
        "max": outcome.query_latency.max_ns,
        "mean": outcome.query_latency.mean_ns,
        "duration": outcome.duration_ns,
    }
    if settings.scenario.closed_loop:
        figures["estimate"] = outcome.early_stopping.estimate_ns
        return figures
    figures["rate"] = pytest.approx(outcome.samples_per_second, rel=1e-12)
    if settings.scenario is SERVER:
        figures["over"] = outcome.over_bound_count
        figures["met"] = outcome.early_stopping.met
    return figures


@patiently
@given(data=st.data(), scenario=st.sampled_from(Scenario), share=st.sampled_from([0.5, 0.9]))
def test_the_figures_are_those_of_a_slow_oracle(data, scenario, share):
    settings = settings_of(scenario, target_latency_percentile=share)
    width = settings.samples_per_query
    latency = st.integers(min_value=1, max_value=2 * BOUND_NS)
    # A latency of 0 stands for no answer. At most 60 queries: the oracle's table goes no further.
    rows_ns = data.draw(
        st.lists(st.one_of(latency, latency, latency, st.just(0)), min_size=1, max_size=60)
    )
    gaps = data.draw(st.lists(st.integers(0, 50), min_size=len(rows_ns), max_size=len(rows_ns)))
    starts = np.cumsum(gaps) + 1
    if scenario is OFFLINE:
        starts = np.zeros(len(rows_ns), dtype=np.int64)
    if scenario is MULTI:
        starts = np.repeat(starts[::width], width)[: len(rows_ns)]
    done = np.where(np.asarray(rows_ns) > 0, starts + rows_ns, 0)
    issued = starts + 1 if scenario in (SERVER, OFFLINE) else starts
    query = np.zeros(len(rows_ns)) if scenario is OFFLINE else np.arange(len(rows_ns)) // width
    outcome = compute_outcome(record(starts, done, issued, query), settings)
    whole = [
        place
        for place in range(0, len(rows_ns) - width + 1, width)
        if all(done[place : place + width])
    ]
    if not whole:
        assert outcome is None
        return
    rows = list(zip(starts.tolist(), issued.tolist(), done.tolist(), strict=True))
    expected = slow_figures(rows, settings)
    found = figures_of(outcome, settings)
    assert {name: found[name] for name in expected} == expected
    assert outcome.query_count == (1 if scenario is OFFLINE else len(whole))


# --- against the reference --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_loadgen():
    """Runs the reference load generator with its trace on; gives its summary, details and samples."""
    lg = pytest.importorskip("mlperf_loadgen")

    def complete(query):
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in query])

    def run(scenario, folder, queries, qps=5000.0, bound_ns=200_000):
        wanted = lg.TestSettings()
        wanted.scenario = getattr(lg.TestScenario, scenario.field_name)
        wanted.mode = lg.TestMode.PerformanceOnly
        wanted.min_query_count = wanted.max_query_count = queries
        wanted.min_duration_ms = 0
        wanted.multi_stream_samples_per_query = WIDTH
        wanted.server_target_qps = qps
        wanted.server_target_latency_ns = bound_ns
        output = lg.LogOutputSettings()
        output.outdir = str(folder)
        logs = lg.LogSettings()
        logs.log_output = output
        logs.enable_trace = True
        system = lg.ConstructSUT(complete, lambda: None)
        library = lg.ConstructQSL(64, 64, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(system, library, wanted, logs)
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        return ReferenceRun(folder)

    return run


class ReferenceRun:
    """What the reference's logs say, and the samples in its trace, to the nanosecond."""

    def __init__(self, folder):
        self.summary = (folder / "mlperf_log_summary.txt").read_text()
        self.details = {}
        for line in (folder / "mlperf_log_detail.txt").read_text().splitlines():
            entry = json.loads(line.removeprefix(":::MLLOG "))
            self.details[entry["key"]] = entry["value"]
        # The trace is not JSON as a whole. Times of start have three decimals of a microsecond.
        rows = sorted(
            (int(number), int(query), int(microseconds + thousandths), int(issue), int(done))
            for microseconds, thousandths, number, query, issue, done in re.findall(
                r'"name":"Sample".*"ph":"b".*"ts":(\d+)\.(\d{3}),"args":\{"sample_seq":(\d+),'
                r'"query_seq":(\d+),.*"issue_start_ns":(\d+),"complete_ns":(\d+)',
                (folder / "mlperf_log_trace.json").read_text(),
            )
        )
        _, query, due_ns, issue_ns, done_ns = np.array(rows, dtype=np.int64).T
        due_ns = due_ns - due_ns[0]
        self.samples = record(due_ns, due_ns + done_ns, due_ns + issue_ns, query)

    def figure(self, label):
        """The number after a label of the summary, as it is written there."""
        return re.search(rf"^\s*{re.escape(label)}\s*:\s*(\S+)$", self.summary, re.MULTILINE)[1]


def require_the_reference_latencies(reference, latencies):
    assert int(reference.figure("Min latency (ns)")) == latencies.min_ns
    assert int(reference.figure("Mean latency (ns)")) == latencies.mean_ns
    assert int(reference.figure("Max latency (ns)")) == latencies.max_ns
    for share, latency_ns in zip(PERCENTILES, latencies.percentiles_ns, strict=True):
        label = f"{100 * share:.2f} percentile latency (ns)"
        assert int(reference.figure(label)) == latency_ns


@pytest.mark.parametrize("queries", [65, 200, 1000])
def test_single_stream_figures_are_the_references_for_its_own_latencies(
    tmp_path, reference_loadgen, queries
):
    reference = reference_loadgen(SINGLE, tmp_path, queries)
    outcome = compute_outcome(reference.samples, settings_of(SINGLE))
    assert outcome.query_count == queries
    require_the_reference_latencies(reference, outcome.query_latency)
    percentile_ns = int(reference.figure("90.0th percentile latency (ns)"))
    assert percentile_ns == outcome.percentile_latency_ns
    assert reference.details["early_stopping_latency_ss"] == outcome.early_stopping.estimate_ns
    assert f"Would discard {outcome.early_stopping.over} highest" in reference.summary
    if queries >= 662:
        estimate = re.search(r"99\.0th percentile estimate: (\d+)", reference.summary)[1]
        assert int(estimate) == outcome.early_stopping_99.estimate_ns
    else:
        assert outcome.early_stopping_99.estimate_ns is None


@pytest.mark.parametrize("queries", [100, 700])
def test_multi_stream_figures_are_the_references_for_its_own_latencies(
    tmp_path, reference_loadgen, queries
):
    reference = reference_loadgen(MULTI, tmp_path, queries)
    outcome = compute_outcome(reference.samples, settings_of(MULTI))
    assert outcome.query_count == queries
    assert int(reference.figure("99.0th percentile latency (ns)")) == outcome.percentile_latency_ns
    require_the_reference_latencies(reference, outcome.query_latency)
    assert reference.details["early_stopping_met"] == outcome.early_stopping.met
    if outcome.early_stopping.met:
        assert reference.details["early_stopping_latency_ms"] == outcome.early_stopping.estimate_ns


@pytest.mark.parametrize(("queries", "bound_ns"), [(300, 10**9), (800, 10**9), (800, 60_000)])
def test_server_figures_are_the_references_for_its_own_latencies(
    tmp_path, reference_loadgen, queries, bound_ns
):
    reference = reference_loadgen(SERVER, tmp_path, queries, bound_ns=bound_ns)
    settings = settings_of(SERVER, target_latency_ns=bound_ns)
    outcome = compute_outcome(reference.samples, settings)
    require_the_reference_latencies(reference, outcome.query_latency)
    assert reference.figure("Completed samples per second") == f"{outcome.samples_per_second:.2f}"
    scheduled = f"{outcome.scheduled_samples_per_second:.2f}"
    assert reference.figure("Scheduled samples per second") == scheduled
    assert reference.details["early_stopping_met"] == outcome.early_stopping.met
    within = outcome.percentile_latency_ns <= bound_ns
    assert reference.details["result_perf_constraints_met"] == within
    if not outcome.early_stopping.met:
        more = re.search(r"run at least (\d+) more queries", reference.summary)[1]
        assert more in early_stopping_words(outcome, settings)[2]


def test_offline_figures_are_the_references_for_its_own_latencies(tmp_path, reference_loadgen):
    reference = reference_loadgen(OFFLINE, tmp_path, 2000)
    outcome = compute_outcome(reference.samples, settings_of(OFFLINE))
    assert outcome.sample_count == len(reference.samples)
    require_the_reference_latencies(reference, outcome.sample_latency)
    assert reference.figure("Samples per second") == f"{outcome.samples_per_second:.6g}"


def test_the_reference_needs_more_queries_than_a_clean_claim_allows_just_as_here(
    tmp_path, reference_loadgen
):
    reference = reference_loadgen(SERVER, tmp_path, 459, bound_ns=NS_PER_S * 10)
    outcome = compute_outcome(
        reference.samples, settings_of(SERVER, target_latency_ns=10_000 * NS_PER_MS)
    )
    assert reference.details["early_stopping_met"]
    assert outcome.early_stopping.met
    assert outcome.early_stopping.needed == 459
