"""Under which addresses and names a phone can reach this machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil

ANYWHERE = {"0.0.0.0", "::", ""}
LOOPBACK_NAMES = ("localhost",)
DOCUMENTATION_ADDRESS = ("192.0.2.1", 9)
"""Of no host (RFC 5737): connecting a datagram socket to it sends nothing and tells our own address."""


@dataclass(frozen=True)
class Reachable:
    """Where a server can be found.

    Attributes:
        hosts: As they stand in an address, the likeliest first; an IPv6 one is in brackets.
        addresses: Every IP address of them, for a certificate.
        names: Every host name of them, for a certificate.
        is_in_a_network: Whether others can reach any of them; False for a machine without a network.
    """

    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    names: tuple[str, ...]
    is_in_a_network: bool = True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES


def reachable_under(host: str) -> Reachable:
    """Where a server that listens on `host` is found; on the wildcard, under every address there is."""
    if host not in ANYWHERE:
        if _is_address(host):
            return Reachable((_in_brackets(host),), (host,), ())
        return Reachable((host,), (), (host,))
    addresses = machine_addresses()
    name = socket.gethostname()
    names = (name,) if "." in name else (name, f"{name}.local")
    return Reachable(
        tuple(_in_brackets(address) for address in addresses) or (name,),
        addresses,
        names,
        is_in_a_network=bool(addresses),
    )


def machine_addresses() -> tuple[str, ...]:
    """IPv4 addresses of this machine, the one that reaches other machines first; no loopback."""
    found = {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }
    usable = sorted(
        address
        for address in found
        if not (ipaddress.ip_address(address).is_loopback or address.startswith("169.254."))
    )
    route = _address_of_the_default_route()
    return tuple(sorted(usable, key=lambda address: address != route))


def _address_of_the_default_route() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(DOCUMENTATION_ADDRESS)
            return str(probe.getsockname()[0])
        except OSError:
            return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address
