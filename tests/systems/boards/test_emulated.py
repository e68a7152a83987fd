"""Emulated boards against TensorFlow Lite Micro, through the same protocol and the same runner."""

import shutil
from contextlib import closing

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import UnknownNameError
from gnomon.core.registry import TASKS
from gnomon.device.dut import Dut
from gnomon.results.check import check
from gnomon.systems.boards.emulated import EmulatedBoard
from gnomon.systems.boards.host import HostBoard

pytest.importorskip("serial")
pytest.importorskip("tflite")
needs_emulator = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="gcc-arm-none-eabi or qemu-system-arm is not installed",
)
TASK = TASKS.load("tiny-keywords")()
SOME = range(0, len(TASK), len(TASK) // 12)


def answers(board, folder):
    """What the board prints for some samples."""
    folder.mkdir()
    with closing(board):
        line = board.connect("kws01", TASK.model("tflite"), folder)
        with closing(line):
            dut = Dut(line, counts=board.counts)
            dut.hello("kws01")
            printed = []
            for sample in SOME:
                dut.load(TASK.payloads(sample)[0])
                printed.append(dut.infer(1, 0).results)
    return np.array(printed)


@needs_emulator
@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386", "mps2-an500"])
def test_an_emulated_board_answers_what_tensorflow_lite_micro_does(tmp_path, board):
    pytest.importorskip("tflite_micro")
    emulated = answers(EmulatedBoard(board), tmp_path / "emulated")
    reference = answers(HostBoard("tflite-micro"), tmp_path / "host")
    np.testing.assert_array_equal(emulated, reference)
    assert len(np.unique(emulated.argmax(axis=1))) > 3  # it says more than one thing


@needs_emulator
def test_a_run_on_an_emulated_board_counts_the_same_instructions_twice(tmp_path):
    options = {"accuracy": False, "duration_s": 1.0, "out": tmp_path}
    runs = [gnomon.run("kws", system="emulated-board", **options) for _ in range(2)]
    counts = []
    for run in runs:
        assert run.verdict.valid, run.verdict.failures
        assert not run.verdict.comparable
        assert "no latency" in run.verdict.remark
        result = run.result["performance"]
        assert result["metric"]["unit"] == "instructions"
        assert "latency_ns" not in result
        counts.append(result["metric"]["value"])
        layers = run.measurements["performance"]["layers"]
        total = sum(layer["duration_us"] for layer in layers) * 125
        assert total == pytest.approx(counts[-1], rel=0.02)
        assert run.record["system"]["description"]["kernels"] == "dsp"
        assert check(run.path).fine
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)
    assert counts[0] < 28.6e6 / 4  # a quarter of plain C


def test_a_board_that_is_not_emulated_is_refused():
    with pytest.raises(UnknownNameError, match="mps2-an386"):
        EmulatedBoard("mps2-an387")
