"""The request that begins a run: read when it fits, refused in one line whatever else it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.web.asked import AskedRun, read_request

GOOD = {
    "mode": "quick",
    "precision": "fp32",
    "provider": {
        "name": "webgpu",
        "threads": 1,
        "isolated": True,
        "requested": "auto",
        "probes": [],
    },
    "device": {"user_agent": "Mozilla/5.0 \u202e\n(X11)", "model": None, "screen": [412, 915, 2.6]},
    "clock": {"resolution_ns": 5000},
    "started_at_ms": 1_764_000_000_000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def read_or_refused(body):
    """The request, or None; a refusal is one line."""
    try:
        return read_request(AskedRun, body)
    except DataError as error:
        line = str(error)
    assert line
    assert "\n" not in line
    assert len(line) < 400
    return None


def test_what_a_page_tells_goes_on_record_in_single_lines():
    found = read_request(AskedRun, json.dumps(GOOD).encode())
    assert found.device_told() == {
        "user_agent": "Mozilla/5.0 (X11)",
        "screen": [412, 915, 2.6],
        "clock_resolution_ns": 5000,
    }
    assert found.identity() == {"mode": "quick", "precision": "fp32", "provider": "webgpu"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "fp64"),
        ("provider", {"name": "cuda"}),
        ("provider", {"name": "wasm", "threads": 0}),
        ("provider", {"name": "wasm", "probes": [{}] * 100}),
        ("device", {}),
        ("device", {"user_agent": "x" * 2000}),
        ("mode", "x" * 1000),
        ("clock", {"resolution_ns": "NaN"}),
    ],
)
def test_what_does_not_fit_is_refused(name, value):
    assert read_or_refused(json.dumps(GOOD | {name: value}).encode()) is None


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused(body):
    assert read_or_refused(body) is None


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_a_request_with_one_entry_of_any_json_is_read_or_refused(name, value):
    read_or_refused(json.dumps(GOOD | {name: value}).encode())
