"""What will make the numbers noisy on this machine, and what would help. It only looks.

The checks follow what pyperf's `system` command looks at, and add what a virtual machine does to tails:
time stolen from a busy loop, and sleeps that end late.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from gnomon.core.environment import (
    CLOCK_SOURCE,
    ROOT,
    available_cores,
    container,
    cpu_quota,
    governors,
    load_average,
    read,
    turbo,
)
from gnomon.core.units import format_bytes, format_duration_ns

Level = Literal["ok", "advice", "warning", "problem"]
BUSY_SHARE = 0.25
"""A load of more than this share of the cores before a run is other people's work."""
LEAST_FREE_BYTES = 1 << 30
GAP_NS = 50_000
"""A busy loop that loses more than this between two looks at the clock was taken off its core."""
LOST_SHARE = 0.01
LATE_NS = 200_000
SLEEP_S = 100e-6
SLOW_CLOCK_NS = 500


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        level: `ok`; `advice` (could be better); `warning` (will show in the numbers); `problem` (a run
            cannot work).
        found: What there is.
        advice: What would help; gnomon itself changes nothing.
    """

    name: str
    level: Level
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self)


def examine(seconds: float = 0.5, root: Path = ROOT) -> list[Finding]:
    """Every check, the measured ones included; takes about `seconds`."""
    return [*settings_findings(root), *measured_findings(seconds), *package_findings()]


def settings_findings(root: Path = ROOT) -> list[Finding]:
    """What the machine's settings and load say, without measuring."""
    return [
        _governor(root),
        _turbo(root),
        _smt(root),
        _load(root),
        _quota(root),
        _memory(),
        _swap(),
        _battery(root),
        _virtual(root),
        _clock(root),
    ]


def measured_findings(seconds: float) -> list[Finding]:
    """What a busy loop and short sleeps say: clock, stolen time, late wake-ups."""
    return [_clock_cost(), _stolen(seconds * 0.6), _late_sleep(seconds * 0.4)]


def package_findings() -> list[Finding]:
    """Whether what a run needs can be imported."""
    try:
        import onnxruntime

        providers = ", ".join(onnxruntime.get_available_providers())
        return [Finding("ONNX Runtime", "ok", f"{onnxruntime.__version__}: {providers}")]
    except Exception as error:
        return [
            Finding(
                "ONNX Runtime",
                "problem",
                f"cannot be imported: {type(error).__name__}: {error}",
                "pip install --force-reinstall onnxruntime",
            )
        ]


def _governor(root: Path) -> Finding:
    found = governors(root)
    if not found:
        return Finding("CPU governor", "ok", "not visible here")
    if found == ["performance"]:
        return Finding("CPU governor", "ok", "performance")
    return Finding(
        "CPU governor",
        "warning",
        ", ".join(found),
        "the frequency follows the load; for steady latencies: sudo cpupower frequency-set -g performance",
    )


def _turbo(root: Path) -> Finding:
    state = turbo(root)
    if state is None:
        return Finding("turbo", "ok", "not visible here")
    if not state:
        return Finding("turbo", "ok", "off")
    return Finding(
        "turbo",
        "advice",
        "on",
        "speed depends on temperature and neighbours; for comparisons switch it off (echo 0 | sudo tee "
        "/sys/devices/system/cpu/cpufreq/boost, or no_turbo on Intel)",
    )


def _smt(root: Path) -> Finding:
    state = read(root, "sys/devices/system/cpu/smt/control")
    if state != "on":
        found = {None: "not visible here", "notsupported": "not supported"}.get(state, state)
        return Finding("SMT", "ok", found or "")
    return Finding(
        "SMT",
        "advice",
        "on",
        "two threads share a core; pin the run to one of each: taskset -c 0,2,...",
    )


def _load(root: Path) -> Finding:
    load = load_average()
    if load is None:
        return Finding("load", "ok", "not visible here")
    cores = available_cores(root)
    found = f"{load[0]:g} on {cores:g} cores"
    if load[0] <= BUSY_SHARE * cores:
        return Finding("load", "ok", found)
    return Finding("load", "warning", found, "other programs are running: stop them, or wait")


def _quota(root: Path) -> Finding:
    cores, there = available_cores(root), psutil.cpu_count() or 1
    if cores >= there:
        return Finding("cores", "ok", f"all {there} usable")
    return Finding(
        "cores",
        "warning" if cpu_quota(root) else "advice",
        f"{cores:g} of {there} usable",
        "an affinity mask or a container quota holds this process back; a quota stops it in bursts, which "
        "shows in p99: raise --cpus of the container",
    )


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    if free >= LEAST_FREE_BYTES:
        return Finding("free memory", "ok", format_bytes(free))
    return Finding("free memory", "warning", format_bytes(free), "close other programs")


def _swap() -> Finding:
    used = psutil.swap_memory().used
    if used < (1 << 20):
        return Finding("swap", "ok", "not in use")
    return Finding(
        "swap",
        "advice",
        f"{format_bytes(used)} in use",
        "memory that was swapped out comes back slowly",
    )


def _battery(root: Path) -> Finding:
    # A wireless mouse has a supply too, and of several sockets one is enough.
    states = [
        read(root, str(path.parent.relative_to(root) / "online"))
        for path in (root / "sys/class/power_supply").glob("*/type")
        if (read(root, str(path.relative_to(root))) or "").startswith(("Mains", "USB"))
    ]
    if "0" in states and "1" not in states:
        mend = "plug the machine in: on battery it slows down"
        return Finding("power", "warning", "on battery", mend)
    return Finding("power", "ok", "mains, or not visible here")


def _virtual(root: Path) -> Finding:
    kind = container(root)
    virtual = " hypervisor" in (read(root, "proc/cpuinfo") or "")
    words = [word for word in ("virtual machine" if virtual else "", kind or "") if word]
    if not words:
        return Finding("virtualisation", "ok", "none seen")
    return Finding(
        "virtualisation",
        "advice",
        ", ".join(words),
        "neighbours on the same host can take time away: repeat runs, and compare interleaved",
    )


def _clock(root: Path) -> Finding:
    source = read(root, CLOCK_SOURCE)
    if source in (None, "tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"):
        return Finding("clock source", "ok", source or "not visible here")
    return Finding(
        "clock source", "warning", source, "reading this clock is slow; boot with clocksource=tsc"
    )


def _clock_cost() -> Finding:
    calls = 20_000
    begin = time.perf_counter_ns()
    for _ in range(calls):
        time.perf_counter_ns()
    cost_ns = (time.perf_counter_ns() - begin) / calls
    found = f"{cost_ns:.0f} ns a reading"
    if cost_ns < SLOW_CLOCK_NS:
        return Finding("clock cost", "ok", found)
    return Finding(
        "clock cost", "warning", found, "short latencies will look longer: see clock source"
    )


def _stolen(seconds: float) -> Finding:
    """Watch the clock without a pause: what is missing was taken."""
    clock = time.perf_counter_ns
    begin = previous = clock()
    end = begin + int(seconds * 1e9)
    lost_ns = longest_ns = 0
    while previous < end:
        current = clock()
        gap_ns = current - previous
        if gap_ns > GAP_NS:
            lost_ns += gap_ns
            longest_ns = max(longest_ns, gap_ns)
        previous = current
    share = lost_ns / max(previous - begin, 1)
    found = f"{100 * share:.2f} % of a busy loop, longest gap {format_duration_ns(longest_ns)}"
    if share < LOST_SHARE:
        return Finding("stolen time", "ok", found)
    return Finding(
        "stolen time",
        "warning",
        found,
        "something takes this process off its core (other programs, a busy host): quote medians, repeat",
    )


def _late_sleep(seconds: float) -> Finding:
    late_ns: list[float] = []
    end = time.perf_counter() + seconds
    while not late_ns or time.perf_counter() < end:
        begin = time.perf_counter_ns()
        time.sleep(SLEEP_S)
        late_ns.append(time.perf_counter_ns() - begin - SLEEP_S * 1e9)
    middle, tail = np.percentile(late_ns, [50, 99])
    found = f"median {format_duration_ns(middle)}, p99 {format_duration_ns(tail)} late"
    if tail < LATE_NS:
        return Finding("wake-up", "ok", found)
    return Finding(
        "wake-up",
        "advice",
        found,
        "sleeping threads wake late, which shows in low-rate Server tails: look at power saving (C-states)",
    )
