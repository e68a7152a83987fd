"""What a result has to be doubted with: the machine, its settings and the software, as found.

Read only: nothing here changes the machine. What cannot be known is None.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path("/")
PACKAGES = (
    "gnomon",
    "numpy",
    "scipy",
    "onnxruntime",
    "pyarrow",
    "pydantic",
    "torch",
    "flwr",
    "openvino",
)
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "MALLOC_ARENA_MAX",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "ORT_NUM_THREADS",
    "PYTHONHASHSEED",
)
PASSING = (
    "load",
    "captured_at",
    "memory.available_bytes",
    "memory.swap_used_bytes",
    "cpu.frequency_mhz",
    "git.dirty",
)
"""What differs from minute to minute and does not make two runs incomparable."""


def processors() -> int:
    """Processors that this process may use: the default number of threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def capture(root: Path = ROOT) -> dict[str, Any]:
    """The environment, grouped and ready for JSON. `root` is where /proc and /sys are looked for."""
    return {
        "captured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(root),
        "memory": _memory(),
        "os": _os(root),
        "container": container(root),
        "hypervisor": _hypervisor(root),
        "accelerators": _accelerators(root),
        "clock": {"source": read(root, CLOCK_SOURCE), "resolution_ns": _resolution_ns()},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "build": " ".join(platform.python_build()),
        },
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "git": _git(),
        "load": {"load_average": load_average(), "processes": _process_count()},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "host_hash": hashlib.sha256(platform.node().encode()).hexdigest()[:12],
    }


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two environments differ in what lasts: (path, left, right), in order of path."""
    flat_left, flat_right = dict(_flatten(left)), dict(_flatten(right))
    return [
        (path, flat_left.get(path), flat_right.get(path))
        for path in sorted(flat_left.keys() | flat_right.keys())
        if flat_left.get(path) != flat_right.get(path)
        and not any(path == passing or path.startswith(f"{passing}.") for passing in PASSING)
    ]


CLOCK_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
CPU_FOLDER = "sys/devices/system/cpu"


def read(root: Path, path: str) -> str | None:
    """A small file of the kernel's, stripped; None if it is not there or not for us."""
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def governors(root: Path = ROOT) -> list[str]:
    """The frequency governors in use, each once."""
    paths = (root / CPU_FOLDER).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({text for path in paths if (text := read(root, str(path.relative_to(root))))})


def turbo(root: Path = ROOT) -> bool | None:
    """Whether the processor may exceed its nominal frequency."""
    no_turbo = read(root, f"{CPU_FOLDER}/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    boost = read(root, f"{CPU_FOLDER}/cpufreq/boost")
    return None if boost is None else boost == "1"


def available_cores(root: Path = ROOT) -> float:
    """Cores this process may use: its affinity, cut by a control group's quota."""
    try:
        allowed: float = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        allowed = os.cpu_count() or 1
    quota = cpu_quota(root)
    return min(allowed, quota) if quota else allowed


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores that the control groups around this process grant (version 2 or 1), or None for no bound."""
    quotas = [
        int(quota) / int(period)
        for folder in _control_groups(root)
        if len(words := (read(root, f"{folder}/cpu.max") or "").split()) == 2
        for quota, period in [words]
        if quota.isdigit() and period.isdigit()
    ]
    quota_us = read(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us") or ""
    period_us = read(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us") or ""
    if quota_us.isdigit() and period_us.isdigit() and int(quota_us) > 0:
        quotas.append(int(quota_us) / int(period_us))
    return min(quotas, default=None)


def _control_groups(root: Path) -> Iterator[str]:
    """The folders of this process's version 2 control group and of those around it."""
    match = re.search(r"^0::/(.*)$", read(root, "proc/self/cgroup") or "", re.MULTILINE)
    inner = Path(match[1]) if match else Path()
    for group in (inner, *inner.parents):
        yield str(Path("sys/fs/cgroup") / group)


def container(root: Path = ROOT) -> str | None:
    """The kind of container this process is in, or None."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    groups = read(root, "proc/1/cgroup") or ""
    for word in ("kubepods", "docker", "lxc", "containerd"):
        if word in groups:
            return word
    return None


def load_average() -> list[float] | None:
    """Load over 1, 5 and 15 minutes."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except OSError:
        return None


def _cpu(root: Path) -> dict[str, Any]:
    information = read(root, "proc/cpuinfo") or ""
    frequency = _frequency(root, information)
    return {
        "model": _cpu_model(information),
        "architecture": platform.machine(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "available_cores": available_cores(root),
        "governor": ", ".join(governors(root)) or None,
        "turbo": turbo(root),
        "smt": {"on": True, "off": False, "forceoff": False, "notsupported": False}.get(
            read(root, f"{CPU_FOLDER}/smt/control") or ""
        ),
        "frequency_mhz": frequency,
        "numa_nodes": len(list((root / "sys/devices/system/node").glob("node[0-9]*"))) or None,
    }


def _cpu_model(information: str) -> str | None:
    for label in ("model name", "Hardware", "Model"):
        match = re.search(rf"^{label}\s*:\s*(.+)$", information, re.MULTILINE)
        if match:
            return match[1].strip()
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    return platform.processor() or None


def _frequency(root: Path, information: str) -> float | None:
    scaled = read(root, f"{CPU_FOLDER}/cpu0/cpufreq/scaling_cur_freq")
    if scaled and scaled.isdigit():
        return int(scaled) / 1000
    match = re.search(r"^cpu MHz\s*:\s*([0-9.]+)$", information, re.MULTILINE)
    return float(match[1]) if match else None


def _memory() -> dict[str, Any]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "total_bytes": memory.total,
        "available_bytes": memory.available,
        "swap_total_bytes": swap.total,
        "swap_used_bytes": swap.used,
    }


def _os(root: Path) -> dict[str, Any]:
    release = read(root, "etc/os-release") or ""
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', release, re.MULTILINE)
    return {
        "name": platform.system(),
        "kernel": platform.release(),
        "distribution": match[1] if match else platform.mac_ver()[0] or None,
    }


def _hypervisor(root: Path) -> str | None:
    if " hypervisor" not in (read(root, "proc/cpuinfo") or ""):
        return None
    return read(root, "sys/class/dmi/id/sys_vendor") or "unknown"


def _accelerators(root: Path) -> list[str]:
    names = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        match = re.search(r"^Model:\s*(.+)$", read(root, str(path.relative_to(root))) or "", re.M)
        names.append(match[1].strip() if match else "NVIDIA GPU")
    return names


def _resolution_ns() -> float:
    return time.get_clock_info("perf_counter").resolution * 1e9


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    commit = _output("git", "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_output("git", "status", "--porcelain", "-uno"))}


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _process_count() -> int | None:
    try:
        return len(psutil.pids())
    except (psutil.Error, OSError):
        return None


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
