"""What a person asked `gnomon run` for, in the words of the protocol and of the system."""

from __future__ import annotations

import json
from typing import Any

import typer

from gnomon.cli.training_options import parse_hyperparameters
from gnomon.core.errors import SettingsError
from gnomon.core.protocol import Protocol
from gnomon.core.registry import BENCHMARKS, PROTOCOLS

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
    "set_": "hyperparameters",
}
"""The protocol's name of an option, where it is another than on the command line."""
NOT_OF_THE_PROTOCOL = {
    *("benchmark", "system", "board", "embedding", "compression", "system_option"),
    *("data", "out", "report", "json"),
}


def protocol_of(benchmark: str) -> Protocol:
    """How this benchmark is measured."""
    protocol: Protocol = PROTOCOLS.load(BENCHMARKS.load(benchmark).protocol)
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


def embeddings_asked(kinds: list[str] | None, compression: int | None) -> list[dict[str, Any]]:
    """The options of each embedding to measure; one that takes no options if none was named."""
    if not kinds:
        return [{} if compression is None else {"compression": compression}]
    sized = {} if compression is None else {"compression": compression}
    alone = (
        len(kinds) == 1
    )  # full tables beside ROBE are not compressed; by themselves they refuse it
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
