"""Real federations: a SuperLink, a SuperNode for each client, and all they start, over loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.fleet.simulated import simulate
from gnomon.systems.flower.namespaces import why_not
from tests.systems.flower.federations import federation

pytest.importorskip("flwr")

from gnomon.systems.flower.fleet import FlowerFleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
ROOT = Path(__file__).parents[2]


def descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def alive(pids: set[int]) -> set[int]:
    """Those that run; a zombie has ended."""
    running = set()
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.add(pid)
        except psutil.NoSuchProcess:
            pass
    return running


@pytest.fixture
def processes():
    """All processes a test's federation had; none is left at the end."""
    seen: set[int] = set()
    before = descendants()
    yield seen
    assert len(seen - before) > 4
    assert alive(seen - before) == set()  # helpers that other tests' libraries left are not ours
    assert descendants() <= before


def test_a_federation_of_processes_gives_the_simulators_parameters(tmp_path, processes):
    server, simulated = federation(rounds=3), federation(rounds=3)
    FlowerFleet(folder=tmp_path).drive(server, lambda _: processes.update(descendants()))
    simulate(simulated)
    assert np.array_equal(server.parameters, simulated.parameters)
    ledger = server.ledger
    assert ledger.disagreements() == []
    assert (ledger.clients["outcome"] == "used").all()
    slowest = [ledger.clients["duration_s"][ledger.clients["round"] == k].max() for k in range(3)]
    assert ledger.rounds["duration_s"].tolist() == slowest
    assert ledger.energy_j == pytest.approx(ledger.clients["energy_j"].sum())
    for name in ("superlink", "client-0", "client-3", "run-1"):
        assert (tmp_path / f"{name}.log").read_text()


def test_a_federation_that_fails_half_way_leaves_no_process(tmp_path, processes):
    class Enough(Exception):  # noqa: N818
        pass

    def stop(_):
        processes.update(descendants())
        raise Enough

    with pytest.raises(Enough):
        FlowerFleet(folder=tmp_path).drive(federation(), stop)


def test_a_server_app_that_is_killed_is_started_again_and_the_ledger_goes_on(tmp_path, processes):
    server, simulated = federation(clients=2, clients_per_round=2, rounds=4), None

    def kill(_):
        processes.update(descendants())
        if len(server.ledger.rounds) == 2:
            os.kill(server_app(tmp_path), signal.SIGKILL)

    FlowerFleet(folder=tmp_path).drive(server, kill)
    simulated = federation(clients=2, clients_per_round=2, rounds=4)
    simulate(simulated)
    assert server.ledger.rounds["round"].tolist() == [0, 1, 2, 3]
    assert server.ledger.disagreements() == []
    assert np.array_equal(server.parameters, simulated.parameters)
    assert (tmp_path / "run-2.log").exists()


def server_app(folder: Path) -> int:
    """The youngest of the processes that write into the SuperLink's log."""
    log = str(folder / "superlink.log")
    writers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError):  # others of the round end meanwhile
            if str(Path(f"/proc/{process.pid}/fd/1").readlink()) == log:
                writers.append(process)
    return max(writers, key=lambda process: (process.create_time(), process.pid)).pid


DRIVER = """
import sys
from pathlib import Path
from gnomon.systems.flower.fleet import FlowerFleet
from tests.systems.flower.federations import federation
folder = Path(sys.argv[1])
server = federation(clients=2, clients_per_round=2, rounds=6)
FlowerFleet(folder=folder).drive(server, lambda server: server.save(folder))
"""


def test_a_killed_gnomon_takes_its_federation_along_and_a_new_one_resumes_it(tmp_path):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT, env=with_tests_importable()
    )
    try:
        until_s = time.monotonic() + 60
        while not (tmp_path / "server.npz").exists() and time.monotonic() < until_s:
            time.sleep(0.05)
        children = {child.pid for child in psutil.Process(driver.pid).children(recursive=True)}
        assert len(children) > 4
    finally:
        driver.kill()
        driver.wait()
    until_s = time.monotonic() + 5
    while alive(children) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert alive(children) == set()

    server = federation(clients=2, clients_per_round=2, rounds=6)
    server.restore(tmp_path)
    done = len(server.ledger.rounds)
    assert 1 <= done < 6
    earlier = server.ledger.rounds.copy()
    FlowerFleet(folder=tmp_path).drive(server)
    assert server.ledger.rounds[:done].tolist() == earlier.tolist()
    assert server.ledger.rounds["round"].tolist() == list(range(6))
    assert server.ledger.disagreements() == []
    simulated = federation(clients=2, clients_per_round=2, rounds=6)
    simulate(simulated)
    assert np.array_equal(server.parameters, simulated.parameters)


def with_tests_importable() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_port_that_is_taken_is_refused_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 cannot be used"):
            FlowerFleet(folder=tmp_path, port=port).drive(federation())


def test_a_client_app_that_does_not_exist_is_named(tmp_path):
    fleet = FlowerFleet(folder=tmp_path, client_app="no_such_module:app")
    with pytest.raises(SystemFault, match="No module named 'no_such_module'"):
        fleet.drive(federation(clients=2, clients_per_round=2))


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_ten_shaped_clients_finish(tmp_path, processes):
    server = federation(clients=10, clients_per_round=10, rounds=3)
    fleet = FlowerFleet(
        folder=tmp_path, shaped=True, bandwidth_mbit_s="0.5,1,2,5,10", cpu_share="0.3,0.6"
    )
    fleet.drive(server, lambda _: processes.update(descendants()))
    ledger = server.ledger
    assert (ledger.clients["outcome"] == "used").all()
    assert len(ledger.clients) == 30
    assert ledger.disagreements() == []
    for number in range(3):
        durations = ledger.clients["duration_s"][ledger.clients["round"] == number]
        assert ledger.rounds["duration_s"][number] == durations.max()
    simulated = federation(clients=10, clients_per_round=10, rounds=3)
    simulate(simulated)
    assert np.array_equal(server.parameters, simulated.parameters)


SIMULATION = """
import json
import numpy as np
from gnomon.fleet.simulated import simulate
from gnomon.systems.flower.simulation import FlowerSimulation
from tests.systems.flower.federations import federation
server, simulated = federation(clients_per_round=3, rounds=5), federation(clients_per_round=3, rounds=5)
seen = []
FlowerSimulation().drive(server, lambda server: seen.append(len(server.ledger.rounds)))
simulate(simulated)
print(json.dumps({
    "same": bool(np.array_equal(server.parameters, simulated.parameters)),
    "seen": seen,
    "disagreements": server.ledger.disagreements(),
    "outcomes": sorted(set(server.ledger.clients["outcome"].tolist())),
}))
"""


def test_flowers_simulation_engine_gives_the_simulators_parameters_whatever_cluster_is_there():
    """In a process of its own: Ray stays behind in the one that started it."""
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-c", SIMULATION],
        cwd=ROOT,
        env=with_tests_importable() | {"RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "same": True,
        "seen": [1, 2, 3, 4, 5],
        "disagreements": [],
        "outcomes": ["used"],
    }
