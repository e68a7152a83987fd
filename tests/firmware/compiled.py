"""Firmware compiled for this machine with sanitizers, or for an emulated board, and what it says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gnomon.firmware.build import C_SOURCES, COMPILER, TARGETS, compile_image
from gnomon.firmware.emit import emit
from gnomon.firmware.emulate import EMULATOR, EmulatedBoard

TEST_SOURCES = Path(__file__).parent / "c"
WARNINGS = ("-Wall", "-Wextra", "-Werror")
SANITIZERS = (
    "-g",
    "-O1",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
)
KERNELS = [C_SOURCES / f"{name}.c" for name in ("kernels_plain", "softmax")]
ANSWER_S = 60

needs_host_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed"
)
needs_emulator = pytest.mark.skipif(
    shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None,
    reason=f"{COMPILER} or {EMULATOR} is not installed",
)


def compile_host(sources, program, *flags):
    """A program for this machine that stops at the first wrong access or undefined operation."""
    subprocess.run(
        [
            *("gcc", "-std=gnu11", *WARNINGS, *SANITIZERS, f"-I{C_SOURCES}", *flags),
            *("-o", program, *sources),
        ],
        check=True,
        timeout=100,
    )


def compile_board(sources, board, elf, *flags):
    """The same for an emulated board, warnings being errors."""
    compile_image(list(sources), TARGETS[board], elf, defines=(*WARNINGS, *flags))


class Talk:
    """A conversation with firmware: commands out, the lines up to `m-ready` back."""

    def __init__(self, send, receive, close):
        self._send, self._receive, self.close = send, receive, close
        self._heard = b""

    def until(self, mark=b"m-ready\r\n"):
        while mark not in self._heard:
            part = self._receive()
            assert part, f"the line ended after {self._heard!r}"
            self._heard += part
        said, _, self._heard = self._heard.partition(mark)
        return said.decode("latin-1")

    def ask(self, command):
        self._send(command.encode("latin-1") + b"%")
        said = self.until()
        assert said == "" or said.endswith("\r\n")
        return said.split("\r\n")[:-1]


def talk_to_program(program, boot=True):
    """Start a host program; the boot lines are read unless they are wanted."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def close():
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
        assert process.returncode == 0

    talk = Talk(process.stdin.write, lambda: os.read(process.stdout.fileno(), 65536), close)
    if boot:
        talk.until()
    return talk


def talk_to_board(elf, board, log, boot=True):
    """Start an emulated board and connect to its line."""
    emulation = EmulatedBoard(elf, board, log)
    host, port = emulation.address.removeprefix("socket://").split(":")
    line = socket.create_connection((host, int(port)), timeout=ANSWER_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close():
        line.close()
        emulation.stop()

    talk = Talk(line.sendall, lambda: line.recv(65536), close)
    if boot:
        talk.until()
    return talk


def write_many(graphs, folder, kernels, rounds):
    """Sources of one program that runs all these models on generated inputs."""
    sources = [TEST_SOURCES / "many_models.c", folder / "all_models.c"]
    for place, graph in enumerate(graphs):
        sources.append(folder / f"model_{place}.c")
        code = emit(graph, f"model {place}", kernels=kernels, wire="int8", symbol=f"model_{place}")
        sources[-1].write_text(code.code)
    names = [f"model_{place}" for place in range(len(graphs))]
    sources[1].write_text(
        '#include "model.h"\n'
        + "".join(f"extern const gnomon_model {name};\n" for name in names)
        + f"const gnomon_model *const all_models[] = {{{', '.join('&' + name for name in names)}}};\n"
        + f"const int all_count = {len(names)}, all_rounds = {rounds};\n"
    )
    return sources


def hashes_from(talk, rounds):
    """What such a program prints: a hash of each model's outputs, shape (models, rounds)."""
    lines = talk.until(b"done\n").split()
    return np.array([int(line, 16) for line in lines], np.uint32).reshape(-1, rounds)


def hashes_of(outputs):
    """The same of outputs of shape (rounds, outputs)."""
    powers = np.cumprod(np.full(outputs.shape[1], 31, np.uint32), dtype=np.uint32)[::-1]
    powers = np.append(powers[1:], np.uint32(1))
    return (outputs.view(np.uint8) * powers).sum(axis=1, dtype=np.uint32)


def generated_inputs(place, shape, rounds):
    """The inputs that `many_models.c` gives to the model of this place, shape (rounds, *shape)."""
    state, found = place, []
    for _ in range(rounds * int(np.prod(shape))):
        state = (state * 1664525 + 1013904223) % 2**32
        found.append(state >> 24)
    return np.array(found, np.uint8).view(np.int8).reshape(rounds, *shape)


def tflm(model, inputs):
    """What tflite-micro makes of inputs of shape (n, *input shape): outputs, shape (n, outputs)."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    outputs = []
    for values in inputs:
        interpreter.set_input(values, 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0).ravel().copy())
    return np.stack(outputs)
