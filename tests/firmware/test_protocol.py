"""Conversations with the firmware, as a process under sanitizers and on an emulated board."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from gnomon.firmware.build import C_SOURCES, firmware_sources
from gnomon.firmware.emit import emit
from gnomon.firmware.graph import Graph
from tests.firmware.compiled import (
    KERNELS,
    TEST_SOURCES,
    compile_board,
    compile_host,
    needs_emulator,
    needs_host_compiler,
    talk_to_board,
    talk_to_program,
    tflm,
)
from tests.firmware.models import Network, write_model

BOARD = "mps2-an386"
INPUTS = 12
STEP, ZERO_POINT = 2.5, 11


def classifier():
    network = Network(5, (INPUTS,))
    network.dense(6, activation="RELU")
    network.dense(3)
    network.softmax()
    return network.graph()


def giving_back(size, scale, zero_point):
    """A model without operators, whose output is its input."""
    network = Network(1, (size,))
    tensor = network.tensors[network.activation((1, size), scale, zero_point)]
    return Graph((replace(tensor, index=0),), (), 0, 0)


def started(graph, model_id, folder, place="host", flags=(), boot=True):
    """A conversation with this model's firmware."""
    (folder / "model.c").write_text(emit(graph, model_id).code)
    sources = [folder / "model.c"]
    if place == "host":
        sources += [*KERNELS, C_SOURCES / "protocol.c", TEST_SOURCES / "port_host.c"]
        compile_host(sources, folder / "firmware", *flags)
        return talk_to_program(folder / "firmware", boot)
    compile_board([*sources, *firmware_sources("plain")], place, folder / "elf", *flags)
    return talk_to_board(folder / "elf", place, folder / "qemu.log", boot)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("host", marks=needs_host_compiler),
        pytest.param(BOARD, marks=needs_emulator),
    ],
)
def firmware(request, tmp_path_factory):
    talk = started(classifier(), "vww01", tmp_path_factory.mktemp("firmware"), request.param)
    yield talk
    talk.close()


@pytest.fixture(scope="module")
def anomaly(tmp_path_factory):
    talk = started(
        giving_back(INPUTS, STEP, ZERO_POINT), "ad01", tmp_path_factory.mktemp("firmware")
    )
    yield talk
    talk.close()


def load(talk, payload, step=5):
    assert talk.ask(f"db load {len(payload)}") == [f"m-[Expecting {len(payload)} bytes]"]
    for start in range(0, len(payload), step):
        part = payload[start : start + step]
        last = start + step >= len(payload)
        assert talk.ask(f"db {part.hex()}") == (["m-load-done"] if last else [])


@needs_host_compiler
def test_it_says_its_mode_when_it_starts(tmp_path):
    talk = started(classifier(), "kws01", tmp_path, boot=False)
    said = talk.until()
    talk.close()
    assert re.fullmatch(r"m-timestamp-mode-performance\r\nm-lap-us-\d+\r\nm-init-done\r\n", said), (
        said
    )


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("name", "m-name-dut-[unspecified]"),
        ("profile", "m-profile-[ULPMark for tinyML Firmware V0.0.1]|m-model-[vww01]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db load x", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 13", "Supplied buffer size 13 exceeds maximum of 12"),
        ("db load 99999999999", "Supplied buffer size 2147483647 exceeds maximum of 12"),
        ("db 123", "e-[Insufficent number of hex digits]"),
        ("db print", ""),
        ("infer 0 1", "e-[Inference iterations must be >0]"),
        ("infer -3", "e-[Inference iterations must be >0]"),
        ("infer x", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("hello there", "e-[Unknown command: hello]"),
        ("", "e-[Unknown command: ]"),
        ("  name  ", "m-name-dut-[unspecified]"),
        ("name\r\n", "m-name-dut-[unspecified]"),
        ("\r\nname", "m-name-dut-[unspecified]"),
        ("x" * 80, f"e-[Unknown command: {'x' * 80}]"),
        ("name" + " " * 77, "e-[Command is longer than 80 characters]"),
    ],
)
def test_each_command_has_its_reply(firmware, command, reply):
    firmware.ask("db load 99")  # whatever was expected before is forgotten
    assert firmware.ask(command) == [line for line in reply.split("|") if line]


def test_bytes_without_a_place_to_go_are_refused(firmware):
    load(firmware, bytes(INPUTS))
    refused = ["e-[Command 'db' has no bytes to expect: send 'db load' first]"]
    assert firmware.ask("db 00") == refused
    firmware.ask("db load 0")
    assert firmware.ask("db 00") == refused


def test_digits_beyond_the_last_byte_are_left_alone_and_wrong_ones_are_named(firmware):
    firmware.ask("db load 3")
    assert firmware.ask("db 01x2") == ["e-[Invalid hex digit 'x2']"]
    assert firmware.ask("db ABcdEF") == ["m-load-done"]
    assert firmware.ask("db print") == ["m-buffer-01-ab-cd"]


def test_the_buffer_is_printed_eight_bytes_a_line_as_it_came_even_after_inferences(firmware):
    payload = bytes(range(250, 256)) + bytes(range(6))
    load(firmware, payload)
    lines = [f"m-buffer-{payload[start : start + 8].hex('-')}" for start in (0, 8)]
    assert firmware.ask("db print") == lines
    first = firmware.ask("infer 1 0")[-1]
    assert firmware.ask("db print") == lines
    assert firmware.ask("infer 2 3")[-1] == first


def test_an_input_that_is_cut_short_is_said_and_the_inference_goes_on(firmware):
    firmware.ask("db load 12")
    firmware.ask("db 0102030405")
    first, *rest = firmware.ask("infer 1 0")
    assert first == "e-[Input has 5 bytes, expected 12]"
    assert rest[-1].startswith("m-results-[")


@pytest.mark.parametrize(
    ("command", "iterations", "warmups"),
    [("infer", 1, 10), ("infer 4", 4, 10), ("infer 3 0", 3, 0), ("infer  2 7 ", 2, 7)],
)
def test_an_inference_says_what_it_does_between_two_timestamps(
    firmware, command, iterations, warmups
):
    load(firmware, bytes(range(INPUTS)))
    *said, results = firmware.ask(command)
    laps = [int(line.removeprefix("m-lap-us-")) for line in said if line.startswith("m-lap-us-")]
    assert said == [
        f"m-warmup-start-{warmups}",
        "m-warmup-done",
        f"m-infer-start-{iterations}",
        f"m-lap-us-{laps[0]}",
        f"m-lap-us-{laps[1]}",
        "m-infer-done",
    ]
    assert 0 <= (laps[1] - laps[0]) % 2**32 < 2e6
    assert firmware.ask("results") == [results]


def test_results_are_those_of_tflm_to_three_decimals_for_images_sent_as_uint8(firmware):
    rng = np.random.default_rng(3)
    payloads = rng.integers(0, 256, (20, INPUTS), dtype=np.uint8)
    outputs = tflm(write_model(classifier()), (payloads ^ 128).view(np.int8)[:, None])
    for payload, values in zip(payloads, outputs, strict=True):
        load(firmware, payload.tobytes(), step=INPUTS)
        printed = ",".join(f"{(value + 128) / 256:.3f}" for value in values.astype(int))
        assert firmware.ask("infer 1 0")[-1] == f"m-results-[{printed}]"


def test_layers_are_timed_one_by_one(firmware):
    load(firmware, bytes(INPUTS))
    rate, *lines = firmware.ask("layers")
    assert re.fullmatch(r"m-layer-ticks-per-us-\[\d+\]", rate)
    layers = [re.fullmatch(r"m-layer-\[(\d+),(\w+),\d+\]", line).groups() for line in lines]
    assert layers == [("0", "dense"), ("1", "dense"), ("2", "softmax")]


def test_a_timestamp_is_later_than_the_one_before_and_help_names_every_command(firmware):
    (one,), (other,) = firmware.ask("timestamp"), firmware.ask("timestamp")
    one, other = (int(line.removeprefix("m-lap-us-")) for line in (one, other))
    assert 0 < (other - one) % 2**32 < 60e6
    helped = "\n".join(firmware.ask("help"))
    for command in ("name", "profile", "timestamp", "db load", "db print", "infer", "results"):
        assert command in helped


@needs_host_compiler
def test_a_float_input_is_quantised_on_the_board_and_answered_by_the_mean_squared_error(anomaly):
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-160 * STEP, 160 * STEP, (20, INPUTS)).astype(np.float32)
    inputs[0] = (np.arange(INPUTS) - 5.5) * STEP  # ties, which are rounded away from zero
    steps = np.sign(inputs) * np.floor(np.abs(inputs) / STEP + 0.5)
    outputs = (steps + ZERO_POINT).clip(-128, 127) - ZERO_POINT
    errors = np.mean((outputs * STEP - inputs.astype(float)) ** 2, axis=1)
    for values, error in zip(inputs, errors, strict=True):
        load(anomaly, values.tobytes(), step=30)
        printed = float(anomaly.ask("infer 1 0")[-1].removeprefix("m-results-[")[:-1])
        assert printed == pytest.approx(error, abs=6e-4, rel=1e-6)


@needs_host_compiler
def test_floats_that_are_no_numbers_or_huge_do_no_harm(anomaly):
    wild = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0], np.float32)
    for first in wild:
        load(anomaly, np.resize(np.append(first, wild), INPUTS).tobytes(), step=30)
        assert re.fullmatch(r"m-results-\[(nan|\d+\.\d{3})\]", anomaly.ask("infer 1 0")[-1])


@needs_host_compiler
@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 256, -128), (0.125, 3), (7.3e4, -17)])
def test_results_are_rounded_as_printf_rounds(scale, zero_point, tmp_path):
    talk = started(giving_back(256, scale, zero_point), "other", tmp_path)
    values = np.arange(-128, 128).astype(np.int8)
    load(talk, values.tobytes(), step=32)
    printed = talk.ask("infer 1 0")[-1].removeprefix("m-results-[")[:-1].split(",")
    talk.close()
    real = (values.astype(np.float32) - zero_point) * np.float32(scale)
    assert printed == [f"{value:.3f}" for value in real.astype(float)]


@needs_host_compiler
def test_in_energy_mode_timestamps_are_pulses_and_no_text(tmp_path):
    talk = started(classifier(), "kws01", tmp_path, flags=("-DGNOMON_ENERGY=1",), boot=False)
    assert talk.until() == "m-timestamp-mode-energy\r\n{0}{1}m-init-done\r\n"
    talk._send(b"timestamp%")
    assert talk.until() == "{0}{1}"
    load(talk, bytes(INPUTS))
    said = talk.ask("infer 2 0")
    talk.close()
    assert said[2:4] == ["m-infer-start-2", "{0}{1}{0}{1}m-infer-done"]
