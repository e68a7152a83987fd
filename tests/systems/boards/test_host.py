"""The host board as a system: started with a model, conversed with, stopped for certain."""

import contextlib
import hashlib

import psutil
import pytest

from gnomon.core.errors import (
    DataError,
    MissingExtraError,
    SettingsError,
    SystemFault,
    UnknownNameError,
)
from gnomon.device.dut import Dut
from gnomon.systems.boards import host
from gnomon.systems.boards.host import HostBoard

pytest.importorskip("serial")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tests.device.small_models import dense

    return dense(tmp_path_factory.mktemp("model") / "small.tflite", inputs=40, outputs=3)


@pytest.fixture
def board():
    made = HostBoard()
    yield made
    made.close()


def test_a_board_is_started_with_a_model_described_and_stopped(board, model, tmp_path):
    before = board.describe()
    assert before["runtime"] == "litert"
    assert "model" not in before
    with contextlib.closing(board.connect("kws01", model, tmp_path)) as line:
        dut = Dut(line)
        assert dut.hello("kws01").name == "gnomon host board"
        dut.load(bytes(40))
        assert dut.infer(2, 1).results.shape == (3,)
        (process,) = [
            child
            for child in psutil.Process().children()
            if str(model) in " ".join(child.cmdline())
        ]
        described = board.describe()
        assert described["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
        assert described["threads"] == 1
        assert described["ai-edge-litert"]
        board.close()
        board.close()
    assert not process.is_running()
    assert (tmp_path / "host-board.log").is_file()


def test_a_board_can_be_connected_again(board, model, tmp_path):
    for model_id in ("kws01", "ic01"):
        with contextlib.closing(board.connect(model_id, model, tmp_path)) as line:
            assert Dut(line).hello(model_id).model_id == model_id


def test_a_board_for_energy_tells_no_time(model, tmp_path):
    board = HostBoard(energy=True)
    try:
        with contextlib.closing(board.connect("kws01", model, tmp_path)) as line:
            assert Dut(line).hello().timestamp_mode == "energy"
    finally:
        board.close()


def test_a_model_that_cannot_be_run_is_a_fault_with_its_reason(board, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"this is not a model")
    with pytest.raises(SystemFault, match=r"did not start: model \S*bad.tflite cannot be loaded"):
        board.connect("kws01", bad, tmp_path)
    with pytest.raises(DataError, match=r"none\.tflite is missing"):
        board.connect("kws01", tmp_path / "none.tflite", tmp_path)


def test_a_board_that_does_not_start_in_time_is_a_fault(board, model, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "START_TIMEOUT_S", 0.0)
    with pytest.raises(SystemFault, match=r"did not start within 0 s: see \S*host-board.log"):
        board.connect("kws01", model, tmp_path)


def test_without_the_runtime_the_extra_is_named(board, model, tmp_path, monkeypatch):
    monkeypatch.setitem(host.PACKAGES, "litert", "no-such-runtime")
    with pytest.raises(MissingExtraError, match=r"no-such-runtime.*gnomon\[tiny\]"):
        board.connect("kws01", model, tmp_path)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'tflite-micro'"):
        HostBoard(runtime="tflite_micro")
    with pytest.raises(SettingsError, match="at least 1"):
        HostBoard(threads=0)
    with pytest.raises(SettingsError, match="one thread"):
        HostBoard(runtime="tflite-micro", threads=2)
