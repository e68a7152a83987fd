"""The host board's line: a PTY, a TCP port or standard streams, served until the other end is gone."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

MOST_READ_BYTES = 65_536
PARENT_CHECK_S = 0.5

Write: TypeAlias = Callable[[bytes], object]
Receive: TypeAlias = Callable[[bytes], object]


@dataclass(frozen=True)
class Endpoint:
    """The board's end of a line.

    Attributes:
        read: File descriptor that bytes of the host come from.
        write: File descriptor that replies go to.
        held: Descriptor of the host's end, kept open until the host has opened it; -1 if there is none.
    """

    read: int
    write: int
    held: int = -1

    def send(self, data: bytes) -> None:
        """Send all of `data`; ends the process if nobody is there to take it."""
        while data:
            try:
                data = data[os.write(self.write, data) :]
            except OSError:
                leave()


def pty_endpoint() -> tuple[Endpoint, str]:
    """A new PTY, and the path under which a host opens it."""
    ours, theirs = os.openpty()
    # Raw from the first byte: a terminal would send the board its own words back.
    tty.setraw(theirs)
    return Endpoint(ours, ours, theirs), os.ttyname(theirs)


def tcp_listener(port: int) -> tuple[socket.socket, str]:
    """A port of this computer (0: any that is free), and the address under which a host opens it.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port))
    return listener, f"socket://127.0.0.1:{listener.getsockname()[1]}"


def tcp_endpoint(listener: socket.socket) -> Endpoint:
    """The first host that connects, and no other."""
    connection, _ = listener.accept()
    listener.close()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    descriptor = connection.detach()
    return Endpoint(descriptor, descriptor)


def standard_endpoint() -> Endpoint:
    """Standard input and output; what others print goes to standard error."""
    write = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Endpoint(sys.stdin.fileno(), write)


def serve(endpoint: Endpoint, receive: Receive) -> None:
    """Hand over what arrives until the other end is gone."""
    held = endpoint.held
    while True:
        select.select([endpoint.read], [], [])
        try:
            data = os.read(endpoint.read, MOST_READ_BYTES)
        except OSError:  # a PTY whose other end was closed
            return
        if not data:
            return
        if held >= 0:
            # While the host's end is open here too, nobody can be seen to leave.
            os.close(held)
            held = -1
        receive(data)


def leave_with_parent() -> None:
    """End this process when the one that started it has ended, in a window too."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        leave()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def leave() -> NoReturn:
    """End at once, from any thread."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(0)
