"""Memory plans: no two things that live at once share a byte, and the arena is no larger than TFLM's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gnomon
from gnomon.firmware.graph import ADD, AVERAGE_POOL, RESHAPES
from gnomon.firmware.plan import ALIGNMENT, Buffer, lower_bound, place, plan_memory, scratch_size
from gnomon.firmware.read import read_graph
from tests.firmware import cases
from tests.firmware.models import Network, write_model

SHIPPED = sorted((Path(gnomon.__file__).parent / "data" / "tiny").glob("*.tflite"))


def examples(count):
    return hypothesis.settings(deadline=None, derandomize=True, max_examples=count)


buffers = st.lists(
    st.builds(
        lambda first, length, size: Buffer((1,), first, first + length, size),
        st.integers(0, 12),
        st.integers(0, 5),
        st.integers(1, 200),
    ),
    max_size=14,
)


@st.composite
def networks(draw):
    """Networks with branches that are added much later, reshapes, and scratch memory."""
    network = Network(draw(st.integers(0, 1000)), (6, 5, draw(st.integers(1, 4))))
    branches = []
    for step in draw(st.lists(st.sampled_from("cdbarp"), max_size=12)):
        if step == "c":
            network.conv(draw(st.integers(1, 6)), (3, 3), same_padding=True)
        elif step == "d":
            network.depthwise(draw(st.integers(1, 2)), (3, 3), same_padding=True)
        elif step == "b":
            branches.append(network.last)
        elif step == "p":
            network.pool(AVERAGE_POOL, (2, 2), stride=(1, 1), same_padding=True)
        elif step == "r":
            network.reshape(network.shape())
        for branch in branches if step == "a" else ():
            if network.shape(branch) == network.shape():
                network.add(branch, network.last)
    return network.graph()


def assert_nothing_is_overwritten(graph, plan, kernels, keep_input):
    """Follow the model, byte by byte: each operator must find in memory what was written for it."""
    memory = np.full(plan.arena_bytes, -1)

    def spread(tensor):
        offset = plan.offsets[tensor]
        assert offset % ALIGNMENT == 0
        return slice(offset, offset + graph.tensors[tensor].size)

    memory[spread(graph.input)] = graph.input
    content = {graph.input: graph.input}
    for operator in graph.operators:
        read = [index for index in operator.inputs if index in plan.offsets]
        for index in read:
            assert (memory[spread(index)] == content[index]).all(), (operator, index)
        size = scratch_size(graph, operator, kernels)
        if size:
            start = plan.scratch[operator.index]
            assert start % ALIGNMENT == 0
            assert start + size <= plan.arena_bytes
            memory[start : start + size] = -1
            for index in read:
                assert (memory[spread(index)] == content[index]).all(), (operator, index)
        if operator.name in RESHAPES:
            assert plan.offsets[operator.output] == plan.offsets[operator.inputs[0]]
            content[operator.output] = content[operator.inputs[0]]
            continue
        if operator.name != ADD:  # which may write over what it has read
            memory[spread(operator.output)] = -1
            for index in read:
                assert (memory[spread(index)] == content[index]).all(), (operator, index)
        memory[spread(operator.output)] = operator.output
        content[operator.output] = operator.output
    assert (memory[spread(graph.output)] == content[graph.output]).all()
    if keep_input:
        assert (memory[spread(graph.input)] == graph.input).all()


@examples(200)
@given(buffers)
def test_buffers_that_live_at_once_never_share_a_byte(wanted):
    placed = place(wanted)
    assert [(each.first, each.last, each.size) for each in placed] == [
        (each.first, each.last, each.size) for each in wanted
    ]
    for place_of_one, one in enumerate(placed):
        for other in placed[:place_of_one]:
            if one.overlaps(other):
                assert (
                    one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
                )


@examples(80)
@given(networks(), st.sampled_from(["plain", "dsp"]), st.booleans())
def test_every_operator_finds_what_was_written_for_it(graph, kernels, keep_input):
    plan = plan_memory(graph, kernels, keep_input=keep_input)
    assert plan.arena_bytes >= lower_bound(plan.buffers)
    assert_nothing_is_overwritten(graph, plan, kernels, keep_input)


@examples(30)
@given(networks(), st.integers(2, 5))
def test_a_plan_depends_on_the_order_of_operators_and_not_on_their_numbers(graph, step):
    """Operators that a converter left and nothing has to run leave gaps in the numbers."""
    sparse = replace(
        graph,
        operators=tuple(replace(each, index=step * each.index + 1) for each in graph.operators),
    )
    one, other = plan_memory(graph, "dsp"), plan_memory(sparse, "dsp")
    assert one.offsets == other.offsets
    assert {step * index + 1: offset for index, offset in one.scratch.items()} == other.scratch


def test_an_addition_writes_over_an_input_that_nothing_reads_later():
    network = Network(1, (4, 4, 3))
    one = network.conv(3, (1, 1))
    other = network.conv(3, (1, 1))
    made = network.add(one, other)
    assert plan_memory(network.graph()).offsets[made] in (
        plan_memory(network.graph()).offsets[one],
        plan_memory(network.graph()).offsets[other],
    )


def test_an_input_that_is_needed_later_is_not_written_over():
    network = Network(1, (4, 4, 3))
    made = network.add(0, 0)
    plan = plan_memory(network.graph())
    assert plan.offsets[made] != plan.offsets[0]


def arena_of_tflm(model, capfd):
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    capfd.readouterr()
    interpreter.print_allocations()
    told = capfd.readouterr()
    return int(re.search(r"allocation head (\d+) bytes", told.err + told.out)[1])


@pytest.mark.parametrize("name", cases.networks())
def test_a_network_needs_no_more_memory_than_in_tflm(name, capfd):
    graph = cases.networks()[name]
    here = plan_memory(graph, keep_input=False).arena_bytes
    assert here <= arena_of_tflm(write_model(graph), capfd)


@pytest.mark.skipif(not SHIPPED, reason="no models ship")
@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.stem)
def test_a_model_that_ships_needs_the_least_memory_there_is_and_no_more_than_in_tflm(model, capfd):
    plan = plan_memory(read_graph(model), keep_input=False)
    assert plan.arena_bytes == lower_bound(plan.buffers)
    assert plan.arena_bytes <= arena_of_tflm(model.read_bytes(), capfd)
