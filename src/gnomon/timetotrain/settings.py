"""What a benchmark declares of a training run, and what a person may ask for instead.

Settings come in two layers: the benchmark's declaration, then the options that were given.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gnomon.core.errors import (
    SettingsError,
    UnknownNameError,
)
from gnomon.core.recompute import options_on_record
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark, Declared, first_of
from gnomon.timetotrain.hyperparameters import HyperparameterRule
from gnomon.timetotrain.rule_profiles import PROFILES

MEASUREMENT = "time-to-train"
FEWEST_RUNS = 3
"""An olympic mean needs one run between the fastest and the slowest."""

Value = int | float | str


class TrainingBenchmark(Declared):
    """What a benchmark declares: how its reference implementation is trained, and how often."""

    hyperparameters: dict[str, Value] = Field(description="the reference's, by log key")
    may_vary: tuple[HyperparameterRule, ...] = Field(
        default=(), description="hyperparameters that a submission may set otherwise, and how"
    )
    evaluate_every_samples: int = Field(ge=1, description="trained on between two evaluations")
    max_epochs: float = Field(gt=0, description="a run that takes longer has not converged")
    patience: int | None = Field(
        default=None, ge=1, description="evaluations without a new best that end a run as hopeless"
    )
    max_duration_s: float | None = Field(
        default=None, gt=0, description="a run whose clock passes this has not converged"
    )
    runs: int = Field(default=5, ge=FEWEST_RUNS, description="that a result is made of")
    dropped: int = Field(default=1, ge=1, description="fastest and slowest runs left out, of each")
    max_initialisation_s: float = Field(default=1800.0, gt=0, description="before the clock")
    reference_points: str | None = Field(
        default=None, description="file of reference convergence points: a path, or one that ships"
    )
    log_name: str | None = Field(
        default=None, description="the name that the field's checkers know the benchmark by"
    )

    @model_validator(mode="after")
    def _leaves_a_run(self) -> TrainingBenchmark:
        if self.runs <= 2 * self.dropped:
            raise ValueError(f"{self.runs} runs leave none when {2 * self.dropped} are dropped")
        if "global_batch_size" not in self.hyperparameters:
            raise ValueError("hyperparameters must have global_batch_size")
        return self


class TrainingOptions(BaseModel):
    """Options of a run of the protocol `timetotrain`. What is left out comes from the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: int | None = Field(default=None, ge=1, description="seeds to train")
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="that the runs' seeds are drawn from"
    )
    hyperparameters: dict[str, Value] = Field(
        default_factory=dict, description="set otherwise than the reference, by log key"
    )
    evaluate_every: int | None = Field(
        default=None, ge=1, description="samples between two evaluations"
    )
    max_epochs: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, ge=1)
    max_duration_s: float | None = Field(default=None, gt=0, description="of one run")
    processes: int = Field(default=1, ge=1, description="on each node, training together")
    nodes: int = Field(default=1, ge=1, description="machines training together")
    rendezvous: str | None = Field(default=None, description="HOST:PORT where nodes meet")
    cluster: str | None = Field(
        default=None, description="address of a Ray cluster that the seeds are spread over"
    )
    rules: str = Field(default="quick", description="rule profile")

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, value: str) -> str:
        if value not in PROFILES:
            raise UnknownNameError("rules", value, PROFILES)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> TrainingOptions:
        if self.nodes > 1 and not self.rendezvous:
            raise SettingsError(
                "--nodes needs --rendezvous HOST:PORT, an address of this machine that the others reach"
            )
        if self.cluster and self.nodes > 1:
            raise SettingsError("--cluster spreads whole runs: leave out --nodes")
        return self


def declaration_of(benchmark: Benchmark) -> TrainingBenchmark:
    """What a benchmark declares for this protocol.

    Raises:
        SettingsError: Its settings lack something, or hold something unknown.
    """
    return benchmark.settings_as(TrainingBenchmark)


def layered(benchmark: Benchmark, options: TrainingOptions) -> TrainingBenchmark:
    """The benchmark's declaration with the options that were given over it.

    The number of runs stays the declared one: it is what a result needs, `options.runs` what was asked for.

    Raises:
        SettingsError: A hyperparameter is none of the benchmark's, or a value is out of range.
    """
    declared = declaration_of(benchmark)
    for key in options.hyperparameters:
        if key not in declared.hyperparameters:
            raise UnknownNameError("hyperparameter", key, declared.hyperparameters)
    asked = {
        "evaluate_every_samples": options.evaluate_every,
        "max_epochs": options.max_epochs,
        "patience": options.patience,
        "max_duration_s": options.max_duration_s,
    }
    changed: dict[str, Any] = {
        "hyperparameters": {**declared.hyperparameters, **options.hyperparameters},
        **{name: value for name, value in asked.items() if value is not None},
    }
    try:
        return TrainingBenchmark.model_validate(declared.model_dump() | changed)
    except ValidationError as error:
        raise SettingsError(first_of(error)) from None


def runs_asked(declared: TrainingBenchmark, options: TrainingOptions) -> int:
    """How many seeds are trained."""
    return options.runs or declared.runs


def max_samples(settings: TrainingBenchmark, training_size: int) -> int:
    """After how many samples a run has not converged."""
    return math.ceil(settings.max_epochs * training_size)


def recorded_options(run: Run) -> TrainingOptions:
    """The options of a run as they are on record.

    Raises:
        RunFolderError: They are not on record, or damaged.
    """
    return options_on_record(run, TrainingOptions)


def reference_points_path(name: str) -> Path:
    """The file of a benchmark's reference convergence points: as given, or one that ships."""
    path = Path(name)
    if path.is_absolute() or path.exists():
        return path
    return Path(__file__).parents[1] / "data" / "training" / name
