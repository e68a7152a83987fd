"""The field's logs beside the reference load generator's own: text, keys, types and figures.

The reference runs on a system that answers at once, with the settings that ours gets.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import mlperf_loadgen
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.errors import RunFolderError
from gnomon.loadgen.log_facts import LogContext, field_validity
from gnomon.loadgen.logs import DETAIL_FILE, SUMMARY_FILE, write_logs
from gnomon.loadgen.measure import measure
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.schedule import plan
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings
from gnomon.systems.null import NullSystem
from gnomon.tasks.digits import Digits

TRACE_FILE = "mlperf_log_trace.json"
ACCURACY_FILE = "mlperf_log_accuracy.json"
LEFT_OUT = {
    "loadgen_build_date_local",
    "loadgen_build_date_utc",
    "loadgen_git_commit_date",
    "loadgen_git_log_message",
    "loadgen_git_status_message",
    "loadgen_file_sha1",
    "get_sut_name_duration_ns",
}
"""What only the reference's own build has."""
LOGGER = "logging.cc"
"""Where the reference's logger counts and warns of itself."""
RATE_OF_ITS_OWN = "QPS w/ loadgen overhead"
"""Counts from a moment that the reference's trace does not have."""
STARTED_AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def settings_of(scenario, **changes):
    """A test of 20 ms of which the reference generates enough queries ahead to end well."""
    scenario = Scenario(scenario)
    chosen = {
        "scenario": scenario,
        "total_sample_count": 797,
        "performance_sample_count": 300,
        "min_duration_ns": 20 * NS_PER_MS,
        "min_query_count": 700,
        "target_qps": {Scenario.SERVER: 20_000, Scenario.OFFLINE: 500_000}.get(scenario, 1e6),
        "target_latency_ns": NS_PER_S if scenario is Scenario.SERVER else 0,
        "target_latency_percentile": 0.9 if scenario is Scenario.SINGLE_STREAM else 0.99,
        "samples_per_query": 8 if scenario is Scenario.MULTI_STREAM else 1,
    }
    return Settings(**(chosen | changes))


def few(scenario, count, **changes):
    return settings_of(scenario, min_query_count=count, min_duration_ns=0, **changes)


VALID = {scenario.value: settings_of(scenario) for scenario in Scenario}
VALID["offline"] = few("offline", 20_000)
VALID["single-stream, too few for p99"] = few("single-stream", 100)
VALID["single-stream at p95"] = settings_of("single-stream", target_latency_percentile=0.95)
INVALID = {
    "single-stream, too few": few("single-stream", 20),
    "multi-stream, too few": few("multi-stream", 20),
    "server, too few": few("server", 100),
    "server, too late": settings_of("server", target_latency_ns=1),
}
ACCURACY = {scenario.value: settings_of(scenario, mode=Mode.ACCURACY) for scenario in Scenario}
SWITCHES = {
    "server, coalesced and bounded": settings_of(
        "server", server_coalesce_queries=True, max_async_queries=10_000, target_qps=12345.678
    ),
    "server, each sample once": few("server", 10, performance_issue_unique=True),
    "single-stream, one sample": settings_of(
        "single-stream", performance_issue_same=True, performance_issue_same_index=5
    ),
    "multi-stream of three": settings_of("multi-stream", samples_per_query=3),
    "offline, each sample once": few("offline", 10, performance_issue_unique=True),
    "single-stream, equal issue": few("single-stream", 500, sample_concatenate_permutation=True),
    "server, equal issue": few("server", 500, sample_concatenate_permutation=True),
    "offline, equal issue": few("offline", 500, sample_concatenate_permutation=True),
}
MOST_QUERIES = {"max_query_count": 700, "min_duration_ns": NS_PER_S, "target_qps": 2_000}
TOO_SHORT = {
    "offline, too few expected": settings_of(
        "offline", target_qps=20, min_query_count=10, min_duration_ns=NS_PER_S
    ),
    "single-stream, most queries": settings_of("single-stream", **MOST_QUERIES),
    "multi-stream, most queries": settings_of("multi-stream", **MOST_QUERIES),
    "server, most queries": settings_of(
        "server", max_query_count=700, min_duration_ns=100 * NS_PER_MS
    ),
    "single-stream, longest duration": settings_of(
        "single-stream", min_query_count=1_000_000, max_duration_ns=300 * NS_PER_MS
    ),
}
"""Ended by a bound of their own; in all but the first that is an error."""
EVERY = VALID | INVALID | SWITCHES | TOO_SHORT
TRACED = INVALID | {
    "single-stream": few("single-stream", 5_000),
    "single-stream, too few for p99": VALID["single-stream, too few for p99"],
    "single-stream, too few for p99.9": few("single-stream", 700, target_latency_percentile=0.999),
    "multi-stream": few("multi-stream", 1_500),
    "server": VALID["server"],
    "offline": VALID["offline"],
}


def answer_at_once(samples):
    mlperf_loadgen.QuerySamplesComplete(
        [mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
    )


def answer_one_by_one(samples):
    """The last sample first, so that the latencies of a query's samples differ."""
    for sample in reversed(samples):
        answer_at_once([sample])


def requested(settings):
    """These settings as the reference's."""
    wanted = mlperf_loadgen.TestSettings()
    wanted.scenario = getattr(mlperf_loadgen.TestScenario, settings.scenario.field_name)
    wanted.mode = getattr(mlperf_loadgen.TestMode, settings.mode.field_name)
    wanted.min_duration_ms = settings.min_duration_ns // NS_PER_MS
    wanted.max_duration_ms = settings.max_duration_ns // NS_PER_MS
    wanted.server_target_qps = wanted.offline_expected_qps = settings.target_qps
    expected_ns = NS_PER_S / settings.target_qps
    wanted.single_stream_expected_latency_ns = expected_ns
    wanted.multi_stream_expected_latency_ns = expected_ns
    wanted.multi_stream_samples_per_query = settings.samples_per_query
    wanted.server_target_latency_ns = settings.target_latency_ns
    wanted.server_max_async_queries = settings.max_async_queries
    for scenario in ("single_stream", "multi_stream", "server"):
        name = f"{scenario}_target_latency_percentile"
        setattr(wanted, name, settings.target_latency_percentile)
    for name in ("qsl", "sample_index", "schedule"):
        setattr(wanted, f"{name}_rng_seed", getattr(settings.seeds, name))
    for name in (
        "min_query_count",
        "max_query_count",
        "server_coalesce_queries",
        "sample_concatenate_permutation",
        "performance_issue_unique",
        "performance_issue_same",
        "performance_issue_same_index",
    ):
        setattr(wanted, name, getattr(settings, name))
    return wanted


def reference_loadgen(settings, folder, *, issue=answer_at_once, trace=False, **changes):
    """Run the reference and leave its logs in `folder`; `changes` go to its settings alone."""
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    log_settings = mlperf_loadgen.LogSettings()
    log_settings.log_output = output
    log_settings.enable_trace = trace
    wanted = requested(settings)
    for name, value in changes.items():
        setattr(wanted, name, value)
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(
        settings.total_sample_count,
        settings.performance_sample_count,
        lambda samples: None,
        lambda samples: None,
    )
    try:
        mlperf_loadgen.StartTestWithLogSettings(system, library, wanted, log_settings)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)


def context_of(**changes):
    named = {
        "system_name": "PySUT",
        "task_name": "PyQSL",
        "gnomon_version": "9.8.7",
        "started_at": STARTED_AT,
    }
    return LogContext(**(named | changes))


def gnomon_logs(settings, folder):
    """Run our load generator and leave its logs in `folder`."""
    measured = measure(NullSystem(), Digits(), settings, folder)
    outcome = compute_outcome(measured.samples, settings)
    errors = tuple(fault.message for fault in measured.faults)
    write_logs(
        folder,
        settings,
        outcome if settings.mode is Mode.PERFORMANCE else None,
        context_of(loaded_sets=measured.loaded_sets, errors=errors),
    )


@dataclass(frozen=True)
class Written:
    """The two logs of a test, without what only the reference's own build and logger have."""

    summary: list[str]
    entries: list[tuple[str, object]]

    @property
    def values(self):
        """The last value of each key."""
        return dict(self.entries)

    def part(self, first, last):
        """The keys from the first of the one name to the last of the other."""
        keys = [key for key, _ in self.entries]
        stop = len(keys) - keys[::-1].index(last)
        return keys[keys.index(first) : stop]


def logs_in(folder):
    summary = (folder / SUMMARY_FILE).read_text(encoding="utf-8").split("\n")
    entries, of_its_logger = [], 0
    for line in (folder / DETAIL_FILE).read_text().splitlines():
        entry = json.loads(line.removeprefix(":::MLLOG "))
        if entry["metadata"]["file"] == LOGGER:
            of_its_logger += entry["metadata"]["is_warning"]
        elif entry["key"] not in LEFT_OUT:
            entries.append((entry["key"], entry["value"]))
    # Of an accuracy test the reference has a pair a loaded set, ours one in all.
    stamps = [place for place, (key, _) in enumerate(entries) if key.startswith("power_")]
    entries = [entry for place, entry in enumerate(entries) if place not in stamps[:-2]]
    for number, line in enumerate(summary):
        if of_its_logger and re.fullmatch(rf"{of_its_logger} warnings? encountered.*", line):
            summary[number] = "No warnings encountered during test."
    return Written(summary, entries)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """For settings, the logs of the reference and ours; each is run once."""
    known = {}

    def run(settings):
        if settings not in known:
            theirs, ours = tmp_path_factory.mktemp("reference"), tmp_path_factory.mktemp("gnomon")
            reference_loadgen(settings, theirs)
            gnomon_logs(settings, ours)
            known[settings] = logs_in(theirs), logs_in(ours)
        return known[settings]

    return run


def named(cases):
    return pytest.mark.parametrize("settings", cases.values(), ids=cases)


def blanked(lines):
    """Figures blanked out; names that hold one, such as `90.00 percentile`, stay."""
    return [re.sub(r"(?<=[ (:])[0-9][0-9.e+]*", "#", line) for line in lines]


@named(VALID | INVALID | SWITCHES)
def test_the_summary_is_the_references_but_for_its_figures(both, settings):
    theirs, ours = both(settings)
    assert blanked(ours.summary) == blanked(theirs.summary)


def without_advice(lines):
    """What a test that was too short should do about it is each load generator's own to say."""
    start = lines.index("Recommendations:") + 1
    stop = next(n for n in range(start, len(lines)) if lines[n] in ("", "Early Stopping Result:"))
    assert stop > start
    return lines[:start] + lines[stop:]


@named(TOO_SHORT)
def test_the_summary_of_a_test_that_was_too_short_differs_only_in_its_advice(both, settings):
    theirs, ours = both(settings)
    assert blanked(without_advice(ours.summary)) == blanked(without_advice(theirs.summary))


@named(TOO_SHORT)
def test_the_detail_log_of_a_test_that_was_too_short_has_the_references_keys(both, settings):
    theirs, ours = both(settings)
    part = ("generated_query_duration", "num_errors")
    assert [key for key in ours.part(*part) if key != "generic_message"] == [
        key for key in theirs.part(*part) if key != "generic_message"
    ]
    for key in (
        "result_validity",
        "result_min_duration_met",
        "result_min_queries_met",
        "num_errors",
    ):
        assert ours.values[key] == theirs.values[key]


def test_several_errors_are_counted_as_the_reference_counts_them(tmp_path):
    settings = few("server", 3)

    def answer_without_tokens(samples):
        empty = [mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0, 1) for sample in samples]
        mlperf_loadgen.FirstTokenComplete(empty)
        mlperf_loadgen.QuerySamplesComplete(empty)

    reference_loadgen(settings, tmp_path, issue=answer_without_tokens, use_token_latencies=True)
    (counted,) = [line for line in logs_in(tmp_path).summary if "ERROR" in line]
    assert counted == "3 ERRORS encountered. See detailed log."
    samples = Samples(*(np.arange(1, 4) for _ in range(4)), np.arange(2, 5))
    context = context_of(errors=("one", "two", "three"), warnings=("a", "b"))
    write_logs(tmp_path, settings, compute_outcome(samples, settings), context)
    assert logs_in(tmp_path).summary[-5:] == [
        "",
        "2 warnings encountered. See detailed log.",
        "",
        counted,
        "",
    ]


@named(ACCURACY)
def test_the_summary_of_an_accuracy_test_is_the_references(both, settings):
    theirs, ours = both(settings)
    assert ours.summary == theirs.summary


def parameters(lines):
    last = next(n for n, line in enumerate(lines) if line.startswith("accuracy_sample_count"))
    return lines[lines.index("Test Parameters Used") : last + 1]


@named(EVERY)
def test_the_parameters_in_the_summary_are_the_references(both, settings):
    theirs, ours = both(settings)
    assert parameters(ours.summary) == parameters(theirs.summary)


@named(EVERY | ACCURACY)
def test_the_detail_log_names_the_settings_by_the_references_keys(both, settings):
    theirs, ours = both(settings)
    part = ("loadgen_version", "effective_sample_concatenate_permutation")
    assert ours.part(*part) == theirs.part(*part)


@named(EVERY | ACCURACY)
def test_equal_settings_have_equal_values_in_the_detail_log(both, settings):
    theirs, ours = (
        {
            key: value
            for key, value in logs.entries
            if key.startswith(("requested_", "effective_", "sut_", "qsl_"))
        }
        for logs in both(settings)
    )
    assert ours == theirs
    assert {key: type(value) for key, value in ours.items()} == {
        key: type(value) for key, value in theirs.items()
    }


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
@pytest.mark.parametrize("target_qps", [1e6 / 3, 1000, 500, 0.3])
def test_an_expected_latency_is_written_as_the_reference_writes_it(both, scenario, target_qps):
    settings = few(scenario, 3, target_qps=target_qps)
    key = f"requested_{scenario.replace('-', '_')}_expected_latency_ns"
    theirs, ours = (logs.values[key] for logs in both(settings))
    assert ours == theirs
    assert type(ours) is type(theirs)


@named(VALID | INVALID | SWITCHES)
def test_the_detail_log_tells_of_the_test_itself_as_the_reference_does(both, settings):
    theirs, ours = both(settings)
    part = ("generic_message", "power_end")
    assert ours.part(*part) == theirs.part(*part)
    for key in ("loaded_qsl_set", "generated_samples_per_query", "generic_message"):
        assert ours.values[key] == theirs.values[key]


@named(ACCURACY)
def test_the_detail_log_of_an_accuracy_test_has_each_set_as_the_reference_has(both, settings):
    theirs, ours = both(settings)
    part = ("generic_message", "power_end")
    assert ours.part(*part) == theirs.part(*part)
    for wanted in ("loaded_qsl_set", "generated_query_count", "generated_samples_per_query"):
        mine, its = ([v for key, v in logs.entries if key == wanted] for logs in (ours, theirs))
        assert mine == its


@named(ACCURACY)
def test_the_sets_of_an_accuracy_test_are_loaded_in_the_references_order(both, settings):
    theirs, ours = (
        [value for key, value in logs.entries if key == "loaded_qsl_set"] for logs in both(settings)
    )
    assert ours == theirs


@named(EVERY)
def test_the_detail_log_has_the_results_by_the_references_keys(both, settings):
    theirs, ours = both(settings)
    part = ("result_validity", "num_errors")
    assert ours.part(*part) == theirs.part(*part)
    for key in theirs.part(*part):
        mine, its = ours.values[key], theirs.values[key]
        assert isinstance(mine, bool) == isinstance(its, bool)
        assert isinstance(mine, (int, float)) == isinstance(its, (int, float))


@named(INVALID)
def test_the_reason_of_an_invalid_test_is_the_references_word_for_word(both, settings):
    theirs, ours = both(settings)
    assert ours.values["result_validity"] == theirs.values["result_validity"] == "INVALID"
    assert ours.values["result_invalid_reason"] == theirs.values["result_invalid_reason"]


def test_a_line_of_the_detail_log_has_the_references_fields(both, tmp_path):
    settings = few("server", 20)
    theirs, ours = tmp_path / "reference", tmp_path / "gnomon"
    for folder, run in ((theirs, reference_loadgen), (ours, gnomon_logs)):
        folder.mkdir()
        run(settings, folder)
    shapes = set()
    for folder in (theirs, ours):
        for line in (folder / DETAIL_FILE).read_text().splitlines():
            entry = json.loads(line.removeprefix(":::MLLOG "))
            shapes.add((line[:18], *entry, *entry["metadata"], entry["namespace"]))
    assert len(shapes) == 1
    assert (ours / ACCURACY_FILE).read_bytes() == (theirs / ACCURACY_FILE).read_bytes()
    dates = [
        [value for key, value in logs_in(folder).entries if key in ("test_datetime", "power_begin")]
        for folder in (theirs, ours)
    ]
    assert dates[1] == ["2026-03-04T05:06:07Z", "03-04-2026 05:06:07.890"]
    for its, mine in zip(*dates, strict=True):
        assert re.sub(r"\d", "#", its) == re.sub(r"\d", "#", mine)


def samples_in_trace(folder):
    """What the reference recorded of each sample. Its trace is no valid JSON, but its lines are."""
    rows = [
        [int(number.replace(".", "")) for number in match.groups()]
        for match in re.finditer(
            r'"name":"Sample",.*"ph":"b",.*"ts":(-?\d+\.\d{3}),"args":\{"sample_seq":(\d+),'
            r'"query_seq":(\d+),"sample_idx":(\d+),"issue_start_ns":(\d+),"complete_ns":(\d+)\}',
            (folder / TRACE_FILE).read_text(),
        )
    ]
    rows.sort(key=lambda row: row[1])
    due_ns, _, query, sample, issued_after_ns, latency_ns = np.array(rows, dtype=np.int64).T
    due_ns -= due_ns[0]
    return Samples(
        query, sample.astype(np.int32), due_ns, due_ns + issued_after_ns, due_ns + latency_ns
    )


def assert_same_rate(queries, last_issued_ns, theirs, ours):
    """The trace begins with the first query; the reference's clock began before, by a moment or a hold-up."""
    assert ours == pytest.approx((queries - 1) * NS_PER_S / last_issued_ns, rel=1e-5, abs=0.006)
    seconds = [(queries - 1) / rate for rate in (theirs, ours)]
    assert seconds[1] <= seconds[0] * 1.00001
    assert seconds[0] - seconds[1] < 50e-3 + 1e-5 * seconds[0]


def assert_same_figures(settings, theirs, ours):
    """Write our logs from the samples in the reference's trace: they must say what its own say."""
    samples = samples_in_trace(theirs)
    (order,) = plan(settings)
    queries = len(samples) // order.samples_per_query
    np.testing.assert_array_equal(samples.sample_index, order.samples(0, queries).reshape(-1))
    if settings.scenario is Scenario.SERVER:
        np.testing.assert_array_equal(samples.scheduled_ns, order.arrivals_ns(0, len(samples)))

    write_logs(ours, settings, compute_outcome(samples, settings), context_of())
    its, mine = logs_in(theirs), logs_in(ours)
    issued = queries, int(samples.issued_ns.max())
    stop = its.summary.index("Test Parameters Used")
    for expected, line in zip(its.summary[:stop], mine.summary[:stop], strict=True):
        if expected.startswith(RATE_OF_ITS_OWN):
            assert_same_rate(*issued, *(float(text.split(":")[1]) for text in (expected, line)))
        else:
            assert line == expected
    for key in its.part("result_validity", "num_errors"):
        if key == "result_qps_with_loadgen_overhead":
            assert_same_rate(*issued, its.values[key], mine.values[key])
        elif key != "result_invalid_reason":
            assert mine.values[key] == its.values[key], key


@named(TRACED)
@pytest.mark.parametrize("issue", [answer_at_once, answer_one_by_one])
def test_the_references_own_latencies_give_its_figures(tmp_path, settings, issue):
    for name in ("reference", "gnomon"):
        (tmp_path / name).mkdir()
    reference_loadgen(settings, tmp_path / "reference", issue=issue, trace=True)
    assert_same_figures(settings, tmp_path / "reference", tmp_path / "gnomon")


@st.composite
def short_tests(draw):
    """Any scenario, percentile, count and latency bound, without a least duration."""
    scenario = draw(st.sampled_from(Scenario))
    changes = {}
    if scenario is not Scenario.OFFLINE:
        shares = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999])
        changes["target_latency_percentile"] = draw(shares)
    if scenario is Scenario.SERVER:
        changes["target_latency_ns"] = draw(st.integers(1_000, 100_000))
        changes["target_qps"] = draw(st.floats(50_000, 200_000))
    if scenario is Scenario.MULTI_STREAM:
        changes["samples_per_query"] = draw(st.integers(1, 20))
    return few(scenario, draw(st.integers(2, 1500)), **changes)


@given(short_tests(), st.sampled_from([answer_at_once, answer_one_by_one]))
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_short_test_of_the_reference_gives_its_figures(tmp_path_factory, settings, issue):
    theirs, ours = tmp_path_factory.mktemp("reference"), tmp_path_factory.mktemp("gnomon")
    reference_loadgen(settings, theirs, issue=issue, trace=True)
    assert_same_figures(settings, theirs, ours)


def samples_with(completed_ns, scenario=Scenario.SERVER):
    count = len(completed_ns)
    issued_ns = np.arange(count) * 1000 + 1
    due_ns = np.zeros(count, dtype=np.int64) if scenario is Scenario.OFFLINE else issued_ns
    return Samples(
        np.arange(count), np.zeros(count, dtype=np.int32), due_ns, issued_ns, np.array(completed_ns)
    )


def test_a_test_that_owes_an_answer_has_too_few_queries():
    settings = few("server", 2)
    whole = compute_outcome(samples_with([5000, 6000, 7000]), settings)
    owing = compute_outcome(samples_with([5000, 6000, 0]), settings)
    assert field_validity(whole, settings).min_queries
    assert not field_validity(owing, settings).min_queries
    assert not field_validity(owing, settings).valid


def test_a_test_with_errors_is_never_valid(tmp_path):
    settings = few("offline", 2)
    outcome = compute_outcome(samples_with([5000, 6000], Scenario.OFFLINE), settings)
    assert field_validity(outcome, settings).valid
    assert not field_validity(outcome, settings, errors=True).valid
    write_logs(tmp_path, settings, outcome, context_of(errors=("the system raised",)))
    values = logs_in(tmp_path).values
    assert values["result_validity"] == "INVALID"
    assert values["error_runtime"] == "the system raised"
    assert values["num_errors"] == 1


def test_a_performance_test_without_any_answer_has_no_result(tmp_path):
    write_logs(tmp_path, few("server", 2), None, context_of(errors=("stalled",)))
    logs = logs_in(tmp_path)
    assert not any(key.startswith("result_") for key, _ in logs.entries)
    assert logs.summary[-2:] == ["1 ERROR encountered. See detailed log.", ""]


def test_names_and_messages_of_any_characters_are_written(tmp_path):
    """A path that is no text is in the words of an error as a lone surrogate."""
    settings = few("offline", 2)
    outcome = compute_outcome(samples_with([5000, 6000], Scenario.OFFLINE), settings)
    said = "the system raised FileNotFoundError: 'Größe \udcff'"
    write_logs(tmp_path, settings, outcome, context_of(system_name="é", errors=(said,)))
    logs = logs_in(tmp_path)
    assert logs.values["sut_name"] == "é"
    assert "Größe" in logs.values["error_runtime"]
    assert "SUT name : é" in logs.summary


def test_a_folder_that_cannot_be_written_is_named_with_the_mend(tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot write .*away.*choose another folder"):
        write_logs(tmp_path / "away", few("server", 2), None, context_of())
