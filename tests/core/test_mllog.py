"""Log lines written and read back, in the field's JSON dialect and the free text of round v0.5.

What is no entry must be counted and quoted, whatever bytes a file holds.
"""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.core.mllog import NAMESPACE, POINT_IN_TIME, LogLine, format_line, read_log

METADATA = {
    "is_error": False,
    "is_warning": False,
    "file": "a.cc",
    "line_no": 7,
    "pid": 1,
    "tid": 2,
}
REAL_LINE = (
    ':::MLLOG {"key": "effective_target_qps", "value": 2000, "time_ms": 0.028752, '
    '"namespace": "mlperf::logging", "event_type": "POINT_IN_TIME", "metadata": '
    '{"is_error": false, "is_warning": false, "file": "test_settings_internal.cc", '
    '"line_no": 433, "pid": 32386, "tid": 32386}}'
)
V05_LINES = """\
"pid": 27, "tid": 140737353972544, "ts": 56430ns : Version : 0.5a1 @ ad3a6b6
"pid": 27, "tid": 140737353972544, "ts": 1234567ns : Scenario : Single Stream
"pid": 27, "tid": 27, "ts": 2000000ns : Starting performance mode:
"pid": 27, "tid": 27, "ts": 3000000ns : Loaded set : with : colons
"""


@pytest.fixture
def log_of(tmp_path):
    """Write a file and read it as a log."""

    def write_and_read(content):
        path = tmp_path / "detail.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_log(path)

    return write_and_read


def test_a_line_of_the_reference_is_read_with_all_its_parts(log_of):
    (line,) = log_of(REAL_LINE + "\n").lines
    assert line == LogLine(
        "effective_target_qps",
        2000,
        0.028752,
        {
            "is_error": False,
            "is_warning": False,
            "file": "test_settings_internal.cc",
            "line_no": 433,
            "pid": 32386,
            "tid": 32386,
        },
        number=1,
    )
    assert line.event_type == POINT_IN_TIME
    assert not line.is_error
    assert not line.is_warning


def test_a_line_is_written_to_the_byte_as_the_reference_writes_it(log_of):
    (line,) = log_of(REAL_LINE).lines
    assert format_line(line) == REAL_LINE


def test_training_logs_keep_their_intervals_and_their_epoch(log_of):
    started = LogLine("run_start", None, 1583434893123.5, {}, "INTERVAL_START")
    (line,) = log_of(format_line(started)).lines
    assert (line.event_type, line.time_ms, line.value) == ("INTERVAL_START", 1583434893123.5, None)


def test_metadata_and_event_type_may_be_missing(log_of):
    (line,) = log_of(':::MLLOG {"key": "a", "value": 1, "time_ms": 2, "metadata": null}').lines
    assert line == LogLine("a", 1, 2.0, number=1)


@pytest.mark.parametrize(("flag", "property_name"), [("is_error", "is_error"), ("is_warning",) * 2])
def test_errors_and_warnings_are_told_apart(log_of, flag, property_name):
    (line,) = log_of(format_line(LogLine("a", "b", metadata={**METADATA, flag: True}))).lines
    assert [line.is_error, line.is_warning] == [
        property_name == "is_error",
        property_name == "is_warning",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1650.0, "1650"),
        (409.8412345, "409.841"),
        (0.9, "0.9"),
        (0.000012345678, "1.23457e-05"),
        (999999.4, "999999"),
        (-12.0, "-12"),
        (True, "true"),
        (16159082839903944936, "16159082839903944936"),
        ([1, 5, 13], "[1, 5, 13]"),
    ],
)
def test_a_double_is_written_with_six_digits_and_all_else_in_full(value, text):
    assert f'"value": {text}, "time_ms"' in format_line(LogLine("a", value))


@pytest.mark.parametrize("value", [1e6, 1234567.8, 5.5e9])
def test_a_double_of_a_million_or_more_reads_as_a_double(value):
    written = json.loads(format_line(LogLine("a", value)).removeprefix(":::MLLOG "))["value"]
    assert isinstance(written, float)
    assert written == float(f"{value:.6g}")


plain = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
) | st.floats(allow_nan=False, allow_infinity=False)


@given(
    key=st.text(st.characters(exclude_categories=["Cs"])),
    value=values,
    time_ms=st.floats(0, 1e12),
    metadata=st.dictionaries(st.text(), plain, max_size=4),
)
@example(key="line\u2028separator", value="next\x85line", time_ms=0.0, metadata={"file": "\u2029"})
@example(key="a", value="undecodable \udcff", time_ms=0.0, metadata={})
def test_what_is_written_is_read_back(tmp_path_factory, key, value, time_ms, metadata):
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    line = LogLine(key, value, time_ms, metadata)
    path.write_bytes((format_line(line) + "\n" + format_line(line) + "\n").encode())
    log = read_log(path)
    assert (log.malformed, log.first_malformed) == (0, "")
    assert [again.number for again in log.lines] == [1, 2]
    for again in log.lines:
        assert again.key == key
        assert again.time_ms == pytest.approx(time_ms, abs=1e-6)
        assert again.metadata == metadata
        if isinstance(value, float):
            assert math.isclose(again.value, value, rel_tol=1e-5)
        else:
            assert again.value == value
            assert type(again.value) is type(value)


def test_lines_of_round_v0_5_are_split_at_their_colons(log_of):
    log = log_of(V05_LINES)
    assert log.malformed == 0
    assert [(line.key, line.value) for line in log.lines] == [
        ("Version", "0.5a1 @ ad3a6b6"),
        ("Scenario", "Single Stream"),
        ("Starting performance mode:", ""),
        ("Loaded set", "with : colons"),
    ]
    first = log.lines[0]
    assert first.time_ms == 0.05643
    assert first.metadata == {"pid": 27, "tid": 140737353972544}
    assert first.number == 1


def test_the_last_entry_of_a_key_is_the_one_that_counts(log_of):
    log = log_of("".join(format_line(LogLine("a", value)) + "\n" for value in (1, 2, 3)))
    assert log.last("a") == 3
    assert log.last("b") is None


@pytest.mark.parametrize(
    "broken",
    [
        ":::MLLOG",
        ":::MLLOG {",
        ":::MLLOG []",
        ":::MLLOG 7",
        ":::MLLOG null",
        REAL_LINE[:100],
        ':::MLLOG {"key": "a", "value": 1}',
        ':::MLLOG {"value": 1, "time_ms": 0}',
        ':::MLLOG {"key": "a", "time_ms": 0}',
        ':::MLLOG {"key": "a", "value": 1, "time_ms": "soon"}',
        ':::MLLOG {"key": "a", "value": 1, "time_ms": null}',
        ':::MLLOG {"key": 7, "value": 1, "time_ms": 0}',
        ':::MLLOG {"key": null, "value": 1, "time_ms": 0}',
        ':::MLLOG {"key": "a", "value": 1, "time_ms": 0, "metadata": "none"}',
        ':::MLLOG {"key": "a", "value": 1, "time_ms": 0, "metadata": [1]}',
        ":::MLLOG " + "[" * 100_000,
        ":::MLPv0.5.0 resnet 1541635969.5 (a.py:7) run_start",
        '"pid": 27, "tid": 27',
        '"pid": x, "tid": 27, "ts": 2ns : a : b',
    ],
    ids=lambda text: text[:60],
)
def test_a_line_that_means_nothing_is_counted_and_the_first_is_quoted(log_of, broken):
    good = format_line(LogLine("a", 1))
    log = log_of(f"{good}\n{broken}\n{good}\n:::MLLOG later\n")
    assert [(line.key, line.number) for line in log.lines] == [("a", 1), ("a", 3)]
    assert log.malformed == 2
    assert log.first_malformed == f"line 2: {broken[:120]}"
    for line in log.lines:
        assert not line.is_error


def test_other_text_between_the_entries_is_skipped(log_of):
    good = format_line(LogLine("a", 1))
    log = log_of(f"\ufeff\nsome words\n{good}\r\n\n  {good}\nmore\n")
    assert [line.number for line in log.lines] == [3]
    assert log.malformed == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"some words\n", b":::MLLOG {\n", bytes(range(256)) * 20, b"\xff\xfe:\x00:\x00"],
    ids=["empty", "blank", "words", "cut short", "binary", "utf-16"],
)
def test_a_file_without_any_entry_is_refused_by_name(log_of, content):
    with pytest.raises(DataError, match=r"detail\.txt holds no log entry: it is empty, cut short"):
        log_of(content)


def test_bytes_that_are_no_text_do_not_hide_the_entries_around_them(log_of):
    good = format_line(LogLine("a", 1)).encode()
    log = log_of(good + b"\n\xff\xfe\x00\x81\n" + good + b"\n:::MLLOG \xff\n")
    assert [line.number for line in log.lines] == [1, 3]
    assert log.malformed == 1
    assert log.first_malformed.startswith("line 4: :::MLLOG ")


@given(st.binary(max_size=300))
def test_any_bytes_give_entries_or_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(b":::MLLOG " + content)
    try:
        log = read_log(path)
    except DataError:
        return
    assert log.lines
    assert all(line.key for line in log.lines)


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(DataError, match=r"away\.txt cannot be read: No such file"):
        read_log(tmp_path / "away.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_log(tmp_path)


def test_every_line_names_the_fields_namespace():
    entry = json.loads(format_line(LogLine("a", 1, 2.5, METADATA)).removeprefix(":::MLLOG "))
    assert list(entry) == ["key", "value", "time_ms", "namespace", "event_type", "metadata"]
    assert entry["namespace"] == NAMESPACE == "mlperf::logging"
