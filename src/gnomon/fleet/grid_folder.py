"""The folder of a grid: one JSON file a finished training, and what all of them have in common.

    grids/federated/
      plan.json                       the federation, K, E and seeds that were asked for
      trials/K10-E20-seed0.json       one finished training
      grid.json                       all of them, once the plan is done (`grid_file.py`)
      lock                            held while the grid is being trained

A file is written whole or not at all, so what is there is finished, whatever ended the command.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from gnomon.core.errors import DataError, RunFolderError, SettingsError
from gnomon.core.files import held_alone, write_atomically
from gnomon.fleet.assembly import Blueprint
from gnomon.fleet.grid_file import Grid, GridPoint, Trial, trial_from_json, trial_to_json

SCHEMA_VERSION = 1
PLAN_FILE = "plan.json"
TRIALS_FOLDER = "trials"
LOCK_FILE = "lock"
TOLD_DIFFERENCES = 3
_NO_MATTER = ("gamma", "seed", "max_local_iterations")
"""Settings of a federation that are not the grid's: it serves every gamma, and has seeds and E of its own."""


class Place(NamedTuple):
    """One training of a grid."""

    clients_per_round: int
    local_iterations: int
    seed: int

    @property
    def name(self) -> str:
        """`K10-E20-seed0`."""
        return f"K{self.clients_per_round}-E{self.local_iterations}-seed{self.seed}"


@dataclass(frozen=True)
class GridPlan:
    """What is trained: every K with every E, for every seed.

    Attributes:
        blueprint: Of the federation; its gamma and seed are of no matter.
        devices_sha256: Of the devices' costs.
        clients_per_round: Values of K, ascending.
        local_iterations: Values of E, ascending.
        seeds: Ascending.

    Raises:
        SettingsError: A value out of range, none at all, or no target.
    """

    blueprint: Blueprint
    devices_sha256: str
    clients_per_round: tuple[int, ...]
    local_iterations: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        if self.blueprint.settings.target_loss is None:
            raise SettingsError(
                "a grid trains to a target loss and there is none: set --target-loss"
            )
        limits = {
            "clients_per_round": self.blueprint.clients,
            "local_iterations": None,
            "seeds": None,
        }
        for name, most in limits.items():
            values = tuple(sorted(set(getattr(self, name))))
            object.__setattr__(self, name, values)
            option = f"--{name.replace('_', '-')}"
            if not values:
                raise SettingsError(f"a grid needs one value or more of {option}")
            least = 0 if name == "seeds" else 1
            if values[0] < least or (most is not None and values[-1] > most):
                wrong = values[0] if values[0] < least else values[-1]
                upper = f" to {most}" if most is not None else " up"
                raise SettingsError(f"{option} must be from {least}{upper}, got {wrong}")

    @property
    def places(self) -> list[Place]:
        """Every training."""
        axes = (self.clients_per_round, self.local_iterations, self.seeds)
        return [Place(*place) for place in product(*axes)]

    @property
    def digest(self) -> str:
        """The settings in eight characters; a setting that a later version adds does not change them."""
        shared = _shared(self.blueprint.model_dump(mode="json", exclude_defaults=True))
        text = json.dumps([shared, self.devices_sha256], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class FinishedTrial:
    """One training as its file tells it, and how long it took on a person's clock."""

    place: Place
    trial: Trial
    measured_s: float


def open_grid(path: Path, plan: GridPlan) -> GridPlan:
    """Begin a grid in this folder, or go on with the one there; its plan grows by what is asked for now.

    Returns:
        The plan with what was asked for before.

    Raises:
        SettingsError: The grid there has other settings.
        RunFolderError: The folder cannot be written or read.
    """
    try:
        (path / TRIALS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make {path}: {error.strerror}; choose another with --out"
        ) from None
    if (path / PLAN_FILE).exists():
        plan = _grown(path, plan)
    _write(
        path / PLAN_FILE,
        {
            "blueprint": plan.blueprint.to_json(),
            "devices_sha256": plan.devices_sha256,
            "clients_per_round": plan.clients_per_round,
            "local_iterations": plan.local_iterations,
            "seeds": plan.seeds,
        },
    )
    return plan


def _grown(path: Path, plan: GridPlan) -> GridPlan:
    """What the folder's plan and this one ask for together."""
    before = _read(path / PLAN_FILE)
    try:
        there = _shared(Blueprint.from_json(before["blueprint"]).to_json())
        there["devices_sha256"] = before["devices_sha256"]
        axes = [tuple(before[name]) for name in ("clients_per_round", "local_iterations", "seeds")]
    except (KeyError, TypeError, DataError) as error:
        raise _damaged(path / PLAN_FILE, error) from None
    asked = _shared(plan.blueprint.to_json()) | {"devices_sha256": plan.devices_sha256}
    told = list(_differences(there, asked))
    if told:
        more = f" and {len(told) - TOLD_DIFFERENCES} more" * (len(told) > TOLD_DIFFERENCES)
        raise SettingsError(
            f"{path} holds a grid with other settings ({', '.join(told[:TOLD_DIFFERENCES])}{more}): "
            f"choose another folder with --out"
        )
    return replace(
        plan,
        clients_per_round=axes[0] + plan.clients_per_round,
        local_iterations=axes[1] + plan.local_iterations,
        seeds=axes[2] + plan.seeds,
    )


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """Of a blueprint's JSON, what all trainings of a grid have in common."""
    for name in ("data", "devices"):  # where from; what they are is known by fingerprint
        values.pop(name, None)
    for name in _NO_MATTER:
        values["settings"].pop(name, None)
    return values


def write_trial(path: Path, finished: FinishedTrial, digest: str) -> None:
    """Tell a finished training, at once or not at all.

    Raises:
        RunFolderError: It cannot be written.
    """
    _write(
        path / TRIALS_FOLDER / f"{finished.place.name}.json",
        {
            "settings_digest": digest,
            "clients_per_round": finished.place.clients_per_round,
            "local_iterations": finished.place.local_iterations,
            "measured_s": round(finished.measured_s, 3),
            **trial_to_json(finished.trial),
        },
    )


def read_trials(path: Path, plan: GridPlan) -> dict[Place, FinishedTrial]:
    """The finished trainings of a plan.

    Raises:
        DataError: A file is damaged, or of a grid with other settings.
        RunFolderError: A file cannot be read.
    """
    found = {}
    for place in plan.places:
        file = path / TRIALS_FOLDER / f"{place.name}.json"
        if file.exists():
            found[place] = _trial(file, place, plan.digest)
    return found


def grid_of(plan: GridPlan, trials: Mapping[Place, FinishedTrial]) -> Grid:
    """The points whose every seed is finished."""
    points = []
    for clients, iterations in product(plan.clients_per_round, plan.local_iterations):
        places = [Place(clients, iterations, seed) for seed in plan.seeds]
        if all(place in trials for place in places):
            of_point = [trials[place].trial for place in places]
            points.append(GridPoint.of(clients, iterations, of_point))
    return Grid(plan.blueprint, plan.devices_sha256, tuple(points))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else trains this grid meanwhile.

    Raises:
        RunFolderError: Somebody does.
    """
    with held_alone(path / LOCK_FILE, f"another grid is going on in {path}: wait for its end"):
        yield


def _trial(file: Path, place: Place, digest: str) -> FinishedTrial:
    stored = _read(file)
    try:
        if stored.pop("settings_digest") != digest:
            raise DataError(
                f"{file} was trained with other settings than {PLAN_FILE} tells: delete it"
            )
        measured_s = float(stored.pop("measured_s"))
        clients, iterations = stored.pop("clients_per_round"), stored.pop("local_iterations")
        trial = trial_from_json(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from None
    if Place(clients, iterations, trial.seed) != place:
        raise DataError(f"{file} is of another training than its name says: delete it")
    return FinishedTrial(place, trial, measured_s)


def _read(file: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = stored.pop("schema_version")
    except OSError as error:
        raise RunFolderError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from None
    if version != SCHEMA_VERSION:
        raise RunFolderError(f"{file} has schema version {version}, known is {SCHEMA_VERSION}")
    return stored


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} is damaged ({error}): delete it and run the same command again")


def _write(file: Path, content: dict[str, Any]) -> None:
    try:
        whole = {"schema_version": SCHEMA_VERSION, **content}
        write_atomically(file, (json.dumps(whole, indent=1) + "\n").encode())
    except OSError as error:
        raise RunFolderError(
            f"cannot write {file}: {error.strerror}; make room or choose another folder with --out"
        ) from None


def _differences(stored: Any, asked: Any, where: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(asked, dict):
        for name in dict.fromkeys((*stored, *asked)):
            yield from _differences(stored.get(name), asked.get(name), f"{where}.{name}".strip("."))
    elif stored != asked:
        yield f"{where} {_short(stored)} there, {_short(asked)} asked for"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else f"{text[:16]}..."
