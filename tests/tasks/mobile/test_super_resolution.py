"""Super-resolution: images that are the same everywhere, PSNR by hand, models in every format."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.image_quality import eight_bit, psnr
from gnomon.tasks.mobile.super_resolution import MobileSuperResolution, halved

EVERY = np.arange(100)


@pytest.fixture(scope="module")
def task():
    return MobileSuperResolution()


def test_images_are_the_same_everywhere(task):
    digest = "00d0fbd6fb186f143108fec5b7cd5acc56e2f34fd98d9fe65c9f75020165d7fa"
    assert task.source().sha256 == digest
    assert task.source().name.startswith("stand-in")
    assert len(task) == 100


def test_inputs_are_the_true_images_made_smaller(task):
    inputs = task.inputs(EVERY[:2])
    assert inputs.shape == (2, 3, 48, 48)
    assert inputs.dtype == np.float32
    true = task._true[:2].astype(float)
    blocks = true.reshape(2, 3, 48, 2, 48, 2).mean(axis=(3, 5))
    assert np.abs(inputs - blocks).max() <= 0.5


def test_halving_rounds_to_the_nearest_and_halves_up():
    image = np.array([[0, 1, 255, 255], [1, 0, 255, 254]], dtype=np.uint8)
    assert halved(image).tolist() == [[1, 255]]


def test_psnr_by_hand():
    truth = np.array([10, 20, 30, 40], dtype=np.uint8)
    # Off by 5 in one value of four: a mean squared error of 25/4.
    answer = np.array([10, 25, 30, 40], dtype=np.uint8)
    assert psnr(answer, truth) == pytest.approx(-10 * np.log10(6.25 / 255**2))
    assert psnr(answer, truth) == pytest.approx(40.17, abs=0.005)


def test_the_worst_image_has_no_decibel_and_equal_ones_a_finite_number():
    black, white = np.zeros(64, dtype=np.uint8), np.full(64, 255, dtype=np.uint8)
    assert psnr(black, white) == 0
    off_by_one = np.eye(1, 64, dtype=np.uint8)[0]
    assert psnr(black, black) == psnr(off_by_one, black)


def test_answers_are_rounded_and_clipped_and_no_number_is_black():
    answer = np.array([-3.0, 0.4, 0.6, 254.6, 300.0, np.nan, np.inf], dtype=np.float32)
    assert eight_bit(answer).tolist() == [0, 0, 1, 255, 255, 0, 255]


def test_the_score_is_the_mean_over_images(task):
    truths = task._true[:2].astype(np.float32)
    off = truths.copy()
    off[0] += np.where(truths[0] < 128, 10, -10)
    alone = [task.score(EVERY[one : one + 1], off[one : one + 1]) for one in (0, 1)]
    assert alone[0] == pytest.approx(-10 * np.log10(100 / 255**2))
    assert task.score(EVERY[:2], off) == pytest.approx(np.mean(alone))
    assert task.score(EVERY[1::-1], off[::-1]) == pytest.approx(np.mean(alone))


def test_an_image_takes_a_byte_a_value_in_the_log_and_scores_the_same(task):
    answer = task._true[3] + np.float32(0.3)
    data = task.encode(answer)
    assert len(data) == 3 * 96 * 96
    np.testing.assert_array_equal(task.decode(data), task._true[3])
    noisy = np.clip(task._true[:1] + np.random.default_rng(0).normal(0, 3, (1, 3, 96, 96)), 0, 255)
    logged = [task.decode(task.encode(one)) for one in noisy]
    assert task.score(EVERY[:1], logged) == task.score(EVERY[:1], noisy)


def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(DataError, match=r"images of shape \(3, 96, 96\) a sample"):
        task.score(EVERY[:2], np.zeros((2, 96, 96, 3)))


def test_every_model_does_better_than_plain_interpolation(task, outputs_of, file_format):
    samples = EVERY[:8]
    inputs = task.inputs(samples)
    nearest = inputs.repeat(2, axis=2).repeat(2, axis=3)
    answers = task.model_answers(outputs_of(task, file_format, samples))
    assert task.score(samples, answers) > task.score(samples, nearest) + 2
