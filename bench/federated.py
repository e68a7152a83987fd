"""Simulated federated learning: Gnomon beside Flower's engine, pfl-research and a plain PyTorch loop.

    python bench/federated.py [--rounds 60] [--repeats 3] [--pfl-python VENV/bin/python] [--json FILE]
                              [--only speed,large,solve,bits]

Everyone trains multinomial logistic regression, 784 features and 10 classes, on the same 600 random samples
a client: K of N clients a round, 10 local SGD iterations on batches of 24 each, one averaged model. Nobody
evaluates. Each contender is a process of its own; they take turns, and quoted are medians of the repeats
and of the repeats' ratios. What a timed round holds, beside local training and averaging:

* Gnomon: sampling and batches by keyed seeds, the fixed controller, virtual clock and energy of each client,
  the ledger (`Server` and `simulate`, as `gnomon run federated` uses them); one process, NumPy.
* Flower: its FedAvg, messages through its engine to as many Ray actors as there are cores, log off. "Eager"
  sets the server's wait between two looks for replies from 0.1 s to 5 ms, for orientation: few users do.
* pfl-research: its FederatedAveraging in one process, batches in fixed order, cut once, without metrics.
  Needs an environment of its own with `pfl[pytorch]`, named by --pfl-python.
* PyTorch: a module and an optimiser a client, one thread.

All map the same file of samples, touched before the first round. The first `WARM_UP` rounds do not count,
so that nobody's start-up is in the rate; those without Ray run `FAST` times the rounds. The first-round time
is wall time from starting the interpreter to the end of round one, mapping the data included. Memory is
looked at when the last round has ended, over all of a contender's processes and with the mapped samples:
proportional set size (PSS) at that time, and the sum of the processes' peak resident sizes, which counts
shared pages once in each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from federated_peers import Work, write_data
from machine import describe_machine

from gnomon.fleet.cost import Problem
from gnomon.fleet.device_files import normal_devices
from gnomon.fleet.rounds import Bound
from gnomon.fleet.solve import solve

WARM_UP = 3
FAST = 4
SMALL, LARGE = (100, 10), (1000, 100)
SLOWEST_S = 1200.0
FIRST_ROUND_GOAL_S = 3.0
SOLVE_GOALS_MS = {100: 10.0, 10_000: 1000.0}
CHECKED_ROUNDS = 3
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Contender:
    """One who is measured.

    Attributes:
        key: Its name in `federated_peers.CONTENDERS`.
        title: For people.
        python: The interpreter that has it.
        goals: How many times its rate Gnomon's should be, by K; empty for a row of orientation.
    """

    key: str
    title: str
    python: str = sys.executable
    goals: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Measured:
    """One process's figures."""

    rounds_per_s: float
    median_round_ms: float
    first_round_s: float
    pss_mb: float
    peak_rss_mb: float
    processes: int
    told: dict[str, Any]


def contenders(pfl_python: str | None) -> list[Contender]:
    """Those that can be measured here; of the others it is said why not."""
    found = [Contender("gnomon", "Gnomon")]
    if find_spec("flwr") and find_spec("ray"):
        found += [
            Contender("flower", "Flower", goals=((10, 50.0), (100, 20.0))),
            Contender("flower-eager", "Flower, eager"),
        ]
    else:
        print("Flower is left out: flwr and ray are not installed here")
    if pfl_python and Path(pfl_python).is_file():
        # Not resolved: the link is what makes it the interpreter of its environment.
        python = str(Path(pfl_python).absolute())
        found.append(Contender("pfl", "pfl-research", python, ((10, 8.0),)))
    else:
        print("pfl-research is left out: name an interpreter that has it with --pfl-python")
    if find_spec("torch"):
        found.append(Contender("torch", "PyTorch loop"))
    return found


def measure(contender: Contender, folder: Path, fleet: tuple[int, int], rounds: int) -> Measured:
    """Run a contender in a process of its own and look at its memory before it goes."""
    clients, per_round = fleet
    work = Work(contender.key, str(folder), clients, per_round, rounds)
    began = time.monotonic()
    with (folder / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(
            [
                contender.python,
                "-c",
                "import federated_peers; federated_peers.main()",
                json.dumps(work),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(HERE)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        guard = threading.Timer(SLOWEST_S, process.kill)
        guard.start()
        try:
            line = next((line for line in process.stdout if line.startswith("RESULT ")), None)
            if line is None:
                process.wait()
                errors.seek(0)
                raise SystemExit(f"{contender.title} failed:\n{errors.read()[-3000:]}")
            memory = _memory(process.pid)
            process.stdin.close()
            process.stdout.read()
            process.wait()
        finally:
            guard.cancel()
    told = json.loads(line.removeprefix("RESULT "))
    stamps = told.pop("stamps")
    counted = stamps[min(WARM_UP, len(stamps) - 1) - 1 :]
    each = [later - sooner for sooner, later in itertools.pairwise(counted)]
    return Measured(
        rounds_per_s=len(each) / sum(each),
        median_round_ms=1e3 * statistics.median(each),
        first_round_s=stamps[0] - began,
        told=told,
        **memory,
    )


def _memory(pid: int) -> dict[str, Any]:
    """Of a process and all that it started, in MB; needs Linux."""
    root = psutil.Process(pid)
    pss, peak, count = 0, 0, 0
    for process in [root, *root.children(recursive=True)]:
        try:
            pss += process.memory_full_info().pss
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (psutil.Error, OSError):  # it ended meanwhile
            continue
        peak += int(status.partition("VmHWM:")[2].split()[0]) * 1024
        count += 1
    return {"pss_mb": pss / 1e6, "peak_rss_mb": peak / 1e6, "processes": count}


def race(
    field: list[Contender], folder: Path, fleet: tuple[int, int], rounds: int, repeats: int
) -> dict[str, list[Measured]]:
    """Everyone in turn, several times."""
    found: dict[str, list[Measured]] = {one.key: [] for one in field}
    for number in range(repeats):
        for one in field:
            times = 1 if one.key.startswith("flower") else FAST
            found[one.key].append(measure(one, folder, fleet, WARM_UP + times * rounds))
            print(f"K={fleet[1]}, repeat {number + 1}: {one.title} done", file=sys.stderr)
    return found


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def show_race(
    field: list[Contender], found: dict[str, list[Measured]], fleet: tuple[int, int]
) -> list[dict[str, Any]]:
    """The table of one fleet: rates, and how many times each peer's rate Gnomon's is."""
    clients, per_round = fleet
    print(f"\nN={clients:,}, K={per_round}, E=10: rounds/s")
    print(f"  {'':16}{'rounds/s':>10}{'ms':>9}{'median ms':>11}   Gnomon is (range), goal")
    rows = []
    for one in field:
        runs = found[one.key]
        rate = statistics.median(run.rounds_per_s for run in runs)
        ratios = [
            own.rounds_per_s / run.rounds_per_s
            for own, run in zip(found["gnomon"], runs, strict=True)
        ]
        ratio = statistics.median(ratios)
        goal = dict(one.goals).get(per_round)
        words = ""
        if one.key != "gnomon":
            words = f"{ratio:6.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"
        if goal:
            words += f", goal {goal:g}x: {verdict(ratio >= goal)}"
        round_ms = statistics.median(run.median_round_ms for run in runs)
        print(f"  {one.title:16}{rate:10.2f}{1e3 / rate:9.2f}{round_ms:11.2f}   {words}")
        rows.append(
            {
                "contender": one.key,
                "clients": clients,
                "clients_per_round": per_round,
                "rounds_per_s": rate,
                "ratio": ratio,
                "ratios": ratios,
                "goal": goal,
                "runs": [asdict(run) for run in runs],
            }
        )
    return rows


def show_start(field: list[Contender], found: dict[str, list[Measured]]) -> None:
    """First round and memory, from the same processes."""
    print("\nfrom starting the interpreter to the end of the first round, and memory; N=100, K=10")
    print(
        f"  {'':16}{'first round s':>14}{'range':>16}{'PSS MB':>9}{'peak RSS MB':>13}{'processes':>11}"
    )
    for one in field:
        first = [run.first_round_s for run in found[one.key]]
        middle = statistics.median(first)
        pss, rss, count = (
            statistics.median(getattr(run, name) for run in found[one.key])
            for name in ("pss_mb", "peak_rss_mb", "processes")
        )
        goal = ""
        if one.key == "gnomon":
            goal = f"   goal < {FIRST_ROUND_GOAL_S:g} s: {verdict(middle < FIRST_ROUND_GOAL_S)}"
        spread = f"{min(first):.2f} to {max(first):.2f}"
        print(f"  {one.title:16}{middle:14.2f}{spread:>16}{pss:9.0f}{rss:13.0f}{count:11.0f}{goal}")


def solving(repeats: int) -> dict[str, Any]:
    """The exact choice of K and E over all K and E up to 200, and the command that prints advice."""
    print("\nexact solve, E up to 200: median ms over A0/B0 of 10, 100, 1000 (range of medians)")
    told: dict[str, Any] = {}
    for clients, goal_ms in SOLVE_GOALS_MS.items():
        devices = normal_devices(clients, 0)
        for gamma in (0.0, 0.5, 1.0):
            medians = []
            for ratio in (10.0, 100.0, 1000.0):
                problem = Problem(devices, gamma, Bound(ratio, 1.0), max_local_iterations=200)
                solve(problem)
                taken = []
                for _ in range(5 * repeats):
                    began = time.perf_counter()
                    solve(problem)
                    taken.append(1e3 * (time.perf_counter() - began))
                medians.append(statistics.median(taken))
            worst = max(medians)
            print(
                f"  N={clients:6,}, gamma {gamma:3.1f}: {statistics.median(medians):8.2f} ms "
                f"({min(medians):.2f} to {worst:.2f}), goal < {goal_ms:g} ms: {verdict(worst < goal_ms)}"
            )
            told[f"N={clients} gamma={gamma}"] = medians
    command = [str(Path(sys.executable).with_name("gnomon")), "federated", "plan"]
    taken = []
    for _ in range(max(repeats, 3)):
        began = time.perf_counter()
        subprocess.run(
            [*command, "--clients", "100", "--gamma", "0.5"], check=True, capture_output=True
        )
        taken.append(time.perf_counter() - began)
    told["plan_s"] = taken
    print(f"  gnomon federated plan --clients 100 --gamma 0.5: {statistics.median(taken):.2f} s")
    return told


def bits(folder: Path) -> dict[str, Any]:
    """Two processes with one seed, and Gnomon against PyTorch on the same clients and batches."""
    checks = [
        measure(Contender("check", "the check"), folder, SMALL, CHECKED_ROUNDS).told
        for _ in range(2)
    ]
    same = checks[0]["sha256"] == checks[1]["sha256"]
    print(f"\ntwo runs with one seed end in the same bits: {verdict(same)}")
    print(
        f"after {CHECKED_ROUNDS} rounds the parameters differ from a PyTorch loop's on the same batches by "
        f"at most {checks[0]['difference']:.2g} (the largest is {checks[0]['largest']:.2g})"
    )
    return {"same_bits": same, **checks[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="counted rounds of Flower at K=10")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pfl-python", help="an interpreter that has pfl and torch")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--only", default="speed,large,solve,bits", help="comma-separated parts")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    machine = describe_machine()
    print(machine["text"])
    record: dict[str, Any] = {"machine": machine}
    if {"speed", "large", "bits"} & set(parts):
        field = contenders(arguments.pfl_python)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_data(folder, (LARGE if "large" in parts else SMALL)[0])
            if "speed" in parts:
                found = race(field, folder, SMALL, arguments.rounds, arguments.repeats)
                versions = {one.title: found[one.key][0].told["versions"] for one in field}
                print("; ".join(f"{title}: {each}" for title, each in versions.items()))
                record["speed"] = show_race(field, found, SMALL)
                show_start(field, found)
            if "large" in parts:
                fewer = max(arguments.rounds // 6, 3)
                found = race(field, folder, LARGE, fewer, arguments.repeats)
                record["large"] = show_race(field, found, LARGE)
            if "bits" in parts:
                record["bits"] = bits(folder)
    if "solve" in parts:
        record["solve"] = solving(arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
