"""Ports of this machine for Flower's processes."""

from __future__ import annotations

import socket

from gnomon.core.errors import SettingsError


def free_ports(host: str, count: int) -> list[int]:
    """Ports nobody listens on at this moment."""
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for one in held:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def require_free(host: str, port: int) -> None:
    """Refuse a port that is taken.

    Raises:
        SettingsError: It is, or cannot be listened on.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"port {port} of {host} cannot be used ({error}): give another, or 0 for a free one"
            ) from None
