"""From what a campaign left on disk to its result and checks, and where the two disagree.

Used when a campaign has just ended, and by `gnomon check`: there is one judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.files import sha256_of
from gnomon.core.registry import is_registered
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check, Verdict
from gnomon.timetotrain.answers import ANSWERS_FILE, fingerprint, read_answers
from gnomon.timetotrain.checkpoint import CHECKPOINT_FILE
from gnomon.timetotrain.cluster import MACHINE_FILE, read_machine
from gnomon.timetotrain.evidence import Campaign
from gnomon.timetotrain.journal import JOURNAL_FILE
from gnomon.timetotrain.launch import ENDING_FILE
from gnomon.timetotrain.outcome import compute_outcome
from gnomon.timetotrain.reference_test import convergence_test_of, reference_checks
from gnomon.timetotrain.rule_profiles import PROFILES, verdict_of
from gnomon.timetotrain.rules import campaign_checks
from gnomon.timetotrain.settings import (
    MEASUREMENT,
    TrainingOptions,
    declaration_of,
    layered,
    runs_asked,
)
from gnomon.timetotrain.task import require_training
from gnomon.timetotrain.trace import RunTrace, read_trace

RECORDED_FILES = (JOURNAL_FILE, ENDING_FILE, ANSWERS_FILE, CHECKPOINT_FILE, MACHINE_FILE)
SAME = 1e-9
"""Relative: how far a recomputed figure may differ on another machine."""
FREE = {"runs", "seed", "processes", "nodes", "rendezvous", "cluster", "rules", "hyperparameters"}
"""Options that are a person's to choose; hyperparameters have a check of their own."""


@dataclass(frozen=True)
class Judged:
    """A campaign judged from its folder."""

    runs: tuple[RunTrace, ...]
    result: dict[str, Any] | None
    checks: list[Check]


def judge(
    folder: Path,
    stored: Mapping[str, Any],
    benchmark: Benchmark,
    task: Task,
    options: TrainingOptions,
) -> Judged:
    """Judge a campaign from its folder and its entry in `run.json`, of which the result is not believed.

    Raises:
        GnomonError: The record cannot be read.
    """
    settings, declared = layered(benchmark, options), declaration_of(benchmark)
    asked = require_training(task).held_out
    runs = tuple(read_trace(run_folder(folder, int(number))) for number in stored["runs"])
    answers = {run.number: read_answers(run_folder(folder, run.number)) for run in runs}
    campaign = Campaign(
        runs=runs,
        seed=int(stored["settings"]["seed"]),
        settings=settings,
        declared=declared,
        target=benchmark.quality,
        recomputed={
            number: {each: float(task.score(asked, kept)) for each, kept in by.items()}
            for number, by in answers.items()
        },
        histories={
            number: " ".join(fingerprint(kept) for kept in by.values())
            for number, by in answers.items()
        },
        begun_again=stored.get("begun_again", []),
        machines={run.number: read_machine(run_folder(folder, run.number)) for run in runs},
    )
    profile = PROFILES[options.rules]
    checks = campaign_checks(campaign, profile)
    test = convergence_test_of(campaign)
    checks += reference_checks(campaign, test)
    return Judged(runs, compute_outcome(campaign, profile, test), checks)


def verdict_on(
    checks: list[Check], benchmark: Benchmark, options: TrainingOptions, task: Task
) -> Verdict:
    """The verdict on a campaign with these options."""
    return verdict_of(
        checks,
        PROFILES[options.rules],
        official_data=task.source().official,
        registered=is_registered(benchmark),
        departures=departures(benchmark, options),
    )


def departures(benchmark: Benchmark, options: TrainingOptions) -> list[str]:
    """Where the options ask for something else than the benchmark declares, in words."""
    declared, chosen = declaration_of(benchmark), layered(benchmark, options)
    return [
        f"{name} {getattr(chosen, name)} instead of {getattr(declared, name)}"
        for name in type(declared).model_fields
        if name not in FREE and getattr(chosen, name) != getattr(declared, name)
    ]


def settings_of(benchmark: Benchmark, options: TrainingOptions, seed: int | None) -> dict[str, Any]:
    """The settings of a campaign as they stand on record."""
    chosen = layered(benchmark, options)
    return {
        "seed": seed,
        "runs": runs_asked(chosen, options),
        "processes": options.processes,
        "nodes": options.nodes,
        **chosen.model_dump(
            mode="json",
            include={
                "hyperparameters",
                "evaluate_every_samples",
                "max_epochs",
                "patience",
                "max_duration_s",
            },
        ),
    }


def disagreements_of(
    folder: Path,
    stored: Mapping[str, Any],
    judged: Judged,
    benchmark: Benchmark,
    options: TrainingOptions,
) -> Iterator[str]:
    """Where record, files and options do not agree, each in a line that begins with the measurement."""
    expected = settings_of(benchmark, options, stored["settings"].get("seed"))
    if options.seed is not None and stored["settings"].get("seed") != options.seed:
        yield f"{MEASUREMENT}: the seed on record is not the one that was asked for"
    for name, value in expected.items():
        if stored["settings"].get(name) != value:
            found = stored["settings"].get(name)
            yield f"{MEASUREMENT}: {name} is {found!r} on record but {value!r} from the run's options"
    for run in judged.runs:
        recorded = stored["runs"][str(run.number)]["files"]
        found_files = fingerprints(run_folder(folder, run.number))
        for name in dict.fromkeys((*recorded, *found_files)):
            if recorded.get(name) != found_files.get(name):
                yield f"{MEASUREMENT}: run {run.number}: {name} is not the file that the run wrote"
        if dict(run.hyperparameters) != expected["hyperparameters"]:
            yield f"{MEASUREMENT}: run {run.number} was trained with other hyperparameters"
    if stored["result"] != judged.result and not (
        stored.get("interrupted") and stored["result"] is None
    ):
        yield from _against_result(stored["result"], judged.result)


def _against_result(said: Any, found: Any, place: str = "result") -> Iterator[str]:
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys((*said, *found)):
            yield from _against_result(said.get(key), found.get(key), f"{place}.{key}")
    elif isinstance(said, float) and isinstance(found, float):
        if not math.isclose(said, found, rel_tol=SAME):
            yield f"{MEASUREMENT}: {place} is {said!r} on record but {found!r} recomputed"
    elif isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        for number, (one, other) in enumerate(zip(said, found, strict=True)):
            yield from _against_result(one, other, f"{place}.{number}")
    elif said != found:
        yield f"{MEASUREMENT}: {place} is {said!r} on record but {found!r} recomputed"


def fingerprints(folder: Path) -> dict[str, str]:
    """sha256 of each file of a run's record that is there."""
    return {name: sha256_of(folder / name) for name in RECORDED_FILES if (folder / name).exists()}


def run_folder(folder: Path, number: int) -> Path:
    """Where a run of a campaign keeps its files."""
    return folder / f"run-{number:02d}"
