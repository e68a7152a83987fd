"""Ports for servers that are started later, or once more."""

import contextlib
import itertools
import os
import socket

_ONCE_EACH = itertools.count(20_000 + os.getpid() * 61 % 10_000)


def free_port() -> int:
    """One that is free, below those that the kernel gives to whoever asks for any, and given out once.

    So nobody else has it by the time it is bound, seconds later.
    """
    for port in itertools.islice(_ONCE_EACH, 1000):
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
