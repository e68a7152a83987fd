"""Emulated boards start, count the same instructions every time, and end for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gnomon.core.errors import MissingToolError, SystemFault, UnknownNameError
from gnomon.firmware import emulate
from gnomon.firmware.build import build
from gnomon.firmware.emulate import EMULATOR, EmulatedBoard, instructions_per_us
from tests.firmware import cases
from tests.firmware.compiled import needs_emulator, talk_to_board
from tests.firmware.models import write_model

pytestmark = needs_emulator
BOARD = "mps2-an386"
PATIENCE_S = 20


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    (folder / "kws01.tflite").write_bytes(write_model(cases.networks()["separable"]))
    return build(folder / "kws01.tflite", BOARD, folder, kernels="plain")


def emulator_of(process):
    """The process of QEMU below another one."""
    for _ in range(100):
        for child in psutil.Process(process).children(recursive=True):
            if child.name().startswith(EMULATOR[:15]):
                return child
        time.sleep(0.05)
    raise AssertionError("QEMU does not run")


def wait_until_gone(process):
    _, alive = psutil.wait_procs([process], timeout=PATIENCE_S)
    assert not alive


def test_instructions_are_counted_and_the_same_every_time(image, tmp_path):
    counted = []
    for _ in range(2):
        talk = talk_to_board(image.elf, BOARD, tmp_path / "qemu.log")
        talk.ask("db load 66")
        ticks = [line.rstrip("]").split(",")[2] for line in talk.ask("layers")[2:]]
        talk.close()
        counted.append(sum(map(int, ticks)))
    # A tick is five instructions; where in it a layer begins is left to chance.
    assert abs(counted[0] - counted[1]) <= len(image.layers)
    assert counted[0] > 1000
    assert instructions_per_us() == 125


def test_it_ends_when_it_is_stopped_and_can_be_stopped_twice(image, tmp_path):
    board = EmulatedBoard(image.elf, BOARD, tmp_path / "qemu.log")
    emulator = emulator_of(os.getpid())
    assert board.running()
    board.stop()
    wait_until_gone(emulator)
    assert not board.running()
    board.stop()


def test_it_ends_with_the_process_that_started_it_even_if_that_is_killed(image, tmp_path):
    program = (
        "import pathlib, sys, time\n"
        "from gnomon.firmware.emulate import EmulatedBoard\n"
        "elf, log = map(pathlib.Path, sys.argv[1:])\n"
        f"board = EmulatedBoard(elf, {BOARD!r}, log)\n"
        "print('started', flush=True)\n"
        "time.sleep(100)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, image.elf, tmp_path / "qemu.log"], stdout=subprocess.PIPE
    )
    assert starter.stdout.readline() == b"started\n"
    emulator = emulator_of(starter.pid)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_until_gone(emulator)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_ends_even_if_its_guard_is_killed(image, tmp_path):
    board = EmulatedBoard(image.elf, BOARD, tmp_path / "qemu.log")
    emulator = emulator_of(os.getpid())
    os.kill(emulator.ppid(), signal.SIGKILL)
    wait_until_gone(emulator)
    board.stop()


def test_what_does_not_start_is_told_in_the_emulators_words(image, tmp_path, monkeypatch):
    broken = tmp_path / "emulator"
    broken.write_text("#!/bin/sh\necho no such machine >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(emulate.shutil, "which", lambda _: str(broken))
    with pytest.raises(SystemFault, match=r"did not start: no such machine \(.*qemu\.log\)"):
        EmulatedBoard(image.elf, BOARD, tmp_path / "qemu.log")


def test_an_image_or_a_board_that_is_missing_is_said_by_name(image, tmp_path):
    with pytest.raises(SystemFault, match=r"no image nothing\.elf"):
        EmulatedBoard(Path("nothing.elf"), BOARD, tmp_path / "qemu.log")
    with pytest.raises(UnknownNameError, match="did you mean 'mps2-an500'"):
        EmulatedBoard(image.elf, "mps2-an50", tmp_path / "qemu.log")


def test_a_missing_emulator_is_said_with_its_package(image, tmp_path, monkeypatch):
    monkeypatch.setattr(emulate.shutil, "which", lambda _: None)
    with pytest.raises(MissingToolError, match="apt-get install qemu-system-arm"):
        EmulatedBoard(image.elf, BOARD, tmp_path / "qemu.log")
