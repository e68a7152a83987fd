"""What the server does with the aggregated direction: FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi.

Settings are frozen, state is plain arrays that go into an npz file as they are. The adaptive three are
Algorithm 2 of Reddi et al., "Adaptive federated optimization" (ICLR 2021), without bias correction, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.fleet.orders import Parameters

Kind = Literal["avg", "avgm", "adagrad", "adam", "yogi"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Doubles = NDArray[np.float64]
State = dict[str, Doubles]
"""`momentum` and `variance` as the optimiser has need of them, each of shape (P,)."""

_ADAPTIVE = ("adagrad", "adam", "yogi")


@dataclass(frozen=True)
class ServerOptimizer:
    """How the server steps.

    `avg`: `w += learning_rate * d` (McMahan et al., AISTATS 2017, at 1). `avgm`: `m = beta1 * m + d`,
    `w += learning_rate * m` (Hsu et al., 2019). The others, with `m = beta1 * m + (1 - beta1) * d`:
    `w += learning_rate * m / (sqrt(v) + tau)`, where v is

        adagrad: v + d**2
        adam:    beta2 * v + (1 - beta2) * d**2
        yogi:    v - (1 - beta2) * d**2 * sign(v - d**2)

    The paper tunes its learning rates; where it fixes other settings, `parse_server_optimizer` takes those:
    beta1 0.9 (adagrad 0), beta2 0.99, tau 0.001. Flower's strategies start v at 0 instead of tau**2, and its
    FedAdam corrects for bias, with `round + 1` in the exponents.

    Attributes:
        kind: Which.
        learning_rate: eta, of the server.
        beta1: Share of the momentum that is kept.
        beta2: Share of v that is kept.
        tau: Degree of adaptivity.
        initial_variance: v before the first round; None for tau**2, the least that the paper allows.
    """

    kind: Kind = "avg"
    learning_rate: float = 1.0
    beta1: float = 0.0
    beta2: float = 0.0
    tau: float = 1e-3
    initial_variance: float | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tau"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingsError(
                    f"server optimiser {self.kind}: {name} must be positive, got {value}"
                )
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise SettingsError(
                    f"server optimiser {self.kind}: {name} must be from 0 to below 1, got {value}"
                )
        variance = self.initial_variance
        if variance is not None and not (math.isfinite(variance) and variance >= 0):
            raise SettingsError(
                f"server optimiser {self.kind}: initial_variance must be 0 or more, got {variance}"
            )

    def __str__(self) -> str:
        """As `parse_server_optimizer` takes it, every setting that differs from the usual one named."""
        usual = _usual(self.kind)
        named = [
            f"{name}={getattr(self, name)!r}"
            for name in _settings(self.kind)
            if getattr(self, name) != getattr(usual, name)
        ]
        return f"{self.kind}:{','.join(named)}" if named else self.kind


def parse_server_optimizer(text: str) -> ServerOptimizer:
    """`avg`, `avg:0.5`, `avgm`, `adam:0.01`, `yogi:learning_rate=0.1,tau=0.01`: a bare number is the rate.

    What is not named is as in the paper; the learning rate is then 1 for `avg` and `avgm`, else 0.1.

    Raises:
        UnknownNameError: There is no such optimiser, or it has no such setting.
        SettingsError: A setting is not a number, given twice, or out of range.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in KINDS:
        raise UnknownNameError("server optimiser", kind, KINDS)
    usual = _usual(kind)
    given: dict[str, float] = {}
    for part in rest.split(",") if rest else ():
        name, equals, value = part.partition("=")
        name, value = (name.strip(), value) if equals else ("learning_rate", part)
        if name not in _settings(usual.kind):
            raise UnknownNameError(
                f"setting of server optimiser {kind}", name, _settings(usual.kind)
            )
        if name in given:
            raise SettingsError(f"server optimiser {text!r} sets {name} twice: leave one out")
        try:
            given[name] = float(value)
        except ValueError:
            raise SettingsError(
                f"server optimiser {text!r}: {name} must be a number, got {value!r}"
            ) from None
    return ServerOptimizer(**{**vars(usual), **given})


def initial_state(optimizer: ServerOptimizer, size: int) -> State:
    """The state before the first round, of a model of so many parameters."""
    state: State = {}
    if optimizer.kind != "avg":
        state["momentum"] = np.zeros(size)
    if optimizer.kind in _ADAPTIVE:
        variance = optimizer.initial_variance
        state["variance"] = np.full(size, optimizer.tau**2 if variance is None else variance)
    return state


def restored_state(
    optimizer: ServerOptimizer, size: int, stored: Mapping[str, NDArray[Any]]
) -> State:
    """The state as it was saved, from an open npz file or a dict of arrays that may hold others as well.

    Raises:
        DataError: It was saved by another optimiser or for another model.
    """
    state: State = {}
    for name, fresh in initial_state(optimizer, size).items():
        if name not in stored:
            raise DataError(
                f"the saved server has no {name} for {optimizer.kind}: start the federation anew"
            )
        values = np.asarray(stored[name])
        if values.shape != fresh.shape or values.dtype != fresh.dtype:
            raise DataError(
                f"{name} of the saved server is {values.dtype} of shape {values.shape}, {optimizer.kind} "
                f"needs {fresh.dtype} of shape {fresh.shape}: start the federation anew"
            )
        state[name] = values
    return state


def step(
    optimizer: ServerOptimizer, state: State, parameters: Parameters, direction: Parameters
) -> tuple[State, Parameters]:
    """State and parameters after a round; what was given is left as it is.

    Args:
        optimizer: Its settings.
        state: After the round before, or `initial_state`.
        parameters: The model the round started from, shape (P,).
        direction: Aggregated updates, shape (P,): the paper's Delta, a descent direction.
    """
    # What is past the range of numbers becomes infinite or NaN; the loss will tell.
    with np.errstate(over="ignore", invalid="ignore"):
        after, move = _move(optimizer, state, direction.astype(np.float64))
        return after, (parameters + optimizer.learning_rate * move).astype(np.float32)


def _move(optimizer: ServerOptimizer, state: State, delta: Doubles) -> tuple[State, Doubles]:
    """The state after a round, and what the learning rate is multiplied with."""
    if optimizer.kind == "avg":
        return {}, delta
    if optimizer.kind == "avgm":
        momentum = optimizer.beta1 * state["momentum"] + delta
        return {"momentum": momentum}, momentum
    momentum = optimizer.beta1 * state["momentum"] + (1 - optimizer.beta1) * delta
    variance = _variance(optimizer, state["variance"], delta * delta)
    after = {"momentum": momentum, "variance": variance}
    return after, momentum / (np.sqrt(variance) + optimizer.tau)


def _variance(optimizer: ServerOptimizer, before: Doubles, square: Doubles) -> Doubles:
    fresh = 1 - optimizer.beta2
    if optimizer.kind == "adagrad":
        return before + square
    if optimizer.kind == "adam":
        return optimizer.beta2 * before + fresh * square
    return before - fresh * square * np.sign(before - square)


def _settings(kind: Kind) -> tuple[str, ...]:
    """The settings that this kind has."""
    if kind == "avg":
        return ("learning_rate",)
    if kind == "avgm":
        return ("learning_rate", "beta1")
    names = tuple(field.name for field in fields(ServerOptimizer) if field.name != "kind")
    return tuple(name for name in names if kind != "adagrad" or name != "beta2")


def _usual(kind: Kind) -> ServerOptimizer:
    """The paper's settings; where it has none, the learning rate that Flower starts from."""
    if kind == "avg":
        return ServerOptimizer()
    if kind == "avgm":
        return ServerOptimizer("avgm", beta1=0.9)
    if kind == "adagrad":
        return ServerOptimizer("adagrad", learning_rate=0.1)
    return ServerOptimizer(kind, learning_rate=0.1, beta1=0.9, beta2=0.99)
