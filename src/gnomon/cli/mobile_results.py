"""`gnomon mobile results`, `export`, `import`, `share`, `audit`: what was measured, here and elsewhere."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon.core.errors import RunFolderError, SettingsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gnomon.core.run import Run
    from gnomon.core.verdict import Verdict
    from gnomon.results.mobile_rows import ResultRow

RUNS = Path("runs")
MOST_TOLD = 5
"""Findings of one file that a person is told; one edit is often found in many places."""

Out = Annotated[Path, typer.Option("--out", help="Where runs are.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Names = Annotated[
    list[str],
    typer.Argument(
        help="Runs of one device: folders, starts of names, `latest`, or a session's id."
    ),
]


def results(
    device: Annotated[str, typer.Option(help="Only devices with this in their name.")] = "",
    framework: Annotated[
        str, typer.Option(help="Only frameworks or browsers with this in their name.")
    ] = "",
    task: Annotated[str, typer.Option(help="Only benchmarks with this in their name.")] = "",
    platform: Annotated[str, typer.Option(help="android, ios, windows, macos, linux.")] = "",
    since: Annotated[str, typer.Option(help="First day, as 2026-01-31.")] = "",
    until: Annotated[str, typer.Option(help="Last day.")] = "",
    sort: Annotated[
        str,
        typer.Option(help="By which figure: started_at, p90_ns, throughput, quality, device, ..."),
    ] = "started_at",
    out: Out = RUNS,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """The history: every mobile result that was measured here or imported."""
    from gnomon.results.mobile_history import HIGHEST_FIRST, History, Wanted
    from gnomon.results.mobile_table import as_csv, as_json

    if json and csv:
        raise SettingsError("--json and --csv both say how to print: give one")
    if not out.is_dir():
        what = "is no folder" if out.exists() else "does not exist"
        raise RunFolderError(f"{out} {what}: give the folder that runs are in with --out")
    history = History(out)
    notes = history.refresh()
    wanted = Wanted(device, framework, task, platform, since, until)
    rows = history.rows(wanted, sort=sort, descending=sort in HIGHEST_FIRST)
    if json:
        typer.echo(json_module.dumps(as_json(rows, notes), indent=2))
        return
    if csv:
        typer.echo(as_csv(rows), nl=False)
        return
    for note in notes:
        typer.echo(f"gnomon: note: {note}", err=True)
    if not rows:
        filtered = any((device, framework, task, platform, since, until))
        makes_some = "gnomon mobile serve or gnomon run mobile-classification makes some"
        mend = "leave some of the filters out" if filtered else makes_some
        typer.echo(f"no {'such' if filtered else 'mobile'} results in {out}: {mend}")
        return
    from rich.console import Console

    Console().print(_table(rows))


def _table(rows: list[ResultRow]) -> RenderableType:
    """Names come from other machines: they are text, never markup."""
    from rich.table import Table
    from rich.text import Text

    from gnomon.results.mobile_table import cells_of

    colours = {"valid": "green", "semi-valid": "magenta", "invalid": "red"}
    table = Table(header_style="bold", box=None, pad_edge=False)
    # A least width of these could push the last column over the edge, where its end would be lost.
    for title in ("device", "task"):
        table.add_column(title, overflow="fold")
    for title in ("p90 or rate", "quality"):
        table.add_column(title, justify="right", overflow="fold")
    last = "grade, when (UTC)"
    table.add_column(last, no_wrap=True)
    for row in rows:
        cells = cells_of(row)
        grade = Text(row.grade or row.verdict, style=colours.get(row.grade, ""))
        space = " " if len(f"{grade}, {row.rules}") <= len(last) else "\n"
        source = row.source.replace(", ", ",\n")
        table.add_row(
            Text(row.device).append(f"\n{row.setup}", style="dim"),
            Text(row.title).append(f"\n{row.scenario}\n{cells.data}", style="dim"),
            Text(cells.p90 or cells.throughput),
            Text(cells.quality).append(f"\n{row.metric}" if cells.quality else "", style="dim"),
            grade.append(f",{space}{row.rules}\n{cells.when}\n{source}", style="default not bold"),
        )
    return table


def export(
    runs: Names,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .json file, or a folder: the file is then named as by the app.",
        ),
    ] = Path(),
    out: Out = RUNS,
    json: Json = False,
) -> None:
    """Write the result file of MLPerf Mobile's app: runs of one device, of one session as a rule."""
    from gnomon.results.mobile_file import result_file_of, write_result_file

    path = write_result_file(result_file_of(_runs(runs, out)), output)
    typer.echo(json_module.dumps({"path": str(path)}) if json else f"{path}")


def share(
    runs: Names,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip to write.")],
    out: Out = RUNS,
    json: Json = False,
) -> None:
    """Pack runs for somebody else: raw samples, answers, and the result file.

    Whoever gets it: `gnomon mobile import FILE.zip` recomputes every figure.
    """
    from gnomon.core.units import format_bytes
    from gnomon.results.mobile_share import share as write_share

    opened = _runs(runs, out)
    path = write_share(opened, output)
    size = path.stat().st_size
    if json:
        told = {"path": str(path), "bytes": size, "runs": [run.id for run in opened]}
        typer.echo(json_module.dumps(told, indent=2))
    else:
        typer.echo(f"{path}: {len(opened)} run{'s' * (len(opened) != 1)}, {format_bytes(size)}")


def import_(
    file: Annotated[Path, typer.Argument(help="A zip of gnomon mobile share, or a result file.")],
    out: Out = RUNS,
    json: Json = False,
) -> None:
    """Take in somebody else's results: recomputed if they are a share, as a claim if they are a bare file.

    Exits with 1, and keeps nothing, if a share says something else than its raw samples.
    """
    from gnomon.results.mobile_history import History
    from gnomon.results.mobile_share import import_file

    found = import_file(file, out)
    if not found.differences:
        History(out).refresh()
    if json:
        told = {
            "source": found.source,
            "uuid": found.result.meta.uuid,
            "runs": list(found.runs),
            "known": list(found.known),
            "differences": list(found.differences),
        }
        typer.echo(json_module.dumps(told, indent=2))
    elif found.differences:
        typer.echo(f"{file} was edited, nothing of it is kept:")
        for line in found.differences[:MOST_TOLD]:
            typer.echo(f"  ✗ {line}")
        if len(found.differences) > MOST_TOLD:
            typer.echo(f"  and {len(found.differences) - MOST_TOLD} more: --json has them all")
    else:
        for name in found.runs:
            typer.echo(f"{name}: {found.source}")
        for name in found.known:
            typer.echo(f"{name}: was here already")
    raise typer.Exit(1 if found.differences else 0)


def audit(
    claim: Annotated[str, typer.Argument(help="The claimed run, or a result file with the claim.")],
    tries: Annotated[list[str], typer.Argument(help="Runs that try to reach it.")],
    repeats: Annotated[
        bool,
        typer.Option("--repeats", help="Hold all of them against each other instead: within 5 %?"),
    ] = False,
    out: Out = RUNS,
    json: Json = False,
) -> None:
    """Whether a result can be had again, by the field's rule.

    At most five tries with five minutes between them, one of which reaches 95 % of the claimed score.
    Exits with 0 if so, 1 if not.
    """
    from gnomon.results.locate import open_runs
    from gnomon.results.mobile_reproduce import audit as hold_against
    from gnomon.results.mobile_reproduce import reproducible

    opened = open_runs(tries, out)
    if repeats:
        _tell(reproducible([*open_runs([claim], out), *opened]), json=json)
    _tell(hold_against(_claimed(claim, opened, out), opened), json=json)


def _claimed(claim: str, tries: list[Run], out: Path) -> list[ResultRow]:
    """The rows of a claim: all of a run's; of a result file, those of the benchmark that was tried."""
    from gnomon.core.errors import UsageError
    from gnomon.core.run import RUN_FILE
    from gnomon.results.locate import load
    from gnomon.results.mobile_file import read_result_file
    from gnomon.results.mobile_rows import MEASURED, rows_of_claim, rows_of_run

    path = Path(claim)
    if not (path.is_file() and path.name != RUN_FILE):
        return list(rows_of_run(load(claim, out), MEASURED, ""))
    name = tries[0].record["benchmark"]["name"]
    rows = list(rows_of_claim(read_result_file(path)))
    found = [row for row in rows if row.benchmark == name]
    if not found:
        claimed = ", ".join(dict.fromkeys(row.benchmark for row in rows)) or "nothing"
        raise UsageError(f"{path} claims {claimed}, the tries measured {name}: try what is claimed")
    return found


def _tell(verdict: Verdict, *, json: bool) -> None:
    """Print the verdict and its checks, and exit by it."""
    if json:
        typer.echo(json_module.dumps(verdict.to_json(), indent=2))
    else:
        from rich.console import Console
        from rich.text import Text

        from gnomon.results.table import verdict_line

        console = Console()
        console.print(verdict_line(verdict))
        for check in verdict.checks:
            mark = Text("✓ " if check.passed else "✗ ", "green" if check.passed else "red")
            name = f"{check.measurement}: {check.name}" if check.measurement else check.name
            words = f"{name}: {check.found}; required: {check.required}"
            console.print(mark.append(words, "default"), soft_wrap=True)
            if check.why:
                console.print(Text(f"  {check.why}"), soft_wrap=True)
    raise typer.Exit(0 if verdict.valid else 1)


def _runs(names: list[str], out: Path) -> list[Run]:
    """Runs by name, imported ones too; a session's id stands for all of its runs."""
    from gnomon.core.run import Run
    from gnomon.results.locate import open_runs
    from gnomon.results.mobile_history import History

    history = History(out)
    history.refresh()
    found: list[Run] = []
    for name in names:
        rows = [row for row in history.of(name) if name in (row.run, row.session)]
        folders = dict.fromkeys(row.folder for row in rows if row.folder)
        found += [Run.open(out / folder) for folder in folders] or open_runs([name], out)
    return found
