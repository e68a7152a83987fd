"""A training run as its journal has it: durations, evaluations, why it stopped, and what is odd about it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.journal import Event, read_journal
from gnomon.timetotrain.launch import Ending, read_ending
from gnomon.timetotrain.session import RAISED, TARGET

NS_PER_S = 1_000_000_000
DIED = "died"


@dataclass(frozen=True)
class Evaluation:
    """One measurement of the quality.

    Attributes:
        quality: None if it was not finite.
        samples: Trained on before it.
        epoch: The one in progress, from 1.
        time_s: Of its end, since the clock started.
        duration_s: That it took.
        loss: Of the last training step before it; None if the loop gave none, or it was not finite.
        said: What a loop that evaluates itself says of the samples: `evaluated_on`, `trained_on`, `missing`;
            empty if Gnomon chose them.
    """

    quality: float | None
    samples: int
    epoch: int
    time_s: float
    duration_s: float
    loss: float | None
    said: dict[str, int]


@dataclass(frozen=True)
class RunTrace:
    """One run.

    Attributes:
        number: From 1.
        seed: Of the run.
        world_size: Processes that trained together.
        hyperparameters: By log key.
        training_size: Samples of an epoch.
        held_out: Samples evaluated on.
        events: The journal, for logs made of it.
        initialisation_s: Before the clock.
        duration_s: On the clock; None if it never started.
        evaluations: In order.
        samples: Trained on.
        reason: Why it stopped: `session.TARGET`, another of those, or DIED.
        why: In words; empty if the target was reached.
        touched_before_s: How long before the clock started data was touched; None if it was not.
        wall_apart_s: By how much the wall clock and the monotonic one differ most over the run.
        reevaluated: Quality of the checkpoint; None if none was kept.
        checkpoint_sha256: Of the checkpoint; empty if none was kept.
        faults: What went wrong after the clock had stopped.
        ending: How its processes ended; None for a run in the caller's process.
    """

    number: int
    seed: int
    world_size: int
    hyperparameters: dict[str, float | int | str]
    training_size: int
    held_out: int
    events: tuple[Event, ...]
    initialisation_s: float
    duration_s: float | None
    evaluations: tuple[Evaluation, ...]
    samples: int
    reason: str
    why: str
    touched_before_s: float | None
    wall_apart_s: float
    reevaluated: float | None
    checkpoint_sha256: str
    faults: tuple[str, ...]
    ending: Ending | None

    @property
    def converged(self) -> bool:
        """Whether it reached the target."""
        return self.reason == TARGET

    @property
    def epochs(self) -> float:
        """Trained, in fractions as well."""
        return self.samples / self.training_size

    @property
    def quality(self) -> float | None:
        """Of the last evaluation."""
        return self.evaluations[-1].quality if self.evaluations else None

    @property
    def samples_per_s(self) -> float | None:
        """Throughput over the whole clock, evaluations included."""
        return self.samples / self.duration_s if self.duration_s else None


def read_trace(folder: Path) -> RunTrace:
    """Read a run's folder.

    Raises:
        DataError: The journal is missing, damaged or in an order that cannot be.
    """
    noted, ending = read_journal(folder), read_ending(folder)
    if not noted or noted[0].name != events.INIT_START:
        raise DataError(f"{folder / events.JOURNAL_FILE} does not begin with {events.INIT_START}")
    try:
        return _trace(noted, ending)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / events.JOURNAL_FILE} is damaged: {error!r}") from None


def _trace(noted: Sequence[Event], ending: Ending | None) -> RunTrace:
    by_name: dict[str, list[Event]] = {}
    for event in noted:
        by_name.setdefault(event.name, []).append(event)
    began = noted[0]
    first = dict(began.values)
    start = next(iter(by_name.get(events.RUN_START, ())), None)
    stop = next(iter(by_name.get(events.RUN_STOP, ())), None)
    if start and stop and stop.monotonic_ns < start.monotonic_ns:
        raise ValueError("the run stops before it starts")
    evaluations = tuple(
        _evaluation(event, start.monotonic_ns)
        for event in by_name.get(events.EVALUATION, ())
        if start is not None
    )
    died = ending.why if ending and ending.why else "the process was killed"
    last = stop or noted[-1]
    touched = next(iter(by_name.get(events.DATA_TOUCHED, ())), None)
    checkpoint = next(iter(by_name.get(events.CHECKPOINT, ())), None)
    reevaluation = next(iter(by_name.get(events.REEVALUATION, ())), None)
    clock_ends = (start or last).monotonic_ns
    return RunTrace(
        number=int(first["number"]),
        seed=int(first["seed"]),
        world_size=int(first["world_size"]),
        hyperparameters=dict(first["hyperparameters"]),
        training_size=int(first["training_size"]),
        held_out=int(first["held_out"]),
        events=tuple(noted),
        initialisation_s=(clock_ends - began.monotonic_ns) / NS_PER_S,
        duration_s=(last.monotonic_ns - start.monotonic_ns) / NS_PER_S if start else None,
        evaluations=evaluations,
        samples=int(stop.values["samples"])
        if stop
        else evaluations[-1].samples
        if evaluations
        else 0,
        reason=str(stop.values["reason"]) if stop else DIED,
        why=_why(stop, first, died),
        touched_before_s=(clock_ends - touched.monotonic_ns) / NS_PER_S if touched else None,
        wall_apart_s=wall_apart_s(noted),
        reevaluated=float(reevaluation.values["quality"]) if reevaluation else None,
        checkpoint_sha256=str(checkpoint.values["sha256"]) if checkpoint else "",
        faults=tuple(str(event.values["why"]) for event in by_name.get(events.FAULT, ())),
        ending=ending,
    )


def _why(stop: Event | None, first: dict[str, Any], died: str) -> str:
    """Why a run stopped; one of several processes that only lost the others does not know."""
    if stop is None:
        return died
    why = str(stop.values["why"])
    lost = stop.values["reason"] == RAISED and int(first["world_size"]) > 1
    return f"{why}; {died}" if lost else why


def _evaluation(event: Event, clock_ns: int) -> Evaluation:
    values = event.values
    quality, loss = values["quality"], values["loss"]
    return Evaluation(
        None if quality is None else float(quality),
        int(values["samples"]),
        int(values["epoch"]),
        (event.monotonic_ns - clock_ns) / NS_PER_S,
        int(values["duration_ns"]) / NS_PER_S,
        None if loss is None else float(loss),
        {name: int(values[name]) for name in ("evaluated_on", "trained_on", "missing")}
        if values.get("reported")
        else {},
    )


def wall_apart_s(noted: Sequence[Event]) -> float:
    """The furthest that the wall clock went astray from the monotonic one between any two events."""
    apart_ns = [event.wall_ns - event.monotonic_ns for event in noted]
    return (max(apart_ns) - min(apart_ns)) / NS_PER_S if apart_ns else 0.0


def out_of_order(noted: Sequence[Event]) -> list[str]:
    """Where a journal's times or numbers run backwards, in words."""
    found = [
        f"{later.name} is dated before the {earlier.name} that precedes it"
        for earlier, later in itertools.pairwise(noted)
        if later.monotonic_ns < earlier.monotonic_ns
    ]
    trained = [event.values["samples"] for event in noted if event.name == events.EVALUATION]
    if any(later < earlier for earlier, later in itertools.pairwise(trained)):
        found.append("an evaluation was after fewer samples than the one before it")
    return found
