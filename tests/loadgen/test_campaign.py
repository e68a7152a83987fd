"""A whole load run: its tests in order, find-peak on record, and a check that can be trusted."""

import json
import shutil
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gnomon
from gnomon.core.errors import (
    ConfigError,
    GnomonError,
    RunFolderError,
    SettingsError,
    UnknownNameError,
)
from gnomon.core.registry import BENCHMARKS
from gnomon.core.run import Run, find_runs
from gnomon.loadgen.logs import DETAIL_FILE, SUMMARY_FILE
from gnomon.loadgen.samples import SAMPLES_FILE
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S
from gnomon.loadgen.system import SynchronousSystem
from gnomon.results.check import check

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


@pytest.fixture(scope="module")
def all_scenarios(tmp_path_factory):
    """One real run of every scenario and accuracy, read only."""
    return gnomon.run(
        "digits",
        scenario=SCENARIOS,
        target_qps=500,
        target_latency_ms=1000,
        quick=True,
        out=tmp_path_factory.mktemp("runs"),
    )


@pytest.fixture
def run_copy(all_scenarios, tmp_path):
    """The same run, in a folder that may be spoiled."""
    shutil.copytree(all_scenarios.path, tmp_path / all_scenarios.path.name)
    return Run.open(tmp_path / all_scenarios.path.name)


def test_every_scenario_and_accuracy_are_measured_in_order_and_valid(all_scenarios):
    run = all_scenarios
    assert run.status == "complete"
    assert list(run.measurements) == [*SCENARIOS, "accuracy"]
    assert run.verdict.valid
    assert str(run.verdict) == "VALID under quick rules"
    assert not run.verdict.comparable
    assert "quick rules, not the official data" in run.verdict.remark
    assert "latency bound 1.00 s instead of 10.0 ms" in run.verdict.remark
    for name in SCENARIOS:
        assert run.verdict.of(name).valid
        assert run.measurements[name]["faults"] == []
        assert run.result[name]["duration_ns"] >= 2 * NS_PER_S
    assert run.result["accuracy"]["quality"] == pytest.approx(787 / 797)


def test_check_makes_the_same_results_and_verdict_again(all_scenarios):
    report = check(all_scenarios.path)
    assert report.disagreements == ()
    assert report.verdict == all_scenarios.verdict
    assert report.results == all_scenarios.result
    assert report.fine


def test_check_agrees_with_a_run_that_missed_its_bound(tmp_path):
    run = gnomon.run(
        "digits",
        scenario="server",
        target_qps=400,
        target_latency_ms=0.001,
        quick=True,
        accuracy=False,
        out=tmp_path,
    )
    assert {failed.name for failed in run.verdict.failures} == {"latency_bound", "early_stopping"}
    report = check(run.path)
    assert report.disagreements == ()
    assert report.verdict == run.verdict
    assert not report.fine


# --- tampering --------------------------------------------------------------------------------------


def change_samples(run, name, change):
    path = run.path / name / SAMPLES_FILE
    table = pq.read_table(path)
    columns = {column: table[column].to_numpy().copy() for column in table.column_names}
    changed = change(columns) or columns
    pq.write_table(pa.table(changed, schema=table.schema), path)


def change_record(run, change):
    path = run.path / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def slowest_faster(columns):
    latency_ns = columns["completed_ns"] - columns["scheduled_ns"]
    with_it = columns["completed_ns"] == columns["completed_ns"][latency_ns.argmax()]
    columns["completed_ns"][with_it] -= latency_ns.max() // 2  # its whole query or batch


def other_sample(columns):
    columns["sample_index"][7] = (columns["sample_index"][7] + 1) % 797


def without_the_last(columns):
    return {name: values[:-1] for name, values in columns.items()}


def without_the_slowest(columns):
    latency_ns = columns["completed_ns"] - columns["scheduled_ns"]
    keep = np.arange(len(latency_ns)) != latency_ns.argmax()
    return {name: values[keep] for name, values in columns.items()}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("change", [other_sample, without_the_last, without_the_slowest])
def test_check_notices_samples_that_were_changed_or_taken_out(run_copy, name, change):
    change_samples(run_copy, name, change)
    report = check(run_copy.path)
    assert not report.fine
    assert any(words.startswith(f"{name}: ") for words in report.disagreements)


@pytest.mark.parametrize("name", SCENARIOS)
def test_check_notices_that_the_slowest_answer_was_made_faster(run_copy, name):
    change_samples(run_copy, name, slowest_faster)
    report = check(run_copy.path)
    assert not report.fine
    assert any(words.startswith(f"{name}: latency is") for words in report.disagreements)


def test_check_notices_arrivals_that_were_moved_to_hide_latency(run_copy):
    def later(columns):
        columns["scheduled_ns"] += 10 * NS_PER_MS
        columns["issued_ns"] += 10 * NS_PER_MS

    change_samples(run_copy, "server", later)
    report = check(run_copy.path)
    assert "server: the recorded arrivals are not those that its seeds give" in report.disagreements


def test_check_notices_an_answer_that_was_changed_in_the_accuracy_log(run_copy):
    path = run_copy.path / "accuracy" / "mlperf_log_accuracy.json"
    entries = json.loads(path.read_text())
    for entry in entries[:50]:
        scores = np.zeros(10, dtype=np.float32)
        scores[entry["qsl_idx"] % 10] = 1
        entry["data"] = scores.tobytes().hex().upper()
    path.write_text(json.dumps(entries))
    report = check(run_copy.path)
    assert not report.fine
    assert any(words.startswith("accuracy: quality is") for words in report.disagreements)
    assert "quality" in {failed.name for failed in report.verdict.failures}


def test_check_notices_answers_that_were_taken_out_of_the_accuracy_log(run_copy):
    path = run_copy.path / "accuracy" / "mlperf_log_accuracy.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    report = check(run_copy.path)
    assert "answered" in {failed.name for failed in report.verdict.failures}
    assert any("sample_count" in words for words in report.disagreements)


def set_metric(record):
    record["measurements"]["offline"]["result"]["metric"]["value"] *= 2


def set_percentile(record):
    record["measurements"]["server"]["result"]["percentile_latency_ns"] -= 1


def set_quality(record):
    record["measurements"]["accuracy"]["result"]["quality"] = 0.999


def drop_a_result(record):
    record["measurements"]["single-stream"]["result"] = None


def add_a_key(record):
    record["measurements"]["single-stream"]["result"]["energy"] = 3


@pytest.mark.parametrize(
    "change", [set_metric, set_percentile, set_quality, drop_a_result, add_a_key]
)
def test_check_notices_a_result_that_was_changed_in_the_record(run_copy, change):
    change_record(run_copy, change)
    report = check(run_copy.path)
    assert not report.fine
    assert len(report.disagreements) == 1


def test_check_notices_a_verdict_that_was_turned_around(tmp_path):
    run = gnomon.run(
        "digits",
        system="null",
        scenario="server",
        target_qps=300,
        target_latency_ms=0.0001,
        quick=True,
        accuracy=False,
        out=tmp_path,
    )
    assert not run.verdict.valid

    def pass_everything(record):
        record["verdict"]["valid"] = True
        for found in record["verdict"]["checks"]:
            found["passed"] = True

    change_record(run, pass_everything)
    assert Run.open(run.path).verdict.valid  # what the record claims
    report = check(run.path)
    assert not report.fine
    assert "the record says VALID, the raw samples say INVALID" in report.disagreements


def lower_minimum(record):
    record["measurements"]["server"]["settings"]["min_duration_ns"] = 1000


def other_seeds(record):
    record["measurements"]["server"]["settings"]["seeds"]["schedule"] += 1


def other_rate(record):
    record["measurements"]["server"]["settings"]["target_qps"] += 1


@pytest.mark.parametrize("change", [lower_minimum, other_seeds, other_rate])
def test_check_notices_settings_that_do_not_give_these_samples(run_copy, change):
    change_record(run_copy, change)
    assert not check(run_copy.path).fine


def test_check_notices_that_data_was_called_official(run_copy):
    def claim(record):
        record["data"]["official"] = True

    change_record(run_copy, claim)
    report = check(run_copy.path)
    assert not report.fine
    assert any("official" in words for words in report.disagreements)


def test_check_notices_rules_that_were_renamed(run_copy):
    def claim(record):
        record["rules"] = "official"

    change_record(run_copy, claim)
    report = check(run_copy.path)
    assert not report.fine
    assert not report.verdict.valid


def test_check_notices_a_fault_that_was_taken_off_the_record(tmp_path):
    def not_a_number(images):
        time.sleep(0.001)
        return np.full((len(images), 10), np.nan, dtype=np.float32)

    run = gnomon.run(
        "digits", system=not_a_number, scenario="offline", quick=True, accuracy=False, out=tmp_path
    )

    def forgive(record):
        record["measurements"]["offline"]["faults"] = []

    change_record(run, forgive)
    report = check(run.path)
    assert not report.fine
    assert any("the detail log has 1 error(s)" in words for words in report.disagreements)


@pytest.mark.parametrize("name", SCENARIOS)
def test_check_notices_that_logs_are_missing(run_copy, name):
    for file in (SUMMARY_FILE, DETAIL_FILE):
        (run_copy.path / name / file).unlink()
    report = check(run_copy.path)
    assert not report.fine
    assert report.disagreements


def test_check_notices_a_log_that_says_invalid(run_copy):
    path = run_copy.path / "single-stream" / DETAIL_FILE
    text = path.read_text()
    assert '"value": "VALID"' in text
    path.write_text(text.replace('"value": "VALID"', '"value": "INVALID"'))
    report = check(run_copy.path)
    words = "single-stream: the detail log says result_validity 'INVALID', the raw samples 'VALID'"
    assert words in report.disagreements
    assert not report.fine


def test_check_refuses_raw_samples_that_are_missing_or_cut_short(run_copy):
    path = run_copy.path / "offline" / SAMPLES_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFolderError, match="cannot be read as samples"):
        check(run_copy.path)
    path.unlink()
    with pytest.raises(RunFolderError, match="is missing: the run cannot be recomputed"):
        check(run_copy.path)


def test_check_refuses_other_data_than_the_run_was_measured_on(run_copy):
    def other(record):
        record["data"]["sha256"] = "0" * 64

    change_record(run_copy, other)
    with pytest.raises(GnomonError, match=r"measured on other data .* 000000000000"):
        check(run_copy.path)


def test_check_notices_a_measurement_that_was_taken_off_the_record(run_copy):
    def forget(record):
        for name in ("accuracy", "server"):
            del record["measurements"][name]

    change_record(run_copy, forget)
    shutil.rmtree(run_copy.path / "server")  # the samples of accuracy are still there
    report = check(run_copy.path)
    for name in ("accuracy", "server"):
        assert f"{name}: it is not on record" in report.disagreements
    assert not report.fine


# --- find-peak --------------------------------------------------------------------------------------


class OneAtATime(SynchronousSystem):
    """Takes 2 ms a query and one query at a time: the peak lies below 500 a second."""

    name = "one-at-a-time"
    max_batch_size = 1

    def load(self, task, samples):
        pass

    def predict(self, samples):
        time.sleep(0.002)
        return np.zeros((len(samples), 10), dtype=np.float32)


PEAK_LATENCY_MS = 150
"""Room for a machine that is held up; at 540 a second, two seconds back up as far."""


@pytest.fixture(scope="module")
def peak_run(tmp_path_factory):
    """A rate found without being guessed."""
    return gnomon.run(
        "digits",
        system=OneAtATime(),
        scenario="server",
        target_latency_ms=PEAK_LATENCY_MS,
        duration_s=2,
        accuracy=False,
        out=tmp_path_factory.mktemp("peak"),
    )


def test_the_peak_of_a_slow_system_is_valid_and_below_what_it_can_do(peak_run):
    assert peak_run.verdict.valid
    settings = peak_run.measurements["server"]["settings"]
    assert 50 < settings["target_qps"] < 540
    assert settings["min_duration_ns"] == 2 * NS_PER_S
    assert peak_run.result["server"]["percentile_latency_ns"] <= PEAK_LATENCY_MS * NS_PER_MS


def test_every_probe_is_on_record_like_any_other_test(peak_run):
    probes = peak_run.measurements["server"]["probes"]
    assert len(probes) >= 4
    assert [probe["confirmation"] for probe in probes].count(True) >= 1
    assert probes[-1]["confirmation"]
    assert probes[-1]["measurement"] == "server"
    assert probes[-1]["valid"]
    for probe in probes:
        stored = peak_run.measurements[probe["measurement"]]
        assert stored["settings"]["target_qps"] == probe["target_qps"]
        assert (peak_run.path / probe["measurement"] / SAMPLES_FILE).is_file()
    tried = {name for name in peak_run.measurements if "-probe-" in name}
    named = {probe["measurement"] for probe in probes if probe["measurement"] != "server"}
    assert tried - named == {"server-probe-00"}  # the trial that gave the first rate


def test_the_peak_is_the_highest_valid_rate_that_was_tried(peak_run):
    probes = [probe for probe in peak_run.measurements["server"]["probes"] if probe["valid"]]
    confirmed = probes[-1]["target_qps"]
    failed = [
        probe["target_qps"]
        for probe in peak_run.measurements["server"]["probes"]
        if not probe["valid"]
    ]
    assert failed
    assert min(failed) > confirmed or any(
        probe["confirmation"] and not probe["valid"]
        for probe in peak_run.measurements["server"]["probes"]
    )


def test_a_run_with_probes_can_be_checked(peak_run):
    report = check(peak_run.path)
    assert report.disagreements == ()
    assert report.fine
    assert set(report.results) == set(peak_run.measurements)


class TiresLate(OneAtATime):
    """Answers nothing sensible once a test has lasted longer than a probe: only confirming tests do."""

    def load(self, task, samples):
        self._begun = None

    def predict(self, samples):
        self._begun = self._begun or time.monotonic()
        scores = super().predict(samples)
        return scores * np.nan if time.monotonic() - self._begun > 4 else scores


@pytest.mark.slow
def test_a_fault_in_a_confirming_test_ends_the_search_and_check_agrees(tmp_path):
    run = gnomon.run(
        "digits",
        system=TiresLate(),
        scenario="server",
        target_latency_ms=40,
        target_qps=200,
        find_peak=True,
        duration_s=5,
        accuracy=False,
        out=tmp_path,
    )
    assert not run.verdict.valid
    assert "server" not in run.measurements
    assert any(stored["faults"] for stored in run.measurements.values())
    assert check(run.path).disagreements == ()


def test_no_rate_is_claimed_where_none_is_valid(tmp_path):
    def slow(images):
        time.sleep(0.02)
        return np.zeros((len(images), 10), dtype=np.float32)

    run = gnomon.run(
        "digits",
        system=slow,
        scenario="server",
        find_peak=True,
        target_qps=2,
        target_latency_ms=1,
        duration_s=2,
        accuracy=False,
        out=tmp_path,
    )
    assert not run.verdict.valid
    (peak,) = [failed for failed in run.verdict.failures if failed.name == "peak"]
    assert "no valid Server rate found down to" in peak.why
    assert "raise --target-latency" in peak.why
    assert not check(run.path).fine


def test_a_system_that_breaks_while_the_peak_is_sought_aborts_the_run(tmp_path):
    calls = []

    def breaks(images):
        calls.append(len(images))
        if len(calls) > 600:
            raise ConnectionResetError("the board was unplugged")
        time.sleep(0.001)
        return np.zeros((len(images), 10), dtype=np.float32)

    run = gnomon.run(
        "digits", system=breaks, scenario="server", duration_s=2, accuracy=False, out=tmp_path
    )
    assert run.status == "aborted"
    assert "the board was unplugged" in run.record["aborted_because"]
    assert run.result  # the trial, at least
    assert not check(run.path).fine


# --- what a person may ask for wrongly --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"benchmark": "digit"}, "unknown benchmark 'digit': did you mean 'digits'?"),
        ({"system": "onxx"}, "unknown system 'onxx': did you mean 'onnx'?"),
        ({"scenario": "ofline"}, "unknown scenario 'ofline': did you mean 'offline'?"),
        ({"scenario": ("offline", "sever")}, "unknown scenario 'sever': did you mean 'server'?"),
        ({"rules": "offical"}, "unknown rules 'offical': did you mean 'official'?"),
        ({"target_qsp": 100}, "unknown option 'target_qsp': did you mean 'target_qps'?"),
        ({"benchmark": "zzz"}, "unknown benchmark 'zzz': known: "),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest_one_there_is(tmp_path, options, words):
    with pytest.raises(UnknownNameError) as caught:
        gnomon.run(**{"benchmark": "digits", "out": tmp_path, **options})
    assert words in str(caught.value)
    assert find_runs(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"scenario": "single-stream", "target_qps": 5},
            "--target-qps means nothing in single-stream: add --scenario server",
        ),
        ({"scenario": "offline", "find_peak": True}, "--find-peak means nothing in offline"),
        ({"scenario": "offline", "samples_per_query": 3}, "--samples-per-query means nothing in"),
        ({"scenario": "offline", "server_coalesce_queries": True}, "--coalesce means nothing in"),
        ({"scenario": "offline", "max_async_queries": 3}, "--max-async-queries means nothing in"),
        ({"scenario": "offline", "target_latency_ms": 3}, "--target-latency means nothing in"),
        ({"duration_s": 3, "max_duration_s": 2}, "max_duration (2 s) is below min_duration (3 s)"),
        (
            {"min_query_count": 500, "max_query_count": 100},
            "max_query_count (100) is below min_query_count (500)",
        ),
        (
            {"performance_issue_unique": True, "performance_issue_same": True},
            "performance_issue_unique and performance_issue_same contradict each other",
        ),
        (
            {"performance_issue_same": True, "performance_issue_same_index": 797},
            "performance_issue_same_index (797) must be below performance_sample_count (797)",
        ),
        ({"performance_sample_count": 798}, "is more than the data set holds (797): lower it"),
        ({"scenario": "server", "target_qps": -5}, "target_qps must be positive, got -5"),
        (
            {"scenario": "server", "target_qps": float("nan")},
            "target_qps must be positive, got nan",
        ),
        ({"duration_s": 1}, "quick rules need at least 2 s a test, --duration asks for 1 s"),
        (
            {"rules": "official", "duration_s": 60},
            "official rules need at least 600 s a test, --duration asks for 60 s",
        ),
        ({"rules": "official", "seeds": "1,2,3"}, "official rules prescribe the seeds of round"),
        ({"seeds": "1,2"}, "--seeds takes three whole numbers"),
        ({"seeds": "1,2,many"}, "--seeds takes three whole numbers"),
        ({"duration_s": "long"}, "duration_s: "),
        ({"workers": 0}, "workers: "),
        ({"performance": False, "accuracy": False}, "leave nothing to measure"),
        (
            {"system": len, "system_options": {"threads": 2}},
            "system_options only apply to a system given by name",
        ),
        ({"system": 3}, "a System or a callable, got int"),
    ],
)
def test_contradicting_or_impossible_settings_are_refused_before_a_run_folder_is_made(
    tmp_path, options, words
):
    with pytest.raises(SettingsError) as caught:
        gnomon.run("digits", **{"out": tmp_path, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert find_runs(tmp_path) == []


def test_a_configuration_file_with_a_misspelt_key_is_refused_with_its_line(tmp_path):
    path = tmp_path / "user.conf"
    path.write_text("*.Server.target_qps = 100\n*.Server.target_latncy = 10\n")
    with pytest.raises(ConfigError, match=r"user\.conf:2: .*target_latency"):
        gnomon.run("digits", scenario="server", config=path, out=tmp_path / "runs")
    assert find_runs(tmp_path / "runs") == []


def test_every_benchmark_that_is_registered_can_be_found_by_a_near_name():
    for name in BENCHMARKS.names():
        with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
            BENCHMARKS.load(f"{name}x")
