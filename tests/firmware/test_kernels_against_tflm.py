"""Byte identity with TensorFlow Lite Micro: every kind of layer, odd shapes, networks, models that ship.

Many models are compiled into one program, which runs them on this machine under sanitizers, or on an
emulated board.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.firmware.build import DSP_KERNELS, firmware_sources
from gnomon.firmware.read import read_graph
from tests.firmware import cases
from tests.firmware.compiled import (
    KERNELS,
    TEST_SOURCES,
    compile_board,
    compile_host,
    generated_inputs,
    hashes_from,
    hashes_of,
    needs_emulator,
    needs_host_compiler,
    talk_to_board,
    talk_to_program,
    tflm,
    write_many,
)
from tests.firmware.models import single_layers, write_model

ROUNDS = 3
SHIPPED = sorted((Path(gnomon.__file__).parent / "data" / "tiny").glob("*.tflite"))


@pytest.fixture(scope="module")
def expected():
    """Graphs and TFLM's outputs by the case's name."""
    graphs = cases.layers() | cases.networks()
    return {
        name: (graph, tflm(write_model(graph), _inputs(place, graph)))
        for place, (name, graph) in enumerate(graphs.items())
    }


def _inputs(place, graph, rounds=ROUNDS):
    return generated_inputs(place, graph.tensors[graph.input].shape, rounds)


def _differing(expected, found):
    return ", ".join(
        name
        for (name, (_, outputs)), hashes in zip(expected.items(), found, strict=True)
        if not np.array_equal(hashes, hashes_of(outputs))
    )


def _board_hashes(graphs, board, kernels, folder, rounds=ROUNDS):
    if kernels == "dsp" and not DSP_KERNELS.exists():
        pytest.skip("there are no optimised kernels")
    sources = write_many(graphs, folder, kernels, rounds)
    sources += [path for path in firmware_sources(kernels) if path.stem != "protocol"]
    compile_board(sources, board, folder / "many.elf")
    talk = talk_to_board(folder / "many.elf", board, folder / "qemu.log", boot=False)
    try:
        return hashes_from(talk, rounds)
    finally:
        talk.close()


def _host_hashes(graphs, folder, *flags, rounds=ROUNDS):
    sources = write_many(graphs, folder, "plain", rounds)
    compile_host([*sources, *KERNELS, TEST_SOURCES / "port_host.c"], folder / "many", *flags)
    talk = talk_to_program(folder / "many", boot=False)
    found = hashes_from(talk, rounds)
    talk.close()
    return found


@needs_host_compiler
def test_every_layer_and_network_gives_the_bytes_of_tflm_under_sanitizers(expected, tmp_path):
    found = _host_hashes([graph for graph, _ in expected.values()], tmp_path)
    assert _differing(expected, found) == ""


@needs_emulator
@pytest.mark.parametrize(
    ("board", "kernels"),
    [("mps2-an385", "plain"), ("mps2-an386", "dsp"), ("mps2-an500", "dsp")],
)
def test_every_layer_and_network_gives_the_bytes_of_tflm_on_a_board(
    expected, board, kernels, tmp_path
):
    found = _board_hashes([graph for graph, _ in expected.values()], board, kernels, tmp_path)
    assert _differing(expected, found) == ""


@needs_emulator
@pytest.mark.slow
@pytest.mark.skipif(not SHIPPED, reason="no models ship")
@pytest.mark.parametrize("model", SHIPPED, ids=lambda path: path.stem)
def test_a_model_that_ships_and_each_of_its_layers_give_the_bytes_of_tflm(model, tmp_path):
    graph = read_graph(model)
    graphs = {"all": graph} | {str(index): one for index, one in single_layers(graph).items()}
    wanted = {
        name: (one, tflm(write_model(one), _inputs(place, one, rounds=1)))
        for place, (name, one) in enumerate(graphs.items())
    }
    whole = hashes_of(tflm(model.read_bytes(), _inputs(0, graph, rounds=1)))
    assert hashes_of(wanted["all"][1]) == whole
    assert _host_hashes([graph], tmp_path, "-O2", "-fno-sanitize=all", rounds=1) == whole
    found = _board_hashes(list(graphs.values()), "mps2-an386", "dsp", tmp_path, rounds=1)
    assert _differing(wanted, found) == ""


def test_the_cases_leave_no_layer_saturated_or_constant(expected):
    distinct = [
        len(np.unique(outputs))
        for graph, outputs in expected.values()
        if graph.tensors[graph.output].size > 1
    ]
    assert min(distinct) > 1
    assert np.median(distinct) > 20
