"""Lines of bytes to boards, over pyserial: serial ports, PTYs and sockets.

Whatever goes wrong on one becomes a SystemFault of one sentence that names the port.
"""

from __future__ import annotations

import contextlib
import errno
import select
from types import ModuleType
from typing import Any

from gnomon.core.errors import SystemFault
from gnomon.core.extras import optional_module
from gnomon.device.board import Line

WRITE_TIMEOUT_S = 5.0
MOST_READ_BYTES = 65_536
SOCKET = "socket://"

_MENDS = {
    errno.EACCES: "your user may not open it: join the group that owns it (`dialout` on most systems)",
    errno.ENOENT: "there is no such port: is the board plugged in?",
    errno.EBUSY: "another program has it",
    errno.EAGAIN: "another program has it",
    errno.ECONNREFUSED: "nothing listens there",
}


def open_line(address: str, baud: int = 115_200) -> Line:
    """Open a line to a board: raw, 8N1, for this process alone.

    Args:
        address: A device (`/dev/ttyACM0`, `COM3`), a PTY, or `socket://host:port`.
        baud: Bits a second; of no account for PTYs and sockets.

    Raises:
        MissingExtraError: pyserial is not installed.
        SystemFault: It cannot be opened.
    """
    serial = pyserial()
    alone = {} if address.startswith(SOCKET) else {"exclusive": True}
    try:
        port = serial.serial_for_url(
            address, baudrate=baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, **alone
        )
    except (OSError, ValueError) as error:  # pyserial's own error is an OSError
        raise SystemFault(f"cannot open {address} at {baud} baud: {_why(error)}") from None
    return SerialLine(address, port)


def pyserial() -> ModuleType:
    """The package, imported when it is needed.

    Raises:
        MissingExtraError: It is not installed.
    """
    return optional_module("serial", "pyserial", "tiny", "a board on a serial line")


class SerialLine:
    """A line over a port that pyserial has opened without read timeout."""

    def __init__(self, address: str, port: Any) -> None:
        self.address = address
        self._port = port

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._port.write(data)
        except OSError as error:
            raise self._gone(error) from None

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; empty if nothing came for `timeout_s`."""
        try:
            # pyserial's own timeout waits until as many bytes have come as were asked for.
            if not select.select([self._port], [], [], max(0.0, timeout_s))[0]:
                return b""
            data: bytes = self._port.read(MOST_READ_BYTES)
        except (
            OSError,
            ValueError,
            TypeError,
        ) as error:  # closed meanwhile: select gets no descriptor
            raise self._gone(error) from None
        return data

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(OSError):
            self._port.close()

    def _gone(self, error: Exception) -> SystemFault:
        return SystemFault(
            f"the line to the board at {self.address} is gone ({_why(error)}): unplugged, or its "
            f"process has ended"
        )


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    said = " ".join(str(error).split())
    if number is None:  # pyserial keeps the number of a socket's error in words only
        number = next((known for known in _MENDS if f"Errno {known}]" in said), None)
    return _MENDS.get(number, said) if number is not None else said
