"""How a click model is trained, as declarations: optimisers, batch, epochs, seed, and which embedding.

Sources: MLPerf training references for DLRM (v1: plain SGD, learning rate 1) and DLRM-DCNv2 (v2: Adagrad).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.recommend.config import DlrmConfig

Algorithm = Literal["sgd", "adagrad", "adam"]

METHODS = ("full", "robe", "hash-shared", "hash-capped", "qr", "tt")
"""Embeddings that are trained, by their names in `gnomon.embedding.rivals`; int8 is made of trained ones."""


@dataclass(frozen=True)
class Optimizer:
    """One optimiser.

    Attributes:
        algorithm: "sgd", "adagrad" (element by element, from zero, no decay) or "adam".
        learning_rate: Step size.
        epsilon: Added to the root of the accumulated squares.
    """

    algorithm: Algorithm
    learning_rate: float
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse settings out of range.

        Raises:
            SettingsError: With the mend.
        """
        if self.algorithm not in get_args(Algorithm):
            raise SettingsError(
                f"algorithm must be {', '.join(get_args(Algorithm))}, got {self.algorithm!r}"
            )
        if not self.learning_rate > 0:
            raise SettingsError(f"learning_rate must be positive, got {self.learning_rate!r}")
        if not self.epsilon >= 0:
            raise SettingsError(f"epsilon must not be negative, got {self.epsilon!r}")


@dataclass(frozen=True)
class Recipe:
    """What steps are taken: an optimiser for the embedding, one for the rest, samples in a step."""

    embedding: Optimizer
    mlp: Optimizer
    batch_size: int

    def __post_init__(self) -> None:
        """Refuse an embedding optimiser that takes no sparse gradients, or an empty batch.

        Raises:
            SettingsError: With the mend.
        """
        if self.embedding.algorithm == "adam":
            raise SettingsError(
                "the embedding is trained with sgd or adagrad: adam keeps no rows still"
            )
        if self.batch_size < 1:
            raise SettingsError(f"batch_size must be at least 1, got {self.batch_size}")


RECIPES = {
    "small": Recipe(Optimizer("adagrad", 0.02), Optimizer("adam", 1e-3), 2048),
    "mlperf-v1": Recipe(Optimizer("sgd", 1.0), Optimizer("sgd", 1.0), 2048),
    "mlperf-v2": Recipe(Optimizer("adagrad", 0.005), Optimizer("adagrad", 0.005), 65536),
}
"""`small` is tuned for the synthetic click log; the others are the references' own."""


@dataclass(frozen=True)
class Variant:
    """An embedding method at one compression.

    Attributes:
        kind: One of `METHODS`.
        compression: Weights of the full tables over trained weights; 1 for "full".
        options: Further options of the method, by name, such as block and sign of "robe".
    """

    kind: str
    compression: float = 1.0
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown method and full tables that are to be compressed.

        Raises:
            UnknownNameError: No such method.
            SettingsError: A compression that cannot be.
        """
        if self.kind not in METHODS:
            raise UnknownNameError("embedding method", self.kind, METHODS)
        if not self.compression >= 1:
            raise SettingsError(f"compression must be at least 1, got {self.compression!r}")
        if self.kind == "full" and self.compression != 1:
            raise SettingsError("full tables do not compress: leave compression at 1")
        object.__setattr__(
            self, "options", tuple(sorted((name, value) for name, value in self.options))
        )

    @classmethod
    def of(cls, method: str, compression: float = 1.0) -> Variant:
        """From a method as the command line takes it: `robe`, or `robe:block=4:sign=element`.

        Raises:
            UnknownNameError: No such method.
            SettingsError: An option without a value.
        """
        kind, *pairs = method.split(":")
        options = []
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not (name and equals and text):
                raise SettingsError(f"{method!r}: {pair!r} must be NAME=VALUE, such as block=4")
            options.append((name, _value(text)))
        return cls(kind, 1.0 if kind == "full" else compression, tuple(options))

    @property
    def method(self) -> str:
        """The method as it is written: `robe:block=4`."""
        return ":".join([self.kind, *(f"{name}={value}" for name, value in self.options)])

    @property
    def name(self) -> str:
        """The method with its compression: `robe:block=4 100x`; bare for full tables."""
        return self.method if self.kind == "full" else f"{self.method} {self.compression:g}x"

    @property
    def slug(self) -> str:
        """The name as it may stand in a file name."""
        return self.name.replace(" ", "-").replace(":", "-").replace("=", "")

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        return {
            "kind": self.kind,
            "compression": self.compression,
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Variant:
        """The variant that `as_dict` described."""
        return cls(stored["kind"], stored["compression"], tuple(stored["options"].items()))


def _value(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


@dataclass(frozen=True)
class TrainConfig:
    """One training: everything that decides its outcome, but for the data.

    Attributes:
        model: The model's widths.
        variant: Its embedding.
        recipe: Its steps.
        epochs: Passes over the training data.
        seed: Of the initial weights and of the order of samples.
        evaluate_every: Evaluate after so many batches too; 0: only after each epoch.
        target: Stop at the first evaluation that reaches this AUC.
        threads: Threads of every operator. The weights are the same bit for bit for a seed and a number of
            threads on one machine.
    """

    model: DlrmConfig
    variant: Variant
    recipe: Recipe = field(default_factory=lambda: RECIPES["small"])
    epochs: int = 1
    seed: int = 0
    evaluate_every: int = 0
    target: float | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse settings out of range.

        Raises:
            SettingsError: With the mend.
        """
        for name, least in (("epochs", 1), ("threads", 1), ("seed", 0), ("evaluate_every", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.target is not None and not 0.5 < self.target < 1:
            raise SettingsError(f"target is an AUC between 0.5 and 1, got {self.target!r}")

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        return asdict(self) | {"model": self.model.as_dict(), "variant": self.variant.as_dict()}
