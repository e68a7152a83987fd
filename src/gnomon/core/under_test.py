"""The system under test, seen from outside: made by name, put in words for the record, closed at the end.

A system is other people's code: whatever it raises here becomes one line that names it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gnomon.core.errors import (
    GnomonError,
    SettingsError,
    SystemFault,
    UnknownNameError,
    described,
)
from gnomon.core.protocol import Protocol
from gnomon.core.registry import SYSTEMS
from gnomon.core.spec import Benchmark


def make_system(
    protocol: Protocol, benchmark: Benchmark, system: Any, options: Mapping[str, Any]
) -> Any:
    """The system that was asked for: by name with options, or an object the protocol can adapt.

    Raises:
        UsageError: There is no such system or option, or a required one was left out.
        SystemFault: It could not be made.
    """
    if system is None:
        system = benchmark.default_system
    if not isinstance(system, str):
        if options:
            raise SettingsError("system_options only apply to a system given by name")
        return protocol.adapt_system(system)
    constructor: Callable[..., Any] = SYSTEMS.load(system)
    signature = inspect.signature(constructor)
    known = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for name in options:
        if name not in known and len(known) == len(signature.parameters):
            raise UnknownNameError(f"option of system {system!r}:", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise SettingsError(f"system {system!r} needs {name}: -s {name}=VALUE")
    try:
        made = constructor(**options)
    except GnomonError:
        raise
    except Exception as error:
        raise SystemFault(f"system {system!r} could not be made: {described(error)}") from error
    try:
        return protocol.adapt_system(made)
    except SettingsError:
        raise SettingsError(
            f"system {system!r} is none that the protocol {protocol.name!r} of {benchmark.name!r} can "
            f"measure: use {benchmark.default_system!r}, or another of `gnomon list`"
        ) from None


def asked_system(
    benchmark: Benchmark, system: Any, options: Mapping[str, Any]
) -> dict[str, Any] | None:
    """How to make the system again: its registered name and options; None if it was an object."""
    if system is not None and not isinstance(system, str):
        return None
    plain = {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items()
    }
    return {"name": system or benchmark.default_system, "options": plain}


def description_of(system: Any) -> dict[str, Any]:
    """What the system says of itself, as it can stand in `run.json`.

    Raises:
        SystemFault: It cannot.
    """
    try:
        description: dict[str, Any] = system.describe()
        json.dumps(description)
    except GnomonError:
        raise
    except Exception as error:
        raise SystemFault(
            f"what system {system.name!r} says of itself (describe) cannot be put on record: "
            f"{described(error)}"
        ) from error
    return description


@contextmanager
def closed_at_the_end(system: Any) -> Iterator[None]:
    """Close the system whatever happens.

    Raises:
        SystemFault: Closing failed.
    """
    try:
        yield
    finally:
        try:
            system.close()
        except GnomonError:
            raise
        except Exception as error:
            raise SystemFault(
                f"system {system.name!r} could not be closed: {described(error)}"
            ) from error
