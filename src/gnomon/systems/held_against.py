"""Answers to a task's samples, held against those that ONNX Runtime gives with the task's own model here."""

from __future__ import annotations

from typing import Any

import onnxruntime

from gnomon.core.files import sha256_of
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.agreement import Agreement, agreement_of
from gnomon.systems.onnx import DEFAULT_PROVIDERS

BATCH_SIZE = 64


def held_against_model(
    task: Task, precision: str, samples: IndexArray, answers: Outputs
) -> Agreement:
    """Compare answers, as an accuracy log keeps them, with the model's.

    Args:
        task: Whose model it is.
        precision: `fp32`, `fp16` or `int8`: which of its models.
        samples: What is answered.
        answers: One a sample, as `Task.decode` gives them.

    Raises:
        DataError: The task ships no such model.
    """
    path = task.model("onnx" if precision == "fp32" else f"onnx-{precision}")
    session = onnxruntime.InferenceSession(path, providers=list(DEFAULT_PROVIDERS))
    feeds = [wanted.name for wanted in session.get_inputs()]
    expected: list[Any] = []
    for begin in range(0, len(samples), BATCH_SIZE):
        inputs = task.model_inputs(task.inputs(samples[begin : begin + BATCH_SIZE]))
        outputs = session.run(None, dict(zip(feeds, inputs, strict=True)))
        expected += [task.decode(task.encode(answer)) for answer in task.model_answers(outputs)]
    distances, quality = task.distances(answers, expected), task.score(samples, expected)
    return agreement_of(distances, precision, sha256_of(path), float(quality))
