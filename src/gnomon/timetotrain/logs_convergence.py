"""The field's logs of a folder against reference convergence points."""

from __future__ import annotations

import math
from pathlib import Path

from gnomon.core.errors import DataError, UsageError
from gnomon.core.registry import BENCHMARKS
from gnomon.timetotrain.convergence_test import ConvergenceTest, Way, judge_convergence
from gnomon.timetotrain.logs import score_folder
from gnomon.timetotrain.reference_point_files import read_reference_points
from gnomon.timetotrain.settings import declaration_of, reference_points_path

COUNTED_IN_SAMPLES = (
    "llama2_70b_lora",
    "flux1",
    "llama31_405b",
    "llama31_8b",
    "gpt_oss_20b",
    "deepseekv3_671b",
    "qwen35_397b_grpo",
)
"""Benchmarks whose points count samples; of all others, epochs (mlcommons/logging, rcp_checker 4.1)."""
ALLOWANCES = {"llama31_405b": 46080.0}
"""Samples taken off the minimum."""


def convergence_of_logs(
    folder: Path, points: Path | None, ruleset: str | None, *, decides: Way
) -> ConvergenceTest:
    """The runs of a folder against the points of a file, or of our own benchmark.

    Raises:
        DataError: Logs or points cannot be read.
        UsageError: There are no points for this benchmark, or the logs differ in batch size.
    """
    scored = score_folder(folder, ruleset)
    path = points if points is not None else _own_points(scored.benchmark)
    reports = [run.report for run in scored.runs if run.report is not None]
    sizes = {report.global_batch_size for report in reports}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None:
        raise UsageError(
            f"the logs in {folder} do not have one global_batch_size: score runs alike"
        )
    unit = "samples_count" if scored.benchmark in COUNTED_IN_SAMPLES else "epoch_num"
    to_converge = []
    for run in scored.runs:
        if run.report is None or math.isinf(run.minutes):
            to_converge.append(math.inf)
        elif unit not in run.report.trained:
            raise DataError(f"{run.path} says no {unit} with its eval_accuracy: log it")
        else:
            to_converge.append(run.report.trained[unit])
    return judge_convergence(
        read_reference_points(path),
        int(size),
        to_converge,
        runs=len(to_converge),
        dropped=scored.dropped,
        allowance=ALLOWANCES.get(scored.benchmark, 0.0),
        decides=decides,
    )


def _own_points(benchmark: str) -> Path:
    if benchmark in BENCHMARKS:
        declared = declaration_of(BENCHMARKS.load(benchmark))
        if declared.reference_points:
            return reference_points_path(declared.reference_points)
    raise UsageError(f"no reference points of {benchmark!r} ship: name a file with --points FILE")
