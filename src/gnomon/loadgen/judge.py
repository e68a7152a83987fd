"""From what a test left on disk to its result and checks, and from all checks to the verdict.

Used when a test has just ended, when a run is resumed, and by `gnomon check`: there is one judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError, GnomonError
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check, Verdict
from gnomon.loadgen.accuracy_log import read_accuracy_log
from gnomon.loadgen.measure import recorded_samples
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.rules import RuleProfile, accuracy_checks, performance_checks
from gnomon.loadgen.samples import Samples
from gnomon.loadgen.session import Fault
from gnomon.loadgen.settings import Mode, Settings

ACCURACY = "accuracy"
ACCURACY_LOG = "mlperf_log_accuracy.json"
FATAL = {"raised", "stalled", "wrong_output_count"}
"""Kinds of fault after which nothing further is worth measuring."""


@dataclass(frozen=True)
class JudgedTest:
    """A recorded test, judged again: its settings and raw samples, the result and checks they give."""

    settings: Settings
    samples: Samples
    result: dict[str, Any] | None
    checks: list[Check]


def judge_test(
    folder: Path,
    name: str,
    stored: Mapping[str, Any],
    benchmark: Benchmark,
    task: Task,
    profile: RuleProfile,
) -> JudgedTest:
    """Judge a test from its folder and its entry in `run.json`, of which the result is not believed.

    Raises:
        GnomonError: The raw samples, or the answers, cannot be read.
    """
    settings = Settings.model_validate(stored["settings"])
    samples = recorded_samples(folder, settings)
    if settings.mode is Mode.PERFORMANCE:
        outcome = compute_outcome(samples, settings)
        checks = performance_checks(outcome, settings, profile, stored["faults"], name)
        return JudgedTest(settings, samples, outcome.to_json() if outcome else None, checks)
    path = folder / ACCURACY_LOG
    result = accuracy_result(benchmark, task, path) if path.exists() else None
    checks = judge_accuracy(result, benchmark, settings, stored["faults"])
    return JudgedTest(settings, samples, result, checks)


def judge_accuracy(
    result: Mapping[str, Any] | None,
    benchmark: Benchmark,
    settings: Settings,
    faults: Sequence[Fault | Mapping[str, str]],
) -> list[Check]:
    """The checks on an accuracy test with this result."""
    return accuracy_checks(
        result["quality"] if result else None,
        benchmark.quality,
        result["sample_count"] if result else 0,
        settings.total_sample_count,
        faults,
        ACCURACY,
    )


def accuracy_result(benchmark: Benchmark, task: Task, path: Any) -> dict[str, Any] | None:
    """Score an accuracy log: the quality, from the file alone. None if it holds no answer."""
    entries = read_accuracy_log(path)
    samples = np.asarray([entry.sample_index for entry in entries], dtype=np.int64)
    if not len(samples):
        return None
    if samples.min() < 0 or samples.max() >= len(task):
        raise DataError(f"{path} names samples that the data set of {task.name!r} does not have")
    try:
        outputs = [task.decode(entry.data) for entry in entries]
        quality = float(task.score(samples, outputs))
    except GnomonError:
        raise
    except Exception as error:
        raise DataError(
            f"task {task.name!r} cannot score the outputs in {path}: {type(error).__name__}: {error}"
        ) from error
    return {
        "metric": {"name": task.metric, "value": quality, "unit": task.unit},
        "quality": quality,
        "target": benchmark.quality.threshold,
        "sample_count": len(np.unique(samples)),
    }


def verdict_on(
    checks: list[Check], profile: RuleProfile, measured: Iterable[str], *, official_data: bool
) -> Verdict:
    """The verdict on these checks of the tests `measured`.

    Comparable only for official rules on official data, with the quality measured beside the speed.
    """
    lacking = [
        words
        for words, lacks in (
            ("quick rules", profile.seeds is None),
            ("not the official data", not official_data),
            ("no accuracy test", ACCURACY not in measured),
        )
        if lacks
    ]
    listed = " and ".join(filter(None, (", ".join(lacking[:-1]), *lacking[-1:])))
    remark = f"not comparable with published results: {listed}" if lacking else ""
    return Verdict(profile.name, tuple(checks), comparable=not lacking, remark=remark)


def fatal_fault(faults: Iterable[Fault]) -> str | None:
    """Why a run must end after a test with these faults, or None."""
    return next((fault.message for fault in faults if fault.kind in FATAL), None)
