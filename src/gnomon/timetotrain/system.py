"""The interface of what trains: one method that takes a session, or a plain function of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from gnomon.core.errors import SettingsError
from gnomon.timetotrain.session import TrainingSession


class TrainingSystem(ABC):
    """A framework on some hardware that carries training runs out.

    One that is registered by name is made again in a fresh process for every run; an object of the caller's
    trains in the caller's process, one run after the other.

    Attributes:
        name: Shown with every result.
    """

    name: str

    @abstractmethod
    def train(self, run: TrainingSession) -> None:
        """Carry out one run, in one of its processes."""

    def describe(self) -> dict[str, Any]:
        """For the record."""
        return {}

    def close(self) -> None:  # noqa: B027 - few need it
        """Let go of everything; called however the run ended."""


class FunctionSystem(TrainingSystem):
    """A function of a session."""

    def __init__(self, function: Callable[[TrainingSession], None]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__).strip("<>")
        self._function = function

    def train(self, run: TrainingSession) -> None:
        """Call it."""
        self._function(run)


def adapt_system(system: Any) -> TrainingSystem:
    """A `TrainingSystem` as it is, or one made of a function.

    Raises:
        SettingsError: It is neither.
    """
    if isinstance(system, TrainingSystem):
        return system
    if callable(system) and not isinstance(system, type) and not hasattr(system, "describe"):
        return FunctionSystem(system)
    kind = system.__name__ if isinstance(system, type) else type(system).__name__
    raise SettingsError(
        f"what trains is a registered name, a TrainingSystem or a function of a session, got {kind}"
    )
