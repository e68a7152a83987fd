"""What a benchmark is, declared: a task, a protocol and the settings the rules hold it to.

A suite module is a list of these; nothing here runs anything.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gnomon.core.errors import SettingsError


class Declared(BaseModel):
    """A frozen declaration that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QualityTarget(Declared):
    """The quality a result must reach.

    The threshold is `reference * factor`, as the field states it ("99 % of the reference").
    """

    metric: str = Field(description="the task's metric, e.g. `top-1 accuracy`")
    reference: float = Field(description="the reference model's quality on the same data")
    factor: float = Field(default=0.99, gt=0, description="share of the reference to reach")
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if not self.higher_is_better and self.factor < 1 and "factor" not in self.model_fields_set:
            raise ValueError(
                "state the factor of a metric of which less is better, e.g. factor=1.01"
            )
        return self

    @property
    def threshold(self) -> float:
        """The least (or, if lower is better, the greatest) quality that passes."""
        return self.reference * self.factor

    def met_by(self, quality: float) -> bool:
        """Whether `quality` passes; NaN never does."""
        if self.higher_is_better:
            return quality >= self.threshold
        return quality <= self.threshold


Settings = TypeVar("Settings", bound=BaseModel)


class Benchmark(Declared):
    """One row of a suite.

    `settings` belongs to the protocol, which validates it; for `load` see
    `gnomon.loadgen.settings.LoadBenchmark`.
    """

    name: str
    title: str
    suite: str
    task: str = Field(description="registered name of the task")
    protocol: str = Field(description="registered name of the protocol")
    quality: QualityTarget
    default_system: str = Field(description="registered name of the system measured by default")
    settings: dict[str, Any] = Field(default_factory=dict)
    specification: str = Field(description="where the rules come from: title, section")

    def settings_as(self, model: type[Settings]) -> Settings:
        """The settings as the protocol declares them.

        Raises:
            SettingsError: They lack something, or hold something unknown.
        """
        try:
            return model.model_validate(self.settings)
        except ValidationError as error:
            raise SettingsError(
                f"benchmark {self.name!r} declares its settings wrongly: {first_of(error)}"
            ) from None


def first_of(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
