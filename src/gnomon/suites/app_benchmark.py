"""Tasks of the field's app as benchmarks that are measured here, on data where a person has put it.

From an entry of a task file (`app_task_file.py`) to what `gnomon.run` takes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from gnomon.core.errors import DataError
from gnomon.core.files import write_atomically
from gnomon.core.registry import BENCHMARKS, TASKS
from gnomon.core.spec import Benchmark
from gnomon.loadgen.settings import LoadBenchmark
from gnomon.suites.app_task_file import MEASURED_AS, AppTask
from gnomon.tasks.mobile.brought import Layout

LOCAL = "local://"


def app_benchmark(task: AppTask) -> Benchmark:
    """The registered benchmark on its kind of data, with this task's scenario and durations.

    Raises:
        DataError: Tasks on such data are not measured here.
    """
    if task.kind not in MEASURED_AS:
        known = ", ".join(MEASURED_AS)
        raise DataError(
            f"{task.file} line {task.line}: {task.name} is on {task.kind} data and is not measured by "
            f"gnomon, which measures tasks on {known}: choose another task of the file"
        )
    base: Benchmark = BENCHMARKS.load(MEASURED_AS[task.kind])
    declared = base.settings_as(LoadBenchmark)
    settings = declared.model_copy(
        update={
            "scenarios": (task.scenario,),
            "default_scenarios": (task.scenario,),
            "run_modes": task.run_modes,
        }
    )
    return base.model_copy(
        update={
            "name": task.name,
            "title": task.title,
            "settings": settings.model_dump(mode="json"),
            "specification": f"task {task.name} of {task.file.name}; data and target as {base.name}",
        }
    )


def app_data(task: AppTask, data_folder: Path) -> Path:
    """Where the task's data is and how its model takes it, as a file in the data folder; it is written anew.

    Raises:
        DataError: Data is missing, is not what its checksum says, or the folder cannot be written to.
    """
    standard: Layout = TASKS.load(BENCHMARKS.load(MEASURED_AS[task.kind]).task).standard
    layout: dict[str, Any] = {
        key: value for key, value in task.model.items() if key in standard.model_fields_set
    }
    for key, stated, md5 in (
        ("inputs", task.inputs, task.inputs_md5),
        ("truth", task.truth, task.truth_md5),
    ):
        place = place_of(stated, data_folder, task)
        if md5 and place.is_file():
            require_md5(place, md5)
        layout[key] = str(place)
    file = data_folder / f"{task.name}.json"
    try:
        write_atomically(file, (json.dumps(layout, indent=2) + "\n").encode())
    except OSError as error:
        raise DataError(
            f"{file}, which says where the data of {task.name} is, cannot be written: "
            f"{error.strerror or error}"
        ) from None
    return file


def place_of(stated: str, data_folder: Path, task: AppTask) -> Path:
    """Where a task file's path is on this machine.

    Raises:
        DataError: It is not there; the message says where from and where to.
    """
    if not stated:
        raise DataError(
            f"{task.file} line {task.line}: {task.name} has no groundtruth_path in its full data set, "
            "so that answers cannot be judged: name one"
        )
    if stated.startswith(LOCAL):
        place = data_folder / stated.removeprefix(LOCAL).lstrip("/")
        if not place.exists():
            raise DataError(
                f"there is no {place}, which is {stated} of {task.name}: put it there, or name another "
                "data folder"
            )
        return place.absolute()
    url = urlsplit(stated)
    name = PurePosixPath(url.path).name
    if url.scheme not in ("http", "https") or not name:
        raise DataError(
            f"{task.file} line {task.line}: {stated!r} of {task.name} must begin with {LOCAL}/ or be the URL "
            f"of a file"
        )
    packed = name.lower().endswith(".zip")
    place = data_folder / (name[: -len(".zip")] if packed else name)
    if not place.exists():
        how = "unpack it to" if packed else "put it at"
        raise DataError(f"gnomon downloads no data: download {stated} and {how} {place}")
    return place.absolute()


def require_md5(file: Path, stated: str) -> None:
    """Refuse a file that is not the one that was meant.

    Raises:
        DataError: Its MD5 is another.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != stated.lower():
        raise DataError(
            f"{file} has MD5 {found}, the task file says {stated}: download it again, or correct the checksum"
        )


def app_notes(task: AppTask, benchmark: Benchmark) -> tuple[str, ...]:
    """What a person should know about how this differs from the app."""
    notes = [
        "a benchmark from a task file is not comparable with published results",
        "speed and accuracy are measured on the file's full data set; the app measures speed on its lite one",
    ]
    if "v2" in task.name and task.kind == "IMAGENET":
        quality = benchmark.quality
        notes.append(
            f"no target is published for {task.name}: it is judged by {quality.threshold:.4f}, that of "
            f"MobileNetEdgeTPU"
        )
    if task.custom:
        notes.append(f"{', '.join(task.custom)}: for the app's backends, changes nothing here")
    return tuple(notes)
