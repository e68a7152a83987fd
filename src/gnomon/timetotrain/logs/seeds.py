"""Seeds: that every run logs one, and that no two runs of a result log the same in the same place.

Source: MLPerf Training Rules, "Random numbers"; mlcommons/logging, package_checker, seed_checker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.verdict import Check
from gnomon.timetotrain.logs.entries import TrainingLog
from gnomon.timetotrain.logs.judge import quoted


@dataclass(frozen=True)
class Seed:
    """A seed as logged.

    Attributes:
        value: The seed.
        file: The source file that logged it.
        lineno: The line there.
        line: The line of the log.
    """

    value: int
    file: str
    lineno: int | None
    line: int


def judge_seeds(log: TrainingLog, *, required: bool) -> tuple[tuple[Seed, ...], list[Check]]:
    """The seeds of a log, and whether it logs them as the rules ask."""
    seeds, wrong = [], []
    for entry in log.all("seed"):
        value = entry.value
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            wrong.append(entry)
            continue
        lineno = entry.metadata.get("lineno")
        file = str(entry.metadata.get("file", ""))
        seeds.append(Seed(value, file, lineno if isinstance(lineno, int) else None, entry.line))
    if not required:
        return tuple(seeds), []
    name = log.path.name
    checks = []
    if wrong:
        first = wrong[0]
        why = (
            f"{name}, line {first.line}, seed: found {quoted(first.value)}, must be a whole number: log "
            "the number that the generators were seeded with"
        )
        found = f"line {first.line}: {quoted(first.value)}"
        checks.append(Check("seed_value", False, found, "a whole number", why, name))
    why = ""
    if not seeds:
        why = f"{name}, seed: not logged, must be at least once: log the seed of the run with key seed"
    elif len(seeds) > 1:
        lines = ", ".join(str(seed.line) for seed in seeds)
        why = f"{name}, lines {lines}, seed: {len(seeds)} seeds are logged; one is usual"
    checks.append(Check("seed_count", bool(seeds), f"{len(seeds)}", "at least once", why, name))
    return tuple(seeds), checks


def repeated_seeds(runs: Iterable[tuple[Path, tuple[Seed, ...]]]) -> Check:
    """That no two runs log the same seed from the same line of the same source file.

    Args:
        runs: The log and the seeds of every run.
    """
    seen: dict[tuple[int, str, int | None], tuple[Path, Seed]] = {}
    repeated = []
    for path, seeds in runs:
        for seed in seeds:
            key = (seed.value, seed.file, seed.lineno)
            if key in seen and seen[key][0] != path:
                repeated.append((path, seed, *seen[key]))
            seen.setdefault(key, (path, seed))
    if not repeated:
        return Check("seeds_differ", True, f"{len(seen)} different", "different in every run")
    path, seed, earlier_path, earlier = repeated[0]
    why = (
        f"{path.name}, line {seed.line}, seed: found {seed.value}, which {earlier_path.name} logs in line "
        f"{earlier.line}, both from {seed.file}:{seed.lineno}; must be another in every run: draw seeds "
        "anew and run again"
    )
    return Check("seeds_differ", False, f"{len(repeated)} repeated", "different in every run", why)
