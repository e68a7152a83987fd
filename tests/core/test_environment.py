"""The machine as found: fake /proc and /sys trees for what other machines have, and this one as it is."""

import json
import os

import pytest

from gnomon.core import environment
from gnomon.core.environment import (
    available_cores,
    capture,
    container,
    cpu_quota,
    differences,
    governors,
    turbo,
)

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+
cpu MHz\t\t: 2000.000
flags\t\t: fpu vme hypervisor lahf_lm

processor\t: 1
model name\t: another
cpu MHz\t\t: 3000.000
"""
RASPBERRY = """processor\t: 0
BogoMIPS\t: 108.00

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
CPU = "sys/devices/system/cpu"


@pytest.fixture
def machine(tmp_path):
    """A root folder with these files: `machine({"proc/cpuinfo": "..."})`."""

    def machine(files):
        for path, text in files.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path

    return machine


# --- frequency and its settings


def test_governors_are_named_once_each_in_order(machine):
    files = {
        f"{CPU}/cpu{core}/cpufreq/scaling_governor": f"{name}\n"
        for core, name in enumerate(("powersave", "performance", "powersave"))
    }
    assert governors(machine(files)) == ["performance", "powersave"]


def test_governors_that_cannot_be_seen_are_none(machine):
    assert governors(machine({f"{CPU}/cpuidle/cpufreq/scaling_governor": "no core"})) == []
    assert capture(machine({}))["cpu"]["governor"] is None


@pytest.mark.parametrize(
    ("path", "text", "state"),
    [
        ("intel_pstate/no_turbo", "0\n", True),
        ("intel_pstate/no_turbo", "1\n", False),
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
        ("elsewhere", "1\n", None),
    ],
)
def test_turbo_is_read_as_intel_and_as_amd_say_it(machine, path, text, state):
    assert turbo(machine({f"{CPU}/{path}": text})) is state


def test_intel_says_it_better_than_the_general_switch(machine):
    files = {f"{CPU}/intel_pstate/no_turbo": "1", f"{CPU}/cpufreq/boost": "1"}
    assert turbo(machine(files)) is False


@pytest.mark.parametrize(
    ("files", "frequency_mhz"),
    [
        ({f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "3100500\n", "proc/cpuinfo": INTEL}, 3100.5),
        ({"proc/cpuinfo": INTEL}, 2000.0),
        ({"proc/cpuinfo": RASPBERRY}, None),
        ({}, None),
        ({f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n"}, None),
    ],
)
def test_the_frequency_is_in_megahertz_or_unknown(machine, files, frequency_mhz):
    assert capture(machine(files))["cpu"]["frequency_mhz"] == frequency_mhz


# --- cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "20000 10000\n"}, 2.0),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "damaged\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_either_version_of_control_groups_is_in_cores(machine, files, cores):
    assert cpu_quota(machine(files)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("max", 3), ("150000", 1.5), ("800000", 3)])
def test_available_cores_are_the_affinity_cut_by_the_quota(machine, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert available_cores(machine({"sys/fs/cgroup/cpu.max": f"{quota} 100000"})) == cores


def test_without_affinity_every_core_is_available(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cores(machine({})) == 7


# --- where it runs


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/docker-1.scope\n"}, "kubepods"),
        ({"proc/1/cgroup": "12:cpu:/docker/0123abc\n"}, "docker"),
        ({"proc/1/cgroup": "3:memory:/lxc/box\n"}, "lxc"),
        ({"proc/1/cgroup": "1:name=systemd:/system.slice/containerd.service\n"}, "containerd"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, None),
        ({}, None),
    ],
)
def test_the_kind_of_container_is_told_by_what_it_leaves(machine, files, kind):
    assert container(machine(files)) == kind


def test_a_virtual_machine_is_told_with_its_maker(machine):
    guest = machine({"proc/cpuinfo": INTEL, "sys/class/dmi/id/sys_vendor": "QEMU\n"})
    assert capture(guest)["hypervisor"] == "QEMU"


def test_a_virtual_machine_of_no_named_maker_is_unknown(machine):
    assert capture(machine({"proc/cpuinfo": INTEL}))["hypervisor"] == "unknown"


def test_a_real_machine_has_no_hypervisor(machine):
    real = machine({"proc/cpuinfo": RASPBERRY, "sys/class/dmi/id/sys_vendor": "LENOVO\n"})
    assert capture(real)["hypervisor"] is None


# --- the rest of a captured environment


def test_a_whole_machine_is_captured_as_its_files_say(machine):
    found = capture(
        machine(
            {
                "proc/cpuinfo": INTEL,
                f"{CPU}/smt/control": "on\n",
                f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
                "sys/devices/system/node/node0/cpulist": "0-3",
                "sys/devices/system/node/node1/cpulist": "4-7",
                "sys/devices/system/node/online": "0-1",
                environment.CLOCK_SOURCE: "tsc\n",
                "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
                "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t NVIDIA H100\nIRQ: 9\n",
                "proc/driver/nvidia/gpus/0000:02:00.0/information": "IRQ: 10\n",
            }
        )
    )
    assert found["cpu"]["model"] == "Intel(R) Xeon(R) Platinum 8480+"
    assert found["cpu"]["smt"] is True
    assert found["cpu"]["governor"] == "performance"
    assert found["cpu"]["numa_nodes"] == 2
    assert found["clock"]["source"] == "tsc"
    assert found["os"]["distribution"] == "Debian GNU/Linux 12 (bookworm)"
    assert found["accelerators"] == ["NVIDIA H100", "NVIDIA GPU"]


@pytest.mark.parametrize(
    ("text", "state"), [("on", True), ("off", False), ("notsupported", False), ("forceoff", False)]
)
def test_smt_is_on_or_off(machine, text, state):
    assert capture(machine({f"{CPU}/smt/control": f"{text}\n"}))["cpu"]["smt"] is state


def test_a_board_without_a_model_name_goes_by_its_hardware(machine):
    assert capture(machine({"proc/cpuinfo": RASPBERRY}))["cpu"]["model"] == "BCM2835"


def test_a_machine_that_shows_nothing_is_captured_with_unknowns(machine):
    found = capture(machine({}))
    assert (found["cpu"]["turbo"], found["cpu"]["smt"], found["cpu"]["numa_nodes"]) == (None,) * 3
    assert found["clock"]["source"] is None
    assert found["accelerators"] == []
    assert json.loads(json.dumps(found)) == found


def test_a_kernel_file_of_any_bytes_can_be_captured(machine, tmp_path):
    machine({"proc/cpuinfo": "", "etc/os-release": ""})
    (tmp_path / "proc/cpuinfo").write_bytes(b"model name\t: \xff\xfeodd\n")
    (tmp_path / "etc/os-release").write_bytes(b"\xff")
    json.dumps(capture(tmp_path))


def test_only_variables_that_matter_are_captured(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    variables = capture()["variables"]
    assert variables["OMP_NUM_THREADS"] == "3"
    assert set(variables) <= set(environment.VARIABLES)
    assert "MKL_NUM_THREADS" not in variables


def test_the_host_is_told_apart_but_not_named(monkeypatch):
    names = iter(["box-one", "box-two", "box-one"])
    monkeypatch.setattr(environment.platform, "node", lambda: next(names))
    one, two, again = (capture()["host_hash"] for _ in range(3))
    assert one == again != two
    assert "box" not in one


def test_this_machine_is_captured_whole_and_ready_for_json():
    found = capture()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["packages"].keys() >= {"gnomon", "numpy", "onnxruntime", "pydantic"}
    assert 0 < found["cpu"]["available_cores"] <= found["cpu"]["logical_cores"]
    assert found["memory"]["total_bytes"] > found["memory"]["available_bytes"] > 0
    assert found["clock"]["resolution_ns"] > 0
    assert len(found["host_hash"]) == 12


def test_capturing_works_in_a_folder_of_any_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert capture()["git"] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capture()["git"] is None  # no git at all


# --- two environments


def test_an_environment_does_not_differ_from_itself_a_minute_later():
    one, other = capture(), capture()
    other["captured_at"] = "2031-01-01T00:00:00+00:00"
    other["load"] = {"load_average": [9.0, 9.0, 9.0], "processes": 1}
    other["memory"] |= {"available_bytes": 1, "swap_used_bytes": 2}
    other["cpu"] = other["cpu"] | {"frequency_mhz": 1.0}
    assert differences(one, other) == []


def test_what_lasts_and_differs_is_told_by_its_path_in_order():
    one = {"cpu": {"model": "a", "turbo": True}, "os": {"kernel": "6.1"}, "accelerators": ["x"]}
    other = {"cpu": {"model": "b", "turbo": True}, "os": {"kernel": "6.2"}, "accelerators": []}
    assert differences(one, other) == [
        ("accelerators", ["x"], []),
        ("cpu.model", "a", "b"),
        ("os.kernel", "6.1", "6.2"),
    ]


def test_what_only_one_side_has_differs_from_nothing():
    assert differences({"packages": {"torch": "2.13.0"}}, {"packages": {}}) == [
        ("packages.torch", "2.13.0", None)
    ]
    assert differences({}, {"git": {"commit": "abc", "dirty": True}}) == [
        ("git.commit", None, "abc")
    ]


def test_threads_set_by_a_variable_make_two_environments_differ():
    one, other = ({"variables": {"OMP_NUM_THREADS": threads}} for threads in ("1", "8"))
    assert differences(one, other) == [("variables.OMP_NUM_THREADS", "1", "8")]


def test_a_name_that_only_begins_like_a_passing_one_is_no_passing_one():
    one, other = ({"load_balancer": kind} for kind in ("nginx", "envoy"))
    assert differences(one, other) == [("load_balancer", "nginx", "envoy")]
