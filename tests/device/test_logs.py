from __future__ import annotations

import contextlib
import json
import re
import statistics
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.device import logs_eembc, logs_mlcommons, results_eembc, results_mlcommons
from gnomon.device.logs import (
    BoardLine,
    SessionResults,
    StreamingResult,
    WindowResult,
    energy_results,
    timed_results,
)
from tests.device.sessions import STARTED, energy_figures, session, sessions

PUBLISHED = Path(__file__).parent / "published"
AT = datetime(2026, 3, 14, 9, 30)

CHECKER = {
    "top-1": re.compile(r".* Top[- ]1%?\s?[:=] ([\d\.]+).*"),
    "auc": re.compile(r".* AUC\s?[:=] ([\d\.]+).*"),
    "throughput": re.compile(r".* Median throughput is\s+([\d\.]+) inf\./sec\..*"),
    "energy": re.compile(r"Median energy cost is ([\d\.]+) uJ/inf"),
    "power": re.compile(r"Power\s+: ([\d\.]+) mW.*"),
    "streaming": re.compile(r"Estimated throughput:\s*([\d\.]+) inf\./sec\..*"),
    "duty cycle": re.compile(r"Average duty cycle:\s*([\d\.]+)"),
    "detections": re.compile(
        r"Accuracy: ([\d]+) True positives, ([\d]+) False negatives, ([\d]+) False positives"
    ),
}
"""How the field's submission checker (v1.4) finds numbers in `results.txt`."""


def found_by_checker(name, text):
    pattern = CHECKER[name]
    look = pattern.match if pattern.pattern.startswith(".*") else pattern.search
    (found,) = [match for line in text.splitlines() if (match := look(line))]
    return tuple(map(float, found.groups()))


def examples(count):
    return settings(deadline=None, derandomize=True, max_examples=count)


@examples(40)
@given(sessions())
def test_a_session_logged_as_eembc_does_reads_back_whole(tmp_path_factory, logged):
    file = tmp_path_factory.mktemp("log") / "log.txt"
    file.write_text(logs_eembc.write_log(logged))
    read = logs_eembc.read_log(file)
    profile = next(line.text for line in logged.greeting if "profile" in line.text)
    told = {"profile": profile[11:-1], "board": "test-board", "model_id": "kws01"}
    assert read == replace(logged, **told)


@examples(40)
@given(sessions())
def test_a_session_logged_as_mlcommons_does_reads_back_but_for_parts_of_seconds(
    tmp_path_factory, logged
):
    file = tmp_path_factory.mktemp("log") / "log.txt"
    file.write_text(logs_mlcommons.write_log(logged))
    read = logs_mlcommons.read_log(file)
    assert replace(read, greeting=(), inferences=(), end_s=0) == replace(
        logged, greeting=(), inferences=(), end_s=0
    )
    assert [line.text for line in read.greeting] == [line.text for line in logged.greeting]
    for again, first in zip(read.inferences, logged.inferences, strict=True):
        assert [line.text for line in again.lines] == [line.text for line in first.lines]
        assert (again.file, again.iterations, again.warmups) == (
            first.file,
            first.iterations,
            first.warmups,
        )
        assert (again.payload_size, again.lap_us, again.results) == (
            first.payload_size,
            first.lap_us,
            first.results,
        )
        assert again.load_end_s - again.load_start_s == first.load_end_s - first.load_start_s


def printed(low, high, digits=3):
    scale = 10**digits
    return st.integers(int(low * scale), int(high * scale)).map(lambda value: value / scale)


windows = st.lists(
    st.builds(
        WindowResult,
        iterations=st.integers(1, 10**5),
        duration_s=printed(0.001, 100),
        start_s=printed(0, 1000, 2),
        energy_j=printed(0, 10, 9),
    ),
    min_size=1,
    max_size=6,
).map(tuple)


@examples(40)
@given(windows, printed(0, 1e5), printed(0, 1e5), printed(0, 100, 1), printed(0, 1, 2))
def test_results_written_as_eembc_does_read_back(
    tmp_path_factory, measured, rate, cost_uj, top_1, auc
):
    file = tmp_path_factory.mktemp("results") / "results.txt"
    timed = tuple(replace(each, start_s=None, energy_j=None) for each in measured)
    for results in (
        SessionResults("energy", measured, rate, cost_uj),
        SessionResults("performance", timed, rate),
        SessionResults("accuracy", top_1_percent=top_1, auc=auc),
    ):
        file.write_text(results_eembc.write_results(results, 12.5))
        read = results_eembc.read_results(file)
        assert_same_results(read, results)


@examples(40)
@given(
    st.lists(windows, min_size=1, max_size=1).map(lambda lists: (lists[0] * 5)[:5]),
    printed(0, 1e5),
    printed(0, 1e5),
    printed(0, 100, 1),
    printed(0, 1),
)
def test_results_written_as_mlcommons_does_read_back(
    tmp_path_factory, measured, rate, cost_uj, top_1, auc
):
    file = tmp_path_factory.mktemp("results") / "results.txt"
    measured = tuple(
        replace(each, start_s=None, duration_s=each.duration_s + 2) for each in measured
    )
    timed = tuple(replace(each, energy_j=None) for each in measured)
    streaming = StreamingResult(46, 4, 3, 0.2114, 0.032, 147.82)
    for results in (
        SessionResults("energy", measured, None, cost_uj),
        SessionResults("performance", timed, rate),
        SessionResults("performance", streaming=streaming),
        SessionResults("energy", measured[:1], None, cost_uj, streaming=streaming),
        SessionResults("accuracy", top_1_percent=top_1, auc=auc),
    ):
        file.write_text(results_mlcommons.write_results(results, AT))
        assert_same_results(results_mlcommons.read_results(file), results)


def assert_same_results(read, written):
    assert replace(read, windows=()) == replace(written, windows=())
    for again, first in zip(read.windows, written.windows, strict=True):
        assert (again.iterations, again.start_s) == (first.iterations, first.start_s)
        assert again.duration_s == pytest.approx(first.duration_s, abs=5.1e-4)
        assert again.energy_j == pytest.approx(first.energy_j, abs=5.1e-10)


@examples(60)
@given(
    printed(0.001, 1e5), printed(0.1, 1e5), printed(0, 100, 1), printed(0, 1), st.floats(1e-5, 1)
)
def test_the_fields_checker_finds_every_number_that_either_dialect_writes(
    rate, cost_uj, top_1, auc, duty
):
    def both(results):
        return results_eembc.write_results(results), results_mlcommons.write_results(results, AT)

    window = WindowResult(1000, 11.0, 1.0, 2.0)
    timed = replace(window, start_s=None, energy_j=None)
    for text in both(SessionResults("performance", (timed,) * 5, rate)):
        assert found_by_checker("throughput", text) == pytest.approx((rate,), abs=5.1e-4)
    for text in both(SessionResults("energy", (window,) * 5, rate, cost_uj)):
        assert found_by_checker("energy", text) == pytest.approx((cost_uj,), abs=5.1e-4)
    accuracy = SessionResults("accuracy", top_1_percent=top_1, auc=auc)
    for text, digits in zip(both(accuracy), (2, 3), strict=True):
        assert found_by_checker("top-1", text) == (top_1,)
        assert found_by_checker("auc", text) == (float(f"{auc:.{digits}f}"),)
    streaming = StreamingResult(46, 4, 3, duty, 0.032, 1 / duty)
    text = both(SessionResults("energy", (window,), None, cost_uj, streaming=streaming))[1]
    assert found_by_checker("power", text) == pytest.approx((2e3 / 11,), abs=1e-4)
    assert found_by_checker("duty cycle", text) == pytest.approx((duty,), rel=5.1e-5)
    assert found_by_checker("streaming", text) == pytest.approx((1 / duty,), rel=5.1e-5)
    assert found_by_checker("detections", text) == (46, 4, 3)


def without_times(text):
    """Lines without when they were said, and without how long loading took."""
    return [
        re.sub(r"took [\d.]+ sec, or [\d.]+", "took", line.split(" ", 1)[1])
        for line in text.splitlines()
    ]


def test_a_published_log_is_what_we_would_write():
    folder = PUBLISHED / "kws_performance"
    logged = logs_eembc.read_log(folder / "log.txt")
    assert (logged.model_id, logged.mode, logged.runner) == ("kws01", "performance", "3.0.10")
    assert without_times(logs_eembc.write_log(logged)) == without_times(
        (folder / "log.txt").read_text()
    )
    assert logs_eembc.write_script(logged).strip() == (folder / "script.async").read_text().strip()


def test_a_published_logs_timestamps_give_the_published_results():
    folder = PUBLISHED / "kws_performance"
    logged = logs_eembc.read_log(folder / "log.txt")
    results = timed_results((each.iterations, each.duration_s) for each in logged.inferences)
    text = results_eembc.write_results(results)
    assert without_times(text) == without_times((folder / "results.txt").read_text())
    read = results_eembc.read_results(folder / "results.txt")
    assert read.inferences_per_s == pytest.approx(results.inferences_per_s, abs=5.1e-4)


def test_a_published_log_of_energy_is_read_through_its_interface_board():
    logged = logs_eembc.read_log(PUBLISHED / "kws_energy" / "log.txt")
    assert (logged.mode, len(logged.inferences)) == ("energy", 5)
    assert {each.iterations for each in logged.inferences} == {400}
    assert logged.inferences[0].file == "tst_000000_Stop_7.bin"
    assert len(logged.inferences[0].results) == 12
    assert logged.inferences[0].lap_us == ()
    results = results_eembc.read_results(PUBLISHED / "kws_energy" / "results.txt")
    costs_uj = [1e6 * each.energy_j / each.iterations for each in results.windows]
    assert results.uj_per_inference == pytest.approx(statistics.median(costs_uj), abs=5.1e-4)
    text = results_eembc.write_results(results)
    published = without_times((PUBLISHED / "kws_energy" / "results.txt").read_text())
    for ours, theirs in zip(without_times(text), published, strict=True):
        # Those two are of durations that were printed shorter.
        if "Power" not in ours and "Throughput" not in ours:
            assert ours == theirs


def test_published_accuracy_is_read():
    results = results_eembc.read_results(PUBLISHED / "kws_accuracy" / "results.txt")
    assert results == SessionResults("accuracy", top_1_percent=90.2, auc=0.99)


def test_a_results_json_has_what_the_field_analyses():
    entries = json.loads(
        results_mlcommons.write_results_json(session(), {"tst_000001_Stop_7.bin": 7})
    )
    assert len(entries) == 5
    assert entries[1]["class"] == "7"
    assert "class" not in entries[0]
    assert entries[0]["mode"] == "p"
    infer = entries[0]["infer"]
    assert infer["elapsed_time"] == infer["end_time"] - infer["start_time"] == 11_000_000
    assert infer["throughput"] == pytest.approx(1000 / 11)
    assert (infer["results"], infer["iterations"], infer["warmups"]) == ([0.25, 0.75], 1000, 10)


def test_windows_that_break_the_rules_are_written_as_the_runners_write_them():
    short = timed_results([(5, 1.5)] * 5)
    assert "e-[The run must take at least 10 seconds" in results_eembc.write_results(short)
    assert "ERROR 2 - loop exited" in results_mlcommons.write_results(short, AT)
    assert "ERROR 1 - loop_count" in results_mlcommons.write_results(
        timed_results([(100, 11.0)] * 4), AT
    )
    energy = energy_results(energy_figures(windows=2, window_s=5.0))
    assert "<<<< below minimum duration" in results_mlcommons.write_results(energy, AT)


@pytest.mark.parametrize(
    ("reader", "text", "part"),
    [
        (
            logs_eembc.read_log,
            "Logging initialized",
            "line 1: 'Logging initialized' is not seconds",
        ),
        (logs_eembc.read_log, "00001.000 dut: m-ready\n", "no m-session-start-id"),
        (
            logs_eembc.read_log,
            '00001.000 parser: Command "version"\n00002.000 parser: Command "dut infer 1 0"\n',
            "line 2: it infers before anything was loaded",
        ),
        (logs_mlcommons.read_log, "nothing here\n", "no session of a board"),
        (
            logs_mlcommons.read_log,
            "\n1399.000000 ulp-mlperf: Loading file a.bin segment 0\n",
            "line 2: '1399.000000' is no month, day and time",
        ),
        (
            logs_mlcommons.read_log,
            "Running inference with 0/1 (warmup/measured) iterations ...\n",
            "line 1: it infers before anything was loaded",
        ),
        (
            results_eembc.read_results,
            "Top 1% = 90.0\n",
            "line 1: .* is it the file of another runner",
        ),
        (
            results_eembc.read_results,
            "1.000 ulp-mlperf: Top-1: 90.0%\n2.000 ulp-mlperf: hm\n",
            "line 2: 'hm' is no line",
        ),
        (
            results_eembc.read_results,
            "1.000 ulp-mlperf: AUC: 1.2.3\n",
            "line 1: '1.2.3' is no number",
        ),
        (
            results_eembc.read_results,
            "1.000 ulp-mlperf:   # Inferences : 10\n",
            "1 counts of inferences, 0 runtimes",
        ),
        (
            results_mlcommons.read_results,
            "Top-1: 90.0%\n",
            "line 1: 'Top-1: 90.0%' is no line of results",
        ),
        (
            results_mlcommons.read_results,
            "  Inferences    : 10\n",
            "1 counts of inferences, 0 times",
        ),
        (
            results_mlcommons.read_results,
            "Accuracy: 1 True positives, 2 False negatives, 3 False positives\n",
            "without duty cycle",
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_with_its_line(
    tmp_path, reader, text, part
):
    file = tmp_path / "file.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=part) as refused:
        reader(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_log_that_ends_in_the_middle_is_refused(tmp_path):
    file = tmp_path / "log.txt"
    text = logs_eembc.write_log(session())
    file.write_text(text[: text.rindex("m-infer-done")])
    with pytest.raises(
        DataError, match=r"ends while tst_000004_Stop_7\.bin is inferred; it was cut short"
    ):
        logs_eembc.read_log(file)
    with pytest.raises(DataError, match="cannot read"):
        logs_eembc.read_log(tmp_path / "none.txt")


def test_what_boards_print_beside_the_protocol_does_not_confuse_the_reader(tmp_path):
    file = tmp_path / "log.txt"
    text = logs_eembc.write_log(session())
    text = text.replace("dut: m-warmup-start-10", "dut: th_load_tensor\nm-warmup-start-10")
    text = text.replace("dut: m-lap-us-", "dut: infer 1000 10%m-lap-us-")
    file.write_text(text.replace("\n", "\r\n"))
    read = logs_eembc.read_log(file)
    assert [each.lap_us for each in read.inferences] == [
        each.lap_us for each in session().inferences
    ]


@given(st.binary(max_size=400))
@examples(60)
def test_no_bytes_at_all_make_a_reader_fail_otherwise(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("any") / "file.txt"
    file.write_bytes(data)
    for dialect in (logs_eembc, logs_mlcommons):
        with contextlib.suppress(DataError):
            dialect.read_log(file)
    for dialect in (results_eembc, results_mlcommons):
        with contextlib.suppress(DataError):
            dialect.read_results(file)


def test_a_board_that_printed_nonsense_has_no_results():
    (first, *_) = session().inferences
    broken = replace(
        first, lines=(BoardLine(1.0, "m-results-[0.1,abc]"), BoardLine(1.0, "m-ready"))
    )
    assert (broken.results, broken.duration_s) == ((), None)
    comma = replace(first, lines=(BoardLine(1.0, "m-results-[0.1,0.9,]"),))
    assert comma.results == (0.1, 0.9)
    assert session().started_at == STARTED
