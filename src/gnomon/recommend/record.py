"""What came of one training, as it is written to disk and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.core.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """The model on all held-out samples at one moment.

    Attributes:
        epoch: Passes over the training data that are complete.
        end_of_epoch: Whether this one was taken at the end of an epoch.
        batches: Steps taken.
        samples: Samples trained on, each pass counted.
        auc: Area under the ROC curve over all held-out samples.
        log_loss: Mean binary cross-entropy over them, in nats.
        training_s: Seconds spent training, evaluations left out.
        elapsed_s: Seconds since the first step, evaluations included, this one too.
    """

    epoch: int
    end_of_epoch: bool
    batches: int
    samples: int
    auc: float
    log_loss: float
    training_s: float
    elapsed_s: float


@dataclass(frozen=True)
class TrainRecord:
    """One training.

    Attributes:
        evaluations: In order.
        weights: Trained weights of the embedding.
        full_weights: Weights that the full tables would have.
        embedding_bytes: Memory of the embedding's weights.
        mlp_parameters: Trained numbers outside the embedding.
        target: The AUC asked for, if any.
        time_to_target_s: Seconds of training until an evaluation reached it; None if none did.
        time_to_target_with_evaluation_s: The same with the evaluations on the way.
    """

    evaluations: tuple[Evaluation, ...]
    weights: int
    full_weights: int
    embedding_bytes: int
    mlp_parameters: int
    target: float | None = None
    time_to_target_s: float | None = None
    time_to_target_with_evaluation_s: float | None = None

    @property
    def compression(self) -> float:
        """Weights of the full tables over trained weights, as reached."""
        return self.full_weights / self.weights

    @property
    def by_epoch(self) -> tuple[Evaluation, ...]:
        """The evaluations at the ends of epochs."""
        return tuple(found for found in self.evaluations if found.end_of_epoch)

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        return asdict(self) | {"evaluations": [asdict(found) for found in self.evaluations]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> TrainRecord:
        """The record that `as_dict` described.

        Raises:
            DataError: Attributes are missing or unknown.
        """
        try:
            evaluations = tuple(Evaluation(**found) for found in stored["evaluations"])
            return cls(**{**stored, "evaluations": evaluations})
        except (TypeError, KeyError) as error:
            raise DataError(f"this does not describe a training: {error}") from None


@dataclass(frozen=True)
class Step:
    """How a training stands.

    Attributes:
        share_done: From 0 to 1 of all its epochs.
        epoch: The epoch in progress, from 1.
        auc: Of the latest evaluation.
        elapsed_s: Since the first step.
    """

    share_done: float
    epoch: int
    auc: float | None
    elapsed_s: float


StepObserver = Callable[[Step], None]
