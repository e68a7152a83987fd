"""Answers as one array of the shape that a task scores, or one line that says what came instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import IndexArray, Outputs


def answers_of_shape(
    task: str, samples: IndexArray, outputs: Outputs, shape: tuple[int, ...], words: str
) -> NDArray[Any]:
    """The outputs as one array (samples, *shape).

    Args:
        task: Its name, for the message.
        samples: What they answer.
        outputs: One a sample.
        shape: Of an answer.
        words: What an answer is, for the message.

    Raises:
        DataError: They have another shape.
    """
    answers = np.asarray(outputs)
    if answers.shape != (len(samples), *shape):
        raise DataError(
            f"task {task!r} is scored from {words} of shape {shape} a sample, got outputs of shape "
            f"{answers.shape} for {len(samples)} samples: use a model for this task"
        )
    return answers
