"""What a protocol gives the rest of the house: how to measure, and how to recompute what it measured.

A protocol registers one `Protocol` under the entry-point group `gnomon.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gnomon.core.run import Run, RunWriter
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Verdict


@dataclass(frozen=True)
class Progress:
    """How a run stands, for whoever shows it.

    Attributes:
        measurement: Name of the measurement in progress.
        share_done: From 0 to 1.
        elapsed_s: Since the measurement's clock started.
        text: The figures of the moment, in words.
    """

    measurement: str
    share_done: float
    elapsed_s: float
    text: str


ProgressObserver = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """Everything a protocol needs to carry out one run."""

    benchmark: Benchmark
    task: Task
    system: Any
    options: BaseModel
    writer: RunWriter
    observer: ProgressObserver | None


@dataclass(frozen=True)
class Ending:
    """How a protocol's part of a run ended: the verdict, and why it broke off if it did."""

    verdict: Verdict
    aborted_because: str | None = None


@dataclass(frozen=True)
class Recomputed:
    """Results and verdict made again from the raw samples and settings of a run."""

    results: dict[str, dict[str, Any] | None]
    verdict: Verdict
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """One way of measuring.

    Attributes:
        name: Registered name.
        options: Model of the options a run of this protocol takes; refuses unknown ones.
        profile: The rule profile that these options choose, by name.
        adapt_system: Makes the protocol's System of a user's object (a callable, say).
        prepare: Validates options against benchmark and task before a run folder is made; returns
            notes for the user.
        carry_out: Measures; records each measurement through the job's writer.
        recorded_options: The options of a run as they are on record.
        recompute: Makes results and verdict again from a run folder.
        read_samples: The raw samples of one measurement of a run.
    """

    name: str
    options: type[BaseModel]
    profile: Callable[[Any], str]
    adapt_system: Callable[[Any], Any]
    prepare: Callable[[Benchmark, Task, Any], tuple[str, ...]]
    carry_out: Callable[[Job], Ending]
    recorded_options: Callable[[Run], BaseModel]
    recompute: Callable[[Run, Task], Recomputed]
    read_samples: Callable[[Run, str], Any]


def measurement_folder(run: Run, name: str) -> Path:
    """Where a measurement of a run keeps its files."""
    return run.path / name
