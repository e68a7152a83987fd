"""`gnomon training check|score|convergence|export`: the field's training logs, read, judged and written."""

from __future__ import annotations

import json as json_module
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gnomon.core.spec import QualityTarget
    from gnomon.timetotrain.logs import FolderScore, LogReport

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RuleSet = Annotated[
    str | None,
    typer.Option("--ruleset", help="A round (5.1.0), or gnomon. Default: as the log itself tells."),
]
Division = Annotated[
    str | None, typer.Option("--division", help="closed or open. Default: as the log says.")
]


def check(
    paths: Annotated[list[Path], typer.Argument(help="Logs, or folders of result_*.txt.")],
    ruleset: RuleSet = None,
    division: Division = None,
    json: Json = False,
) -> None:
    """Check training logs of any dialect against the rules of their round.

    Exits with 0 only if every log holds to them.
    """
    from gnomon.timetotrain.logs import check_log
    from gnomon.timetotrain.logs.score import result_files

    files = [file for path in paths for file in (result_files(path) if path.is_dir() else [path])]
    reports = []
    for file in files:
        report = check_log(file, ruleset, division=division)
        target = _own_target(report.benchmark)
        if target is not None and report.ruleset == "gnomon":
            report = check_log(file, ruleset, division=division, target=target)
        reports.append(report)
    if json:
        typer.echo(json_module.dumps([_report_json(report) for report in reports], indent=2))
    else:
        for report in reports:
            _print_report(report)
    raise typer.Exit(0 if all(report.valid for report in reports) else 1)


def _own_target(benchmark: str) -> QualityTarget | None:
    """The target of a benchmark of ours."""
    from gnomon.core.registry import BENCHMARKS

    if benchmark not in BENCHMARKS:
        return None
    target: QualityTarget = BENCHMARKS.load(benchmark).quality
    return target


def _report_json(report: LogReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "benchmark": report.benchmark,
        "ruleset": report.ruleset,
        "why_ruleset": report.why_ruleset,
        "time_to_train_s": report.time_to_train_s,
        "converged": report.converged,
        "quality": report.quality,
        "trained": report.trained,
        "verdict": report.verdict.to_json(),
    }


def _print_report(report: LogReport) -> None:
    from rich.console import Console

    from gnomon.core.units import format_seconds
    from gnomon.results.table import failure_lines, verdict_line

    console = Console()
    taken = "" if report.time_to_train_s is None else f", {format_seconds(report.time_to_train_s)}"
    ended = "converged" if report.converged else "did not converge"
    console.print(
        f"{report.path}: {report.benchmark or 'no benchmark named'}, {report.division}{taken}, {ended}",
        style="bold",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(verdict_line(report.verdict), soft_wrap=True)
    for line in failure_lines(report.verdict):
        console.print(line, soft_wrap=True)


def score(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder of result_*.txt, or a submission with results below it."),
    ],
    ruleset: RuleSet = None,
    division: Division = None,
    scaling: Annotated[
        Path | None, typer.Option(help="A scaling.json whose factor the mean is multiplied by.")
    ] = None,
    use_scaling_files: Annotated[
        bool,
        typer.Option(
            "--use-scaling-files", help="Of a submission: apply the scaling.json beside the logs."
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Of a submission: write the rows, as .csv or .json.")
    ] = None,
    json: Json = False,
) -> None:
    """Score training logs: the olympic mean in minutes, or the reason why there is none.

    Nothing is written beside the logs, and scoring twice gives the same score twice.
    """
    from gnomon.timetotrain.logs import score_submission, write_rows

    if list(folder.glob("result_*.txt")):
        found = _scored(folder, ruleset, division, scaling)
        if json:
            typer.echo(json_module.dumps(_score_json(found), indent=2))
        else:
            _print_score(found)
        raise typer.Exit(0 if found.minutes is not None else 1)
    submission = score_submission(folder, ruleset, use_scaling_files=use_scaling_files)
    if output is not None:
        write_rows(output, submission.rows)
    if json:
        typer.echo(json_module.dumps(asdict(submission), indent=2))
    else:
        _print_rows(submission)


def _scored(
    folder: Path, ruleset: str | None, division: str | None, scaling: Path | None
) -> FolderScore:
    """The score; a benchmark of ours has its target and its number of runs from its declaration."""
    from gnomon.core.registry import BENCHMARKS
    from gnomon.timetotrain.logs import score_folder
    from gnomon.timetotrain.logs.rules import Runs
    from gnomon.timetotrain.settings import declaration_of

    factor = scaling if scaling is not None else 1.0
    found = score_folder(folder, ruleset, division=division, scaling=factor)
    if found.benchmark not in BENCHMARKS:
        return found
    benchmark = BENCHMARKS.load(found.benchmark)
    declared = declaration_of(benchmark)
    return score_folder(
        folder,
        ruleset,
        division=division,
        target=benchmark.quality,
        runs=Runs(declared.runs, dropped=declared.dropped),
        scaling=factor,
    )


def _score_json(found: FolderScore) -> dict[str, Any]:
    return {
        "folder": str(found.folder),
        "benchmark": found.benchmark,
        "ruleset": found.ruleset,
        "why_ruleset": found.why_ruleset,
        "minutes": found.minutes,
        "reason": found.reason,
        "scaling_factor": found.scaling_factor,
        "dropped": found.dropped,
        "runs": [
            {
                "path": str(run.path),
                "minutes": run.minutes if math.isfinite(run.minutes) else None,
                "reason": run.reason,
            }
            for run in found.runs
        ],
        "verdict": found.verdict.to_json(),
    }


def _print_score(found: FolderScore) -> None:
    from rich.console import Console
    from rich.table import Table

    from gnomon.results.table import failure_lines, verdict_line

    console = Console()
    table = Table(header_style="bold")
    table.add_column("log", no_wrap=True)
    table.add_column("minutes", justify="right")
    table.add_column("")
    for run in found.runs:
        minutes = f"{run.minutes:.6g}" if math.isfinite(run.minutes) else "none"
        table.add_row(run.path.name, minutes, run.reason)
    console.print(table)
    if found.minutes is None:
        console.print(f"{found.benchmark}: no score: {found.reason}", style="bold", highlight=False)
    else:
        console.print(
            f"{found.benchmark}: {found.minutes:.6g} minutes", style="bold", highlight=False
        )
    console.print(verdict_line(found.verdict), soft_wrap=True)
    for line in failure_lines(found.verdict):
        console.print(line, soft_wrap=True)


def _print_rows(submission: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold")
    for title in ("system", "benchmark", "rules", "runs", "failed", "minutes"):
        table.add_column(
            title, justify="right" if title in ("runs", "failed", "minutes") else "left"
        )
    table.add_column("why no score")
    for row in submission.rows:
        minutes = "none" if row.minutes is None else f"{row.minutes:.6g}"
        table.add_row(
            row.system,
            row.benchmark,
            row.ruleset,
            str(row.runs),
            str(row.failed),
            minutes,
            row.reason,
        )
    console = Console()
    console.print(table)
    for warning in submission.warnings:
        console.print(f"[yellow]note[/yellow] {warning}", highlight=False, soft_wrap=True)


def convergence(
    folder: Annotated[Path, typer.Argument(help="A folder of result_*.txt.")],
    points: Annotated[
        Path | None,
        typer.Option("--points", help="Reference points in the field's JSON; ours ship."),
    ] = None,
    ruleset: RuleSet = None,
    written: Annotated[
        bool, typer.Option("--written", help="Let the rules as written decide, not the package.")
    ] = False,
    json: Json = False,
) -> None:
    """Test whether runs converge faster than the reference could: as written and as the package does."""
    from rich.console import Console

    from gnomon.core.verdict import Verdict
    from gnomon.results.table import failure_lines, verdict_line
    from gnomon.timetotrain.convergence_checks import convergence_checks
    from gnomon.timetotrain.convergence_test import Way
    from gnomon.timetotrain.logs_convergence import convergence_of_logs

    test = convergence_of_logs(
        folder, points, ruleset, decides=Way.WRITTEN if written else Way.PACKAGE
    )
    checks = convergence_checks(test)
    if json:
        words = {"checks": [asdict(each) for each in checks], **asdict(test)}
        typer.echo(json_module.dumps(words, indent=2, default=str))
    else:
        console = Console()
        verdict = Verdict("reference convergence", tuple(checks))
        for each in checks:
            console.print(f"{each.name.replace('_', ' ')}: {each.found}", highlight=False)
            console.print(f"  required: {each.required}", style="dim", highlight=False)
            if each.passed and each.why:
                console.print(f"  {each.why}", highlight=False)
        console.print(verdict_line(verdict))
        for line in failure_lines(verdict):
            console.print(line)
    raise typer.Exit(0 if all(each.passed for each in checks) else 1)


def export(
    run: Annotated[str, typer.Argument(help="A run, the start of its name, or `latest`.")],
    output: Annotated[Path, typer.Option(help="The folder of the submission; made if missing.")],
    name: Annotated[
        str | None,
        typer.Option("--as", help="Name of an official benchmark, which official checkers need."),
    ] = None,
    division: Annotated[
        str, typer.Option(help="closed, or open for another model or data.")
    ] = "open",
    organisation: Annotated[str, typer.Option("--org", help="Who submits.")] = "gnomon",
    platform: Annotated[str | None, typer.Option(help="Name of the system.")] = None,
    status: Annotated[str, typer.Option(help="onprem, cloud, research or preview.")] = "research",
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="KEY=VALUE", help="A further key to log; may be repeated."),
    ] = None,
) -> None:
    """Write a run's logs as a submission: results/SYSTEM/BENCHMARK/result_0.txt and so on.

    The reference points are written beside it under the same name, for `rcp_checker --custom_rcps`.
    """
    from gnomon.cli.training_options import parse_hyperparameters
    from gnomon.results.locate import load
    from gnomon.timetotrain.export import export_run

    written = export_run(
        load(run),
        output,
        name=name,
        division=division,
        organisation=organisation,
        platform=platform,
        status=status,
        more=parse_hyperparameters(log or ()),
    )
    for path in written:
        typer.echo(path)
