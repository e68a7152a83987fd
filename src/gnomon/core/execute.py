"""Carry out one run: resolve names, make the run folder, hand over to the protocol, close the folder.

Knows no protocol: what to measure and how comes from the registries.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gnomon.core.environment import capture
from gnomon.core.errors import (
    GnomonError,
    GnomonWarning,
    SettingsError,
    SystemFault,
    UnknownNameError,
)
from gnomon.core.protocol import Job, ProgressObserver, Protocol
from gnomon.core.registry import BENCHMARKS, PROTOCOLS, SYSTEMS, TASKS
from gnomon.core.run import Run, RunWriter
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.version import __version__

DEFAULT_OUT = Path("runs")


def run(
    benchmark: str | Benchmark = "digits",
    *,
    system: Any = None,
    system_options: Mapping[str, Any] | None = None,
    out: Path | str = DEFAULT_OUT,
    observer: ProgressObserver | None = None,
    **options: Any,
) -> Run:
    """Measure a benchmark on a system and return the run.

        run = gnomon.run("digits", system="onnx", scenario="server", target_qps=2000)
        run.verdict.valid, run.result["server"], run.samples["server"]

    Args:
        benchmark: A registered name, or a `Benchmark` of your own.
        system: A registered name (default: the benchmark's own), a `System`, or a callable from a batch
            of inputs to a batch of outputs.
        system_options: Passed to the constructor of a system given by name.
        out: The folder that run folders go into.
        observer: Called a few times a second with how the run stands.
        **options: The protocol's options; for `load` see `gnomon.loadgen.options.LoadOptions`.

    Raises:
        UsageError: A name, option or setting is wrong; no run folder is made.
        GnomonError: The data, the model or the folder cannot be used.
    """
    declared = BENCHMARKS.load(benchmark) if isinstance(benchmark, str) else benchmark
    protocol: Protocol = PROTOCOLS.load(declared.protocol)
    chosen = parse_options(protocol.options, options)
    task: Task = TASKS.load(declared.task)()
    notes = protocol.prepare(declared, task, chosen)
    for note in notes:
        warnings.warn(note, GnomonWarning, stacklevel=2)
    measured = _make_system(protocol, declared, system, system_options or {})
    record = {
        "gnomon_version": __version__,
        "benchmark": declared.model_dump(mode="json"),
        "protocol": declared.protocol,
        "system": {"name": measured.name, "description": measured.describe()},
        "rules": protocol.profile(chosen),
        "data": vars(task.source()),
        "options": chosen.model_dump(mode="json", exclude_defaults=True),
        "notes": list(notes),
        "environment": capture(),
    }
    name = f"{declared.name}-{measured.name}"
    with RunWriter(out, name, record) as writer:
        try:
            ending = protocol.carry_out(Job(declared, task, measured, chosen, writer, observer))
            # A model is often only known once it was loaded.
            writer.record["system"]["description"] = measured.describe()
        finally:
            measured.close()
        if ending.aborted_because:
            return writer.abort(ending.aborted_because, ending.verdict)
        return writer.complete(ending.verdict)


def parse_options(model: type[BaseModel], options: Mapping[str, Any]) -> BaseModel:
    """Options as the protocol's model.

    Raises:
        UnknownNameError: There is no such option; the message offers the nearest.
        SettingsError: A value is not of its type.
    """
    for name in options:
        if name not in model.model_fields:
            raise UnknownNameError("option", name, model.model_fields)
    try:
        return model.model_validate({k: v for k, v in options.items() if v is not None})
    except ValidationError as error:
        raise SettingsError(_first_error(error)) from None


def _first_error(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _make_system(
    protocol: Protocol, benchmark: Benchmark, system: Any, options: Mapping[str, Any]
) -> Any:
    if system is None:
        system = benchmark.default_system
    if not isinstance(system, str):
        if options:
            raise SettingsError("system_options only apply to a system given by name")
        return protocol.adapt_system(system)
    constructor: Callable[..., Any] = SYSTEMS.load(system)
    known = inspect.signature(constructor).parameters
    for name in options:
        if name not in known:
            raise UnknownNameError(f"option of system {system!r}:", name, known)
    try:
        return constructor(**options)
    except GnomonError:
        raise
    except Exception as error:
        raise SystemFault(
            f"system {system!r} could not be made: {type(error).__name__}: {error}"
        ) from error
