"""What a person asked `gnomon run` for, in the words of the protocol and of the system."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from gnomon.cli.training_options import parse_hyperparameters
from gnomon.core.errors import DataError, GnomonWarning, SettingsError
from gnomon.core.protocol import Protocol
from gnomon.core.registry import BENCHMARKS, PROTOCOLS
from gnomon.core.spec import Benchmark

OPTION_OF = {
    "target_latency": "target_latency_ms",
    "duration": "duration_s",
    "max_duration": "max_duration_s",
    "max_energy": "max_energy_j",
    "deadline": "deadline_s",
    "availability_block": "availability_block_s",
    "coalesce": "server_coalesce_queries",
    "concatenate_permutation": "sample_concatenate_permutation",
    "issue_unique": "performance_issue_unique",
    "issue_same": "performance_issue_same",
    "issue_same_index": "performance_issue_same_index",
    "stall_timeout": "stall_timeout_s",
    "cooldown": "cooldown_s",
    "set_": "hyperparameters",
}
"""The protocol's name of an option, where it is another than on the command line."""
NOT_OF_THE_PROTOCOL = {
    *("benchmark", "system", "board", "precision", "embedding", "compression", "system_option"),
    *("data", "task_file", "out", "report", "json"),
}


@dataclass(frozen=True)
class AskedBenchmark:
    """What is to be measured, on which data and model; None is the task's own."""

    benchmark: Benchmark
    data: Path | None
    model: Path | None


def benchmark_asked(
    name: str, task_file: Path | None, data: Path | None, model: Path | None
) -> AskedBenchmark:
    """The benchmark of this name: registered, or of a task file, which may bring data and model.

    Raises:
        UnknownNameError: There is none.
        DataError: The task file cannot be read, or names data that is missing.
    """
    if task_file is None:
        return AskedBenchmark(BENCHMARKS.load(name), data, model)
    from gnomon.suites.task_file import OwnTask, benchmark_from, read_task_file, task_named

    entry = task_named(read_task_file(task_file), name)
    found = benchmark_from(entry, data)
    for note in found.notes:
        warnings.warn(note, GnomonWarning, stacklevel=2)
    own = isinstance(entry, OwnTask)  # of the app's files --data is where their parts lie
    brought = data if own and data is not None else found.data
    return AskedBenchmark(found.benchmark, brought, model or found.model)


def protocol_of(benchmark: Benchmark) -> Protocol:
    """How this benchmark is measured."""
    protocol: Protocol = PROTOCOLS.load(benchmark.protocol)
    return protocol


def given_options(context: typer.Context, benchmark: str, protocol: Protocol) -> dict[str, Any]:
    """The options that stand on the command line, by the protocol's names: defaults are the protocol's own.

    Raises:
        SettingsError: One belongs to another protocol.
    """
    known = protocol.options.model_fields
    options: dict[str, Any] = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in NOT_OF_THE_PROTOCOL or source is None or source.name == "DEFAULT":
            continue
        option = OPTION_OF.get(name, name)
        if option in known:
            options[option] = _as_option(name, value)
        elif name != "model":
            raise SettingsError(
                f"--{name.strip('_').replace('_', '-')} means nothing for {benchmark!r}, which is measured "
                f"by the protocol {protocol.name!r}: leave it out"
            )
    return options


def _as_option(name: str, value: Any) -> Any:
    """A value of the command line as the protocol takes it."""
    if name == "set_":
        return parse_hyperparameters(value)
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return str(value) if name == "model" else value


def asked_system(
    protocol: Protocol, system: str | None, board: str | None, pairs: list[str]
) -> tuple[str | None, dict[str, Any]]:
    """The system's name and options; a board is another word for one."""
    options = _system_options(pairs)
    if board is None:
        return system, options
    if protocol.name != "device":
        raise SettingsError(
            f"--board means nothing for the protocol {protocol.name!r}: leave it out"
        )
    if system is not None:
        raise SettingsError("--board and --system both say what to measure on: give one")
    from gnomon.systems.boards.choose import system_of_board

    name, chosen = system_of_board(board)
    return name, chosen | options


@dataclass(frozen=True)
class Asked:
    """One run that was asked for.

    Attributes:
        system: The system's name; None is the benchmark's own.
        options: Of the system.
        label: What tells it from the others, in words; empty if it is the only one.
    """

    system: str | None
    options: dict[str, Any]
    label: str = ""


@dataclass(frozen=True)
class LeftOut:
    """One of several runs that was asked for and cannot be made, and why."""

    system: str
    precision: str
    reason: str


def runs_asked(
    system: str | None,
    options: Mapping[str, Any],
    precision: str | None,
    embeddings: list[str] | None,
    compression: int | None,
) -> list[Asked]:
    """A run for each system, precision and embedding; systems and precisions are separated by commas."""
    return [
        Asked(name, {**options, **precise, **embedding})
        for name in (system.split(",") if system else [None])
        for precise in _precisions_asked(precision)
        for embedding in _embeddings_asked(embeddings, compression)
    ]


def those_with_models(
    benchmark: Benchmark, data: Path | None, asked: list[Asked]
) -> tuple[list[Asked], list[LeftOut]]:
    """Those of several runs that there is a model for, and all others, which are told in a line each.

    Raises:
        UsageError: A system's name, option or package is wrong: nothing is measured then.
        DataError: There is a model for none.
    """
    from gnomon.core.execute import require_system
    from gnomon.core.task import make_task
    from gnomon.core.under_test import closed_at_the_end, make_system
    from gnomon.systems.model_file import ModelFileSystem

    if len(asked) == 1:
        return asked, []
    for each in asked:
        require_system(benchmark, each.system, each.options)
    task = make_task(benchmark.task, data)
    kept: list[Asked] = []
    left_out: list[LeftOut] = []
    for each in asked:
        made = make_system(protocol_of(benchmark), benchmark, each.system, each.options)
        with closed_at_the_end(made):
            try:
                if isinstance(made, ModelFileSystem):
                    made.model_file(task)
            except DataError as error:
                left_out.append(LeftOut(made.name, made.precision, str(error)))
                typer.echo(f"left out: {made.name} {made.precision}: {error}", err=True)
            else:
                named = each.system or benchmark.default_system
                kept.append(replace(each, system=named, label=_label(made, each.options)))
    if not kept:
        raise DataError(left_out[0].reason)
    return kept, left_out


def _label(made: Any, options: Mapping[str, Any]) -> str:
    """Framework and precision, or the system's name with what was asked of it."""
    from gnomon.systems.model_file import ModelFileSystem

    if isinstance(made, ModelFileSystem):
        return f"{made.framework} {made.precision}"
    asked = (options[name] for name in ("precision", "embedding") if name in options)
    return " ".join((made.name, *asked))


def _precisions_asked(precision: str | None) -> list[dict[str, Any]]:
    """The option of each precision; one that takes no option if none was named."""
    return [{"precision": name} for name in precision.split(",")] if precision else [{}]


def _embeddings_asked(kinds: list[str] | None, compression: int | None) -> list[dict[str, Any]]:
    """The options of each embedding to measure; one that takes no options if none was named."""
    if not kinds:
        return [{} if compression is None else {"compression": compression}]
    sized = {} if compression is None else {"compression": compression}
    # Full tables beside ROBE are not compressed; by themselves they refuse it.
    alone = len(kinds) == 1
    return [{"embedding": kind} | (sized if alone or kind != "full" else {}) for kind in kinds]


def _system_options(pairs: list[str]) -> dict[str, Any]:
    """`threads=2` as {"threads": 2}: whole numbers, decimals and true/false are read as such."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise SettingsError(f"--system-option takes NAME=VALUE, got {pair!r}")
        options[name.strip()] = _value(text.strip())
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
