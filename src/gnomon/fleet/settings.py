"""What a federation is run with: sampling, local training, aggregation, deadlines, target and limits."""

from __future__ import annotations

import math
import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gnomon.core.errors import SettingsError
from gnomon.core.spec import Declared
from gnomon.fleet.aggregate import parse_aggregation
from gnomon.fleet.server_optimizers import parse_server_optimizer


class FederatedSettings(Declared):
    """Settings of one federation; times are seconds of the fleet's own clock, energies joules."""

    gamma: float = Field(default=0.5, ge=0, le=1, description="dollars a joule; 1 - gamma a second")
    seed: int = Field(default=0, ge=0)
    target_loss: float | None = Field(
        default=None, description="training ends when the loss is there"
    )
    max_rounds: int = Field(default=2000, ge=1)
    max_duration_s: float | None = Field(default=None, gt=0, description="training ends past it")
    max_energy_j: float | None = Field(default=None, gt=0, description="training ends past it")
    max_local_iterations: int = Field(default=100, ge=1, description="greatest E to consider")
    batch_size: int = Field(default=24, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    decay: str = Field(
        default="exponential:0.996",
        description="of the learning rate: constant, exponential:FACTOR a round, inverse[:ROUNDS]",
    )
    proximal: float = Field(default=0.0, ge=0, description="mu of FedProx")
    sampling: Literal["uniform", "weighted"] = "uniform"
    over_selection: float = Field(default=1.0, ge=1, description="clients asked, per client wanted")
    deadline_s: float | None = Field(default=None, gt=0, description="later reports are not used")
    aggregation: str = "samples"
    server_optimizer: str = "avg"
    max_update_norm: float | None = Field(default=None, gt=0)
    clip_norm: float | None = Field(default=None, gt=0, description="of differential privacy")
    noise_multiplier: float = Field(default=0.0, ge=0, description="of differential privacy")
    evaluate_every: int = Field(default=1, ge=0, description="rounds between losses; 0 for never")
    concurrency: int | None = Field(
        default=None, ge=1, description="clients at work at all times; None for synchronous rounds"
    )
    staleness_power: float = Field(
        default=0.5, ge=0, description="an update s rounds old counts (1 + s)**-this; asynchronous"
    )

    @field_validator("gamma", "learning_rate", "proximal", "noise_multiplier", "staleness_power")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.learning_rate_at(0)
        parse_aggregation(self.aggregation)
        parse_server_optimizer(self.server_optimizer)
        if self.noise_multiplier and self.clip_norm is None:
            raise ValueError("noise needs a bound on what it hides: set clip_norm as well")
        if self.target_loss is not None and not self.evaluate_every:
            raise ValueError("a target loss needs evaluations: set evaluate_every to 1 or more")
        if self.concurrency is not None:
            self._require_asynchronous()
        return self

    def _require_asynchronous(self) -> None:
        """Refuse what means nothing where rounds are asynchronous."""
        if self.clip_norm is not None:
            raise ValueError(
                "differential privacy counts on rounds of clients sampled together, which asynchronous ones "
                "are not: leave out clip_norm or concurrency"
            )
        if self.sampling == "weighted":
            raise ValueError(
                "asynchronous rounds draw uniformly among clients not at work: leave out sampling, or "
                "concurrency"
            )
        if self.over_selection > 1:
            raise ValueError(
                "asynchronous rounds wait for no client in particular: raise concurrency in place of "
                "over_selection"
            )

    def require_clients(self, clients: int) -> None:
        """Refuse to have more clients at work than there are.

        Raises:
            SettingsError: `concurrency` is more than that.
        """
        if self.concurrency is not None and self.concurrency > clients:
            raise SettingsError(
                f"concurrency is {self.concurrency}, but there are {clients} clients: at most so many can be "
                f"at work"
            )

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of the round after `step` rounds of one course of training.

        Raises:
            SettingsError: `decay` is none of the known kinds.
        """
        match = re.fullmatch(r"(constant|exponential|inverse)(?::([0-9.eE+-]+))?", self.decay)
        try:
            if match is None:
                raise ValueError
            parameter = float(match[2]) if match[2] else 1.0
            if not (math.isfinite(parameter) and parameter > 0):
                raise ValueError
        except ValueError:
            raise SettingsError(
                f"decay is constant, exponential:FACTOR or inverse:ROUNDS, got {self.decay!r}"
            ) from None
        if match[1] == "exponential":
            return float(self.learning_rate * parameter**step)
        if match[1] == "inverse":
            return self.learning_rate / (1 + step / parameter)
        return self.learning_rate
