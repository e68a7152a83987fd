"""Classification: pictures that are the same everywhere, the share of right answers, every model file."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.digits import TRAINED, Digits
from gnomon.tasks.mobile.classification import MobileClassification, draw_pictures

EVERY = np.arange(797)


@pytest.fixture(scope="module")
def task():
    return MobileClassification()


def one_hot(labels):
    return np.eye(10, dtype=np.float32)[labels]


def unseen_labels():
    return Digits().stored[1][TRAINED:]


def test_pictures_are_the_same_everywhere(task):
    digest = "67bd4e236d0057859ed1c7268cba9ee5e477211716f3e6d1120fa6e6cb51a136"
    assert task.source().sha256 == digest


def test_there_is_one_picture_of_each_digit_that_no_model_has_seen(task):
    assert len(task) == 797
    assert task.score(EVERY, one_hot(unseen_labels())) == 1.0


def test_the_source_says_that_it_is_a_stand_in(task):
    assert not task.source().official
    assert task.source().name.startswith("stand-in")


def test_inputs_are_the_stored_pictures_as_float32(task):
    asked = np.array([5, 0, 5])
    stored, inputs = task.stored_inputs(asked), task.inputs(asked)
    assert stored.dtype == np.uint8
    assert inputs.dtype == np.float32
    assert inputs.shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(inputs, stored)
    np.testing.assert_array_equal(stored[0], stored[2])
    assert (stored[0] != stored[1]).any()


def test_pictures_use_the_whole_range_of_grey_values_in_all_channels(task):
    stored = task.stored_inputs(EVERY)
    assert (stored.min(axis=(0, 2, 3)) == 0).all()
    assert (stored.max(axis=(0, 2, 3)) == 255).all()


def test_a_digit_stands_out_from_what_is_behind_it():
    """The same random numbers with a digit and without: they differ in the middle, in every channel."""
    digits = Digits().stored[0][:50]
    drawn = draw_pictures(digits, np.random.default_rng(1)).astype(int)
    empty = draw_pictures(np.zeros_like(digits), np.random.default_rng(1)).astype(int)
    off = np.abs(drawn - empty)[:, :, 8:24, 8:24].reshape(50, 3, -1)
    assert off.max(axis=2).min() > 20


def test_the_score_is_the_share_of_right_answers(task):
    some = np.array([3, 1, 4, 15])
    outputs = one_hot(unseen_labels()[some])
    outputs[0] = np.roll(outputs[0], 1)
    assert task.score(some, outputs) == 0.75
    assert task.score(some, list(outputs)) == 0.75


def test_an_answer_that_is_not_a_number_is_wrong_even_if_it_points_at_the_label(task):
    outputs = one_hot(unseen_labels()[:4])
    outputs[2, unseen_labels()[2]] = np.nan
    assert task.score(EVERY[:4], outputs) == 0.75


@pytest.mark.parametrize("shape", [(4, 9), (3, 10), (4,), (4, 1, 10)])
def test_outputs_of_another_shape_are_refused_with_both_shapes(task, shape):
    with pytest.raises(DataError, match=r"class scores of shape \(10,\) a sample, got outputs of"):
        task.score(EVERY[:4], np.zeros(shape, dtype=np.float32))


def test_what_is_encoded_is_decoded_again(task):
    scores = np.linspace(-3, 7, 10, dtype=np.float32)
    np.testing.assert_array_equal(task.decode(task.encode(scores)), scores)


def test_a_model_that_does_not_ship_is_named(task):
    with pytest.raises(DataError, match=r"ships no onnx-int4 model: pass one with --model"):
        task.model("onnx-int4")
