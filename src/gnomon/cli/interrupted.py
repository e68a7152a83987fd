"""What is told when Ctrl-C ends a command that measures: which run it was, what is complete, how to go on.

Run folders say what had begun; the commands that go on are made of the options that were given.
"""

from __future__ import annotations

import json as json_module
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

from gnomon.cli.asked import Asked, LeftOut
from gnomon.cli.ending import print_runs, runs_as_json
from gnomon.cli.exit_codes import EXIT_INTERRUPTED
from gnomon.core.errors import RunFolderError
from gnomon.core.run import Run, find_runs
from gnomon.core.spec import Benchmark
from gnomon.core.under_test import asked_system

NOT_BEGUN = "gnomon: interrupted before a run had begun: nothing was measured"
OF_A_RUN = ("embedding", "compression")
"""Options of the command that differ from run to run, besides system and precision."""


@dataclass(frozen=True)
class Series:
    """The runs that one command was to make.

    Attributes:
        benchmark: What they measure.
        wanted: All of them, in order.
        left_out: What was asked for and has no model.
        out: Where their folders go.
        before: The run folders that were there before.
    """

    benchmark: Benchmark
    wanted: Sequence[Asked]
    left_out: Sequence[LeftOut]
    out: Path
    before: frozenset[Path]


def end_interrupted(
    context: typer.Context, series: Series, finished: Sequence[Run], *, json: bool
) -> NoReturn:
    """Tell how far the runs have come and how to go on, and exit."""
    finished = list(finished)
    begun = _begun(series, finished)
    if len(series.wanted) == 1:
        _end(NOT_BEGUN if begun is None and not finished else told_of([*finished, begun][0]))
    if begun is not None and begun.status == "complete":  # Ctrl-C came between its end and the next
        finished, begun = [*finished, begun], None
    rest = series.wanted[len(finished) :]
    stopped, not_begun = (rest[:1], rest[1:]) if begun is not None else ([], rest)
    commands = [f"gnomon resume {shlex.quote(str(begun.path))}"] if begun is not None else []
    commands += _run_commands(context, not_begun)
    if json:
        told = {
            "interrupted": [
                _as_json(each) | {"path": str(begun.path)} for each in stopped if begun is not None
            ],
            "not_begun": [_as_json(each) for each in not_begun],
            "go_on": commands,
            **runs_as_json(finished, None, series.left_out),
        }
        typer.echo(json_module.dumps(told, indent=2))
    else:
        print_runs(finished)
        _print_unfinished(begun, stopped, not_begun, commands)
    one = len(finished) == 1
    _end(
        f"gnomon: interrupted: {len(finished)} of {len(series.wanted)} runs "
        f"{'is' if one else 'are'} complete"
    )


def end_before_a_run() -> NoReturn:
    """Say that there is nothing to go on with, and exit."""
    _end(NOT_BEGUN)


def end_resuming_interrupted(path: Path) -> NoReturn:
    """Tell how the run stands that was gone on with, and exit."""
    _end(told_of(Run.open(path)))


def told_of(run: Run | None) -> str:
    """How an interrupted command leaves its one run, in a line."""
    if run is None or run.status == "running":
        return "gnomon: interrupted"
    where = shlex.quote(str(run.path))
    if run.status == "complete":
        return (
            f"gnomon: interrupted: the run is complete, its report may not be: gnomon report {where} "
            f"writes it"
        )
    return (
        f"gnomon: interrupted: the run is aborted, what it measured is kept in {run.path}; "
        f"gnomon resume {where} goes on with it"
    )


def _end(line: str) -> NoReturn:
    typer.echo(line, err=True)
    raise SystemExit(EXIT_INTERRUPTED)


def _begun(series: Series, finished: Sequence[Run]) -> Run | None:
    """The run that was in progress: a new folder of what came after the finished ones.

    Other commands may use the same folder meanwhile: theirs are of another system, or still running.
    """
    if len(finished) == len(series.wanted):
        return None
    each = series.wanted[len(finished)]
    known = series.before | {run.path for run in finished}
    asked = asked_system(series.benchmark, each.system, each.options)
    for path in reversed(find_runs(series.out)):
        if path in known:
            continue
        try:
            run = Run.open(path)
        except RunFolderError:
            continue
        same = run.record.get("asked_system") == asked
        same = same and run.record["benchmark"]["name"] == series.benchmark.name
        if same and run.status != "running":
            return run
    return None


def _as_json(asked: Asked) -> dict[str, Any]:
    options = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asked.options.items()
    }
    return {"run": asked.label, "system": asked.system, **options}


def _print_unfinished(
    begun: Run | None, stopped: Sequence[Asked], not_begun: Sequence[Asked], commands: Sequence[str]
) -> None:
    for each in stopped:
        typer.echo(f"interrupted {each.label}, in {begun.path if begun else ''}")
    for each in not_begun:
        typer.echo(f"not begun   {each.label}")
    for title, command in zip(["go on with", *([""] * len(commands))], commands, strict=False):
        typer.echo(f"{title:<11} {command}")


def _run_commands(context: typer.Context, rest: Sequence[Asked]) -> list[str]:
    """The fewest commands that make these runs and no others, with the options that were given."""
    given = _given_words(context)
    precisions: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
    for each in rest:
        own = tuple(
            word
            for name in OF_A_RUN
            if context.params.get(name) and name in each.options
            for word in (f"--{name}", str(each.options[name]))
        )
        # Of a command without --precision it is none, or one of -s, which stands among `given`.
        precision = str(each.options["precision"]) if context.params["precision"] else ""
        precisions.setdefault((each.system, own), []).append(precision)
    systems: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (system, own), found in precisions.items():
        systems.setdefault((tuple(found), own), []).append(system or "")
    commands = []
    for (names, extra), measured in systems.items():
        words = ["gnomon", "run", context.params["benchmark"]]
        words += ["--system", ",".join(measured)] if context.params["system"] else []
        words += ["--precision", ",".join(names)] if context.params["precision"] else []
        commands.append(shlex.join([*words, *extra, *given]))
    return commands


def _given_words(context: typer.Context) -> list[str]:
    """The options on the command line that hold for all runs, as words of one."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in ("benchmark", "system", "precision", *OF_A_RUN) or source is None:
            continue
        if source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
            continue
        values: Iterable[Any] = value if isinstance(value, (list, tuple)) else [value]
        for one in values:
            whole = isinstance(one, float) and one.is_integer()
            words += [parameter.opts[0], str(int(one) if whole else one)]
    return words
