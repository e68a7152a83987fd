"""One folder of result logs scored: the olympic mean of its runs in minutes, or the reason why there is none.

Nothing is written, deleted or remembered: a folder scores the same however often it is scored. The benchmark
is the one that the logs name, whatever the folder is called.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.spec import QualityTarget
from gnomon.core.verdict import Check, Verdict
from gnomon.timetotrain.logs.check import LogReport, report_on
from gnomon.timetotrain.logs.constraints import is_number
from gnomon.timetotrain.logs.entries import TrainingLog
from gnomon.timetotrain.logs.read import read_logs
from gnomon.timetotrain.logs.rules import Runs
from gnomon.timetotrain.logs.rulesets import ALIASES, KNOWN_KEYS, OFFICIAL_BENCHMARKS
from gnomon.timetotrain.logs.seeds import repeated_seeds
from gnomon.timetotrain.olympic import olympic_mean

_RESULT_NAME = re.compile(r"result_(\d+)\.txt$")


@dataclass(frozen=True)
class RunScore:
    """One run of a folder.

    Attributes:
        path: Its log.
        report: What the log says; None if it cannot be read.
        minutes: Time to train; infinite if the run does not count as converged.
        reason: Why it does not; empty if it does.
    """

    path: Path
    report: LogReport | None
    minutes: float
    reason: str = ""


@dataclass(frozen=True)
class FolderScore:
    """The result of a folder.

    Attributes:
        folder: Where the logs are.
        benchmark: As the logs name it.
        division: As the logs name it.
        ruleset: Name of the rule set.
        why_ruleset: Which it is and why.
        runs: Every run, in order of the numbers in the file names.
        dropped: Runs dropped at each end by olympic scoring.
        scaling_factor: What the mean was multiplied by, from reference convergence points.
        minutes: The score: olympic mean times scaling factor; None if there is none.
        reason: Why there is none; empty if there is one.
        checks: What was judged of the folder as a whole.
    """

    folder: Path
    benchmark: str
    division: str
    ruleset: str
    why_ruleset: str
    runs: tuple[RunScore, ...]
    dropped: int
    scaling_factor: float
    minutes: float | None
    reason: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> int:
        """How many runs do not count as converged."""
        return sum(math.isinf(run.minutes) for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """The folder's checks under their rule set's name."""
        return Verdict(self.ruleset, self.checks, remark=self.why_ruleset)


def score_folder(
    folder: Path | str,
    ruleset: str | None = None,
    *,
    division: str | None = None,
    target: QualityTarget | None = None,
    runs: Runs | None = None,
    scaling: float | Path = 1.0,
    compliance: bool = True,
    benchmark: str | None = None,
) -> FolderScore:
    """Score the `result_*.txt` of one folder.

    The score is `mean(ok[k : len(ok) - (k - failed)]) * scaling`: `ok` are the sorted minutes of the runs
    that converged, and k of all runs are dropped at each end (1, and 4 for unet3d).

    Source: MLPerf Training Rules, "Benchmark Results" and "Scoring".

    Args:
        folder: It is only read.
        ruleset: As in `check_log`.
        division: As in `check_log`.
        target: As in `check_log`.
        runs: How many runs make a result; None: as the rule set says. If it says nothing, any number that is
            enough to drop the fastest and the slowest.
        scaling: The factor from reference convergence points, or the `scaling.json` that holds it.
        compliance: Whether a log that breaks any rule counts as a run that did not converge; without, only
            one that did not reach the target or was given up.
        benchmark: What the logs must name; None: the folder's name where that is a benchmark of the field.

    Raises:
        DataError: There is no such folder, or no result in it, or the scaling file holds no factor.
        SettingsError: The factor is not positive.
    """
    folder = Path(folder)
    factor = _factor(scaling)
    paths = result_files(folder)
    logs = read_logs(paths, KNOWN_KEYS)
    scored = tuple(
        _score_run(path, log, ruleset, division, target, compliance=compliance)
        for path, log in zip(paths, logs, strict=True)
    )
    reports = [run.report for run in scored if run.report is not None]
    if not reports:
        raise DataError(f"{folder} holds no readable log: {scored[0].reason}")
    first = reports[0]
    wanted = runs or first.rules.runs.get(first.benchmark)
    dropped = wanted.dropped if wanted else 1
    checks = [
        _one_benchmark(reports, folder, benchmark),
        _one_ruleset(reports),
        _run_count(len(paths), wanted, first),
    ]
    if first.rules.seeds and first.division == "closed":
        checks.append(repeated_seeds((report.path, report.seeds) for report in reports))
    values = [run.minutes for run in scored]
    if wanted is not None and wanted.counted is not None:
        values = [value for value in values if math.isfinite(value)][: wanted.counted]
        checks.append(_enough_converged(len(values), wanted.counted))
    else:
        checks.append(_failed_runs(scored, dropped))
    failures = [check for check in checks if not check.passed]
    mean = None if failures else olympic_mean(values, dropped)
    return FolderScore(
        folder=folder,
        benchmark=first.benchmark,
        division=first.division,
        ruleset=first.ruleset,
        why_ruleset=first.why_ruleset,
        runs=scored,
        dropped=dropped,
        scaling_factor=factor,
        minutes=None if mean is None else mean * factor,
        reason=failures[0].why if failures else "",
        checks=tuple(checks),
    )


def result_files(folder: Path) -> list[Path]:
    """The result logs of a folder, in order of their numbers.

    Raises:
        DataError: There is none.
    """
    found = [(_RESULT_NAME.match(path.name), path) for path in folder.glob("result_*.txt")]
    paths = [(int(match[1]) if match else -1, path.name, path) for match, path in found]
    if not paths:
        raise DataError(f"{folder} holds no result_*.txt: give the folder of one benchmark's logs")
    return [path for _, _, path in sorted(paths)]


def scaling_factor(path: Path) -> float:
    """The factor in a `scaling.json`, as the field's RCP checker writes it.

    Raises:
        DataError: The file cannot be read or holds no positive factor.
    """
    try:
        factor = json.loads(path.read_text(encoding="utf-8"))["scaling_factor"]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        factor = None
    if not is_number(factor) or not factor > 0 or not math.isfinite(factor):
        raise DataError(
            f'{path} holds no factor: it must be {{"scaling_factor": NUMBER}} with one above 0'
        )
    return float(factor)


def _factor(scaling: float | Path) -> float:
    if isinstance(scaling, Path):
        return scaling_factor(scaling)
    if not math.isfinite(scaling) or scaling <= 0:
        raise SettingsError(f"scaling must be positive, got {scaling}")
    return float(scaling)


def _score_run(
    path: Path,
    log: TrainingLog | DataError,
    ruleset: str | None,
    division: str | None,
    target: QualityTarget | None,
    *,
    compliance: bool,
) -> RunScore:
    if isinstance(log, DataError):
        return RunScore(path, None, math.inf, str(log))
    report = report_on(log, ruleset, division=division, target=target)
    counts = report.converged and (report.valid or not compliance)
    if counts and report.time_to_train_s is not None:
        return RunScore(path, report, report.time_to_train_s / 60)
    # What kept it from converging is said before what else is wrong.
    failures = sorted(
        report.failures, key=lambda check: check.name not in ("run_status", "quality_target")
    )
    reason = failures[0].why if failures else f"{path.name}: the log holds no whole run"
    return RunScore(path, report, math.inf, reason)


def _one_benchmark(reports: Sequence[LogReport], folder: Path, benchmark: str | None) -> Check:
    named = list(dict.fromkeys(report.benchmark for report in reports))
    expected = ALIASES.get(folder.name, folder.name) if benchmark is None else benchmark
    judged = benchmark is not None or expected in OFFICIAL_BENCHMARKS
    found = ", ".join(name or "none" for name in named)
    if len(named) > 1:
        why = (
            f"{folder}, submission_benchmark: the logs name {found}, must name one benchmark: put the logs "
            "of each into a folder of its own"
        )
        return Check("one_benchmark", False, found, "one", why)
    if judged and named[0] != expected:
        why = (
            f"{reports[0].path}, submission_benchmark: the logs name {found} and the folder {expected}, must "
            "be the same: move the logs or rename the folder"
        )
        return Check("one_benchmark", False, found, expected, why)
    return Check("one_benchmark", True, found, expected if judged else "one")


def _one_ruleset(reports: Sequence[LogReport]) -> Check:
    first = reports[0]
    other = next(
        (
            report
            for report in reports
            if (report.ruleset, report.division) != (first.ruleset, first.division)
        ),
        None,
    )
    found = f"{first.ruleset}, {first.division}"
    if other is None:
        return Check("one_ruleset", True, found, "one for all logs")
    why = (
        f"{other.path.name}: is of rule set {other.ruleset}, {other.division}, and {first.path.name} of "
        f"{found}; must be one for all logs: keep the runs of one round and division together, or name it"
    )
    return Check(
        "one_ruleset",
        False,
        f"{found} and {other.ruleset}, {other.division}",
        "one for all logs",
        why,
    )


def _run_count(count: int, wanted: Runs | None, first: LogReport) -> Check:
    if wanted is None:
        return Check(
            "run_count",
            count >= 3,
            f"{count}",
            "at least 3",
            ""
            if count >= 3
            else f"{first.path.parent}: {count} logs, must be at least 3: run more seeds",
        )
    required = f"exactly {wanted.required}"
    if count == wanted.required:
        return Check("run_count", True, f"{count}", required)
    mend = (
        "run more seeds"
        if count < wanted.required
        else f"submit the {wanted.required} consecutive runs with the median score"
    )
    why = (
        f"{first.path.parent}: {count} result logs, must be {required} for {first.benchmark} in "
        f"{first.ruleset}: {mend}"
    )
    return Check("run_count", False, f"{count}", required, why)


def _failed_runs(runs: Sequence[RunScore], dropped: int) -> Check:
    failed = [run for run in runs if math.isinf(run.minutes)]
    passed = len(failed) <= dropped and len(runs) > 2 * dropped
    why = "; ".join(run.reason for run in failed)
    if not passed:
        why = f"{len(failed)} of {len(runs)} runs do not count, must be at most {dropped}: {why}"
    return Check("failed_runs", passed, f"{len(failed)}", f"at most {dropped}", why)


def _enough_converged(count: int, wanted: int) -> Check:
    why = f"{count} runs converged, must be {wanted}: run more seeds" if count < wanted else ""
    return Check("converged_runs", count >= wanted, f"{count}", f"at least {wanted}", why)
