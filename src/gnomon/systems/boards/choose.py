"""From what a person calls a board to the system that reaches it."""

from __future__ import annotations

from typing import Any

from gnomon.core.errors import UnknownNameError

EMULATED = ("mps2-an385", "mps2-an386", "mps2-an500")


def system_of_board(board: str) -> tuple[str, dict[str, Any]]:
    """Registered name of the system, and its options.

    `host` is a process of this machine, `mps2-an386` and its kin are emulated, `serial` is whatever board is
    plugged in, and a device path or `socket://HOST:PORT` is a board that is reached there.

    Raises:
        UnknownNameError: It is none of these.
    """
    if board == "host":
        return "host-board", {}
    if board in EMULATED:
        return "emulated-board", {"board": board}
    if board == "serial":
        return "serial-board", {}
    if board.startswith(("/", "socket://", "COM")):
        return "serial-board", {"port": board}
    raise UnknownNameError(
        "board", board, ("host", "serial", *EMULATED), "or a serial port such as /dev/ttyACM0"
    )
