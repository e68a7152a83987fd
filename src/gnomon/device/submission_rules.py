"""A submission folder held to the rules of MLPerf Tiny: every problem with its file, line, rule and mend.

What is about folders and the system's description is here; `submission_tests.py` has the rules of the tests.
Source: the field's submission checker, v1.4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from gnomon.core.errors import DataError
from gnomon.device.submission import BENCHMARKS, SystemDescription
from gnomon.device.submission_tests import Problem, SubmittedBenchmark, problems_of_tests

LARGEST_FILE_BYTES = 500 * 1024 * 1024
OTHER_FOLDERS = (".git", ".github", ".vscode", "assets")


def verify_submission(folder: Path) -> list[Problem]:
    """Everything that is wrong with a submission; empty if nothing is.

    Args:
        folder: It has `closed/` or `open/` in it.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one that has closed/ or open/ in it")
    return [replace(each, path=each.path.relative_to(folder)) for each in _problems_of(folder)]


def _problems_of(folder: Path) -> Iterator[Problem]:
    divisions = [each for each in _folders(folder) if each.name in ("closed", "open")]
    for each in _folders(folder):
        if each not in divisions and each.name not in OTHER_FOLDERS:
            yield Problem(each, "division", "is no division", "only closed and open may stand here")
    submitters = [each for division in divisions for each in _folders(division)]
    if not submitters:
        yield Problem(
            folder,
            "division",
            "there is no submitter's folder",
            "it has to be closed/SUBMITTER or open/SUBMITTER",
        )
    for submitter in submitters:
        yield from _stray_files(submitter)
        yield from _submitter_problems(submitter)


def _stray_files(submitter: Path) -> Iterator[Problem]:
    for place, folders, files in os.walk(submitter):
        here = Path(place)
        if not folders and not files:
            yield Problem(here, "empty folder", "is empty", "remove it")
        for name in [*folders, *files]:
            path = here / name
            if path.is_symlink():
                yield Problem(path, "links", "is a symbolic link", "put the file itself here")
            elif name == "__pycache__":
                yield Problem(path, "left-overs", "is a cache of Python", "remove it")
            elif name.startswith(".") or " " in name:
                yield Problem(
                    path,
                    "names",
                    "begins with a dot or has a space in it",
                    "rename it",
                    blocking=False,
                )
            elif path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES:
                yield Problem(path, "file size", "is larger than 500 MB", "leave it out")


def _submitter_problems(submitter: Path) -> Iterator[Problem]:
    systems = _folders(submitter / "results")
    if not systems:
        yield Problem(
            submitter,
            "layout",
            "there are no results",
            "they belong in results/SYSTEM/BENCHMARK",
        )
    if not (submitter / "code").is_dir():
        yield Problem(
            submitter,
            "code",
            "there is no code/",
            "add what builds and runs the benchmarks, with a README",
            blocking=False,
        )
    closed = submitter.parent.name == "closed"
    for system in systems:
        yield from _system_problems(submitter / "systems" / f"{system.name}.json")
        benchmarks = _folders(system)
        names = {each.name for each in benchmarks}
        for benchmark in benchmarks:
            if benchmark.name in BENCHMARKS:
                if benchmark.name == "ic2" and "ic" not in names:
                    yield Problem(benchmark, "benchmarks", "ic2 stands without ic", "submit both")
                yield from problems_of_tests(SubmittedBenchmark(benchmark, closed))
            elif closed:
                yield Problem(
                    benchmark, "benchmarks", "is no benchmark", f"use {', '.join(BENCHMARKS)}"
                )


def _system_problems(file: Path) -> Iterator[Problem]:
    if not file.is_file():
        yield Problem(file, "system", "is missing", "describe the system that was measured")
        return
    try:
        found = json.loads(file.read_bytes())
        SystemDescription.model_validate(found)
    except ValidationError as error:
        for each in error.errors():
            key = ".".join(map(str, each["loc"])) or "the file"
            yield Problem(file, "system", f"{key}: {each['msg']}", "follow the round's template")
    except ValueError as error:
        yield Problem(
            file,
            "system",
            f"is no JSON: {error}",
            "mend it there",
            line=getattr(error, "lineno", None),
        )


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
