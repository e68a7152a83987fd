"""Answers to a task's samples, held against those that ONNX Runtime gives with the task's own model here."""

from __future__ import annotations

import numpy as np

from gnomon.core.environment import processors
from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.agreement import Agreement, agreement_of
from gnomon.systems.onnx import OnnxSystem


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
    system = OnnxSystem(precision=precision, threads=processors())
    try:
        system.load(task, np.unique(samples))
        step = system.max_batch_size or len(samples)
        expected = [
            task.decode(task.encode(answer))
            for begin in range(0, len(samples), step)
            for answer in system.predict(samples[begin : begin + step])
        ]
        model_sha256 = str(system.describe()["model_sha256"])
    finally:
        system.close()
    return agreement_of(task.distances(answers, expected), precision, model_sha256)
