"""Finding a board among ports: real processes behind ports that are said to be on USB."""

import contextlib
import os

import pytest

from gnomon.core.errors import SystemFault, UsageError
from gnomon.device.discovery import (
    KNOWN_ADAPTERS,
    Found,
    Port,
    find_board,
    list_ports,
    probe,
)
from tests.device.boards import misbehaving

pytest.importorskip("serial")
pytestmark = pytest.mark.timeout(20)

NUCLEO = (0x0483, 0x374B)
POWER_MONITOR = (0x0483, 0x5740)
UNKNOWN = (0x1234, 0x5678)


@pytest.fixture
def silent():
    """The path of a PTY at which nobody answers, and the other end of it."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs), ours
    os.close(theirs)
    os.close(ours)


def test_the_ports_of_this_computer_are_listed_in_order():
    ports = list_ports()
    assert [port.address for port in ports] == sorted(port.address for port in ports)
    assert all(isinstance(port, Port) for port in ports)


def test_no_adapter_is_listed_twice():
    ids = [(each.vendor_id, each.product_id) for each in KNOWN_ADAPTERS]
    assert len(set(ids)) == len(ids)


def test_a_port_is_put_in_words_by_what_is_known_of_it():
    assert str(Port("/dev/ttyS0")) == "/dev/ttyS0"
    known = str(Port("/dev/ttyACM0", *NUCLEO))
    assert known == "/dev/ttyACM0 (ST-LINK/V2-1 (STM32 Nucleo, Discovery), 0483:374b)"
    assert str(Port("COM3", *UNKNOWN, description="A thing")) == "COM3 (A thing, 1234:5678)"
    assert Port("/dev/ttyACM1", *POWER_MONITOR).adapter.role == "power"


def test_the_port_that_answers_is_found_and_says_with_what(silent):
    with misbehaving(model_id="ic01") as board:
        ports = (Port(silent[0], *UNKNOWN), Port(board.address, *NUCLEO))
        found = find_board(ports=ports, timeout_s=0.5)
    assert found == Found(ports[1], "misbehaving", "ic01")


@pytest.mark.parametrize("model_id", ["kws01", "ad01", None])
def test_of_several_boards_the_one_with_the_model_is_found_or_a_choice_asked_for(model_id):
    with misbehaving(model_id="ic01") as one, misbehaving(model_id="kws01") as other:
        ports = (Port(one.address, *NUCLEO), Port(other.address, *NUCLEO))
        if model_id == "kws01":
            assert find_board(model_id, ports=ports).port == ports[1]
        else:
            with pytest.raises(UsageError, match=r"several boards answer.*with ic01.*-s port="):
                find_board(model_id, ports=ports)


def test_energy_monitors_and_ports_that_are_not_on_usb_are_left_alone(silent):
    address, ours = silent
    os.set_blocking(ours, False)
    with pytest.raises(SystemFault, match="no serial port on USB"):
        find_board(ports=(Port(address), Port(address, *POWER_MONITOR)))
    with contextlib.suppress(BlockingIOError):
        assert os.read(ours, 100) == b""


def test_when_no_board_answers_every_port_that_was_asked_is_named(silent):
    with pytest.raises(SystemFault) as caught:
        find_board(ports=(Port(silent[0], *NUCLEO), Port("/dev/gone", *UNKNOWN)), timeout_s=0.3)
    said = str(caught.value)
    assert silent[0] in said
    assert "/dev/gone" in said
    assert "is the board plugged in" in said


def test_a_port_at_which_nobody_answers_gives_the_reason(silent):
    assert "nothing that speaks the protocol" in probe(Port(silent[0]), 115_200, timeout_s=0.3)
