"""Answers of a task held against its own model, as ONNX Runtime runs it here."""

import numpy as np
import pytest

from gnomon.core.task import make_task
from gnomon.loadgen.agreement import FARTHEST
from gnomon.systems.held_against import held_against_model
from gnomon.systems.onnx import OnnxSystem

TASKS = (
    "mobile-classification",
    "mobile-detection",
    "mobile-segmentation",
    "mobile-question-answering",
    "mobile-super-resolution",
)
SAMPLES = np.array([3, 60, 8, 41, 99])


def kept(task, system, samples=SAMPLES):
    """Answers one by one, as an accuracy log keeps them."""
    system.load(task, samples)
    found = [system.predict(samples[place : place + 1])[0] for place in range(len(samples))]
    system.close()
    return [task.decode(task.encode(answer)) for answer in found]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", TASKS)
def test_the_models_own_answers_are_its_own(name, precision):
    task = make_task(name)
    answers = kept(task, OnnxSystem(precision=precision))
    agreement = held_against_model(task, precision, SAMPLES, answers)
    assert (agreement.samples, agreement.apart) == (5, 0)
    assert agreement.farthest < FARTHEST[precision] / 20


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", TASKS)
def test_the_same_weights_in_another_framework_are_the_same_model(name, precision):
    litert = pytest.importorskip("gnomon.systems.litert")
    pytest.importorskip("ai_edge_litert", reason="needs gnomon[mobile]")
    task = make_task(name)
    answers = kept(task, litert.LiteRtSystem(precision=precision))
    agreement = held_against_model(task, precision, SAMPLES, answers)
    assert agreement.apart == 0
    assert agreement.farthest < FARTHEST[precision] / 4


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", TASKS)
def test_the_answer_of_another_sample_is_not_the_models(name, precision):
    task = make_task(name)
    answers = kept(task, OnnxSystem(precision=precision))
    answers[1], answers[3] = answers[3], answers[1]
    assert held_against_model(task, precision, SAMPLES, answers).apart == 2


@pytest.mark.parametrize("name", TASKS)
def test_answers_without_content_are_off_by_about_one(name):
    task = make_task(name)
    answers = kept(task, OnnxSystem())
    flat = [np.full_like(answer, int(np.bincount(answer.ravel()).argmax()) if answer.dtype == np.uint8
            and answer.ndim == 2 else answer.mean()) for answer in answers]  # fmt: skip
    np.testing.assert_allclose(task.distances(flat, answers), 1, rtol=0.02)
    assert not task.distances(answers, answers).any()


def test_what_is_no_number_is_no_answer():
    task = make_task("mobile-classification")
    answers = kept(task, OnnxSystem())
    answers[2] = np.full(10, np.nan, np.float32)
    assert held_against_model(task, "fp32", SAMPLES, answers).apart == 1
