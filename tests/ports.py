"""Ports for servers that are started later, or once more."""

import contextlib
import os
import socket


def free_port() -> int:
    """One that is free, below those that the kernel gives to whoever asks for any.

    So nobody else has it by the time it is bound, seconds later.
    """
    for port in range(20_000 + os.getpid() % 5_000, 30_000):
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
