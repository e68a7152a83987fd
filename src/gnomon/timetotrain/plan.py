"""What one training run is to do: all that a process needs to carry it out, as JSON between processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.spec import Benchmark
from gnomon.core.task import make_task
from gnomon.timetotrain.settings import TrainingBenchmark
from gnomon.timetotrain.task import TrainingTask, require_training

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """One run of a campaign.

    Attributes:
        benchmark: The declaration, as JSON.
        settings: `TrainingBenchmark` with the options over it, as JSON.
        data: A path of the user's, or None for the task's own data.
        system: Registered name and options of what trains; None for an object of this process.
        number: Of the run, from 1.
        seed: Of the run.
        processes: On each node.
        nodes: Machines.
        rendezvous: HOST:PORT where several nodes meet.
    """

    benchmark: dict[str, Any]
    settings: dict[str, Any]
    data: str | None
    system: dict[str, Any] | None
    number: int
    seed: int
    processes: int = 1
    nodes: int = 1
    rendezvous: str | None = None

    @property
    def declared(self) -> Benchmark:
        """The benchmark."""
        return Benchmark.model_validate(self.benchmark)

    @property
    def how(self) -> TrainingBenchmark:
        """How it is trained."""
        return TrainingBenchmark.model_validate(self.settings)

    def task(self) -> TrainingTask:
        """The task, made anew.

        Raises:
            UsageError: It cannot be trained.
        """
        return require_training(make_task(self.declared.task, self.data))


def write_plan(folder: Path, plan: Plan) -> None:
    """Put a plan into a run's folder."""
    (folder / PLAN_FILE).write_text(json.dumps(asdict(plan), indent=1) + "\n")


def read_plan(folder: Path) -> Plan:
    """The plan of a run's folder.

    Raises:
        DataError: There is none, or it is damaged.
    """
    path = folder / PLAN_FILE
    try:
        return Plan(**json.loads(path.read_text()))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise DataError(f"{path} is damaged") from None
