from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from gnomon.core.errors import SettingsError
from gnomon.systems.flower import namespaces
from gnomon.systems.flower.host import enter
from gnomon.systems.flower.namespaces import Shape, prototype, remove_leftovers, why_not

reason = why_not()
on_a_machine_that_allows_it = pytest.mark.skipif(reason is not None, reason=str(reason))


def mine() -> list[str]:
    """What this process has of namespaces, groups and links."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    found = [name for name in namespaces._names() if str(os.getpid()) in name]
    return found + [line for line in links.splitlines() if f"gn{os.getpid()}" in line]


def test_who_is_not_root_is_told_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() == "network namespaces need root"
    with (
        pytest.raises(SettingsError, match=r"need root \(use shaped=false\)"),
        prototype([Shape(1)]),
    ):
        pass


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert why_not() == "the command ip is missing: install iproute2"


@pytest.mark.parametrize(
    "wrong", [{"bandwidth_mbit_s": 0}, {"bandwidth_mbit_s": 1, "cpu_share": 0}]
)
def test_a_shape_of_nothing_is_refused(wrong):
    with pytest.raises(SettingsError, match=r"from 0\.01"):
        Shape(**wrong)


@pytest.mark.parametrize("version", [1, 2])
def test_a_cpu_share_is_a_quota_in_either_version_of_control_groups(tmp_path, monkeypatch, version):
    monkeypatch.setattr(namespaces, "CONTROL_GROUPS", tmp_path)
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    else:
        (tmp_path / "cpu").mkdir()
    group = namespaces._group(f"gnomon-{os.getpid()}-4")
    namespaces._limit(group, 0.25)
    if version == 2:
        assert (group / "cpu.max").read_text() == "25000 100000"
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
        assert (group.parent / "cgroup.subtree_control").read_text() == "+cpu"
    else:
        assert (group / "cpu.cfs_quota_us").read_text() == "25000"
        assert (group / "cpu.cfs_period_us").read_text() == "100000"


def test_a_machine_without_cpu_control_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(namespaces, "CONTROL_GROUPS", tmp_path / "missing")
    said = namespaces.why_no_cpu_shares()
    assert said is not None
    assert "CPU shares cannot be set" in said


@on_a_machine_that_allows_it
def test_everything_is_gone_afterwards_also_after_an_error():
    def fail():
        with prototype([Shape(1.0, 0.5), Shape(2.0)]) as made:
            assert len(made.places) == 2
            assert len(mine()) >= 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert mine() == []


@on_a_machine_that_allows_it
def test_what_a_killed_process_left_is_removed_at_the_next_start():
    code = (
        "import os, signal; from gnomon.systems.flower.namespaces import *\n"
        "with prototype([Shape(1.0, 0.5)]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    left = subprocess.Popen([sys.executable, "-c", code])
    assert left.wait() == -9
    assert any(str(left.pid) in name for name in namespaces._names())
    assert left.pid in remove_leftovers()
    assert not any(str(left.pid) in name for name in namespaces._names())


@on_a_machine_that_allows_it
def test_a_client_gets_its_bandwidth_and_not_more():
    megabits = 4.0
    sent = 250_000
    with prototype([Shape(megabits)]) as made, socket.create_server((made.address, 0)) as server:
        child = os.fork()
        if child == 0:
            try:
                enter(made.places[0].network, ())
                with socket.create_connection(server.getsockname()) as connection:
                    connection.sendall(bytes(sent))
            finally:
                os._exit(0)
        connection, _ = server.accept()
        started_s = time.monotonic()
        with connection:
            received = 0
            while data := connection.recv(1 << 16):
                received += len(data)
        took_s = time.monotonic() - started_s
        os.waitpid(child, 0)
    assert received == sent
    ideal_s = sent * 8 / megabits / 1e6
    assert 0.8 * ideal_s < took_s < 4 * ideal_s


@on_a_machine_that_allows_it
@pytest.mark.skipif(namespaces.why_no_cpu_shares() is not None, reason="no CPU shares here")
def test_a_client_gets_its_share_of_a_core_and_not_more():
    with prototype([Shape(10.0, 0.2)]) as made:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                enter(None, made.places[0].control_groups)
                started_s, began_s = time.monotonic(), time.process_time()
                while time.monotonic() - started_s < 1.0:
                    pass
                os.write(writing, str(time.process_time() - began_s).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        used_s = float(os.read(reading, 100))
        os.close(reading)
        os.close(writing)
    assert 0.02 < used_s < 0.35
