"""Shapes, layouts and scales of a model's inputs and outputs."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.systems.tensors import Tensor, fitted

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.int8)
IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def test_images_go_in_channels_last_and_come_back_channels_first():
    image = Tensor("image", (4, 5, 3), FLOAT)
    scores = Tensor("scores", (10,), FLOAT)
    fit = fitted("m.tflite", "t", [image], [image, scores], [IMAGES])
    (stored,) = fit.stored([IMAGES])
    assert stored.shape == (2, 4, 5, 3)
    assert stored.flags.c_contiguous
    assert stored[1, 2, 3, 0] == IMAGES[1, 0, 2, 3]
    back, flat = fit.meant([stored, np.ones((2, 10), np.float32)])
    np.testing.assert_array_equal(back, IMAGES)
    assert flat.shape == (2, 10)


def test_a_model_that_takes_channels_first_is_given_them_so():
    image = Tensor("image", (3, None, None), FLOAT)
    fit = fitted("m.onnx", "t", [image], [image], [IMAGES])
    np.testing.assert_array_equal(fit.stored([IMAGES])[0], IMAGES)
    np.testing.assert_array_equal(fit.meant([IMAGES])[0], IMAGES)


def test_decimals_become_bytes_on_the_models_scale_and_bytes_become_decimals():
    tensor = Tensor("x", (3,), BYTE, scale=0.5, zero_point=-28)
    stored = tensor.stored(np.array([[0.0, 1.26, 1000.0], [-50.0, -1000.0, 0.24]], np.float32))
    assert stored.dtype == BYTE
    np.testing.assert_array_equal(stored, [[-28, -25, 127], [-128, -128, -28]])
    np.testing.assert_array_equal(tensor.meant(stored)[0], [0.0, 1.5, 77.5])


def test_whole_numbers_without_a_scale_stay_what_they_are():
    tokens = Tensor("ids", (4,), np.dtype(np.int64))
    stored = tokens.stored(np.array([[7, 8, 9, 0]], np.int32))
    assert stored.dtype == np.int64
    np.testing.assert_array_equal(stored, [[7, 8, 9, 0]])
    np.testing.assert_array_equal(Tensor("map", (2,), np.dtype(np.uint8)).meant(stored), stored)


def test_decimals_are_not_cut_down_to_bytes_of_an_unknown_scale():
    with pytest.raises(DataError, match="input x takes int8 on a scale that is not told"):
        Tensor("x", (3,), BYTE).stored(np.zeros((1, 3), np.float32))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([Tensor("image", (4, 4, 3), FLOAT)], r"takes image of shape \('n', 4, 4, 3\)"),
        ([Tensor("image", (60,), FLOAT)], r"gives \('n', 3, 4, 5\): use a model for this task"),
        ([Tensor("a", None, None), Tensor("b", None, None)], "has inputs a, b; task 't' gives 1"),
    ],
)
def test_what_does_not_fit_is_told_with_both_shapes(inputs, words):
    with pytest.raises(DataError, match=words):
        fitted("m.tflite", "t", inputs, [], [IMAGES])
