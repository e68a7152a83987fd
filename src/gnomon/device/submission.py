"""A submission folder to MLPerf Tiny, written from logs, results and a description of the system.

Layout (the rounds' `directory_structure.adoc`, and what the field's checker walks through):
`DIVISION/SUBMITTER/{systems/SYSTEM.json, results/SYSTEM/BENCHMARK/{performance,accuracy,energy}/, code/}`.
`submission_rules.py` holds such a folder to the rules.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gnomon.core.errors import SettingsError
from gnomon.core.files import write_atomically
from gnomon.device import logs_eembc, logs_mlcommons, results_eembc, results_mlcommons
from gnomon.device.logs import Mode, SessionLog, SessionResults

Division = Literal["closed", "open"]
Runner = Literal["mlcommons", "eembc"]

BENCHMARKS = ("ad", "ic", "ic2", "kws", "vww", "sww")
STATUSES = ("available", "preview", "rdi")
EEMBC_MARK = "EEMBC_RUNNER"
"""A file of this name beside a benchmark's tests tells the checker that EEMBC's runner wrote them."""
FILES: dict[Runner, tuple[str, ...]] = {
    "mlcommons": ("log.txt", "results.txt", "results.json"),
    "eembc": ("log.txt", "results.txt", "script.async"),
}
"""What every test's folder has in it."""


class SystemDescription(BaseModel):
    """What `systems/SYSTEM.json` says, under the keys of the rounds' template.

    Keys that the template does not have are kept, so that a published file reads back whole.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    submitter: str = Field(alias="Submitter", min_length=1)
    division: str = Field(alias="Division")
    status: str = Field(alias="Status")
    board: str = Field(alias="Board Name", min_length=1)
    board_memory_capacity: str = Field(
        "", alias="Board Memory capacity (not including SoC, processor, or accelerator)"
    )
    board_memory_type: str = Field("", alias="Board Memory type")
    board_storage_capacity: str = Field("", alias="Board storage capacity")
    board_storage_type: str = Field("", alias="Board storage type")
    soc: str = Field("", alias="SoC Name")
    soc_memory_capacity: str = Field(
        "", alias="SoC Memory capacity (not including processor or accelerator)"
    )
    soc_memory_type: str = Field("", alias="SoC Memory type")
    soc_storage_capacity: str = Field("", alias="SoC storage capacity")
    soc_storage_type: str = Field("", alias="SoC storage type")
    processors: str = Field(alias="Processor(s) Name", min_length=1)
    processor_frequencies: str = Field("", alias="Processor(s) Frequencies")
    processor_memory: str = Field("", alias="Processor memory type and capacity")
    processor_storage: str = Field("", alias="Processor storage type and capacity")
    accelerator: str = Field("", alias="Accelerator")
    accelerator_frequencies: str = Field("", alias="Accelerator(s) Frequencies")
    accelerator_memory: str = Field("", alias="Accelerator memory type and capacity")
    accelerator_storage: str = Field("", alias="Accelerator storage type and capacity")
    hardware_notes: str = Field("", alias="Hardware Notes")
    inference_framework: str = Field("", alias="Inference Framework")
    software_libraries: str = Field("", alias="Software Libraries")
    operating_system: str = Field("", alias="Operating System")
    other_software_stack: str = Field("", alias="Other Software Stack")
    software_notes: str = Field("", alias="Software Notes")
    quantization: str = Field("", alias="Quantization Method")
    training_framework: str = Field("", alias="Training framework (open division)")
    model_compilers: str = Field("", alias="ML Model Compiler(s)")
    general_compilers: str = Field("", alias="General Compiler(s)")
    other_software: str = Field("", alias="Other Software")
    training_notes: str = Field("", alias="Training and Quantization Notes")

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # Published files say null where they say nothing, and one has an object of libraries.
        return "" if value is None else json.dumps(value) if isinstance(value, dict) else value

    @field_validator("division")
    @classmethod
    def _known_division(cls, value: str) -> str:
        if value.lower() not in ("closed", "open"):
            raise ValueError(f"must be closed or open, got {value!r}")
        return value

    @field_validator("status")
    @classmethod
    def _known_status(cls, value: str) -> str:
        if value.lower() not in STATUSES:
            raise ValueError(f"must be {', '.join(STATUSES)}, got {value!r}")
        return value


@dataclass(frozen=True)
class SubmittedTest:
    """One test of one benchmark.

    Attributes:
        benchmark: One of `BENCHMARKS`; in the open division any name.
        session: Its log.
        results: Of the same mode.
        classes: The true class of each file, for `results.json`.
        files: More files of the test (an energy trace, `energy_inf_000.png`), by name.
    """

    benchmark: str
    session: SessionLog
    results: SessionResults
    classes: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def mode(self) -> Mode:
        """Which test it is."""
        return self.session.mode


def write_submission(
    folder: Path,
    system: SystemDescription,
    system_name: str,
    tests: Sequence[SubmittedTest],
    *,
    runner: Runner = "mlcommons",
    code: Path | None = None,
) -> Path:
    """Write a submission, or add a system to one.

    Args:
        folder: Of the submission; made if missing.
        system: What was measured.
        system_name: How its files are called: letters, digits, `-`, `_` and `.`.
        tests: At most one of a mode for each benchmark.
        runner: Whose files are written; the field's checker of v1.3 and later expects MLCommons'.
        code: Copied to `code/`, which a complete submission has.

    Returns:
        The submitter's folder, `folder/DIVISION/SUBMITTER`.

    Raises:
        SettingsError: A name that is no file name, or tests that contradict each other.
        OSError: As the file system says it.
    """
    for name, what in ((system_name, "system's name"), (system.submitter, "submitter")):
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise SettingsError(
                f"the {what} {name!r} becomes a folder: use letters, digits, '-', '_' and '.' only"
            )
    placed: set[tuple[str, Mode]] = set()
    for test in tests:
        if test.session.mode != test.results.mode:
            raise SettingsError(
                f"{test.benchmark}: the log is of {test.session.mode}, the results are of {test.results.mode}"
            )
        if (test.benchmark, test.mode) in placed:
            raise SettingsError(f"{test.benchmark} has two tests of {test.mode}: submit one")
        placed.add((test.benchmark, test.mode))
    top = folder / system.division.lower() / system.submitter
    (top / "systems").mkdir(parents=True, exist_ok=True)
    description = system.model_dump_json(by_alias=True, indent=1) + "\n"
    write_atomically(top / "systems" / f"{system_name}.json", description.encode())
    for test in tests:
        place = top / "results" / system_name / test.benchmark / test.mode
        place.mkdir(parents=True, exist_ok=True)
        for name, text in _texts(test, runner).items():
            write_atomically(place / name, text.encode())
        for name, data in test.files.items():
            write_atomically(place / name, data)
        if runner == "eembc":
            write_atomically(place.parent / EEMBC_MARK, b"")
    if code is not None:
        shutil.copytree(
            code,
            top / "code",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", ".*"),
        )
    return top


def _texts(test: SubmittedTest, runner: Runner) -> dict[str, str]:
    session, results = test.session, test.results
    if runner == "eembc":
        return {
            "log.txt": logs_eembc.write_log(session),
            "results.txt": results_eembc.write_results(results, session.end_s),
            "script.async": logs_eembc.write_script(session),
        }
    ended = session.started_at + timedelta(seconds=session.end_s)
    return {
        "log.txt": logs_mlcommons.write_log(session),
        "results.txt": results_mlcommons.write_results(results, ended),
        "results.json": results_mlcommons.write_results_json(session, dict(test.classes)),
    }
