"""What a benchmark declares of a federation, and what a person may ask of one instead.

Settings come in two layers: the benchmark's declaration, then the options that were given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gnomon.core.errors import (
    SettingsError,
    UnknownNameError,
)
from gnomon.core.recompute import options_on_record
from gnomon.core.run import Run
from gnomon.core.spec import Benchmark, first_of
from gnomon.fleet.device_files import DISTRIBUTIONS
from gnomon.fleet.rules import PROFILES
from gnomon.fleet.settings import FederatedSettings

Model = Literal["logistic", "cnn"]
MEASUREMENT = "federation"
DEVICES_FILE = "devices.csv"
GRID_FILE = "grid.json"
AVAILABILITY_FILE = "availability.csv"
PAPER = "paper"
"""The simulated fleet of Luo et al. (INFOCOM 2021): normal, standard deviation a third of the mean."""


class FleetBenchmark(FederatedSettings):
    """What a benchmark declares: who takes part, with which data and model, and how it is trained."""

    clients: int = Field(
        default=100, ge=1, description="N, unless a file of devices says otherwise"
    )
    partition: str | None = Field(default=None, description="None for the data set's own")
    data_seed: int = Field(default=0, ge=0, description="of data, partition and simulated devices")
    model: Model = "logistic"
    regularisation: float = Field(default=0.0, ge=0, description="of the loss, times ||w||^2 / 2")
    devices: str = Field(default="paper", description="what the devices cost: a name or a file")
    controller: str = Field(default="adaptive", description="who chooses K and E")


class FleetOptions(BaseModel):
    """Options of a run of the fleet protocol. What is left out comes from the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float | None = Field(default=None, ge=0, le=1, description="dollars a joule")
    clients: int | None = Field(default=None, ge=1, description="N")
    seed: int | None = Field(default=None, ge=0, description="of sampling, batches and faults")
    data_seed: int | None = Field(
        default=None, ge=0, description="of data, partition and simulated devices"
    )
    partition: str | None = None
    model: Model | None = None
    regularisation: float | None = Field(default=None, ge=0)
    devices: str | None = Field(default=None, description="a name, or a file")
    controller: str | None = None
    target_loss: float | None = None
    max_rounds: int | None = Field(default=None, ge=1)
    max_duration_s: float | None = Field(default=None, gt=0, description="of the fleet's own clock")
    max_energy_j: float | None = Field(default=None, gt=0)
    max_local_iterations: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    decay: str | None = None
    proximal: float | None = Field(default=None, ge=0)
    sampling: Literal["uniform", "weighted"] | None = None
    over_selection: float | None = Field(default=None, ge=1)
    deadline_s: float | None = Field(default=None, gt=0)
    aggregation: str | None = None
    server_optimizer: str | None = None
    max_update_norm: float | None = Field(default=None, gt=0)
    clip_norm: float | None = Field(default=None, gt=0)
    noise_multiplier: float | None = Field(default=None, ge=0)
    evaluate_every: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=1, description="for asynchronous rounds")
    staleness_power: float | None = Field(default=None, ge=0)
    availability: float = 1.0
    availability_block_s: float = 3600.0
    dropout: float = 0.0
    slowdown_sigma: float = 0.0
    availability_trace: Path | None = Field(default=None, description="when each client is there")
    grid: Path | None = Field(
        default=None, description="a finished grid to take the regret against"
    )
    rules: str = Field(default="quick", description="rule profile")

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, value: str) -> str:
        if value not in PROFILES:
            raise UnknownNameError("rules", value, PROFILES)
        return value


def is_named(devices: str) -> bool:
    """Whether devices are simulated ones by name, and not a file."""
    return devices == PAPER or devices in DISTRIBUTIONS


def declaration_of(benchmark: Benchmark) -> FleetBenchmark:
    """What a benchmark declares for this protocol.

    Raises:
        SettingsError: Its settings lack something, or hold something unknown.
    """
    return benchmark.settings_as(FleetBenchmark)


def layered(benchmark: Benchmark, options: FleetOptions) -> FleetBenchmark:
    """The benchmark's declaration with the options that were given over it.

    Raises:
        SettingsError: They contradict each other.
    """
    declared = declaration_of(benchmark).model_dump()
    given = {
        name: value
        for name, value in options.model_dump().items()
        if name in declared and value is not None
    }
    return _checked(declared | given)


def recorded_options(run: Run) -> FleetOptions:
    """The options of a run as they are on record, devices and grid from its own folder.

    Raises:
        RunFolderError: They are not on record, or damaged.
    """
    options = options_on_record(run, FleetOptions)
    folder = run.path / MEASUREMENT
    kept: dict[str, Any] = {}
    if options.devices is not None and not is_named(options.devices):
        kept["devices"] = str((folder / DEVICES_FILE).absolute())
    if options.availability_trace is not None:
        kept["availability_trace"] = folder / AVAILABILITY_FILE
    if options.grid is not None:
        kept["grid"] = folder / GRID_FILE
    return options.model_copy(
        update={name: path for name, path in kept.items() if Path(path).exists()}
    )


def _checked(values: Mapping[str, Any]) -> FleetBenchmark:
    try:
        return FleetBenchmark.model_validate(values)
    except ValidationError as error:
        raise SettingsError(first_of(error)) from None
