"""A whole submission scored: every benchmark of every system as one row, to be written as CSV or JSON.

The field's layout is `results/SYSTEM/BENCHMARK/result_*.txt` beside `systems/SYSTEM.json`, once or often
under a folder. Descriptions that are not JSON leave their columns empty, and a warning names the file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, RunFolderError, UsageError
from gnomon.core.files import write_atomically
from gnomon.timetotrain.logs.score import FolderScore, score_folder

DEEPEST_RESULTS = 3
SCALING_FILE = "scaling.json"


@dataclass(frozen=True)
class ResultRow:
    """One benchmark on one system.

    Attributes:
        submitter, availability, nodes, accelerator, accelerators, framework: From the system's description;
            empty if it says nothing. Accelerators are those of all nodes.
        system: Name of the system's folder.
        division, benchmark: As the logs name them.
        ruleset: Name of the rule set they were judged by.
        runs, failed: How many runs there are, and how many do not count.
        minutes: The score; None if there is none.
        scaling_factor: What the olympic mean was multiplied by.
        reason: Why there is none.
        folder: Relative to the submission.
    """

    submitter: str
    division: str
    availability: str
    system: str
    nodes: str
    accelerator: str
    accelerators: str
    framework: str
    benchmark: str
    ruleset: str
    runs: int
    failed: int
    minutes: float | None
    scaling_factor: float
    reason: str
    folder: str


@dataclass(frozen=True)
class Submission:
    """All rows, in order of their folders, and what the reader should know.

    Attributes:
        rows: One of each folder with result logs.
        warnings: Whole sentences, each with the file it is about.
    """

    rows: tuple[ResultRow, ...]
    warnings: tuple[str, ...]


def score_submission(
    root: Path | str,
    ruleset: str | None = None,
    *,
    compliance: bool = True,
    use_scaling_files: bool = False,
) -> Submission:
    """Score every folder of result logs under `root`, which is only read.

    Args:
        root: A submitter's folder, or one of many submitters.
        ruleset: As in `check_log`; None: each folder's own.
        compliance: As in `score_folder`.
        use_scaling_files: Whether to apply the `scaling.json` beside the logs, where there is one.

    Raises:
        DataError: There are no results under it.
        UnknownNameError: There is no such rule set.
    """
    root = Path(root)
    rows: list[ResultRow] = []
    warnings: list[str] = []
    for results in _results_folders(root, DEEPEST_RESULTS):
        for system in _folders(results):
            description = _description(results.parent / "systems" / f"{system.name}.json", warnings)
            for folder in _folders(system):
                if not any(folder.glob("result_*.txt")):
                    warnings.append(
                        f"{folder.relative_to(root)} holds no result_*.txt and is left out"
                    )
                    continue
                scaling = folder / SCALING_FILE
                if scaling.exists() and not use_scaling_files:
                    warnings.append(f"{scaling.relative_to(root)} is there and is not applied")
                factor = scaling if use_scaling_files and scaling.exists() else 1.0
                try:
                    score = score_folder(folder, ruleset, scaling=factor, compliance=compliance)
                except DataError as error:
                    warnings.append(f"{error}; the folder is left out")
                    continue
                rows.append(_row(score, system, description, root))
    if not rows and not warnings:
        raise DataError(
            f"{root} holds no results/SYSTEM/BENCHMARK/result_*.txt: give a submission's folder"
        )
    return Submission(tuple(rows), tuple(warnings))


def write_rows(path: Path | str, rows: Sequence[ResultRow]) -> None:
    """Write rows as `.csv` or `.json`, by the file's ending.

    Raises:
        UsageError: It has another ending.
        RunFolderError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".json":
        text = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
    elif path.suffix == ".csv":
        buffer = io.StringIO()
        writer = csv.DictWriter(
            buffer, [one.name for one in fields(ResultRow)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        text = buffer.getvalue()
    else:
        raise UsageError(
            f"rows are written as .csv or .json, not as {path.suffix or 'no ending'!r}: {path}"
        )
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from None


def _row(score: FolderScore, system: Path, said: dict[str, Any], root: Path) -> ResultRow:
    return ResultRow(
        submitter=_text(said.get("submitter")) or system.parent.parent.name,
        division=score.division,
        availability=_text(said.get("status") or said.get("availability")),
        system=system.name,
        nodes=_text(said.get("number_of_nodes")),
        accelerator=_text(said.get("accelerator_model_name")),
        accelerators=_accelerators(said),
        framework=_text(said.get("framework")),
        benchmark=score.benchmark,
        ruleset=score.ruleset,
        runs=len(score.runs),
        failed=score.failed,
        minutes=score.minutes,
        scaling_factor=score.scaling_factor,
        reason=score.reason,
        folder=str(score.folder.relative_to(root)),
    )


def _description(path: Path, warnings: list[str]) -> dict[str, Any]:
    """The system's description; empty, with a warning, if it is missing or no JSON object."""
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError as error:
        warnings.append(f"{path} cannot be read: {error.strerror or error}; its columns stay empty")
        return {}
    except ValueError as error:
        warnings.append(f"{path} is not JSON: {error}; its columns stay empty")
        return {}
    if not isinstance(said, dict):
        warnings.append(f"{path} holds no JSON object; its columns stay empty")
        return {}
    return said


def _accelerators(said: dict[str, Any]) -> str:
    try:
        each, nodes = int(said["accelerators_per_node"]), int(said["number_of_nodes"])
    except (KeyError, TypeError, ValueError):
        return ""
    return str(each * nodes)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _results_folders(root: Path, depth: int) -> Iterator[Path]:
    """Every `results` folder under a folder, not too deep."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give a submission's folder")
    if (root / "results").is_dir():
        yield root / "results"
        return
    if depth:
        for folder in _folders(root):
            yield from _results_folders(folder, depth - 1)
