"""Files in which a person describes tasks of their own: the field's app's, or TOML on top of a benchmark.

    [my-digits]
    base = "mobile-classification"
    title = "Digits, at least 97 %"
    quality = 0.97
    model = "mine.onnx"
    min_query_count = 256

A file that ends in `.toml` is read as TOML, any other as the app's text format
(`gnomon.suites.app_task_file`).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pydantic import Field, ValidationError

from gnomon.core.errors import DataError, UnknownNameError, UsageError
from gnomon.core.registry import BENCHMARKS
from gnomon.core.spec import Benchmark, Declared, QualityTarget, first_of
from gnomon.loadgen.settings import LoadBenchmark, RunMode
from gnomon.suites.app_benchmark import app_benchmark, app_data, app_notes
from gnomon.suites.app_task_file import AppTask, read_app_tasks


class OwnTable(Declared):
    """One table of a file in TOML.

    Durations and counts, where given, take the place of those of the base, under whichever of its rules; such
    rules are official no longer.
    """

    base: str = Field(description="registered name of a benchmark of the load protocol")
    title: str | None = None
    quality: float | None = Field(
        default=None, allow_inf_nan=False, description="that passes, as the metric has it"
    )
    data: str | None = Field(default=None, description="relative to the file's folder")
    model: str | None = Field(default=None, description="relative to the file's folder")
    min_query_count: int | None = Field(default=None, ge=1)
    min_duration_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_duration_s: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="0: no bound"
    )
    offline_min_sample_count: int | None = Field(default=None, ge=1)
    cooldown_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
RUN_KEYS = set(RunMode.model_fields) & set(OwnTable.model_fields)


@dataclass(frozen=True)
class OwnTask:
    """A task on top of a registered benchmark.

    Attributes:
        name: Of its table.
        table: What stands there.
        file: Where it was read.
    """

    name: str
    table: OwnTable
    file: Path


TaskEntry: TypeAlias = AppTask | OwnTask


class Chosen(NamedTuple):
    """A task of a file, ready to be measured.

    Attributes:
        benchmark: To be given to `gnomon.run`.
        data: What `--data` would be; None: the task's own.
        model: What `--model` would be; None: the task's own, or to be given.
        notes: What a person should know.
    """

    benchmark: Benchmark
    data: Path | None
    model: Path | None
    notes: tuple[str, ...]


def read_task_file(path: Path) -> dict[str, TaskEntry]:
    """The tasks of a file by name, in its order.

    Raises:
        DataError: It cannot be read, or says something that means nothing.
    """
    own = path.suffix.lower() == ".toml"
    entries: dict[str, TaskEntry] = {**(_own_tasks(path) if own else read_app_tasks(path))}
    for name in entries:
        if not NAME.fullmatch(name):
            raise DataError(
                f"{path}: a run's folder is named after its task, which {name!r} cannot be: letters, digits, "
                f"'.', '_' and '-' can, and a letter or digit first"
            )
    return entries


def task_named(entries: dict[str, TaskEntry], name: str) -> TaskEntry:
    """The task of this name.

    Raises:
        UnknownNameError: There is none; the message offers the nearest name.
    """
    if name not in entries:
        raise UnknownNameError("task in the task file", name, entries)
    return entries[name]


def benchmark_from(entry: TaskEntry, data_folder: Path | None = None) -> Chosen:
    """What is to be measured, on which data and model.

    Args:
        entry: From `read_task_file`.
        data_folder: Where `local:///` of the app's files begins, and files of its URLs lie; None: the task
            file's folder. `NAME.json` is written there, which says where the parts of the data are.

    Raises:
        DataError: The task is not measured here, or data of it is missing.
    """
    if isinstance(entry, OwnTask):
        return _own(entry)
    benchmark = app_benchmark(entry)
    data = app_data(entry, data_folder or entry.file.parent)
    return Chosen(benchmark, data, None, app_notes(entry, benchmark))


def _own_tasks(file: Path) -> dict[str, OwnTask]:
    try:
        stored = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of the text's encoding, too
        raise DataError(f"{file} is no TOML: {error}") from None
    if not stored:
        raise DataError(
            f'{file} has no task: it must have at least one table, [NAME] with base = "..."'
        )
    return {name: OwnTask(name, _table(file, name, value), file) for name, value in stored.items()}


def _table(file: Path, name: str, stored: Any) -> OwnTable:
    if not isinstance(stored, dict):
        raise DataError(f"{file}: {name} stands outside of a table: put it below [NAME]")
    for key in stored:
        if key not in OwnTable.model_fields:
            raise DataError(
                f"{file}: {UnknownNameError(f'key of [{name}]', key, OwnTable.model_fields)}"
            )
    try:
        return OwnTable.model_validate(stored, strict=True)
    except ValidationError as error:
        raise DataError(f"{file}: [{name}] {first_of(error)}") from None


def _own(entry: OwnTask) -> Chosen:
    table, where = entry.table, f"{entry.file}: [{entry.name}]"
    try:
        base: Benchmark = BENCHMARKS.load(table.base)
    except UsageError as error:
        raise DataError(f"{where} base: {error}") from None
    if base.protocol != "load":
        raise DataError(
            f"{where} base {table.base!r} is measured by the protocol {base.protocol!r}: name one of "
            "protocol load"
        )
    changes: dict[str, Any] = {
        "name": entry.name,
        "specification": f"[{entry.name}] of {entry.file.name}, on top of {base.name}",
        "settings": _settings(base, table, where),
    }
    if table.title is not None:
        changes["title"] = table.title
    if table.quality is not None:
        target = base.quality
        if target.higher_is_better and target.reference <= 1 < table.quality:
            raise DataError(
                f"{where} quality: {target.metric} of {base.name} is a share, 0 to 1: for "
                f"{table.quality:g} % give {table.quality / 100:g}"
            )
        changes["quality"] = QualityTarget(
            metric=target.metric,
            reference=table.quality,
            factor=1.0,
            higher_is_better=target.higher_is_better,
        )
    places = [
        None if stated is None else (entry.file.parent / stated).absolute()
        for stated in (table.data, table.model)
    ]
    for place in places:
        if place is not None and not place.exists():
            raise DataError(
                f"{where} names {place}, which is not there: put it there, or correct it"
            )
    notes = ("a benchmark from a task file is not comparable with published results",)
    return Chosen(base.model_copy(update=changes), places[0], places[1], notes)


def _settings(base: Benchmark, table: OwnTable, where: str) -> dict[str, Any]:
    changes = {key: value for key in RUN_KEYS if (value := getattr(table, key)) is not None}
    if not changes:
        return base.settings
    declared = base.settings_as(LoadBenchmark)
    if not declared.run_modes:
        raise DataError(
            f"{where} {min(changes)} can be stated on top of a mobile benchmark only; {base.name!r} "
            "has its options"
        )
    modes = tuple(
        mode.model_copy(update=changes | {"official": False}) for mode in declared.run_modes
    )
    for mode in modes:
        if mode.max_duration_s and mode.max_duration_s < mode.min_duration_s:
            raise DataError(
                f"{where} max_duration_s ({mode.max_duration_s:g}) is below min_duration_s "
                f"({mode.min_duration_s:g}) under {mode.name} rules: state both"
            )
    return declared.model_copy(update={"run_modes": modes}).model_dump(mode="json")
