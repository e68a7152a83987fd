"""The models that ship with mobile tasks, in the runtimes that they are for: how good they are.

That all frameworks answer alike is tested with Gnomon's systems, in `tests/systems/test_frameworks_agree.py`.
"""

from functools import cache

import numpy as np
import pytest

from gnomon.core.registry import BENCHMARKS, TASKS

MEASURED_ON = {
    "mobile-classification": (3, 0.01),
    "mobile-detection": (4, 0.02),
    "mobile-question-answering": (1, 0.0),
    "mobile-segmentation": (1, 0.0),  # of a part, rare classes would be a handful of objects
    "mobile-super-resolution": (2, 0.0),
}
"""By task: each so many-th sample, and by how much these may be harder than all."""
OFF = {"dB": 0.01, "": 0.003}
"""By unit: by how much a processor's rounding may change a quality."""


@cache
def loaded(name):
    """The task, made once for all formats: composing its scenes takes a second."""
    return TASKS.load(name)()


@pytest.fixture(params=MEASURED_ON)
def task(request):
    return loaded(request.param)


def test_every_model_reaches_the_target(task, file_format, outputs_of):
    step, harder = MEASURED_ON[task.name]
    samples = np.arange(0, len(task), step)
    answers = task.model_answers(outputs_of(task, file_format, samples))
    assert task.score(samples, answers) >= BENCHMARKS.load(task.name).quality.threshold - harder


def test_the_reference_is_what_the_float32_model_scores(task, outputs_of):
    every = np.arange(len(task))
    found = task.score(every, task.model_answers(outputs_of(task, "onnx", every)))
    reference = BENCHMARKS.load(task.name).quality.reference
    assert found == pytest.approx(reference, abs=OFF[task.unit])
