"""What doctor looks at: the level of each finding, on fake machines and clocks, and on this one.

Every finding that is not `ok` must say what would help.
"""

import json
import os
import sys
from types import SimpleNamespace

import psutil
import pytest

from gnomon.core import noise
from gnomon.core.environment import CLOCK_SOURCE
from gnomon.core.noise import (
    examine,
    measured_findings,
    package_findings,
    settings_findings,
)

LEVELS = ("ok", "advice", "warning", "problem")
CPU = "sys/devices/system/cpu"
SUPPLY = "sys/class/power_supply"
GIB = 1 << 30


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Findings by name on a quiet machine of eight cores with these files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4 * GIB))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=0))
    monkeypatch.setattr(noise, "load_average", lambda: [0.1, 0.2, 0.3])

    def look(files=()):
        for path, text in dict(files).items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        findings = settings_findings(tmp_path)
        require_advice(findings)
        return {finding.name: finding for finding in findings}

    return look


def require_advice(findings):
    assert len({finding.name for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.level in LEVELS
        assert finding.found
        assert bool(finding.advice) == (finding.level != "ok"), finding


def test_a_machine_that_shows_nothing_is_called_fine_and_not_praised(look):
    found = look()
    assert {finding.level for finding in found.values()} == {"ok"}
    for name in ("CPU governor", "turbo", "SMT", "clock source"):
        assert found[name].found == "not visible here"


@pytest.mark.parametrize(
    ("names", "level"),
    [
        (["performance"] * 2, "ok"),
        (["powersave"] * 2, "warning"),
        (["performance", "x"], "warning"),
    ],
)
def test_a_governor_that_follows_the_load_on_any_core_is_a_warning(look, names, level):
    files = {f"{CPU}/cpu{core}/cpufreq/scaling_governor": name for core, name in enumerate(names)}
    finding = look(files)["CPU governor"]
    assert finding.level == level
    assert finding.found == ", ".join(sorted(set(names)))


@pytest.mark.parametrize(
    ("path", "text", "level", "found"),
    [
        ("intel_pstate/no_turbo", "0", "advice", "on"),
        ("intel_pstate/no_turbo", "1", "ok", "off"),
        ("cpufreq/boost", "1", "advice", "on"),
        ("cpufreq/boost", "0", "ok", "off"),
    ],
)
def test_turbo_is_advised_against(look, path, text, level, found):
    finding = look({f"{CPU}/{path}": text})["turbo"]
    assert (finding.level, finding.found) == (level, found)


@pytest.mark.parametrize(
    ("text", "level", "found"),
    [("on", "advice", "on"), ("off", "ok", "off"), ("notsupported", "ok", "not supported")],
)
def test_threads_that_share_a_core_are_worth_advice(look, text, level, found):
    finding = look({f"{CPU}/smt/control": text})["SMT"]
    assert (finding.level, finding.found) == (level, found)


@pytest.mark.parametrize(("load", "level"), [(0.0, "ok"), (2.0, "ok"), (2.1, "warning")])
def test_a_load_of_more_than_a_quarter_of_the_cores_is_a_warning(look, monkeypatch, load, level):
    monkeypatch.setattr(noise, "load_average", lambda: [load, 0.0, 0.0])
    finding = look()["load"]
    assert (finding.level, finding.found) == (level, f"{load:g} on 8 cores")


def test_a_load_counts_against_the_cores_that_may_be_used(look, monkeypatch):
    monkeypatch.setattr(noise, "load_average", lambda: [1.0, 0.0, 0.0])
    assert look({"sys/fs/cgroup/cpu.max": "200000 100000"})["load"].level == "warning"


def test_a_load_that_cannot_be_seen_is_no_warning(look, monkeypatch):
    monkeypatch.setattr(noise, "load_average", lambda: None)
    assert look()["load"].level == "ok"


@pytest.mark.parametrize(
    ("quota", "level", "found"),
    [
        ("max", "ok", "all 8 usable"),
        ("1600000", "ok", "all 8 usable"),
        ("150000", "warning", "1.5 of 8 usable"),
    ],
)
def test_a_quota_that_stops_a_process_in_bursts_is_a_warning(look, quota, level, found):
    finding = look({"sys/fs/cgroup/cpu.max": f"{quota} 100000"})["cores"]
    assert (finding.level, finding.found) == (level, found)


def test_an_affinity_to_some_cores_is_worth_advice(look, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2}, raising=False)
    finding = look()["cores"]
    assert (finding.level, finding.found) == ("advice", "2 of 8 usable")


@pytest.mark.parametrize(("free", "level"), [(GIB, "ok"), (GIB - 1, "warning")])
def test_little_free_memory_is_a_warning(look, monkeypatch, free, level):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert look()["free memory"].level == level


@pytest.mark.parametrize(
    ("used", "level", "found"),
    [
        (0, "ok", "not in use"),
        ((1 << 20) - 1, "ok", "not in use"),
        (GIB, "advice", "1.00 GiB in use"),
    ],
)
def test_swap_in_use_is_worth_advice(look, monkeypatch, used, level, found):
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=used))
    finding = look()["swap"]
    assert (finding.level, finding.found) == (level, found)


def supplies(**online):
    """Power supplies as the kernel lists them: a type, and for some whether they feed the machine."""
    kinds = {"AC": "Mains", "BAT0": "Battery", "mouse": "Battery", "usb1": "USB", "usb2": "USB"}
    files = {f"{SUPPLY}/{name}/type": f"{kinds[name]}\n" for name in online}
    return files | {
        f"{SUPPLY}/{name}/online": f"{state}\n"
        for name, state in online.items()
        if state is not None
    }


@pytest.mark.parametrize(
    ("files", "level"),
    [
        (supplies(), "ok"),
        (supplies(BAT0=None), "ok"),
        (supplies(AC=1, BAT0=None), "ok"),
        (supplies(AC=0, BAT0=None), "warning"),
        (supplies(usb1=0, usb2=0, BAT0=None), "warning"),
    ],
    ids=["none", "unknown", "mains", "unplugged", "no charger"],
)
def test_a_machine_on_battery_is_a_warning(look, files, level):
    assert look(files)["power"].level == level


@pytest.mark.parametrize(
    "files",
    [
        supplies(AC=1, usb1=0, usb2=0, BAT0=None),
        supplies(usb1=0, usb2=1, BAT0=None),
        supplies(AC=1, mouse=0),
    ],
    ids=["idle sockets beside mains", "one of two sockets", "a mouse that is off"],
)
def test_an_idle_socket_or_a_device_with_a_battery_is_not_on_battery(look, files):
    assert look(files)["power"].level == "ok"


def test_a_virtual_machine_in_a_container_is_worth_advice(look):
    finding = look({"proc/cpuinfo": "flags\t: fpu hypervisor\n", ".dockerenv": ""})[
        "virtualisation"
    ]
    assert (finding.level, finding.found) == ("advice", "virtual machine, docker")


@pytest.mark.parametrize(
    ("source", "level"),
    [
        ("tsc", "ok"),
        ("kvm-clock", "ok"),
        ("arch_sys_counter", "ok"),
        ("hyperv_clocksource_tsc_page", "ok"),
        ("hpet", "warning"),
        ("acpi_pm", "warning"),
        ("jiffies", "warning"),
    ],
)
def test_a_clock_that_needs_the_kernel_to_be_read_is_a_warning(look, source, level):
    finding = look({CLOCK_SOURCE: f"{source}\n"})["clock source"]
    assert (finding.level, finding.found) == (level, source)


# --- what is measured


class FakeTime:
    """A clock that goes on by so much a reading, loses time now and then, and sleeps late."""

    def __init__(self, step_ns, loses_ns=0, every=1, late_ns=0):
        self.now_ns, self.readings = 0, 0
        self.step_ns, self.loses_ns, self.every, self.late_ns = step_ns, loses_ns, every, late_ns

    def perf_counter_ns(self):
        self.readings += 1
        self.now_ns += self.step_ns + (self.readings % self.every == 0) * self.loses_ns
        return self.now_ns

    def perf_counter(self):
        return self.perf_counter_ns() / 1e9

    def sleep(self, seconds):
        self.now_ns += int(seconds * 1e9) + self.late_ns


def measured_on(monkeypatch, clock, seconds=0.02):
    monkeypatch.setattr(noise, "time", clock)
    findings = measured_findings(seconds)
    require_advice(findings)
    return {finding.name: finding for finding in findings}


def test_a_quiet_machine_with_a_quick_clock_is_fine(monkeypatch):
    found = measured_on(monkeypatch, FakeTime(100))
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["clock cost"].found == "100 ns a reading"


def test_a_clock_that_costs_half_a_microsecond_is_a_warning(monkeypatch):
    assert measured_on(monkeypatch, FakeTime(499))["clock cost"].level == "ok"
    assert measured_on(monkeypatch, FakeTime(500))["clock cost"].level == "warning"


def test_time_taken_from_a_busy_loop_is_a_warning_with_the_longest_gap(monkeypatch):
    clock = FakeTime(100, loses_ns=1_000_000, every=1000)
    finding = measured_on(monkeypatch, clock)["stolen time"]
    assert finding.level == "warning"
    assert "longest gap 1.00 ms" in finding.found


def test_short_gaps_in_a_busy_loop_are_no_stolen_time(monkeypatch):
    clock = FakeTime(100, loses_ns=40_000, every=10)
    finding = measured_on(monkeypatch, clock)["stolen time"]
    assert finding.level == "ok"
    assert finding.found.startswith("0.00 %")


@pytest.mark.parametrize(("late_ns", "level"), [(150_000, "ok"), (250_000, "advice")])
def test_sleeps_that_end_late_are_worth_advice(monkeypatch, late_ns, level):
    assert measured_on(monkeypatch, FakeTime(100, late_ns=late_ns))["wake-up"].level == level


def test_an_examination_of_no_time_at_all_still_says_what_it_saw(tmp_path):
    require_advice(examine(seconds=0, root=tmp_path))


# --- packages, and this machine


def test_a_runtime_that_can_be_imported_is_named_with_its_providers():
    (finding,) = package_findings()
    assert (finding.name, finding.level) == ("ONNX Runtime", "ok")
    assert "CPUExecutionProvider" in finding.found


def test_a_runtime_that_cannot_be_imported_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    findings = package_findings()
    require_advice(findings)
    assert [finding.level for finding in findings] == ["problem"]
    assert "pip install" in findings[0].advice


def test_only_a_missing_runtime_keeps_a_run_from_working(look):
    noisy = {
        f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave",
        f"{SUPPLY}/AC/online": "0",
        "sys/fs/cgroup/cpu.max": "50000 100000",
        CLOCK_SOURCE: "hpet",
    }
    assert "problem" not in {finding.level for finding in look(noisy).values()}


def test_this_machine_is_examined_whole_and_ready_for_json():
    findings = examine(seconds=0.05)
    require_advice(findings)
    said = [finding.to_json() for finding in findings]
    assert json.loads(json.dumps(said)) == said
    assert {"name", "level", "found", "advice"} == set(said[0])
