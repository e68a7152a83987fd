"""Answers of a task held against its own model, as ONNX Runtime runs it here."""

import numpy as np
import pytest

from gnomon.core.task import make_task
from gnomon.loadgen.agreement import FARTHEST, agreement_checks
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


def tipped_scores(task, answers, samples, limit):
    """Scores of classes, moved from the highest to the label's as far as goes unseen."""
    for answer, label in zip(answers, task._data[1][samples], strict=True):
        if answer.argmax() != label:
            move = limit * answer.std() * np.sqrt(len(answer) / 2)
            answer[answer.argmax()] -= move
            answer[label] += move
    return answers


def corrected_pixels(task, answers, samples, limit):
    """Maps of classes, as many of whose wrong pixels as go unseen are right."""
    for answer, truth in zip(answers, task._data.label_maps[samples], strict=True):
        wrong = np.flatnonzero((answer != truth) & (truth != 0))
        least = int(limit * (answer.size - np.bincount(answer.ravel()).max()))
        answer.ravel()[wrong[:least]] = truth.ravel()[wrong[:least]]
    return answers


def sharpened(task, answers, samples, limit):
    """Images, moved towards the true ones."""
    moved = []
    for answer, truth in zip(answers, task._true[samples], strict=True):
        apart = truth.astype(float) - answer
        share = min(1.0, limit * answer.std() / np.sqrt((apart**2).mean()))
        moved.append(np.round(answer + share * apart).astype(np.uint8))
    return moved


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("mobile-classification", tipped_scores),
        ("mobile-segmentation", corrected_pixels),
        ("mobile-super-resolution", sharpened),
    ],
)
def test_answers_moved_towards_the_truth_within_the_limits_are_better_than_the_model(name, moved):
    task, every = make_task(name), np.arange(len(make_task(name)))
    system = OnnxSystem(precision="int8")
    system.load(task, every)
    honest = [task.decode(task.encode(answer)).copy() for place in every
              for answer in system.predict(every[place : place + 1])]  # fmt: skip
    system.close()
    cheating = moved(task, honest, every, 0.9 * FARTHEST["int8"])
    found = held_against_model(task, "int8", every, cheating)
    quality = task.score(every, cheating)
    checks = agreement_checks(found, quality, "accuracy", higher_is_better=True)
    assert [check.name for check in checks if not check.passed] == ["no_better_than_the_model"]


def test_what_is_no_number_is_no_answer():
    task = make_task("mobile-classification")
    answers = kept(task, OnnxSystem())
    answers[2] = np.full(10, np.nan, np.float32)
    assert held_against_model(task, "fp32", SAMPLES, answers).apart == 1
