"""Lines over pyserial: real PTYs and sockets, both ways, and what happens when the other end goes."""

import contextlib
import os
import socket
import sys
import threading
import time

import pytest

from gnomon.core.errors import MissingExtraError, SystemFault
from gnomon.device.line import open_line

pytest.importorskip("serial")
pytestmark = pytest.mark.timeout(20)

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def pty():
    """The board's end of a PTY, and the path of the other."""
    ours, theirs = os.openpty()
    path = os.ttyname(theirs)
    os.close(theirs)
    yield ours, path
    with contextlib.suppress(OSError):
        os.close(ours)


def read_all(line, size):
    data = b""
    while len(data) < size:
        more = line.read(2.0)
        assert more
        data += more
    return data


def test_every_byte_passes_unchanged_both_ways_over_a_pty(pty):
    ours, path = pty
    with contextlib.closing(open_line(path, 921_600)) as line:
        assert line.address == path
        line.write(EVERY_BYTE)
        assert os.read(ours, 1000) == EVERY_BYTE
        os.write(ours, EVERY_BYTE)
        assert read_all(line, 256) == EVERY_BYTE


def test_every_byte_passes_unchanged_both_ways_over_a_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"socket://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.closing(open_line(address)) as line:
            board, _ = listener.accept()
            with board:
                line.write(EVERY_BYTE)
                assert board.recv(1000) == EVERY_BYTE
                board.sendall(EVERY_BYTE)
                assert read_all(line, 256) == EVERY_BYTE
            with pytest.raises(SystemFault, match=r"the line to the board at socket://\S+ is gone"):
                line.read(2.0)


def test_reading_gives_what_there_is_at_once_and_nothing_after_the_timeout(pty):
    ours, path = pty
    with contextlib.closing(open_line(path)) as line:
        start = time.monotonic()
        assert line.read(0.2) == b""
        assert 0.15 < time.monotonic() - start < 2
        threading.Timer(0.1, os.write, (ours, b"m-")).start()
        start = time.monotonic()
        assert line.read(10.0) == b"m-"
        assert time.monotonic() - start < 5


def test_a_board_that_is_unplugged_is_a_fault_in_one_line(pty):
    ours, path = pty
    with contextlib.closing(open_line(path)) as line:
        os.close(ours)
        for act in (lambda: line.read(1.0), lambda: line.write(b"name%")):
            with pytest.raises(SystemFault) as caught:
                act()
            said = str(caught.value)
            assert said.startswith(f"the line to the board at {path} is gone")
            assert "\n" not in said


def test_a_line_that_was_closed_may_be_closed_again_and_not_be_used(pty):
    line = open_line(pty[1])
    line.close()
    line.close()
    with pytest.raises(SystemFault, match="is gone"):
        line.read(0.1)
    with pytest.raises(SystemFault, match="is gone"):
        line.write(b"name%")


def test_a_port_is_not_shared(pty):
    with (
        contextlib.closing(open_line(pty[1])),
        pytest.raises(SystemFault, match="another program has it"),
    ):
        open_line(pty[1])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/dev/no-such-board", "is the board plugged in"),
        ("socket://127.0.0.1:1", "nothing listens there"),
        ("nowhere://x", "cannot open nowhere://x at 115200 baud"),
        ("socket://127.0.0.1", "cannot open socket://127.0.0.1"),
    ],
)
def test_what_cannot_be_opened_is_a_fault_that_says_why(address, said):
    with pytest.raises(SystemFault, match=said):
        open_line(address)


def test_without_pyserial_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MissingExtraError, match=r"pyserial.*gnomon\[tiny\]"):
        open_line("/dev/ttyACM0")
