"""Carry out one run: resolve names, make the run folder, hand over to the protocol, close the folder.

Knows no protocol: what to measure and how comes from the registries.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gnomon.core.environment import capture, differences
from gnomon.core.errors import (
    GnomonWarning,
    SettingsError,
    UnknownNameError,
    UsageError,
)
from gnomon.core.protocol import Job, ProgressObserver, Protocol
from gnomon.core.registry import BENCHMARKS, PROTOCOLS
from gnomon.core.run import Run, RunWriter, require_unfinished
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task, make_task
from gnomon.core.under_test import (
    asked_system,
    closed_at_the_end,
    description_of,
    make_system,
)
from gnomon.core.version import __version__

DEFAULT_OUT = Path("runs")


def run(
    benchmark: str | Benchmark = "digits",
    *,
    system: Any = None,
    system_options: Mapping[str, Any] | None = None,
    data: Path | str | None = None,
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
        data: A data set of your own for the benchmark's task, if it takes one.
        out: The folder that run folders go into.
        observer: Called a few times a second with how the run stands.
        **options: The protocol's options: for `load` see `gnomon.loadgen.options.LoadOptions`, for `fleet`
            `gnomon.fleet.options.FleetOptions`.

    Raises:
        UsageError: A name, option or setting is wrong; no run folder is made.
        GnomonError: The data, the model or the folder cannot be used.
    """
    declared = BENCHMARKS.load(benchmark) if isinstance(benchmark, str) else benchmark
    if not isinstance(declared, Benchmark):
        raise UsageError(f"a benchmark is a name or a Benchmark, got {type(declared).__name__}")
    protocol: Protocol = PROTOCOLS.load(declared.protocol)
    chosen = parse_options(protocol.options, options)
    data = Path(data).absolute() if data is not None else None
    task = make_task(declared.task, data)
    notes = protocol.prepare(declared, task, chosen)
    for note in notes:
        warnings.warn(note, GnomonWarning, stacklevel=2)
    measured = make_system(protocol, declared, system, system_options or {})
    with closed_at_the_end(measured):
        record = {
            "gnomon_version": __version__,
            "benchmark": declared.model_dump(mode="json"),
            "protocol": declared.protocol,
            "system": {"name": measured.name, "description": description_of(measured)},
            "asked_system": asked_system(declared, system, system_options or {}),
            "rules": protocol.profile(chosen),
            "data": vars(task.source()),
            "data_path": str(data) if data else None,
            "options": chosen.model_dump(mode="json", exclude_defaults=True),
            "notes": list(notes),
            "environment": capture(),
        }
        name = f"{declared.name}-{measured.name}"
        with RunWriter.create(out, name, record) as writer:
            return _measure(protocol, Job(declared, task, measured, chosen, writer, observer))


def require_system(
    benchmark: str | Benchmark, system: Any, system_options: Mapping[str, Any]
) -> None:
    """Make the system and let go of it: what cannot be made is refused before hours of measuring.

    Raises:
        UsageError: As for `run`.
    """
    declared = BENCHMARKS.load(benchmark) if isinstance(benchmark, str) else benchmark
    protocol: Protocol = PROTOCOLS.load(declared.protocol)
    with closed_at_the_end(make_system(protocol, declared, system, system_options)):
        pass


def resume(
    run: Run | Path | str, *, system: Any = None, observer: ProgressObserver | None = None
) -> Run:
    """Go on with a run that was interrupted, killed or ended by a fault, and return it.

        gnomon.resume("runs/20261124T101500.250Z-digits-onnx-5f0c2a1b")

    Tests that were finished are kept, all others are measured anew: nothing is resumed inside a load test.
    A federation goes on from its last saved round. The record says when, and what the run had ended with.

    Args:
        run: The run, or its folder.
        system: The system again, if the run was of one that was not given by name.
        observer: Called a few times a second with how the run stands.

    Raises:
        UsageError: The run is complete or still running, or something it rests on has changed since:
            the machine, the software, the data or the benchmark.
        GnomonError: As for `run`.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    require_unfinished(opened)
    record = opened.record
    declared = Benchmark.model_validate(record["benchmark"])
    protocol: Protocol = PROTOCOLS.load(declared.protocol)
    chosen = protocol.recorded_options(opened)
    task = make_task(declared.task, record.get("data_path"))
    _require_unchanged(opened, task)
    protocol.prepare(declared, task, chosen)
    asked = record.get("asked_system")
    if system is not None:
        measured = make_system(protocol, declared, system, {})
    elif asked is not None:
        measured = make_system(protocol, declared, asked["name"], asked["options"])
    else:
        raise UsageError(
            f"run {opened.id} measured a system of its own code: resume it from Python with "
            f"gnomon.resume(run, system=...)"
        )
    _require_same_system(opened, measured)
    with closed_at_the_end(measured), RunWriter.reopen(opened) as writer:
        return _measure(protocol, Job(declared, task, measured, chosen, writer, observer))


def _measure(protocol: Protocol, job: Job) -> Run:
    """Hand the job to its protocol and close the run with what came of it."""
    writer = job.writer
    ending = protocol.carry_out(job)
    # A model is often only known once it was loaded.
    writer.record["system"]["description"] = description_of(job.system)
    if ending.aborted_because:
        return writer.abort(ending.aborted_because, ending.verdict)
    return writer.complete(ending.verdict)


def _require_same_system(run: Run, system: Any) -> None:
    """Refuse to mix the measurements of two systems, as far as they can be told apart before loading."""
    recorded = run.record["system"]
    description = description_of(system)
    apart = [
        key
        for key, value in recorded["description"].items()
        if key in description and description[key] != value
    ]
    if system.name != recorded["name"] or apart:
        raise UsageError(
            f"run {run.id} measured the system {recorded['name']!r}, and this is {system.name!r}"
            f"{' with another ' + ', '.join(apart) if apart else ''}: start a new run"
        )


def _require_unchanged(run: Run, task: Task) -> None:
    """Refuse to mix measurements made with different software, data or machines in one run."""
    record = run.record
    changed = []
    if record["gnomon_version"] != __version__:
        changed.append(f"gnomon is {__version__}, was {record['gnomon_version']}")
    if record["data"]["sha256"] != task.source().sha256:
        changed.append(f"task {task.name!r} has other data")
    changed += [
        f"{path} is {now}, was {before}"
        for path, before, now in differences(record["environment"], capture())
        if not path.startswith("git.")  # of the folder that one happens to stand in
    ]
    if changed:
        raise UsageError(f"run {run.id} cannot be resumed: {'; '.join(changed)}; start a new run")


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
    given = " ".join(repr(first["input"]).split())
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}, got {given}"
