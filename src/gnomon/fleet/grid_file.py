"""A finished grid of fixed (K, E), as a file: what the regret of a run is taken against.

Training at a fixed K and E does not depend on gamma, so one grid serves every gamma.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from gnomon.core.errors import DataError, UsageError, described
from gnomon.core.files import write_atomically
from gnomon.fleet.assembly import Blueprint
from gnomon.fleet.options import GRID_FILE

SCHEMA_VERSION = 1
_NOT_OF_THE_PROBLEM = {
    "gamma",
    "max_rounds",
    "max_duration_s",
    "max_energy_j",
    "max_local_iterations",
    "seed",
}
"""Settings that do not change what a round at a fixed K and E takes; the seed does, and its effect is noise:
a point is the mean over the grid's own seeds."""


@dataclass(frozen=True)
class Trial:
    """One federation of one seed with a fixed K and E, to the target or to its end.

    Attributes:
        seed: Of sampling, batches and faults.
        reached: Whether the loss reached the target.
        rounds: How many were run.
        duration_s: What they took.
        energy_j: What they used.
        loss: After the last; infinite if it was no number any more.
        ended: Why it was over, in words.
    """

    seed: int
    reached: bool
    rounds: int
    duration_s: float
    energy_j: float
    loss: float
    ended: str = ""

    def cost(self, gamma: float) -> float:
        """(1 - gamma) dollars a second, gamma dollars a joule."""
        return (1 - gamma) * self.duration_s + gamma * self.energy_j


@dataclass(frozen=True)
class GridPoint:
    """Federations with one fixed K and E: the mean over seeds.

    Attributes:
        clients_per_round: K.
        local_iterations: E.
        reached: Whether the loss reached the target, for every seed.
        rounds: How many were run.
        duration_s: What they took.
        energy_j: What they used.
        loss: After the last.
        trials: The seeds one by one.
    """

    clients_per_round: int
    local_iterations: int
    reached: bool
    rounds: float
    duration_s: float
    energy_j: float
    loss: float
    trials: tuple[Trial, ...] = ()

    @classmethod
    def of(
        cls, clients_per_round: int, local_iterations: int, trials: Sequence[Trial]
    ) -> GridPoint:
        """The mean of one trial or more."""
        return cls(
            clients_per_round,
            local_iterations,
            reached=all(trial.reached for trial in trials),
            rounds=fmean(trial.rounds for trial in trials),
            duration_s=fmean(trial.duration_s for trial in trials),
            energy_j=fmean(trial.energy_j for trial in trials),
            loss=fmean(trial.loss for trial in trials),
            trials=tuple(trials),
        )

    def cost(self, gamma: float) -> float:
        """(1 - gamma) dollars a second, gamma dollars a joule."""
        return (1 - gamma) * self.duration_s + gamma * self.energy_j

    def standard_error(self, gamma: float) -> float | None:
        """Of the mean cost, over seeds; None of fewer than two."""
        if len(self.trials) < 2:
            return None
        return stdev(trial.cost(gamma) for trial in self.trials) / math.sqrt(len(self.trials))


@dataclass(frozen=True)
class Grid:
    """Federations of one blueprint that differ in K and E alone.

    Attributes:
        blueprint: Of all of them.
        devices_sha256: Of the devices' costs (`record.devices_sha256`).
        points: In any order.
    """

    blueprint: Blueprint
    devices_sha256: str
    points: tuple[GridPoint, ...]

    def best(self, gamma: float) -> GridPoint | None:
        """The point that reached the target at the least cost; None if none did."""
        reached = [point for point in self.points if point.reached]
        return min(reached, key=lambda point: point.cost(gamma), default=None)

    def require_same_problem(self, blueprint: Blueprint, devices_sha256: str) -> None:
        """Refuse to hold a run against a grid of something else.

        Raises:
            UsageError: Names what differs.
        """
        apart = differences(self.blueprint, blueprint)
        if self.devices_sha256 != devices_sha256:
            apart.append("the devices cost something else")
        if apart:
            raise UsageError(
                f"the grid is of another federation than the run: {'; '.join(apart)}: make one with "
                f"the run's options (gnomon federated grid)"
            )


def differences(grid: Blueprint, run: Blueprint) -> list[str]:
    """What differs between two blueprints that changes what a round does or takes, in words."""
    ours, theirs = _problem(grid), _problem(run)
    return [
        f"{name} is {ours[name]} in the grid, {theirs[name]} in the run"
        for name in ours
        if ours[name] != theirs[name]
    ]


def _problem(blueprint: Blueprint) -> dict[str, Any]:
    whole = blueprint.to_json()
    settings: dict[str, Any] = whole.pop("settings")
    behaviour: dict[str, Any] = whole.pop("behaviour")
    for name in ("data", "devices"):  # where from; what they are is compared by fingerprint
        whole.pop(name)
    whole["availability_trace"] = whole["availability_trace"] is not None
    for name in _NOT_OF_THE_PROBLEM:
        settings.pop(name)
    return whole | settings | behaviour


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """JSON-ready."""
    return _finite(asdict(trial))


def trial_from_json(values: dict[str, Any]) -> Trial:
    """The inverse of `trial_to_json`.

    Raises:
        TypeError: A member is missing, or unknown.
    """
    return Trial(**_read_back(values))


def _point(trials: Sequence[dict[str, Any]] = (), **values: Any) -> GridPoint:
    return GridPoint(**_read_back(values), trials=tuple(map(trial_from_json, trials)))


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a loss that is no number any more is null there."""
    whole = dict(values)
    if not math.isfinite(whole["loss"]):
        whole["loss"] = None
    if "trials" in whole:
        whole["trials"] = [_finite(trial) for trial in whole["trials"]]
    return whole


def _read_back(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"loss": math.inf} if values["loss"] is None else values


def write_grid(grid: Grid, path: Path) -> None:
    """Write a grid as `read_grid` reads it.

    Raises:
        OSError: As the file system says it.
    """
    whole = {
        "schema_version": SCHEMA_VERSION,
        "blueprint": grid.blueprint.to_json(),
        "devices_sha256": grid.devices_sha256,
        "points": [_finite(asdict(point)) for point in grid.points],
    }
    write_atomically(path, (json.dumps(whole, indent=2) + "\n").encode())


def read_grid(path: Path) -> Grid:
    """A grid from its file, or from the folder that holds it.

    Raises:
        DataError: There is none, or it is damaged.
    """
    file = path / GRID_FILE if path.is_dir() else path
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        if whole["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {whole['schema_version']}")
        points = tuple(_point(**point) for point in whole["points"])
        return Grid(Blueprint.from_json(whole["blueprint"]), str(whole["devices_sha256"]), points)
    except OSError as error:
        raise DataError(f"grid {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is no finished grid: {described(error)}") from None
