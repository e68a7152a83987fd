"""Task files of the field's app (`tasks.pbtxt`): on which data each task runs, how long, in which scenario.

Format: github.com/mlcommons/mobile_app_open at 051a47af, `flutter/cpp/proto/mlperf_task.proto`. Every field
of it is known; what only arranges the app's screens is read and left aside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.loadgen.settings import RunMode, Scenario
from gnomon.suites.mobile import RUN_MODES
from gnomon.tasks.mobile.text_proto import Field, Message, MessageType, Scalar, read_text_proto

REST_S = {mode.name: mode.cooldown_s for mode in RUN_MODES}
MODES = ("normal", "quick", "rapid")
SCENARIOS = {"SingleStream": Scenario.SINGLE_STREAM, "Offline": Scenario.OFFLINE}
MEASURED_AS = {
    "IMAGENET": "mobile-imagenet",
    "COCO": "mobile-coco",
    "ADE20K": "mobile-ade20k",
    "SQUAD": "mobile-squad",
    "SNUSR": "mobile-snusr",
}
"""By kind of data, the registered benchmark whose task and target are used."""
NOT_MEASURED = ("NONE", "COCOGEN", "MMLU", "IFEVAL")
MODEL_KEYS = ("image_width", "image_height", "offset", "num_classes")
"""Of the app's `ModelConfig`, those that say how images are given to a model."""

TEXT = Field(Scalar.STRING, required=True)
OPTION = MessageType("Option", {"id": TEXT, "name": TEXT, "enabled": Field(Scalar.BOOL)})
OPTION_SET = MessageType(
    "OptionSet",
    {
        "id": TEXT,
        "name": TEXT,
        "min_selected": Field(Scalar.INT32),
        "max_selected": Field(Scalar.INT32),
        "hidden": Field(Scalar.BOOL),
        "opt": Field(OPTION, repeated=True),
    },
)
TASK_SET = MessageType(
    "TaskSet", {"id": TEXT, "name": TEXT, "option_set": Field(OPTION_SET, repeated=True)}
)
ONE_RUN = MessageType(
    "OneRunConfig",
    {
        "min_query_count": Field(Scalar.INT32, required=True),
        "min_duration": Field(Scalar.FLOAT, required=True),
        "max_duration": Field(Scalar.FLOAT, required=True),
    },
)
RUNS = MessageType("RunConfig", {mode: Field(ONE_RUN, required=True) for mode in MODES})
ONE_DATASET = MessageType(
    "OneDatasetConfig",
    dict.fromkeys(
        ("name", "input_path", "input_checksum", "groundtruth_path", "groundtruth_checksum"), TEXT
    ),
)
DATASETS = MessageType(
    "DatasetConfig",
    {
        "type": Field((*MEASURED_AS, *NOT_MEASURED), required=True),
        "full": Field(ONE_DATASET, required=True),
        "lite": Field(ONE_DATASET, required=True),
        "tiny": Field(ONE_DATASET, required=True),
    },
)
MODEL = MessageType(
    "ModelConfig", {"id": TEXT, "name": TEXT} | dict.fromkeys(MODEL_KEYS, Field(Scalar.INT32))
)
CUSTOM = MessageType("CustomConfig", {"id": TEXT, "value": TEXT})
TASK = MessageType(
    "TaskConfig",
    {
        "id": TEXT,
        "name": TEXT,
        "max_throughput": Field(Scalar.FLOAT, required=True),
        "max_accuracy": Field(Scalar.FLOAT, required=True),
        "scenario": TEXT,
        "runs": Field(RUNS, required=True),
        "datasets": Field(DATASETS, required=True),
        "model": Field(MODEL, required=True),
        "custom_config": Field(CUSTOM, repeated=True),
        "task_set": Field(Scalar.STRING),
        "required_option": Field(Scalar.STRING, repeated=True),
    },
)
CONFIG = MessageType(
    "MLPerfConfig", {"task": Field(TASK, repeated=True), "task_set": Field(TASK_SET, repeated=True)}
)


@dataclass(frozen=True)
class AppTask:
    """One task of the app's.

    Attributes:
        name: Its `id` in the file.
        title: What the app calls it.
        kind: Of its data: a name of the app's `DatasetType`.
        scenario: The one it is run in.
        run_modes: Its `runs`, as rules by name.
        inputs: Place of its `full` data, as the file has it: `local:///PATH`, a URL or a path.
        inputs_md5: Of that, if it is one file; empty: not said.
        truth: As `inputs`.
        truth_md5: As `inputs_md5`.
        model: How its model takes images: members of `MODEL_KEYS` that the file states.
        custom: Names of settings that are for the app's backends.
        file: Where it was read.
        line: Where it begins there.
    """

    name: str
    title: str
    kind: str
    scenario: Scenario
    run_modes: tuple[RunMode, ...]
    inputs: str
    inputs_md5: str
    truth: str
    truth_md5: str
    model: dict[str, int]
    custom: tuple[str, ...]
    file: Path
    line: int


def read_app_tasks(file: Path) -> dict[str, AppTask]:
    """The tasks of a file by name, in its order.

    Raises:
        DataError: It cannot be read, a line of it means nothing, or two tasks have one name.
    """
    tasks: dict[str, AppTask] = {}
    for message in read_text_proto(file, CONFIG)["task"]:
        task = _task(message, file)
        if task.name in tasks:
            raise DataError(
                f"{file} line {task.line}: there is a task {task.name!r} in line "
                f"{tasks[task.name].line} already"
            )
        tasks[task.name] = task
    if not tasks:
        raise DataError(f"{file} has no task: it must have at least one, as the app's tasks.pbtxt")
    return tasks


def _task(message: Message, file: Path) -> AppTask:
    scenario = SCENARIOS.get(message["scenario"])
    if scenario is None:
        raise DataError(
            f"{file} line {message.lines['scenario']}: scenario must be {' or '.join(SCENARIOS)}, not "
            f"{message['scenario']!r}"
        )
    runs = message["runs"]
    full = message["datasets"]["full"]
    model = message["model"]
    return AppTask(
        name=message["id"],
        title=message["name"].strip(),
        kind=message["datasets"]["type"],
        scenario=scenario,
        run_modes=tuple(_run_mode(name, runs[name], scenario, file) for name in MODES),
        inputs=full["input_path"],
        inputs_md5=full["input_checksum"],
        truth=full["groundtruth_path"],
        truth_md5=full["groundtruth_checksum"],
        model={key: model[key] for key in MODEL_KEYS if key in model.lines},
        custom=tuple(custom["id"] for custom in message["custom_config"]),
        file=file,
        line=message.line,
    )


def _run_mode(name: str, run: Message, scenario: Scenario, file: Path) -> RunMode:
    least, min_s, max_s = (run[key] for key in ("min_query_count", "min_duration", "max_duration"))
    longest_s = max_s or math.inf
    if least < 1 or not 0 <= min_s < math.inf or not 0 <= max_s < math.inf or longest_s < min_s:
        raise DataError(
            f"{file} line {run.line}: {name} has min_query_count {least}, min_duration {min_s:g} and "
            f"max_duration {max_s:g}: there must be 1 query or more, and a max_duration of 0 or no less than "
            f"min_duration"
        )
    offline = scenario is Scenario.OFFLINE
    return RunMode(
        name=name,
        min_query_count=1 if offline else least,
        min_duration_s=min_s,
        max_duration_s=max_s,
        offline_min_sample_count=least if offline else 1,
        # A task file does not say; `rapid` is the app's own test of itself and rests as `quick` does.
        cooldown_s=REST_S.get(name, REST_S["quick"]),
    )
