"""A board that is plugged in: by its port, by a socket, or found."""

import contextlib
from pathlib import Path

import pytest

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.device.discovery import Found, Port
from gnomon.device.dut import Dut
from gnomon.systems.boards import serial_board
from gnomon.systems.boards.serial_board import SerialBoard
from tests.device.boards import misbehaving, started

pytest.importorskip("serial")
pytestmark = pytest.mark.timeout(20)
NOWHERE = Path("none.tflite")


def test_a_board_is_reached_by_the_path_of_its_port(tmp_path):
    with misbehaving() as process:
        board = SerialBoard(process.address, baud=921_600)
        assert board.describe() == {"port": process.address, "baud": 921_600}
        line = board.connect("kws01", NOWHERE, tmp_path)
        assert Dut(line).hello("kws01").name == "misbehaving"
        assert board.describe() == {"port": process.address, "baud": 921_600}
        board.close()
        board.close()
        with pytest.raises(SystemFault, match="is gone"):
            line.read(0.1)


def test_a_board_is_reached_behind_a_socket(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from tests.device.small_models import dense

    model = dense(tmp_path / "small.tflite", inputs=8, outputs=2)
    command = ("-m", "gnomon.device.host", "--model", model, "--model-id", "kws01", "--tcp", 0)
    with started(*command) as process:
        board = SerialBoard(process.address)
        with contextlib.closing(board.connect("kws01", model, tmp_path)) as line:
            assert Dut(line).hello("kws01").model_id == "kws01"
        assert board.describe()["port"].startswith("socket://127.0.0.1:")
        board.close()


def test_a_board_that_was_found_is_described_by_its_adapter(tmp_path, monkeypatch):
    with misbehaving() as process:
        port = Port(process.address, 0x0483, 0x374B, serial_number="0665FF")
        monkeypatch.setattr(
            serial_board, "find_board", lambda model_id, baud: Found(port, "vendor", model_id)
        )
        board = SerialBoard()
        assert board.describe() == {"port": "found", "baud": 115_200}
        board.connect("kws01", NOWHERE, tmp_path)
        described = board.describe()
        board.close()
    assert described["port"] == process.address
    assert described["usb_id"] == "0483:374b"
    assert described["usb_serial_number"] == "0665FF"
    assert described["adapter"].startswith("ST-LINK/V2-1")


def test_what_is_known_of_a_named_port_is_described_too(tmp_path, monkeypatch):
    with misbehaving() as process:
        port = Port(process.address, 0x1234, 0x5678, description="A thing")
        monkeypatch.setattr(serial_board, "list_ports", lambda: (port,))
        board = SerialBoard(process.address)
        board.connect("kws01", NOWHERE, tmp_path)
        assert board.describe()["adapter"] == "A thing"
        board.close()


def test_a_port_that_is_not_there_is_a_fault(tmp_path):
    with pytest.raises(SystemFault, match="is the board plugged in"):
        SerialBoard("/dev/no-such-board").connect("kws01", NOWHERE, tmp_path)


@pytest.mark.parametrize("baud", [0, -1, "fast", 9600.5])
def test_a_rate_that_makes_no_sense_is_refused(baud):
    with pytest.raises(SettingsError, match="baud must be"):
        SerialBoard("/dev/ttyACM0", baud=baud)


def test_a_board_behind_the_fields_interface_board_is_measured(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from tests.device.small_run import run_few

    with misbehaving(io_manager=True, inference_s=0.01) as process:
        board = SerialBoard(process.address, io_manager=True)
        run = run_few(tmp_path, system=board)
    assert run.verdict.valid, run.verdict.failures
    assert run.record["system"]["description"]["io_manager"] is True
    with pytest.raises(SettingsError, match="name its port"):
        SerialBoard(io_manager=True)
