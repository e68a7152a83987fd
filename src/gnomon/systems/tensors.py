"""A model's inputs and outputs in its own terms: shape, type, scale; and a task's numbers in those terms.

Tasks give images channels first and floats; models of phones take them channels last, and 8-bit ones take
bytes on a scale of their own. Inputs are brought into that form once, before the clock starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model.

    Attributes:
        name: As the model has it.
        shape: Of one sample; None where any size fits, or for all of it where the model does not tell.
        type: Of its elements; None where the model does not tell.
        scale: What a step of an integer is worth; 0 if its numbers are what they are.
        zero_point: The integer that means 0.
    """

    name: str
    shape: tuple[int | None, ...] | None
    type: np.dtype[Any] | None
    scale: float = 0.0
    zero_point: int = 0

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample of this shape fits."""
        return self.shape is None or (
            len(shape) == len(self.shape)
            and all(size in (None, given) for size, given in zip(self.shape, shape, strict=True))
        )

    def takes_channels_last(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample of this shape (channels, rows, columns) fits once its channels are last."""
        return len(shape) == 3 and not self.takes(shape) and self.takes((*shape[1:], shape[0]))

    def stored(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The task's numbers as the model takes them, in one piece of memory.

        Raises:
            DataError: They are decimals, and the model takes integers of an unknown scale.
        """
        if self.type is not None and batch.dtype.kind == "f" and self.type.kind in "iu":
            if not self.scale:
                raise DataError(
                    f"input {self.name} takes {self.type} on a scale that is not told, and the task gives "
                    f"{batch.dtype}: use a model of float inputs"
                )
            bounds = np.iinfo(self.type)
            steps = np.rint(batch / np.float32(self.scale)) + self.zero_point
            batch = np.clip(steps, bounds.min, bounds.max)
        return np.ascontiguousarray(batch, dtype=self.type)

    def meant(self, batch: NDArray[Any]) -> NDArray[Any]:
        """What the model's numbers stand for."""
        if not self.scale or batch.dtype.kind not in "iu":
            return batch
        return (batch.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True)
class Fitted:
    """How a task's inputs go into a model, and its outputs come back.

    Attributes:
        inputs, outputs: Of the model, in its order.
        channels_last: For each input, whether channels go to the end.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    channels_last: tuple[bool, ...]

    def stored(self, batches: Sequence[Any]) -> list[NDArray[Any]]:
        """One batch for each input, as the model takes it."""
        return [
            tensor.stored(batch.transpose(CHANNELS_LAST) if last else np.asarray(batch))
            for tensor, batch, last in zip(self.inputs, batches, self.channels_last, strict=True)
        ]

    def meant(self, batches: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """One batch for each output, as a task takes it: images channels first, numbers as meant."""
        back = any(self.channels_last)
        return [
            tensor.meant(batch.transpose(CHANNELS_FIRST) if back and batch.ndim == 4 else batch)
            for tensor, batch in zip(self.outputs, batches, strict=True)
        ]


def fitted(
    model: object,
    task: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    given: Sequence[NDArray[Any]],
) -> Fitted:
    """How this task's inputs go into this model.

    Args:
        model: Its file, for the message.
        task: Its name, for the message.
        inputs: Of the model.
        outputs: Of the model.
        given: A batch for each input, as the task gives it.

    Raises:
        DataError: They do not.
    """
    require_count(model, task, [tensor.name for tensor in inputs], given)
    last = []
    for tensor, batch in zip(inputs, given, strict=True):
        shape = batch.shape[1:]
        if not tensor.takes(shape) and not tensor.takes_channels_last(shape):
            wanted = ("n", *("any" if size is None else size for size in tensor.shape or ()))
            raise DataError(
                f"model {model} takes {tensor.name} of shape {wanted}, task {task!r} gives "
                f"{('n', *shape)}: use a model for this task"
            )
        last.append(tensor.takes_channels_last(shape))
    return Fitted(tuple(inputs), tuple(outputs), tuple(last))


def require_count(model: object, task: str, names: Sequence[str], given: Sequence[Any]) -> None:
    """Refuse a model of more or fewer inputs than the task gives.

    Raises:
        DataError: It has them.
    """
    if len(names) != len(given):
        raise DataError(
            f"model {model} has {'inputs' if len(names) > 1 else 'the input'} {', '.join(names)}; task "
            f"{task!r} gives {len(given)}: use a model for this task"
        )
