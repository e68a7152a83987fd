"""Logs of the reference load generator, of ours and of round v0.5, read as what they claim.

A log that is cut short or damaged must never pass for a valid one.
"""

import json
from datetime import UTC, datetime

import mlperf_loadgen
import pytest

from gnomon.core.errors import DataError
from gnomon.loadgen.log_facts import LogContext
from gnomon.loadgen.logs import DETAIL_FILE, SUMMARY_FILE, write_logs
from gnomon.loadgen.measure import measure
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.read_logs import HEADLINES, read_log_folder
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings
from gnomon.systems.null import NullSystem
from gnomon.tasks.digits import Digits

TOTAL, AT_ONCE = 797, 300


def settings_of(scenario, **changes):
    """A test without a least duration that both load generators call valid."""
    chosen = {
        "scenario": scenario,
        "total_sample_count": TOTAL,
        "performance_sample_count": AT_ONCE,
        "min_duration_ns": 0,
        "min_query_count": 700,
        "target_qps": 20_000,
        "target_latency_ns": NS_PER_S if scenario is Scenario.SERVER else 0,
        "target_latency_percentile": 0.9 if scenario is Scenario.SINGLE_STREAM else 0.99,
        "samples_per_query": 8 if scenario is Scenario.MULTI_STREAM else 1,
    }
    return Settings(**(chosen | changes))


def reference_loadgen(settings, folder):
    """Run the reference on a system that answers at once."""

    def issue(samples):
        mlperf_loadgen.QuerySamplesComplete(
            [mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
        )

    wanted = mlperf_loadgen.TestSettings()
    wanted.scenario = getattr(mlperf_loadgen.TestScenario, settings.scenario.field_name)
    wanted.mode = getattr(mlperf_loadgen.TestMode, settings.mode.field_name)
    wanted.min_duration_ms = settings.min_duration_ns // NS_PER_MS
    wanted.min_query_count = settings.min_query_count
    wanted.max_query_count = settings.max_query_count
    wanted.server_target_qps = wanted.offline_expected_qps = settings.target_qps
    wanted.server_target_latency_ns = settings.target_latency_ns
    wanted.multi_stream_samples_per_query = settings.samples_per_query
    for name in ("qsl", "sample_index", "schedule"):
        setattr(wanted, f"{name}_rng_seed", getattr(settings.seeds, name))
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    log_settings = mlperf_loadgen.LogSettings()
    log_settings.log_output = output
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(
        TOTAL, AT_ONCE, lambda samples: None, lambda samples: None
    )
    try:
        mlperf_loadgen.StartTestWithLogSettings(system, library, wanted, log_settings)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)


def gnomon_loadgen(settings, folder):
    """Run ours."""
    measured = measure(NullSystem(), Digits(), settings, folder)
    outcome = compute_outcome(measured.samples, settings)
    context = LogContext(
        "PySUT",
        "PyQSL",
        "9.8.7",
        datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        measured.loaded_sets,
        tuple(fault.message for fault in measured.faults),
    )
    write_logs(folder, settings, outcome if settings.mode is Mode.PERFORMANCE else None, context)


WRITERS = pytest.mark.parametrize("write", [reference_loadgen, gnomon_loadgen])


def entries(folder):
    return [
        json.loads(line.removeprefix(":::MLLOG "))
        for line in (folder / DETAIL_FILE).read_text().splitlines()
    ]


@WRITERS
@pytest.mark.parametrize("scenario", Scenario)
def test_a_valid_test_is_read_with_all_that_it_claims(tmp_path, write, scenario):
    write(settings_of(scenario), tmp_path)
    log = read_log_folder(tmp_path)
    assert log.path == tmp_path
    assert (log.scenario, log.mode) == (scenario.field_name, "PerformanceOnly")
    assert log.validity == "VALID"
    assert log.errors == ()
    assert log.writer.startswith("6.0" if write is reference_loadgen else "gnomon 9.8.7")
    said = {entry["key"]: entry["value"] for entry in entries(tmp_path)}
    assert log.metrics == {
        key: value for key, value in said.items() if key.startswith(("result_", "early_stopping_"))
    }
    assert log.settings == {
        key.removeprefix("effective_"): value
        for key, value in said.items()
        if key.startswith("effective_")
    }
    assert log.metrics[HEADLINES[log.scenario]] > 0
    assert log.settings["performance_sample_count"] == AT_ONCE


@WRITERS
def test_an_invalid_test_is_read_as_invalid(tmp_path, write):
    write(settings_of(Scenario.SERVER, target_latency_ns=1), tmp_path)
    log = read_log_folder(tmp_path)
    assert log.validity == "INVALID"
    assert log.metrics["result_perf_constraints_met"] is False
    assert log.errors == ()


@WRITERS
def test_the_errors_of_a_test_are_read_in_full(tmp_path, write):
    settings = settings_of(
        Scenario.SERVER, min_query_count=50, max_query_count=60, min_duration_ns=NS_PER_S
    )
    write(settings, tmp_path)
    log = read_log_folder(tmp_path)
    (said,) = [entry["value"] for entry in entries(tmp_path) if entry["metadata"]["is_error"]]
    assert log.errors == (said,)
    assert log.metrics["result_min_duration_met"] is False
    (tmp_path / DETAIL_FILE).unlink()
    assert read_log_folder(tmp_path).errors == ("1 in all; see the detail log",)


def test_the_warnings_of_a_test_are_read_in_full(tmp_path):
    gnomon_loadgen(settings_of(Scenario.OFFLINE), tmp_path)
    detail = tmp_path / DETAIL_FILE
    line = json.dumps(
        {**entries(tmp_path)[0], "value": "careful", "metadata": {"is_warning": True}}
    )
    detail.write_text(detail.read_text() + f":::MLLOG {line}\n")
    log = read_log_folder(tmp_path)
    assert (log.warnings, log.errors) == (("careful",), ())


@WRITERS
@pytest.mark.parametrize("scenario", Scenario)
def test_an_accuracy_test_claims_no_validity(tmp_path, write, scenario):
    write(settings_of(scenario, mode=Mode.ACCURACY), tmp_path)
    log = read_log_folder(tmp_path)
    assert (log.scenario, log.mode) == (scenario.field_name, "AccuracyOnly")
    assert log.validity is None
    assert log.metrics == {}
    assert log.settings["accuracy_sample_count"] == TOTAL


@WRITERS
@pytest.mark.parametrize("scenario", Scenario)
def test_a_summary_alone_is_enough(tmp_path, write, scenario):
    write(settings_of(scenario), tmp_path)
    whole = read_log_folder(tmp_path)
    (tmp_path / DETAIL_FILE).unlink()
    log = read_log_folder(tmp_path)
    assert (log.scenario, log.mode, log.validity) == (whole.scenario, whole.mode, whole.validity)
    assert log.writer == "unknown"
    for name in ("50.00", "90.00", "99.90"):
        key = "per_query_latency_ns" if scenario is Scenario.MULTI_STREAM else "latency_ns"
        assert (
            log.metrics[f"{name} percentile latency (ns)"]
            == whole.metrics[f"result_{name}_percentile_{key}"]
        )
    assert log.settings["qsl_rng_seed"] == whole.settings["qsl_rng_seed"]
    assert log.settings["performance_sample_count"] == AT_ONCE


def test_the_detail_log_is_believed_before_the_summary(tmp_path):
    gnomon_loadgen(settings_of(Scenario.SERVER, target_latency_ns=1), tmp_path)
    summary = tmp_path / SUMMARY_FILE
    summary.write_text(summary.read_text().replace("INVALID", "VALID"))
    assert read_log_folder(tmp_path).validity == "INVALID"


def test_a_performance_test_that_never_came_to_its_result_is_invalid(tmp_path):
    gnomon_loadgen(settings_of(Scenario.OFFLINE), tmp_path)
    detail = tmp_path / DETAIL_FILE
    lines = detail.read_text().splitlines(keepends=True)
    before = next(n for n, line in enumerate(lines) if '"result_validity"' in line)
    detail.write_text("".join(lines[:before]))
    log = read_log_folder(tmp_path)
    assert log.validity == "INVALID"
    assert log.metrics == {}


def claimed(folder):
    """What a log folder claims, or why it is refused."""
    try:
        return read_log_folder(folder).validity
    except DataError as error:
        return str(error)


@WRITERS
@pytest.mark.parametrize("scenario", Scenario)
def test_a_detail_log_cut_short_at_a_line_never_passes_for_a_valid_test(tmp_path, write, scenario):
    write(settings_of(scenario), tmp_path)
    (tmp_path / SUMMARY_FILE).unlink()
    detail = tmp_path / DETAIL_FILE
    lines = detail.read_text().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if "_99.90_percentile_latency_ns" in line)
    claims = []
    for count in range(last + 1):
        detail.write_text("".join(lines[:count]))
        claims.append(claimed(tmp_path))
    assert claims.count("VALID") == 0
    assert all(claim == "INVALID" or str(detail) in claim for claim in claims)


@WRITERS
def test_a_detail_log_cut_short_in_a_line_is_named_with_that_line(tmp_path, write):
    write(settings_of(Scenario.OFFLINE), tmp_path)
    detail = tmp_path / DETAIL_FILE
    lines = detail.read_text().splitlines(keepends=True)
    for number in range(2, len(lines) + 1, 7):
        cut = lines[number - 1][:-10]
        detail.write_text("".join(lines[: number - 1]) + cut)
        assert f"{detail} has 1 malformed line(s), the first at 'line {number}: " in claimed(
            tmp_path
        )
        assert "cut short" in claimed(tmp_path)


def test_a_damaged_line_is_named_with_its_number(tmp_path):
    gnomon_loadgen(settings_of(Scenario.OFFLINE), tmp_path)
    detail = tmp_path / DETAIL_FILE
    lines = detail.read_text().splitlines(keepends=True)
    lines[20] = ":::MLLOG {damage}\n"
    lines[30] = ":::MLLOG \n"
    detail.write_text("".join(lines))
    with pytest.raises(
        DataError, match=r"detail\.txt has 2 malformed .*'line 21: :::MLLOG {damage}'"
    ):
        read_log_folder(tmp_path)


NO_LOG = {
    "empty": b"",
    "blank": b"\n\n",
    "words": b"once upon a time\n",
    "binary": bytes(range(256)) * 40,
    "one line": b"Result is : VALID\n",
}


@pytest.mark.parametrize("content", NO_LOG.values(), ids=NO_LOG)
@pytest.mark.parametrize("name", [DETAIL_FILE, SUMMARY_FILE])
def test_a_file_that_is_no_log_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} (holds no log entry|names no scenario)"):
        read_log_folder(tmp_path)


def test_an_empty_detail_log_is_refused_though_the_summary_is_there(tmp_path):
    gnomon_loadgen(settings_of(Scenario.OFFLINE), tmp_path)
    (tmp_path / DETAIL_FILE).write_bytes(b"")
    with pytest.raises(DataError, match=f"{DETAIL_FILE} holds no log entry"):
        read_log_folder(tmp_path)


def test_the_summary_of_an_accuracy_test_alone_says_too_little(tmp_path):
    gnomon_loadgen(settings_of(Scenario.OFFLINE, mode=Mode.ACCURACY), tmp_path)
    (tmp_path / DETAIL_FILE).unlink()
    with pytest.raises(DataError, match=r"summary\.txt names no scenario: .*accuracy test's is"):
        read_log_folder(tmp_path)


def test_a_folder_without_logs_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "away", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(
            DataError, match=f"{path} holds neither {DETAIL_FILE} nor {SUMMARY_FILE}"
        ):
            read_log_folder(path)


def test_a_folder_in_the_place_of_a_log_is_refused(tmp_path):
    for name in (SUMMARY_FILE, DETAIL_FILE):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match=f"{name} cannot be read: Is a directory"):
            read_log_folder(tmp_path)


V05_HEADLINES = {
    "Single Stream": "90th percentile latency (ns) : 1012345",
    "Multi Stream": "Samples per query : 24",
    "Server": "Scheduled samples per second : 1234.56",
    "Offline": "Samples per second: 32716",
}
V05_DETAIL = """\
"pid": 27, "tid": 27, "ts": 56430ns : Version : 0.5a1 @ ad3a6b6
"pid": 27, "tid": 27, "ts": 66430ns : Starting performance mode:
"pid": 27, "tid": 99, "ts": 60000066430ns : Ending naturally: Minimum query count met.
"""
LATENCIES = """\
Min latency (ns)                : 900000
Max latency (ns)                : 1100000
Mean latency (ns)               : 1000000
50.00 percentile latency (ns)   : 1001000
90.00 percentile latency (ns)   : 1012345
99.90 percentile latency (ns)   : 1099999
"""


def v05_summary(scenario, *, validity="VALID", errors=0):
    """A summary as round v0.5 wrote it."""
    rule = "=" * 48
    counted = (
        f"{errors} ERRORS encountered. See detailed log." if errors else "No errors encountered"
    )
    return f"""\
{rule}
MLPerf Results Summary
{rule}
SUT name : A system of 2019
Scenario : {scenario}
Mode     : Performance
{V05_HEADLINES[scenario]}
Result is : {validity}
  Min duration satisfied : Yes
  Min queries satisfied : {"Yes" if validity == "VALID" else "NO"}

{rule}
Additional Stats
{rule}
{LATENCIES}
{rule}
Test Parameters Used
{rule}
samples_per_query : 1
target_qps : 1000
target_latency (ns): 15000000
max_async_queries : 1
min_duration (ms): 60000
max_duration (ms): 0
min_query_count : 1024
max_query_count : 0
qsl_rng_seed : 3133965575612453542
sample_index_rng_seed : 665484352860916858
schedule_rng_seed : 3622009729038561421
accuracy_log_rng_seed : 0
accuracy_log_probability : 0
print_timestamps : false
performance_issue_unique : false
performance_issue_same : true
performance_issue_same_index : 3
performance_sample_count : 1024

No warnings encountered during test.

{counted}
"""


@pytest.mark.parametrize("with_detail", [True, False])
@pytest.mark.parametrize("scenario", V05_HEADLINES)
def test_a_test_of_round_v0_5_is_read_from_its_summary(tmp_path, scenario, with_detail):
    (tmp_path / SUMMARY_FILE).write_text(v05_summary(scenario))
    if with_detail:
        (tmp_path / DETAIL_FILE).write_text(V05_DETAIL)
    log = read_log_folder(tmp_path)
    assert (log.scenario, log.mode) == (scenario.replace(" ", ""), "Performance")
    assert (log.validity, log.errors, log.warnings) == ("VALID", (), ())
    name, _, value = V05_HEADLINES[scenario].partition(":")
    assert log.metrics[name.strip()] == float(value)
    assert log.metrics["99.90 percentile latency (ns)"] == 1099999
    assert log.settings["qsl_rng_seed"] == 3133965575612453542
    assert log.settings["min_duration (ms)"] == 60000
    assert "min_duration (ms)" not in log.metrics


def test_the_switches_of_round_v0_5_are_read_as_settings(tmp_path):
    (tmp_path / SUMMARY_FILE).write_text(v05_summary("Offline"))
    settings = read_log_folder(tmp_path).settings
    assert settings["performance_issue_same_index"] == 3
    assert settings["performance_issue_same"] is True
    assert settings["performance_issue_unique"] is False


def test_an_invalid_test_of_round_v0_5_is_read_with_its_errors(tmp_path):
    (tmp_path / SUMMARY_FILE).write_text(v05_summary("Server", validity="INVALID", errors=12))
    (tmp_path / DETAIL_FILE).write_text(V05_DETAIL)
    log = read_log_folder(tmp_path)
    assert log.validity == "INVALID"
    assert log.errors == ("12 in all; see the detail log",)


def test_a_summary_cut_short_never_passes_for_a_valid_test(tmp_path):
    summary = tmp_path / SUMMARY_FILE
    content = v05_summary("Server")
    claims = []
    for length in range(len(content) - len("No errors encountered during test.\n")):
        summary.write_text(content[:length])
        claims.append(claimed(tmp_path))
    assert claims.count("VALID") == 0
    assert all(claim == "INVALID" or str(summary) in claim for claim in claims)


def test_a_detail_log_of_round_v0_5_without_its_summary_is_refused(tmp_path):
    (tmp_path / DETAIL_FILE).write_text(V05_DETAIL)
    with pytest.raises(DataError, match=r"detail\.txt names no scenario"):
        read_log_folder(tmp_path)
