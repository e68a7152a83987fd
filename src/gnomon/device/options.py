"""What a benchmark declares of a board's measurement, and what a person may ask for instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gnomon.core.errors import UnknownNameError
from gnomon.core.recompute import options_on_record
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark
from gnomon.device.rules import PROFILES

PERFORMANCE, ACCURACY, ENERGY = "performance", "accuracy", "energy"
MEASUREMENTS = (PERFORMANCE, ACCURACY, ENERGY)


class TinyBenchmark(BaseModel):
    """What a benchmark declares: how often and how long a board is timed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: int = Field(default=5, ge=1, description="timed windows, an input file each")
    window_s: float = Field(default=10.0, gt=0, description="least length of a window")
    min_iterations: int = Field(default=10, ge=1, description="least inferences in a window")
    warmups: int = Field(default=10, ge=0, description="untimed inferences before each window")


class TinyOptions(BaseModel):
    """Options of a run of the device protocol. What is left out comes from the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    performance: bool = Field(default=True, description="time windows of inferences")
    accuracy: bool = Field(default=True, description="infer every sample once")
    energy: str | None = Field(default=None, description="the monitor to measure energy with")
    duration_s: float | None = Field(default=None, gt=0, description="least length of a window")
    warmups: int | None = Field(default=None, ge=0, description="before each window")
    iterations: int | None = Field(
        default=None, ge=1, description="inferences in a window; found out if left out"
    )
    model: Path | None = Field(default=None, description="an int8 .tflite of one's own")
    quick: bool = Field(default=False, description="the shortest windows the rules accept")
    rules: str = Field(default="quick", description="rule profile")

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, value: str) -> str:
        if value not in PROFILES:
            raise UnknownNameError("rules", value, PROFILES)
        return value

    @property
    def measurements(self) -> tuple[str, ...]:
        """What is measured, in order."""
        wanted = {
            PERFORMANCE: self.performance,
            ACCURACY: self.accuracy,
            ENERGY: self.energy is not None,
        }
        return tuple(name for name in MEASUREMENTS if wanted[name])


def declaration_of(benchmark: Benchmark) -> TinyBenchmark:
    """What a benchmark declares for this protocol.

    Raises:
        SettingsError: Its settings lack something, or hold something unknown.
    """
    return benchmark.settings_as(TinyBenchmark)


def layered(benchmark: Benchmark, options: TinyOptions) -> TinyBenchmark:
    """The benchmark's settings with what was asked for instead."""
    settings = declaration_of(benchmark)
    changes: dict[str, Any] = {}
    if options.quick:
        changes["window_s"] = PROFILES[options.rules].least_window_s
    if options.duration_s is not None:
        changes["window_s"] = options.duration_s
    if options.warmups is not None:
        changes["warmups"] = options.warmups
    return settings.model_copy(update=changes)


def recorded_options(run: Run) -> TinyOptions:
    """The options of a run as they are on record.

    Raises:
        RunFolderError: They cannot be read.
    """
    return options_on_record(run, TinyOptions)
