"""From what a federation left on disk to its result and checks, and where the two disagree.

Used when a federation has just ended, and by `gnomon check`: there is one judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.registry import is_registered
from gnomon.core.spec import Benchmark
from gnomon.core.verdict import Check, Verdict
from gnomon.fleet.assembly import Blueprint, Federation
from gnomon.fleet.options import (
    MEASUREMENT,
    FleetBenchmark,
    FleetOptions,
    declaration_of,
    is_named,
    layered,
)
from gnomon.fleet.outcome import compute_outcome
from gnomon.fleet.record import (
    FleetSamples,
    devices_sha256,
    fingerprints,
    read_parameters,
    read_samples,
)
from gnomon.fleet.replay import clock_faults
from gnomon.fleet.rules import Found, RuleProfile, federation_checks, verdict_of

CLOSE = 1e-5
"""Relative: how far a loss may differ that another machine makes of the same parameters."""
FREE = {"gamma", "seed", "controller", "max_duration_s", "max_energy_j", "grid"}
"""Options that are a person's to choose: using them is no departure from the benchmark."""


@dataclass(frozen=True)
class Judged:
    """A federation judged from its folder."""

    samples: FleetSamples
    result: dict[str, Any] | None
    checks: list[Check]
    loss: float
    quality: float


def judge(
    folder: Path,
    stored: Mapping[str, Any],
    federation: Federation,
    benchmark: Benchmark,
    profile: RuleProfile,
) -> Judged:
    """Judge a federation from its folder and its entry in `run.json`, of which the result is not believed.

    Args:
        folder: Its files.
        stored: Its entry: why it ended, faults, whether its clock is virtual.
        federation: Made again from data and settings.
        benchmark: Has the quality to reach.
        profile: Whose rules to hold it to.

    Raises:
        GnomonError: The record cannot be read.
    """
    samples, settings = read_samples(folder), federation.settings
    loss = quality = initial_loss = math.nan
    with np.errstate(all="ignore"):  # parameters of a federation that diverged
        if len(samples.rounds):
            parameters = read_parameters(folder)
            learner = federation.learner
            initial = learner.initial(settings.seed)
            if parameters.shape != initial.shape:
                raise DataError(
                    f"{folder} holds {parameters.size} parameters, the model has {initial.size}"
                )
            loss, quality = learner.loss(parameters), learner.quality(parameters)
            if settings.evaluate_every:
                initial_loss = learner.loss(initial)
    if samples.grid is not None:
        samples.grid.require_same_problem(federation.blueprint, devices_sha256(samples.devices))
    outcome = compute_outcome(
        samples.rounds,
        gamma=settings.gamma,
        target_loss=settings.target_loss,
        initial_loss=initial_loss,
        loss=loss,
        quality=quality,
        grid=samples.grid,
    )
    replayed = bool(stored.get("virtual_clock"))
    over = bool(stored.get("ended"))
    found = Found(
        outcome,
        stored.get("ended") or {},
        stored["faults"],
        samples.ledger.disagreements(),
        clock_faults(samples, federation, over=over) if replayed else None,
    )
    checks = federation_checks(found, settings, benchmark.quality, profile, MEASUREMENT)
    result = outcome.to_json() if outcome else None
    return Judged(samples, result, checks, loss, quality)


def verdict_on(
    checks: list[Check],
    profile: RuleProfile,
    benchmark: Benchmark,
    options: FleetOptions,
    *,
    official_data: bool,
) -> Verdict:
    """The verdict on a run with these options."""
    return verdict_of(
        checks,
        profile,
        official_data=official_data,
        registered=is_registered(benchmark),
        departures=departures(benchmark, options),
    )


def departures(benchmark: Benchmark, options: FleetOptions) -> list[str]:
    """Where the options ask for something else than the benchmark declares, in words."""
    declared, chosen = declaration_of(benchmark), layered(benchmark, options)
    found = [
        f"{name} {_named(name, chosen)} instead of {_named(name, declared)}"
        for name in type(declared).model_fields
        if name not in FREE and getattr(chosen, name) != getattr(declared, name)
    ]
    default = FleetOptions()
    found += [
        f"{name} {getattr(options, name):g}"
        for name in ("availability", "dropout", "slowdown_sigma")
        if getattr(options, name) != getattr(default, name)
    ]
    return found if options.availability_trace is None else [*found, "availability from a file"]


def _named(name: str, settings: FleetBenchmark) -> Any:
    """A setting in words that do not depend on where a file lies."""
    value = getattr(settings, name)
    return "from a file" if name == "devices" and not is_named(value) else value


def disagreements_of(
    folder: Path, stored: Mapping[str, Any], judged: Judged, federation: Federation
) -> Iterator[str]:
    """Where record, files, data and parameters do not agree, each in a line that begins with the name."""
    killed = (
        stored.get("interrupted") and stored["result"] is None
    )  # then nothing was put on record
    for words in (
        *_against_settings(stored["settings"], judged.samples, federation),
        *_against_parameters(judged),
        *(() if killed else _against_files(folder, stored.get("files") or {})),
        *(() if killed else _against_result(stored["result"], judged.result)),
    ):
        yield f"{MEASUREMENT}: {words}"


def problem_of(blueprint: Blueprint) -> dict[str, Any]:
    """A blueprint as settings on record; where files lay is no setting."""
    values = blueprint.to_json()
    for name in ("data", "devices", "availability_trace"):
        if values[name] and Path(values[name]).is_absolute():
            values[name] = "a file"
    return values


def _against_settings(
    recorded: Mapping[str, Any], samples: FleetSamples, federation: Federation
) -> Iterator[str]:
    """Whether the settings are those of the options on record, and the devices those of the settings."""
    for name, value in problem_of(federation.blueprint).items():
        if recorded.get(name) != value:
            yield f"{name} is {recorded.get(name)!r} on record but {value!r} from the run's options"
    if recorded.get("dealt_sha256") != federation.data.source.sha256:
        yield "the data that was dealt out is other data than the run began with"
    found = devices_sha256(samples.devices)
    if recorded.get("devices_sha256") != found or devices_sha256(federation.devices) != found:
        yield "the devices are not those that the run began with"


def _against_files(folder: Path, recorded: Mapping[str, str]) -> Iterator[str]:
    found = fingerprints(folder)
    for name in dict.fromkeys((*recorded, *found)):
        if recorded.get(name) != found.get(name):
            yield f"{name} is not the file that the run wrote"


def _against_parameters(judged: Judged) -> Iterator[str]:
    """Whether the final parameters have the loss and quality that the last round says they have."""
    rounds = judged.samples.rounds
    if not len(rounds) or math.isnan(rounds["loss"][-1]):
        return
    for name, found in (("loss", judged.loss), ("quality", judged.quality)):
        said = float(rounds[name][-1])
        if math.isfinite(said) and not math.isclose(said, found, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"the parameters have {name} {found:.6g}, the last round says {said:.6g}"


def _against_result(said: Any, found: Any, place: str = "result") -> Iterator[str]:
    """Where the stored result says something else; losses may differ in the last digits."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys((*said, *found)):
            yield from _against_result(said.get(key), found.get(key), f"{place}.{key}")
    elif isinstance(said, float) and isinstance(found, float):
        if not math.isclose(said, found, rel_tol=CLOSE, abs_tol=1e-12):
            yield f"{place} is {said!r} on record but {found!r} recomputed"
    elif said != found:
        yield f"{place} is {said!r} on record but {found!r} recomputed"
