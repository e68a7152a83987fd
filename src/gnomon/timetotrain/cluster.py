"""A campaign's runs spread over the machines of a Ray cluster, one run at a time on each.

Every machine carries its run out as a single one would, and sends its files back. Seconds of unlike machines
are not one sample: what each machine is stays beside its run, for the rules to judge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gnomon.core.errors import DataError, SystemFault, described
from gnomon.core.extras import optional_module
from gnomon.timetotrain.caches import clear_caches
from gnomon.timetotrain.launch import run_processes
from gnomon.timetotrain.plan import Plan, write_plan

MACHINE_FILE = "machine.json"
LOCAL = "local"


def train_on_cluster(address: str, plans: Sequence[Plan], folders: Sequence[Path]) -> Iterator[int]:
    """Carry plans out, each on the next machine that is idle.

    Args:
        address: Of a running cluster, or `local` to start one on this machine.
        plans: What to do.
        folders: Where each plan's files go; they exist.

    Yields:
        The place of each plan in `plans` whose files have come back, in the order they do.

    Raises:
        MissingExtraError: Ray is not installed.
        SystemFault: The cluster cannot be reached, or a machine was lost.
    """
    ray: Any = optional_module("ray", "ray", "ray", "spreading runs over machines")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            logging_level="ERROR",
            **({"include_dashboard": False} if address == LOCAL else {}),
        )
    except Exception as error:
        raise SystemFault(
            f"there is no Ray cluster at {address!r}: start one with `ray start --head`, or use --cluster "
            f"{LOCAL} ({described(error)})"
        ) from error
    try:
        yield from _spread(ray, plans, folders)
    finally:
        ray.shutdown()


def _spread(ray: Any, plans: Sequence[Plan], folders: Sequence[Path]) -> Iterator[int]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    runner = ray.remote(num_cpus=1, max_restarts=0)(Runner)
    idle = [
        runner.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    if not idle:
        raise SystemFault("no machine of the Ray cluster has a processor to train on")
    waiting = list(range(len(plans)))
    working: dict[Any, tuple[int, Any]] = {}
    while waiting or working:
        while waiting and idle:
            place, machine = waiting.pop(0), idle.pop()
            write_plan(folders[place], plans[place])  # from here on it counts as begun
            working[machine.train.remote(asdict(plans[place]))] = place, machine
        (finished,), _ = ray.wait(list(working), num_returns=1)
        place, machine = working.pop(finished)
        try:
            files = ray.get(finished)
        except Exception as error:
            raise SystemFault(
                f"the machine of run {plans[place].number} was lost ({described(error)}): mend the cluster, "
                f"then gnomon resume"
            ) from error
        for name, content in files.items():
            (folders[place] / name).write_bytes(content)
        idle.append(machine)
        yield place


def read_machine(folder: Path) -> dict[str, Any]:
    """What the machine of a run is; empty for a run of the machine that the campaign was on.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / MACHINE_FILE
    if not path.exists():
        return {}
    try:
        machine: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        raise DataError(f"{path} is damaged") from None
    return machine


class Runner:
    """What works on each machine: a plan in, the files of its run out."""

    def train(self, plan: dict[str, Any]) -> dict[str, bytes]:
        """Carry a plan out in a folder that is gone afterwards."""
        from gnomon.core.environment import capture

        whole = Plan(**plan)
        clear_caches(whole.data)
        with TemporaryDirectory() as made:
            folder = Path(made)
            run_processes(folder, whole)
            environment = capture()
            machine = {
                "cpu": environment["cpu"]["model"],
                "available_cores": environment["cpu"]["available_cores"],
                "accelerators": environment["accelerators"],
                "packages": environment["packages"],
            }
            (folder / MACHINE_FILE).write_text(json.dumps(machine) + "\n")
            return {path.name: path.read_bytes() for path in folder.iterdir()}
