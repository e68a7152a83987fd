"""A board that is plugged in, flashed by its owner, on a serial port or behind a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnomon.core.errors import SettingsError
from gnomon.device.board import Counts, Line
from gnomon.device.discovery import Found, Port, find_board, list_ports
from gnomon.device.line import open_line

DEFAULT_BAUD = 115_200


class SerialBoard:
    """A board on a line.

    Args:
        port: `/dev/ttyACM0`, `COM3`, a PTY or `socket://host:port`; default: the one USB port where a
            board answers.
        baud: Bits a second: 115200 in the field's performance builds, 921600 in some for anomaly
            detection, 9600 in those for energy.
        io_manager: Whether the port is that of the field's interface board, which has the board behind it.

    Raises:
        SettingsError: The rate makes no sense.
    """

    name = "serial-board"
    counts: Counts = "time"
    instructions_per_us = 0.0

    def __init__(
        self, port: str | None = None, baud: int = DEFAULT_BAUD, *, io_manager: bool = False
    ) -> None:
        if not isinstance(baud, int) or baud < 1:
            raise SettingsError(f"baud must be a positive whole number, got {baud!r}")
        if io_manager and port is None:
            raise SettingsError("an interface board is not found by itself: name its port")
        self._asked, self._baud, self.io_manager = port, baud, io_manager
        self._port: Port | None = None
        self._line: Line | None = None

    def connect(self, model_id: str, model: Path, folder: Path) -> Line:
        """Open the line; the board is flashed with its model, which is asked for when it says hello.

        Raises:
            MissingExtraError: pyserial is not installed.
            SystemFault: There is no board, or its port cannot be opened.
            UsageError: There are several.
        """
        self.close()
        if self._asked is None:
            found: Found = find_board(model_id, self._baud)
            self._port = found.port
        else:
            self._port = _port(self._asked)
        self._line = open_line(self._port.address, self._baud)
        return self._line

    def describe(self) -> dict[str, Any]:
        """Port, rate, and what is known of the adapter."""
        described: dict[str, Any] = {"port": self._asked or "found", "baud": self._baud}
        if self.io_manager:
            described["io_manager"] = True
        port = self._port
        if port is None:
            return described
        described["port"] = port.address
        if port.vendor_id is not None and port.product_id is not None:
            described["usb_id"] = f"{port.vendor_id:04x}:{port.product_id:04x}"
            described["usb_serial_number"] = port.serial_number
            described["adapter"] = port.adapter.name if port.adapter else port.description
        return described

    def close(self) -> None:
        """Let go of the line."""
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _port(address: str) -> Port:
    """What the system knows of a port by its address."""
    if "://" in address:
        return Port(address)
    return next((port for port in list_ports() if port.address == address), Port(address))
