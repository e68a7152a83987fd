"""Reading models: what was written comes back, and what cannot be run is refused with a reason."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError, MissingExtraError
from gnomon.firmware.graph import AVERAGE_POOL, Graph, UnsupportedOperatorError
from gnomon.firmware.plan import plan_memory
from gnomon.firmware.read import read_graph
from tests.firmware import cases
from tests.firmware.models import Network, write_model

GRAPHS = cases.layers() | cases.networks()
SMALL = write_model(cases.networks()["residual"])


def small():
    network = Network(1, (4, 4, 3))
    network.conv(2, (3, 3), same_padding=True, activation="RELU")
    network.pool(AVERAGE_POOL, (2, 2))
    return network.graph()


def changed(graph, operator=None, tensor=None):
    """A graph with changes to its first operator or to tensors by index."""
    operators, tensors = list(graph.operators), list(graph.tensors)
    operators[0] = replace(operators[0], **(operator or {}))
    for index, changes in (tensor or {}).items():
        tensors[index] = replace(tensors[index], **changes)
    return Graph(tuple(tensors), tuple(operators), graph.input, graph.output)


@pytest.mark.parametrize("name", GRAPHS)
def test_what_was_written_comes_back(name, tmp_path):
    graph = GRAPHS[name]
    (tmp_path / "model.tflite").write_bytes(write_model(graph))
    found = read_graph(tmp_path / "model.tflite")
    assert (found.input, found.output) == (graph.input, graph.output)
    for read, written in zip(found.operators, graph.operators, strict=True):
        assert replace(read, beta=0) == replace(written, beta=0)
        assert read.beta == np.float32(written.beta)
    for read, written in zip(found.tensors, graph.tensors, strict=True):
        assert (read.name, read.shape, read.dtype) == (written.name, written.shape, written.dtype)
        np.testing.assert_array_equal(read.scales, written.scales)
        np.testing.assert_array_equal(read.zero_points, written.zero_points)
        assert (read.data is None) == (written.data is None)
        if written.data is not None:
            np.testing.assert_array_equal(read.data, written.data)


def test_macs_are_counted_by_kind_of_layer():
    network = Network(1, (8, 6, 4))
    network.conv(5, (3, 3), stride=(2, 2), same_padding=True)
    network.depthwise(2, (3, 3), same_padding=True)
    network.dense(7)
    graph = network.graph()
    assert [graph.macs(operator) for operator in graph.operators] == [
        4 * 3 * 5 * 3 * 3 * 4,
        4 * 3 * 10 * 3 * 3,
        4 * 3 * 10 * 7,
    ]


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            changed(small(), {"name": "TANH"}),
            r"operator 0 \(TANH\) has no kernel in the firmware; it has: CONV_2D, DEPTHWISE",
        ),
        (changed(small(), {"stride": (3, 3)}), "another size than its window makes"),
        (changed(small(), {"inputs": (4, 1, 2)}), "reads what nothing wrote"),
        (changed(small(), {"output": 0}), "writes what is written"),
        (changed(small(), tensor={0: {"shape": (2, 4, 4, 3)}}), "a batch other than 1"),
        (changed(small(), tensor={1: {"data": None}}), "reads what nothing wrote"),
        (
            changed(small(), tensor={1: {"zero_points": np.array([1, 0])}}),
            "weights whose zero point is not 0",
        ),
        (
            changed(
                small(), tensor={1: dict.fromkeys(("scales", "zero_points"), np.zeros(3, int))}
            ),
            "scales for other than its channels",
        ),
        (changed(small(), tensor={4: {"scales": np.array([9.0])}}), "of different scales"),
        (
            changed(small(), tensor={3: {"dtype": np.dtype(np.int16)}}),
            "is int16, where kernels compute in int8",
        ),
    ],
)
def test_an_operator_that_no_kernel_computes_is_named_with_what_is_wrong(graph, reason):
    with pytest.raises(UnsupportedOperatorError, match=reason) as raised:
        read_graph(write_model(graph))
    assert "\n" not in str(raised.value)


def test_a_model_of_floats_is_refused_with_what_to_do():
    float_input = changed(small(), tensor={0: {"dtype": np.dtype(np.float32)}})
    with pytest.raises(DataError, match=r"its input is float32.*full integer quantisation"):
        read_graph(write_model(float_input))


def test_a_file_that_is_missing_or_something_else_is_said_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.tflite cannot be read"):
        read_graph(tmp_path / "nowhere.tflite")
    (tmp_path / "other.tflite").write_bytes(b"PK\3\4 some archive")
    with pytest.raises(DataError, match=r"other\.tflite is no TensorFlow Lite model"):
        read_graph(tmp_path / "other.tflite")


@hypothesis.settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(8, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4
    ),
    st.integers(0, len(SMALL)),
)
def test_a_damaged_model_is_read_or_refused_and_never_breaks_the_reader(changes, length):
    damaged = bytearray(SMALL)
    for place, value in changes:
        damaged[place] = value
    with contextlib.suppress(DataError):
        plan_memory(read_graph(bytes(damaged[: max(length, len(SMALL) * 3 // 4)])))


def test_operators_that_only_compute_a_shape_are_left_out():
    """Converters put them before a reshape, when the batch may be of any size."""
    network = Network(1, (2, 2, 3))
    network.pool(AVERAGE_POOL, (2, 2))
    pooled = network.last
    shape = network._tensor((4,), np.int32, [], [], None)
    network._ends(network._operator("SHAPE", (pooled,)), shape)
    network.reshape((1, 3), pooled)
    network.dense(2)
    graph = read_graph(write_model(network.graph()))
    assert [(each.index, each.name) for each in graph.operators] == [
        (0, AVERAGE_POOL),
        (2, "RESHAPE"),
        (3, "FULLY_CONNECTED"),
    ]
    assert plan_memory(graph).offsets.keys() == {0, pooled, *(e.output for e in graph.operators)}


def test_a_missing_package_is_said_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r"needs tflite: pip install 'gnomon\[tiny\]'"):
        read_graph(SMALL)
