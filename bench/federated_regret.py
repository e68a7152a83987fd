"""What each controller's choice of K and E costs, over the empirically best fixed choice.

    python bench/federated_regret.py [--benchmarks federated,federated-digits] [--seeds 0,1,2]
        [--controllers adaptive,plan,paper,fixed:10,10] [--grids FOLDER] [--workers 2] [--json FILE]

For every benchmark a grid of fixed (K, E) is trained to the target for every seed (kept in FOLDER, gone on
with when run again). The best fixed choice of a gamma is the point of least mean cost over the seeds. Each
controller then trains with the same seeds, and its whole cost, sampling included, is divided by that mean:
1.10 is 10 % above the best. A run that misses the target counts as infinite. Costs are simulated seconds and
joules, so that the machine's load does not matter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from machine import describe_machine

from gnomon.core.registry import BENCHMARKS, TASKS
from gnomon.fleet.assembly import Federation, assemble
from gnomon.fleet.grid import ONE_THREAD, run_grid, spread_values
from gnomon.fleet.grid_file import Grid
from gnomon.fleet.grid_folder import GridPlan
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.record import devices_sha256
from gnomon.fleet.simulated import simulate

GAMMAS = (0.0, 0.25, 0.5, 0.75, 1.0)
DEFAULT = "fixed:10,10"


def federation_of(benchmark: str, **options: Any) -> Federation:
    declared = BENCHMARKS.load(benchmark)
    return assemble(declared, TASKS.load(declared.task)(), FleetOptions(**options))


def grid_of(benchmark: str, seeds: tuple[int, ...], folder: Path, workers: int) -> Grid:
    federation = federation_of(benchmark)
    most = federation.settings.max_local_iterations
    plan = GridPlan(
        federation.blueprint,
        devices_sha256(federation.devices),
        tuple(sorted({1, 2, 3, 5, 10, 20, 50} & set(range(1, len(federation.devices) + 1)))),
        tuple(value for value in (1, 2, 5, 10, 20, 50) if value <= most) or spread_values(most, 7),
        seeds,
    )
    return run_grid(plan, folder / benchmark, federation.devices, workers=workers)


def one_run(benchmark: str, controller: str, gamma: float, seed: int) -> dict[str, Any]:
    """A federation to its end: what it cost, and what of that was sampling."""
    warnings.simplefilter("ignore")
    server = federation_of(benchmark, gamma=gamma, seed=seed).server(controller)
    simulate(server)
    rounds = server.ledger.rounds
    sampling = rounds[rounds["phase"] == "estimate"]
    reached = server.ended is not None and server.ended.reason == "target"
    whole = server.ledger.cost(gamma)
    spent = (1 - gamma) * sampling["duration_s"].sum() + gamma * sampling["energy_j"].sum()
    return {
        "benchmark": benchmark,
        "controller": controller,
        "gamma": gamma,
        "seed": seed,
        "cost": whole if reached else math.inf,
        "sampling_share": float(spent / whole),
        "rounds": len(rounds),
        "last_choice": [int(rounds["clients_per_round"][-1]), int(rounds["local_iterations"][-1])],
    }


def best_of(grid: Grid, gamma: float) -> tuple[str, float]:
    best = grid.best(gamma)
    if best is None:
        raise SystemExit("no point of the grid reached the target: raise --max-rounds")
    return f"K={best.clients_per_round} E={best.local_iterations}", best.cost(gamma)


def told(cells: list[dict[str, Any]]) -> dict[str, float]:
    ratios = [cell["ratio"] for cell in cells]
    return {
        "mean": statistics.fmean(ratios),
        "worst": max(ratios),
        "sampling_share": statistics.fmean(cell["sampling_share"] for cell in cells),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--benchmarks", default="federated,federated-digits")
    parser.add_argument("--controllers", nargs="+", default=["adaptive", "plan", "paper", DEFAULT])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--grids", type=Path, default=Path("bench/results/grids"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    benchmarks = arguments.benchmarks.split(",")
    machine = describe_machine()
    print(machine["text"])
    grids = {name: grid_of(name, seeds, arguments.grids, arguments.workers) for name in benchmarks}
    jobs = [
        (name, controller, gamma, seed)
        for name in benchmarks
        for controller in arguments.controllers
        for gamma in GAMMAS
        for seed in seeds
    ]
    os.environ.update(ONE_THREAD)  # of the workers: small products lose by more
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        cells = []
        for cell in pool.map(one_run, *zip(*jobs, strict=True)):
            cells.append(cell)
            print(f"\r{len(cells)} of {len(jobs)} runs", end="", file=sys.stderr, flush=True)
    for cell in cells:
        _, least = best_of(grids[cell["benchmark"]], cell["gamma"])
        cell["ratio"] = cell["cost"] / least
    print_tables(benchmarks, arguments.controllers, grids, cells)
    if arguments.json:
        summary = {
            controller: told([cell for cell in cells if cell["controller"] == controller])
            for controller in arguments.controllers
        }
        arguments.json.write_text(
            json.dumps({"machine": machine, "summary": summary, "runs": cells}, indent=2)
        )


def print_tables(
    benchmarks: list[str],
    controllers: list[str],
    grids: dict[str, Grid],
    cells: list[dict[str, Any]],
) -> None:
    for name in benchmarks:
        print(f"\n{name}: cost over the best fixed choice, by seed")
        print(f"{'gamma':>6} {'best fixed':>12} " + " ".join(f"{c:>22}" for c in controllers))
        for gamma in GAMMAS:
            words, _ = best_of(grids[name], gamma)
            row = [
                " ".join(
                    f"{cell['ratio']:.2f}"
                    for cell in cells
                    if (cell["benchmark"], cell["controller"], cell["gamma"])
                    == (name, controller, gamma)
                )
                for controller in controllers
            ]
            print(f"{gamma:>6} {words:>12} " + " ".join(f"{text:>22}" for text in row))
    print(
        f"\n{'controller':>14} {'mean':>7} {'worst':>7} {'sampling':>9}   above the default, above paper"
    )
    means = by_cell(cells)
    for controller in controllers:
        figures = told([cell for cell in cells if cell["controller"] == controller])
        above = [
            sum(
                mean > means[name, rival, gamma]
                for (name, mine, gamma), mean in means.items()
                if mine == controller and (name, rival, gamma) in means
            )
            for rival in (DEFAULT, "paper")
        ]
        print(
            f"{controller:>14} {figures['mean']:7.3f} {figures['worst']:7.2f} "
            f"{figures['sampling_share']:9.1%}   "
            f"{above[0]} and {above[1]} of {len(benchmarks) * len(GAMMAS)} cells"
        )


def by_cell(cells: list[dict[str, Any]]) -> dict[tuple[str, str, float], float]:
    """Mean ratio over seeds of each benchmark, controller and gamma."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for cell in cells:
        found.setdefault((cell["benchmark"], cell["controller"], cell["gamma"]), []).append(
            cell["ratio"]
        )
    return {place: statistics.fmean(ratios) for place, ratios in found.items()}


if __name__ == "__main__":
    main()
