"""Comparisons of real runs, and of the same runs with their records changed."""

import copy
import json
import time
from dataclasses import replace

import numpy as np
import pytest

import gnomon
from gnomon.core.run import Run
from gnomon.results.claims import FEW_RUNS_FLOOR, PRACTICAL_FLOOR, concluded
from gnomon.results.compare import Comparison, compare
from tests.results.mobile_sessions import browser_run


def answered_after(duration_ns, images):
    end_ns = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < end_ns:
        pass
    return np.zeros(len(images))


def prompt(images):
    return answered_after(300_000, images)


def sluggish(images):
    return answered_after(20_000_000, images)


def broken(images):
    raise ValueError("out of order")


def measured(out, system, **options):
    return gnomon.run("digits", system=system, out=out, quick=True, **options)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def fast(out):
    return measured(out, prompt, scenario="single-stream,offline", accuracy=False)


@pytest.fixture(scope="module")
def slow(out):
    return measured(out, sluggish, scenario="single-stream,offline", accuracy=False)


@pytest.fixture(scope="module")
def served(out):
    return measured(
        out, prompt, scenario="server", target_qps=800, target_latency_ms=2000, accuracy=False
    )


@pytest.fixture(scope="module")
def aborted(out):
    return measured(out, broken, scenario="single-stream,offline", accuracy=False)


@pytest.fixture(scope="module")
def scored(out):
    return measured(out, "onnx", performance=False)


def changed(run, number=0, **values):
    """The same run under another id, with `a__b__c=value` put on record at a.b.c."""
    record = copy.deepcopy(run.record)
    record["id"] = f"{run.id}-{number}"
    for path, value in values.items():
        *folders, last = path.split("__")
        place = record
        for name in folders:
            place = place[name.replace("_stream", "-stream")]
        place[last] = value
    return Run(run.path, record, run.status)


def rows(comparison):
    return {(row.measurement, row.metric): row for row in comparison.rows}


def conclusions(comparison):
    return {row.measurement: row.conclusion for row in comparison.rows}


def test_a_system_that_is_much_slower_is_called_slower_whatever_the_metrics_direction(fast, slow):
    found = rows(compare([fast, slow]))
    latency, throughput = found["single-stream", "p90 latency"], found["offline", "throughput"]
    assert (latency.conclusion, throughput.conclusion) == ("slower", "slower")
    assert latency.ratio > 1 > throughput.ratio
    assert latency.interval.low <= latency.ratio <= latency.interval.high
    assert throughput.interval.low <= throughput.ratio <= throughput.interval.high
    assert latency.cliffs_delta > 0.5 > -0.5 > throughput.cliffs_delta
    assert max(latency.p_adjusted, throughput.p_adjusted) < 0.05
    assert latency.p_adjusted >= latency.p_value


def test_the_first_run_is_the_baseline(fast, slow):
    assert set(conclusions(compare([slow, fast])).values()) == {"faster"}


def test_the_same_runs_always_give_the_same_comparison(fast, slow):
    assert compare([fast, slow]) == compare([str(fast.path), slow.path])


def test_one_run_a_side_says_that_variation_between_runs_is_not_seen(fast, slow):
    comparison = compare([fast, slow])
    assert any("each side is one run" in note for note in comparison.notes)
    assert {row.floor for row in comparison.rows} == {FEW_RUNS_FLOOR}
    assert comparison.valid


def test_a_run_beside_its_own_copy_shows_no_difference_and_says_nothing_differs_on_record(fast):
    comparison = compare([fast, changed(fast)])
    assert not {"faster", "slower"} & set(conclusions(comparison).values())
    assert all(row.ratio == 1.0 for row in comparison.rows)
    assert any("nothing on record differs" in note for note in comparison.notes)


def test_many_like_runs_are_not_called_different_within_their_spread(fast):
    path = "measurements__single_stream__result__percentile_latency_ns"
    base = fast.result["single-stream"]["percentile_latency_ns"]
    runs = [changed(fast, n, **{path: int(base * (1 + n / 10))}) for n in range(4)]
    comparison = compare(runs)
    assert len(comparison.sides) == 4
    floors = [row.floor for row in comparison.rows if row.measurement == "single-stream"]
    assert floors == pytest.approx([0.3, 0.3, 0.2], abs=0.01)


def runs_with_latencies(run, latencies_ns, first=0):
    path = "measurements__single_stream__result__percentile_latency_ns"
    return [changed(run, first + n, **{path: value}) for n, value in enumerate(latencies_ns)]


def test_three_runs_a_side_are_the_sample_themselves(fast, slow):
    ours = runs_with_latencies(fast, [1000, 1010, 990])
    theirs = runs_with_latencies(slow, [1020, 1030, 1025, 1035])
    comparison = compare([*ours, *theirs])
    assert [len(side.runs) for side in comparison.sides] == [3, 4]
    row = rows(comparison)["single-stream", "p90 latency"]
    assert row.method == "3 and 4 runs"
    assert row.floor == PRACTICAL_FLOOR
    assert row.interval.low > 1
    assert row.conclusion == "slower"


def test_three_runs_a_side_with_more_spread_than_difference_claim_nothing(fast, slow):
    ours = runs_with_latencies(fast, [1000, 1200, 900])
    theirs = runs_with_latencies(slow, [1050, 1250, 950])
    row = rows(compare([*ours, *theirs]))["single-stream", "p90 latency"]
    assert (row.conclusion, "wide" in row.why) == ("inconclusive", True)


def test_a_real_difference_below_the_practical_floor_is_not_claimed(fast, slow):
    ours = runs_with_latencies(fast, [100_000, 100_010, 99_990])
    theirs = runs_with_latencies(slow, [100_500, 100_510, 100_490])
    row = rows(compare([*ours, *theirs]))["single-stream", "p90 latency"]
    assert row.p_adjusted < 0.05
    assert (row.conclusion, row.why) == (
        "no difference seen",
        "below the practical floor of 1 %",
    )


def test_two_runs_a_side_do_not_claim_what_runs_of_one_side_differ_by(fast, slow):
    base = fast.result["single-stream"]["percentile_latency_ns"]
    ours = runs_with_latencies(fast, [base, 4 * base])
    comparison = compare([*ours, slow])
    row = rows(comparison)["single-stream", "p90 latency"]
    assert row.floor == pytest.approx(3.0)
    assert any("fewer than 3 runs" in note for note in comparison.notes)


def test_the_percentile_is_compared_rather_than_the_estimate_that_depends_on_length(fast, slow):
    row = rows(compare([fast, slow]))["single-stream", "p90 latency"]
    assert row.baseline_value == fast.result["single-stream"]["percentile_latency_ns"]


def test_an_aborted_run_is_shown_and_left_out_of_every_claim(fast, slow, aborted):
    comparison = compare([fast, aborted, slow])
    assert not comparison.valid
    assert [side.valid for side in comparison.sides] == [True, False, True]
    assert "aborted" in comparison.sides[1].verdict
    found = {(row.candidate, row.measurement): row for row in comparison.rows}
    assert found["B", "single-stream"].conclusion == "not compared: INVALID"
    assert found["B", "offline"].p_value is None
    assert found["C", "single-stream"].conclusion == "slower"


def test_an_invalid_baseline_leaves_nothing_to_claim(fast, aborted):
    comparison = compare([aborted, fast])
    assert set(conclusions(comparison).values()) == {"not compared: INVALID"}


def test_runs_that_answered_nothing_are_shown_without_values(aborted):
    comparison = compare([aborted, changed(aborted)])
    assert conclusions(comparison) == {"single-stream": "not compared: INVALID"}
    assert comparison.rows[0].baseline_value is None


def test_a_set_server_rate_is_not_compared_but_its_latency_is(served):
    comparison = compare([served, changed(served)])
    rate = rows(comparison)["server", "completed throughput"]
    latency = rows(comparison)["server", "p99 latency"]
    assert rate.conclusion == "not compared: the rate was set"
    assert rate.p_value is None
    assert not latency.conclusion.startswith("not compared")


def test_latencies_at_different_rates_are_not_compared(served):
    other = changed(served, measurements__server__settings__target_qps=900.0)
    comparison = compare([served, other])
    row = rows(comparison)["server", "p99 latency"]
    assert row.conclusion == "not compared: target_qps differs"
    assert "800 and 900" in row.why
    assert "server: target_qps is 800 in A, 900 in B" in comparison.warnings


def test_a_peak_of_one_search_a_side_is_inconclusive_and_three_a_side_tell(served):
    def searched(number, rate, system):
        return changed(
            served,
            number,
            measurements__server__probes=[{"target_qps": rate}],
            measurements__server__settings__target_qps=rate,
            measurements__server__result__metric__value=rate,
            system__name=system,
        )

    single = compare([searched(0, 1000.0, "one"), searched(1, 2000.0, "other")])
    assert rows(single)["server", "completed throughput"].conclusion == "inconclusive"
    ours = [searched(n, rate, "one") for n, rate in enumerate((1000.0, 1010.0, 990.0))]
    theirs = [searched(n, rate, "other") for n, rate in enumerate((2000.0, 2020.0, 1980.0), 3)]
    comparison = compare([*ours, *theirs])
    assert [len(side.runs) for side in comparison.sides] == [3, 3]
    assert rows(comparison)["server", "completed throughput"].conclusion == "faster"


def with_quality(run, quality, number=0, **values):
    return changed(run, number, measurements__accuracy__result__quality=quality, **values)


@pytest.mark.parametrize(
    ("hits", "higher_is_better", "conclusion"),
    [
        (787, True, "no difference seen"),
        (785, True, "no difference seen"),
        (700, True, "worse"),
        (700, False, "better"),
    ],
)
def test_accuracy_is_compared_by_counts(scored, hits, higher_is_better, conclusion):
    direction = {"benchmark__quality__higher_is_better": higher_is_better}
    one = changed(scored, 1, **direction)
    other = with_quality(scored, hits / 797, 2, system__name="other", **direction)
    row = rows(compare([one, other]))["accuracy", "top-1 accuracy"]
    assert row.interval_of == "difference"
    assert (
        row.interval.low <= hits / 797 - scored.result["accuracy"]["quality"] <= row.interval.high
    )
    assert row.conclusion == conclusion


def test_a_quality_that_is_no_share_of_the_samples_gets_no_interval(scored):
    row = rows(compare([scored, with_quality(scored, 27.31)]))["accuracy", "top-1 accuracy"]
    assert (row.interval, row.conclusion) == (None, "inconclusive")
    same = [with_quality(scored, 27.31, n) for n in range(2)]
    assert conclusions(compare(same)) == {"accuracy": "no difference seen"}


def test_every_difference_besides_the_system_is_told(fast):
    other = changed(
        fast,
        rules="official",
        gnomon_version="9.9",
        data__sha256="0" * 64,
        benchmark__quality__factor=0.999,
        environment__cpu__model="another processor",
        options__workers=3,
        measurements__single_stream__settings__min_duration_ns=1,
    )
    warnings = compare([fast, other]).warnings
    for words in (
        "rules: A quick, B official",
        "gnomon version: A ",
        "data: A ",
        "benchmark declaration: quality.factor",
        "single-stream: min_duration_ns is 2000000000 in A, 1 in B",
        "offline: workers is 1 in A, 3 in B",
        "another processor",
    ):
        assert any(words in warning for warning in warnings), words
    assert compare([fast, changed(fast)]).warnings == ()


def test_a_measurement_that_only_one_side_has_is_a_warning(fast):
    record = copy.deepcopy(fast.record)
    del record["measurements"]["offline"]
    less = Run(fast.path, {**record, "id": "less"}, "complete")
    comparison = compare([fast, less])
    assert set(conclusions(comparison)) == {"single-stream"}
    assert "offline: measured in A only" in comparison.warnings


def test_probes_are_not_measurements_to_compare(fast):
    record = copy.deepcopy(fast.record)
    record["measurements"]["server-probe-01"] = record["measurements"]["offline"]
    probed = [Run(fast.path, {**record, "id": name}, "complete") for name in "ab"]
    assert set(conclusions(compare(probed))) == {"single-stream", "offline"}


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_runs_are_refused(fast, count):
    with pytest.raises(gnomon.UsageError, match="at least two runs"):
        compare([fast] * count)


def test_a_run_given_twice_is_refused(fast):
    with pytest.raises(gnomon.UsageError, match="given twice"):
        compare([fast, fast.path])


def test_different_benchmarks_are_refused(fast):
    with pytest.raises(gnomon.UsageError, match=r"'digits'.*'letters'"):
        compare([fast, changed(fast, benchmark__name="letters")])


def test_runs_with_no_measurement_in_common_are_refused(fast, served):
    with pytest.raises(gnomon.UsageError, match="no measurement in common"):
        compare([fast, served])


def test_raw_samples_that_are_gone_are_told(fast, slow, tmp_path):
    moved = replace(changed(slow), path=tmp_path)
    with pytest.raises(gnomon.RunFolderError, match="cannot be recomputed"):
        compare([fast, moved])


def test_a_comparison_is_plain_data(fast, slow):
    comparison = compare([fast, slow])
    assert isinstance(comparison, Comparison)
    back = json.loads(json.dumps(comparison.to_json()))
    assert back["rows"][0]["conclusion"] == "slower"
    assert back["rows"][0]["interval"]["confidence"] == 0.95


@pytest.mark.parametrize(
    ("interval", "p_adjusted", "superiority", "value", "conclusion", "why"),
    [
        ((0.80, 0.90), 0.01, 0.2, 85, "faster", ""),
        ((0.80, 0.90), 0.20, 0.4, 85, "inconclusive", "the rank test does not"),
        ((0.80, 1.05), 0.01, 0.2, 92, "inconclusive", "includes equality"),
        ((0.80, 0.90), 0.01, 0.7, 85, "inconclusive", "opposite ways"),
        ((0.93, 1.04), 0.60, 0.5, 99, "no difference seen", ""),
        ((0.60, 1.60), 0.60, 0.5, 99, "inconclusive", "wide"),
        ((0.95, 0.99), 0.01, 0.2, 97, "no difference seen", "floor of 5 %"),
        ((0.85, 0.98), 0.01, 0.2, 96, "inconclusive", "floor of 5 %"),
    ],
)
def test_a_difference_is_claimed_only_if_interval_test_and_size_agree(
    fast, slow, interval, p_adjusted, superiority, value, conclusion, why
):
    row = compare([fast, slow]).rows[0]
    found = concluded(
        replace(
            row,
            baseline_value=100.0,
            candidate_value=float(value),
            interval=gnomon.core.resampling.Interval(*interval),
            p_adjusted=p_adjusted,
            superiority=superiority,
            conclusion="",
        )
    )
    assert found.conclusion == conclusion
    assert why in found.why


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    return browser_run(tmp_path_factory.mktemp("phone"))


def test_sides_of_a_phone_say_precision_and_device_and_what_differs_between_them(phone):
    described = "system__description__"
    other = changed(
        phone,
        **{
            f"{described}precision": "int8",
            f"{described}model_sha256": "99abcdef",
            f"{described}provider": "webgpu",
            f"{described}threads": 1,
        },
    )
    comparison = compare([phone, other])
    assert [side.system for side in comparison.sides] == [
        "ONNX Runtime Web fp32 on Pixel 8 (Android 14.0.0)",
        "ONNX Runtime Web int8 on Pixel 8 (Android 14.0.0)",
    ]
    assert comparison.warnings == (
        "precision: A fp32, B int8: a difference in speed is one between two models",
        "model: A digits.onnx (sha256 87c7ed76587d), B digits.onnx (sha256 99abcdef): not the same file",
        "provider: A wasm, B webgpu",
        "threads: A 4, B 1",
    )


def test_what_probing_a_browser_took_does_not_part_the_runs_of_one_phone(phone):
    def probed(number, took_ms):
        probe = {"name": "wasm", "usable": True, "why": "", "took_ms": took_ms}
        return changed(phone, number, system__description__probes=[probe])

    slow = changed(phone, 3, system__description__threads=1)
    comparison = compare([probed(1, 4.0), probed(2, 9.0), slow])
    assert [len(side.runs) for side in comparison.sides] == [2, 1]
    assert comparison.warnings == ("threads: A 4, B 1",)


def test_a_side_of_a_native_framework_says_its_precision_once(phone):
    native = {"system__name": "litert", "system__description__framework": "LiteRT"}
    asked = {"asked_system": {"options": {"precision": "int8", "threads": 2}}}
    machine = {key: value for key, value in phone.record["environment"].items() if key != "device"}
    run = changed(
        phone, environment=machine, system__description__precision="int8", **native, **asked
    )
    assert compare([phone, run]).sides[1].system == "LiteRT int8 threads=2"


def test_other_suites_are_compared_by_the_names_of_their_systems(scored):
    other = changed(scored, system__name="other", system__description__threads=7)
    comparison = compare([scored, other])
    assert [side.system for side in comparison.sides] == ["onnx", "other"]
    assert comparison.warnings == ()
