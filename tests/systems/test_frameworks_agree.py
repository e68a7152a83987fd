"""One set of weights on every framework: the same answers at full precision, the quality kept below it."""

from functools import cache

import numpy as np
import pytest

from gnomon.core.registry import BENCHMARKS, SYSTEMS, TASKS
from gnomon.core.task import make_task

FRAMEWORKS = {
    "onnx": "onnxruntime",
    "litert": "ai_edge_litert",
    "openvino": "openvino",
    "ncnn": "ncnn",
}
TASKS_THAT_SHIP = [
    name
    for name in TASKS.names()
    if name.startswith("mobile-") and not getattr(TASKS.load(name), "needs", "")
]
MOST_SAMPLES = 128
MOST_APART = 1e-3
"""Mean difference of answers as a share of their mean size; frameworks add up in another order."""
MOST_OTHER_CLASSES = 1e-3
"""Share of whole numbers, which are classes, that may be others."""


def has_model(task_name, system_name, precision="fp32"):
    """ncnn has neither int8 models nor one for question answering; all others have everything."""
    return system_name != "ncnn" or not (
        precision == "int8" or task_name == "mobile-question-answering"
    )


@cache
def answers(task_name, system_name, precision="fp32"):
    """The answers to the first samples and their quality."""
    pytest.importorskip(FRAMEWORKS[system_name])
    task = make_task(task_name)
    system = SYSTEMS.load(system_name)(precision=precision)
    asked = np.arange(min(MOST_SAMPLES, len(task)))
    system.load(task, asked)
    found = [np.asarray(system.predict(asked[place : place + 1]))[0] for place in range(len(asked))]
    system.close()
    return np.array(found), task.score(asked, found)


@pytest.mark.parametrize(
    ("task", "system"),
    [
        (task, system)
        for task in TASKS_THAT_SHIP
        for system in FRAMEWORKS
        if system != "onnx" and has_model(task, system)
    ],
)
def test_full_precision_gives_the_same_answers_on_every_framework(task, system):
    (expected, quality), (found, same) = answers(task, "onnx"), answers(task, system)
    assert found.shape == expected.shape
    if expected.dtype.kind in "iu":
        assert np.mean(found != expected) <= MOST_OTHER_CLASSES
    else:
        assert np.abs(found - expected).mean() <= MOST_APART * np.abs(expected).mean()
    assert same == pytest.approx(quality, abs=0.01 * abs(quality))


@pytest.mark.parametrize(
    ("task", "system", "precision"),
    [
        (task, system, precision)
        for task in TASKS_THAT_SHIP
        for system in FRAMEWORKS
        for precision in ("fp16", "int8")
        if has_model(task, system, precision)
    ],
)
def test_fewer_bits_keep_the_quality_that_the_benchmark_asks_for(task, system, precision):
    (_, full), (_, quality) = answers(task, "onnx"), answers(task, system, precision)
    assert quality >= full * BENCHMARKS.load(task).quality.factor
