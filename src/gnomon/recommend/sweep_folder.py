"""The folder of a sweep: one JSON file a finished training, and what all of them have in common.

    sweeps/clicks-1000000-3f2a9c1e/
      sweep.json                      settings of every training; variants and seeds that were asked for
      runs/robe-100x-seed0.json       one finished training: variant, seed, data, environment, record
      lock                            held while a sweep goes on

A file is written whole or not at all, so what is there is finished, whatever ended the sweep. Tables and
charts are made from these files alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, RunFolderError, SettingsError
from gnomon.core.files import held_alone, write_atomically
from gnomon.recommend.recipe import Variant
from gnomon.recommend.record import TrainRecord

SCHEMA_VERSION = 1
SWEEP_FILE = "sweep.json"
RUNS_FOLDER = "runs"
LOCK_FILE = "lock"
TOLD_DIFFERENCES = 3


@dataclass(frozen=True)
class FinishedRun:
    """One training as its file tells it.

    Attributes:
        variant: What was trained.
        seed: Of weights and order.
        record: What came of it.
        data: Where the samples came from, with the Bayes AUC if it is known.
        environment: The machine, as found.
        workers: Trainings that went on side by side.
        finished_at: When, in ISO format.
    """

    variant: Variant
    seed: int
    record: TrainRecord
    data: dict[str, Any]
    environment: dict[str, Any]
    workers: int
    finished_at: str


@dataclass(frozen=True)
class SweepState:
    """A sweep as its folder tells it.

    Attributes:
        path: The folder.
        settings: What every training has in common.
        variants: Asked for, in order.
        seeds: Asked for, in order.
        runs: Finished, in the order of variants and seeds.
    """

    path: Path
    settings: dict[str, Any]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    runs: tuple[FinishedRun, ...]

    @property
    def planned(self) -> int:
        """Trainings asked for."""
        return len(self.variants) * len(self.seeds)


def digest(settings: dict[str, Any]) -> str:
    """Settings in eight characters."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def open_sweep(
    path: Path, settings: dict[str, Any], variants: tuple[Variant, ...], seeds: tuple[int, ...]
) -> None:
    """Begin a sweep in this folder, or go on with the one there; its plan grows by what is asked for now.

    Raises:
        SettingsError: The sweep there has other settings.
        RunFolderError: The folder cannot be written or read.
    """
    try:
        (path / RUNS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make {path}: {error.strerror}; choose another with --out"
        ) from None
    if (path / SWEEP_FILE).exists():
        stored = _read(path / SWEEP_FILE)
        told = list(_differences(stored["settings"], settings))
        if told:
            more = f" and {len(told) - TOLD_DIFFERENCES} more" * (len(told) > TOLD_DIFFERENCES)
            raise SettingsError(
                f"{path} holds a sweep with other settings ({', '.join(told[:TOLD_DIFFERENCES])}{more}): "
                f"choose another folder with --out"
            )
        before = [Variant.from_dict(variant) for variant in stored["variants"]]
        variants = tuple(dict.fromkeys([*before, *variants]))
        seeds = tuple(sorted({*stored["seeds"], *seeds}))
    plan = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "variants": [variant.as_dict() for variant in variants],
        "seeds": list(seeds),
    }
    _write(path / SWEEP_FILE, plan)


def run_file(path: Path, variant: Variant, seed: int) -> Path:
    """Where a finished training is told."""
    return path / RUNS_FOLDER / f"{variant.slug}-seed{seed}.json"


def write_run(path: Path, run: FinishedRun, settings: dict[str, Any]) -> None:
    """Tell a finished training, at once or not at all.

    Raises:
        RunFolderError: It cannot be written.
    """
    _write(
        run_file(path, run.variant, run.seed),
        {
            "schema_version": SCHEMA_VERSION,
            "settings_digest": digest(settings),
            "variant": run.variant.as_dict(),
            "seed": run.seed,
            "finished_at": run.finished_at,
            "record": run.record.as_dict(),
            "data": run.data,
            "environment": run.environment,
            "workers": run.workers,
        },
    )


def read_sweep(path: Path | str) -> SweepState:
    """A sweep with its finished trainings.

    Raises:
        RunFolderError: This is not the folder of a sweep.
        DataError: A file in it is damaged, or belongs to a sweep with other settings.
    """
    path = Path(path)
    stored = _read(path / SWEEP_FILE)
    variants = tuple(Variant.from_dict(variant) for variant in stored["variants"])
    seeds = tuple(stored["seeds"])
    found = []
    for variant in variants:
        for seed in seeds:
            file = run_file(path, variant, seed)
            if file.exists():
                found.append(_read_run(file, stored["settings"]))
    return SweepState(path, stored["settings"], variants, seeds, tuple(found))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else sweeps into this folder meanwhile.

    Raises:
        RunFolderError: Somebody does.
    """
    with held_alone(path / LOCK_FILE, f"another sweep is going on in {path}: wait for its end"):
        yield


def _read_run(file: Path, settings: dict[str, Any]) -> FinishedRun:
    stored = _read(file)
    try:
        if stored["settings_digest"] != digest(settings):
            raise DataError(
                f"{file} was trained with other settings than {SWEEP_FILE} tells: delete it"
            )
        return FinishedRun(
            Variant.from_dict(stored["variant"]),
            stored["seed"],
            TrainRecord.from_dict(stored["record"]),
            stored["data"],
            stored["environment"],
            stored["workers"],
            stored["finished_at"],
        )
    except KeyError as error:
        raise DataError(f"{file} is damaged (no {error}): delete it and sweep again") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = stored["schema_version"]
    except FileNotFoundError:
        raise RunFolderError(f"{file.parent} holds no {file.name}: not a sweep") from None
    except OSError as error:
        raise RunFolderError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is damaged: delete it and sweep again") from None
    if version > SCHEMA_VERSION:
        raise RunFolderError(f"{file} has schema version {version}: upgrade gnomon")
    return stored


def _write(file: Path, content: dict[str, Any]) -> None:
    try:
        write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"cannot write {file}: {error.strerror}") from None


def _differences(stored: Any, asked: Any, where: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(asked, dict):
        for name in [*stored, *(name for name in asked if name not in stored)]:
            yield from _differences(stored.get(name), asked.get(name), f"{where}.{name}".strip("."))
    elif stored != asked:
        yield f"{where} {_short(stored)} there, {_short(asked)} asked for"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}..."
