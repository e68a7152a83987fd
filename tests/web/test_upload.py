"""The bytes of a test: read back as they were sent, and refused in one line whatever else they are."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.loadgen.condition_checks import LENIENT
from gnomon.web.upload import LARGEST_HEADER, MOST_ROWS, Upload, read_upload
from tests.web.page import CONDITIONS, body_of, body_of_test, described

ISSUED = np.array([0.0, 10.0, 30.0])
COMPLETED = np.array([9.0, 29.0, 35.0])
GOOD = body_of_test("single-stream", ISSUED, COMPLETED)
(GOOD_LENGTH,) = struct.unpack_from("<I", GOOD)
GOOD_HEADER = json.loads(GOOD[4 : 4 + GOOD_LENGTH])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def refusal(body):
    """The line that a body is refused with; an empty one if it is read."""
    try:
        found = read_upload(body)
    except DataError as error:
        line = str(error)
    else:
        assert isinstance(found, Upload)
        return ""
    assert line
    assert "\n" not in line
    return line


def with_header(**changed):
    """The good body with another header."""
    return body_of({**GOOD_HEADER, **changed}, ISSUED, COMPLETED)


def test_a_test_is_read_as_it_was_sent():
    outputs = [np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(3, dtype=np.int32)]
    found = read_upload(body_of_test("accuracy", ISSUED, COMPLETED, outputs))
    assert (found.test, found.kind, found.conditions) == ("accuracy", "accuracy", None)
    assert found.issued_ns.tolist() == [0, 10, 30]
    assert found.completed_ns.tolist() == [9, 29, 35]
    assert found.duration_s == 35e-9
    assert [output.dtype.name for output in found.outputs] == ["float32", "int32"]
    assert np.array_equal(found.outputs[0], outputs[0])


def test_conditions_of_a_performance_test_have_to_be_stated():
    found = read_upload(GOOD).conditions
    assert found.battery_level_end == 0.89
    assert found.online is False
    assert found.warm_up_calls == 3
    assert "has to state its conditions" in refusal(with_header(conditions=None))
    for name in CONDITIONS:
        fewer = {key: value for key, value in CONDITIONS.items() if key != name}
        assert f"conditions.{name}" in refusal(with_header(conditions=fewer))
    assert read_upload(with_header(conditions={**CONDITIONS, "battery": None}))
    charger = {"charging_start": False, "charging_end": False}
    assert "level_start" in refusal(with_header(conditions={**CONDITIONS, "battery": charger}))


def test_a_fault_cannot_have_the_name_of_a_rule_whose_breach_counts_for_less():
    for kind in LENIENT:
        assert "faults" in refusal(with_header(faults=[{"kind": kind, "message": "it broke"}]))


def test_an_interruption_is_a_fault():
    assert read_upload(with_header(interrupted=True)).faults[0].kind == "interrupted"
    told = [{"kind": "hidden", "message": "the page\nwas \u202e hidden"}]
    fault = read_upload(with_header(interrupted=True, faults=told)).faults[0]
    assert (fault.kind, fault.message) == ("hidden", "the page was hidden")


def test_an_answer_at_zero_is_still_an_answer():
    found = read_upload(body_of_test("single-stream", [0.0, 0.0], [0.0, 100.0]))
    assert found.issued_ns.tolist() == [1, 1]
    assert found.completed_ns.tolist() == [1, 101]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "too short"),
        (GOOD[:-1], "bytes"),
        (GOOD + b"\0", "bytes"),
        (struct.pack("<I", LARGEST_HEADER + 1) + b" " * (LARGEST_HEADER + 1), "header is said"),
        (struct.pack("<I", 2**32 - 1) + GOOD[4:], "header is said"),
        (with_header(kind="accuracy"), "outputs"),
        (with_header(test="../x"), "test"),
        (with_header(started_at_ms="now"), "started_at_ms"),
        (with_header(faults=[{"kind": "a b", "message": "x"}]), "faults"),
        (with_header(conditions={**CONDITIONS, "hidden_ms": -1}), "hidden_ms"),
        (body_of_test("single-stream", [], []), "rows"),
        (body_of_test("single-stream", ISSUED, COMPLETED + 0.5), "whole nanoseconds"),
        (body_of_test("single-stream", ISSUED, [np.nan, 29, 35]), "whole nanoseconds"),
        (body_of_test("single-stream", ISSUED, [np.inf, 29, 35]), "whole nanoseconds"),
        (body_of_test("single-stream", ISSUED, COMPLETED * 1e18), "whole nanoseconds"),
        (body_of_test("single-stream", ISSUED[::-1], COMPLETED), "cannot have happened"),
        (body_of_test("single-stream", ISSUED, COMPLETED - 9), "cannot have happened"),
        (body_of_test("single-stream", ISSUED, COMPLETED[:2]), "expected 3 rows"),
        (body_of_test("accuracy", ISSUED, COMPLETED, [np.zeros((2, 4), "f4")]), "expected 3 rows"),
        (body_of_test("accuracy", ISSUED, COMPLETED, [np.zeros((3, 4), "f2")]), "dtype"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line_that_says_where(body, words):
    assert words in refusal(body)


def test_a_shape_that_would_fill_the_memory_is_refused_before_anything_is_made():
    huge = [2**31 - 1] * 6
    for shape in ([MOST_ROWS + 1], [2**31 - 1], huge):
        arrays = [{**array, "shape": shape} for array in GOOD_HEADER["arrays"]]
        assert refusal(with_header(arrays=arrays))
    output = {"name": "output-0", "dtype": "float64", "shape": [3, *huge[:5]]}
    assert "bytes" in refusal(with_header(kind="accuracy", arrays=[*GOOD_HEADER["arrays"], output]))


def test_arrays_of_objects_or_of_other_names_are_refused():
    for array in (
        {**described("issued_ns", ISSUED), "dtype": "object"},
        {**described("issued_ns", ISSUED), "dtype": "O"},
        {**described("issued_ns", ISSUED), "shape": [3.5]},
        described("completed_ns", ISSUED),
    ):
        assert refusal(with_header(arrays=[array, GOOD_HEADER["arrays"][1]]))


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused(body):
    assert refusal(body)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_body_with_one_byte_changed_is_read_or_refused(place, value):
    refusal(GOOD[:place] + bytes([value]) + GOOD[place + 1 :])


@given(JSON)
def test_a_header_of_any_json_is_refused(header):
    assert refusal(body_of(header, ISSUED, COMPLETED))


@given(st.sampled_from(sorted(GOOD_HEADER)), JSON)
def test_a_header_with_one_entry_of_any_json_is_read_or_refused(name, value):
    refusal(with_header(**{name: value}))


@given(st.binary(max_size=100))
def test_a_header_of_any_bytes_is_refused(text):
    assert refusal(struct.pack("<I", len(text)) + text + ISSUED.tobytes() + COMPLETED.tobytes())


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.lists(st.integers(1, 10**9)))
def test_any_plausible_times_are_read_exactly(gaps, latencies):
    latency = np.resize(latencies or [1], len(gaps))
    issued = np.cumsum(np.array(gaps))
    found = read_upload(
        body_of_test("offline", issued.astype(float), (issued + latency).astype(float))
    )
    assert np.array_equal(found.issued_ns, issued)
    assert np.array_equal(found.completed_ns, issued + latency)
