"""From what a board's measurements left on disk to results, checks and verdict: there is one judge.

Used when a measurement has just ended, and by `gnomon check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.registry import is_registered
from gnomon.core.spec import Benchmark
from gnomon.core.verdict import Check, Verdict
from gnomon.device import outcome
from gnomon.device.energy_record import ENERGY_FILE, read_energy
from gnomon.device.options import (
    ACCURACY,
    ENERGY,
    TinyBenchmark,
    TinyOptions,
    declaration_of,
    layered,
)
from gnomon.device.record import Window, read_results, read_windows
from gnomon.device.rules import (
    Model,
    RuleProfile,
    completeness_check,
    energy_checks,
    measurement_checks,
    quality_check,
    verdict_of,
    window_checks,
)
from gnomon.device.task import TinyTask


@dataclass(frozen=True)
class Judged:
    """One measurement, judged from its folder."""

    result: dict[str, Any] | None
    checks: list[Check]


@dataclass(frozen=True)
class Held:
    """What measurements are held to."""

    benchmark: Benchmark
    task: TinyTask
    settings: TinyBenchmark
    profile: RuleProfile


def judge(name: str, folder: Path, stored: Mapping[str, Any], held: Held) -> Judged:
    """Judge a measurement from its folder and its entry in `run.json`, of which the result is not believed.

    Raises:
        GnomonError: The record cannot be read.
    """
    model = Model(held.task.model_id, str(stored["board"].get("model_id", "")))
    checks = measurement_checks(name, model, stored["faults"])
    if name == ACCURACY:
        return _accuracy(name, folder, held, checks)
    windows = read_windows(folder)
    checks += window_checks(name, windows, held.settings, held.profile)
    if not windows:
        return Judged(None, checks)
    board = stored["board"]
    result = outcome.performance(windows, board["counts"], board["instructions_per_us"])
    return (
        _energy(name, folder, windows, result, checks) if name == ENERGY else Judged(result, checks)
    )


def _energy(
    name: str,
    folder: Path,
    windows: Sequence[Window],
    timed: dict[str, Any],
    checks: list[Check],
) -> Judged:
    required = "samples and timestamps of every window"
    if not (folder / ENERGY_FILE).exists():
        why = "the measurement was broken off before the monitor's samples were kept: run it again"
        checks.append(Check("energy", False, "no samples", required, why, name))
        return Judged(None, checks)
    try:
        measured = read_energy(folder, windows)
    except DataError as error:
        checks.append(Check("energy", False, "others", required, str(error), name))
        return Judged(None, checks)
    checks += energy_checks(name, measured)
    return Judged(outcome.energy(measured, timed), checks)


def _accuracy(name: str, folder: Path, held: Held, checks: list[Check]) -> Judged:
    inferred = read_results(folder)
    wanted = sum(len(held.task.payloads(sample)) for sample in range(len(held.task)))
    checks.append(completeness_check(name, len(inferred), wanted))
    try:
        result = outcome.accuracy(inferred, held.task, held.benchmark.quality)
    except (DataError, SystemFault) as error:
        required = "answers that can be scored"
        checks.append(Check("answers", False, "others", required, str(error), name))
        return Judged(None, checks)
    if result is not None and len(inferred) == wanted:
        checks.append(quality_check(name, result["quality"], held.benchmark.quality))
    return Judged(result, checks)


def verdict_on(
    checks: Sequence[Check],
    benchmark: Benchmark,
    options: TinyOptions,
    profile: RuleProfile,
    *,
    measured: Sequence[str],
    official_data: bool,
    counts: str,
) -> Verdict:
    """The verdict, with why the result may not stand beside published ones."""
    remarks = []
    if not official_data:
        remarks.append("stand-in data")
    if options.model is not None:
        remarks.append("a model of one's own")
    if counts == "instructions":
        remarks.append("an emulated board, which has no latency")
    if not is_registered(benchmark):
        remarks.append("not a registered benchmark")
    declared, asked = declaration_of(benchmark), layered(benchmark, options)
    if asked.windows != declared.windows:
        remarks.append("other windows than declared")
    return verdict_of(checks, profile, measured=measured, remarks=remarks)
