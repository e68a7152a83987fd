"""A hardware prototype on one machine: each client in a network namespace, its bandwidth and CPU its own.

Clients hang on a bridge by a pair of virtual interfaces each, both ends shaped by a token bucket (tc-tbf(8));
CPU shares are quotas of control groups, version 1 or 2. Needs root. There is no added delay. Everything made
is named after the process that made it; what a dead process left is removed at the next start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.systems.flower.launch import Place

CONTROL_GROUPS = Path("/sys/fs/cgroup")
NETWORKS = Path("/var/run/netns")
PERIOD_US = 100_000
LEAST_BURST_BYTES = 3_000  # two full frames: with more, a small model would pass as if unshaped
MOST_CLIENTS = 250
NAME = re.compile(r"gnomon-(\d+)(?:-\d+)?")


@dataclass(frozen=True)
class Shape:
    """What one client is given.

    Attributes:
        bandwidth_mbit_s: Each way.
        cpu_share: Of one core; None for no limit.
    """

    bandwidth_mbit_s: float
    cpu_share: float | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.bandwidth_mbit_s <= 10_000:
            raise SettingsError(
                f"bandwidth must be from 0.01 to 10000 Mbit/s, got {self.bandwidth_mbit_s}"
            )
        if self.cpu_share is not None and not 0.01 <= self.cpu_share <= 1024:
            raise SettingsError(
                f"a CPU share must be from 0.01 to 1024 of a core, got {self.cpu_share}"
            )


@dataclass(frozen=True)
class Prototype:
    """A bridge with a place for each client.

    Attributes:
        address: Of the bridge: where the SuperLink listens.
        places: One for each client.
        without: What the machine does not allow, in words; empty if all is there.
    """

    address: str
    places: tuple[Place, ...]
    without: str


def why_not() -> str | None:
    """Why this machine cannot wall clients off; None if it can."""
    if os.name != "posix" or not hasattr(os, "geteuid") or not Path("/proc/self/ns/net").exists():
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"the command {tool} is missing: install iproute2"
    return _why_no_shaping()


def _why_no_shaping() -> str | None:
    """Try what is needed, in a namespace that is gone at once."""
    name = f"gnomon-{os.getpid()}-{MOST_CLIENTS}"
    try:
        _run("ip", "netns", "add", name)
        try:
            inside = ("ip", "netns", "exec", name)
            _run(*inside, "ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
            _run(*inside, "ip", "link", "add", "three", "type", "bridge")
            _run(*inside, *_shaping("one", 1.0))
        finally:
            _run("ip", "netns", "del", name)
    except SystemFault as error:
        return str(error)
    return None


def why_no_cpu_shares() -> str | None:
    """Why CPU shares cannot be set; None if they can."""
    try:
        group = _group(f"gnomon-{os.getpid()}-{MOST_CLIENTS}")
        _limit(group, 1.0)
        group.rmdir()
        if group.parent.name == f"gnomon-{os.getpid()}":
            group.parent.rmdir()
    except OSError as error:
        return f"CPU shares cannot be set ({error.strerror}: {error.filename or CONTROL_GROUPS})"
    return None


@contextmanager
def prototype(shapes: Sequence[Shape]) -> Iterator[Prototype]:
    """Namespaces, links and control groups for these clients; all are gone afterwards.

    Raises:
        SettingsError: This machine cannot, or there are too many clients.
    """
    if (reason := why_not()) is not None:
        raise SettingsError(f"clients cannot be walled off: {reason} (use shaped=false)")
    if len(shapes) > MOST_CLIENTS:
        raise SettingsError(f"at most {MOST_CLIENTS} clients can be walled off, got {len(shapes)}")
    remove_leftovers()
    wants_shares = any(shape.cpu_share is not None for shape in shapes)
    without = (why_no_cpu_shares() or "") if wants_shares else ""
    try:
        subnet = _free_subnet()
        _bridge(f"{subnet}.1")
        places = tuple(
            _place(client, shape, subnet, with_share=not without)
            for client, shape in enumerate(shapes)
        )
        yield Prototype(f"{subnet}.1", places, without)
    finally:
        _remove(os.getpid())


def remove_leftovers() -> list[int]:
    """Remove what processes that no longer live had made; their numbers."""
    owners = {int(name[1]) for name in map(NAME.fullmatch, _names()) if name}
    owners |= {int(found[1]) for found in re.finditer(r"\bgn(\d+)b\b", _run("ip", "-o", "link"))}
    dead = sorted(owner for owner in owners if not Path(f"/proc/{owner}").exists())
    for owner in dead:
        _remove(owner)
    return dead


def _names() -> list[str]:
    """Namespaces and control groups."""
    names = [path.name for path in NETWORKS.iterdir()] if NETWORKS.is_dir() else []
    return names + [path.name for path in _groups_root().glob("gnomon-*")]


def _bridge(address: str) -> None:
    bridge = f"gn{os.getpid()}b"
    _run("ip", "link", "add", bridge, "type", "bridge")
    _run("ip", "addr", "add", f"{address}/24", "dev", bridge)
    _run("ip", "link", "set", bridge, "up")


def _place(client: int, shape: Shape, subnet: str, with_share: bool) -> Place:
    owner = os.getpid()
    name, outer = f"gnomon-{owner}-{client}", f"gn{owner}v{client}"
    inside = ("ip", "netns", "exec", name)
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
    _run("ip", "link", "set", outer, "master", f"gn{owner}b", "up")
    _run(*inside, "ip", "addr", "add", f"{subnet}.{client + 2}/24", "dev", "eth0")
    _run(*inside, "ip", "link", "set", "eth0", "up")
    _run(*inside, "ip", "link", "set", "lo", "up")
    _run(*_shaping(outer, shape.bandwidth_mbit_s))
    _run(*inside, *_shaping("eth0", shape.bandwidth_mbit_s))
    groups: tuple[str, ...] = ()
    if shape.cpu_share is not None and with_share:
        group = _group(name)
        _limit(group, shape.cpu_share)
        groups = (str(group / "cgroup.procs"),)
    return Place(str(NETWORKS / name), groups)


def _shaping(interface: str, mbit_s: float) -> list[str]:
    """A token bucket: a second's worth of bytes over 250, but never less than two frames."""
    burst = max(LEAST_BURST_BYTES, int(mbit_s * 1e6 / 8 / 250))
    rate = f"{mbit_s * 1000:.0f}kbit"
    bucket = ["tbf", "rate", rate, "burst", str(burst), "latency", "400ms"]
    return ["tc", "qdisc", "replace", "dev", interface, "root", *bucket]


def _is_version_2() -> bool:
    return (CONTROL_GROUPS / "cgroup.controllers").exists()


def _groups_root() -> Path:
    return CONTROL_GROUPS if _is_version_2() else CONTROL_GROUPS / "cpu"


def _group(name: str) -> Path:
    """A control group of this process's own; one level deeper in version 2, where a parent grants `cpu`."""
    if not _is_version_2():
        group = _groups_root() / name
        group.mkdir()
        return group
    parent = _groups_root() / f"gnomon-{os.getpid()}"
    parent.mkdir(exist_ok=True)
    for granting in (parent.parent, parent):
        (granting / "cgroup.subtree_control").write_text("+cpu")
    group = parent / name
    group.mkdir()
    return group


def _limit(group: Path, share: float) -> None:
    quota_us = int(share * PERIOD_US)
    if _is_version_2():
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))


def _remove(owner: int) -> None:
    """Everything named after this process; what is not there is no error."""
    mine = re.compile(rf"gnomon-{owner}(-\d+)?")
    for name in _names():
        if mine.fullmatch(name) and (NETWORKS / name).exists():
            _try("ip", "netns", "del", name)
    for line in _run("ip", "-o", "link").splitlines():
        if found := re.search(rf"\b(gn{owner}(?:b|v\d+))\b", line):
            _try("ip", "link", "del", found[1])
    for group in sorted(_groups_root().rglob(f"gnomon-{owner}*"), reverse=True):
        if mine.fullmatch(group.name) and group.is_dir():
            with suppress(OSError):  # a process is still in it: the next start removes it
                group.rmdir()


def _free_subnet() -> str:
    """First three parts of a private /24 network that no interface of this machine is in."""
    taken = {
        address["local"].rsplit(".", 1)[0]
        for interface in json.loads(_run("ip", "-j", "-4", "addr") or "[]")
        for address in interface.get("addr_info", [])
    }
    for place in range(256):
        subnet = f"10.{213 + place // 64}.{(os.getpid() + place) % 256}"
        if subnet not in taken:
            return subnet
    raise SystemFault("no private network is free for the clients: remove unused bridges")


def _run(*command: str) -> str:
    """Raises SystemFault with the command's own last line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SystemFault(f"`{' '.join(command)}` failed: {said}")
    return done.stdout


def _try(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)
