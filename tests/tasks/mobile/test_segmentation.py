"""Segmentation: scenes that are the same everywhere, mean IoU by hand, models in every format."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.scenes import SIDE
from gnomon.tasks.mobile.segmentation import MobileSegmentation
from gnomon.tasks.mobile.segmentation_score import (
    NO_CLASS,
    best_classes,
    class_maps,
    class_overlaps,
    mean_iou,
)

EVERY = np.arange(256)


@pytest.fixture(scope="module")
def task():
    return MobileSegmentation()


def maps(*rows):
    return [np.array(row, dtype=np.uint8) for row in rows]


def app_mean_iou(answers, truths, count):
    """The field's counting of pixels, one at a time."""
    right, wrong, missed = (np.zeros(count + 1) for _ in range(3))
    for answer, truth in zip(answers, truths, strict=True):
        for found, true in zip(answer.ravel(), truth.ravel(), strict=True):
            for one in range(1, count + 1):
                if one in (found, true):
                    if found == true:
                        right[one] += 1
                    elif found == one:
                        wrong[one] += 0 < true <= count
                    else:
                        missed[one] += 1
    union = (right + wrong + missed)[1:]
    return np.divide(right[1:], union, out=np.zeros(count), where=union > 0).sum() / count


def test_scenes_and_maps_are_the_same_everywhere(task):
    digest = "e0cfafeb3e8187b236794984897f0bf9f14f85a57d732e5b201b970b3cb2ce33"
    assert task.source().sha256 == digest
    assert task.source().name.startswith("stand-in")


def test_inputs_are_the_stored_scenes_as_float32(task):
    stored, inputs = task.stored_inputs(EVERY[:3]), task.inputs(EVERY[:3])
    assert stored.dtype == np.uint8
    assert inputs.dtype == np.float32
    assert inputs.shape == (3, 3, 96, 96)
    np.testing.assert_array_equal(inputs, stored)


def test_overlaps_by_hand():
    # Class 1: 1 right of 2 true, 1 wrong where the truth is 2: 1/3. Class 2: 1 right, 1 missed: 1/2.
    answers, truths = maps([1, 1, 2, 0]), maps([1, 2, 2, 1])
    np.testing.assert_allclose(class_overlaps(answers, truths, 2), [1 / 3, 1 / 2])
    assert mean_iou(answers, truths, 2) == pytest.approx(5 / 12)


def test_what_is_found_where_nothing_is_labelled_does_not_harm():
    truths = maps([1, 0, 0, 9])
    assert mean_iou(maps([1, 1, 1, 1]), truths, 1) == 1.0


def test_a_class_that_is_nowhere_counts_as_no_overlap():
    assert mean_iou(maps([1, 1]), maps([1, 1]), 4) == 0.25


def test_pixels_are_summed_over_images_before_they_are_divided():
    answers, truths = maps([1, 1, 1, 1], [0, 0]), maps([1, 1, 1, 1], [1, 1])
    assert mean_iou(answers, truths, 1) == pytest.approx(4 / 6)


def test_the_mean_is_the_fields_on_random_maps():
    generator = np.random.default_rng(0)
    answers, truths = (list(generator.integers(0, 7, (3, 9, 9), dtype=np.uint8)) for _ in range(2))
    assert mean_iou(answers, truths, 5) == pytest.approx(app_mean_iou(answers, truths, 5))


def test_the_true_maps_score_one_and_empty_ones_nothing(task):
    truths = task._data.label_maps
    assert task.score(EVERY, truths) == 1.0
    assert task.score(EVERY, np.zeros_like(truths)) == 0.0
    assert task.score(EVERY[:0], truths[:0]) == 0.0


def test_answers_go_with_their_samples(task):
    some = np.array([9, 2, 9])
    truths = task._data.label_maps[some]
    swapped = task.score(some, truths[[1, 0, 2]])
    assert swapped < task.score(some, truths) <= 1


def test_maps_of_any_type_are_the_same_answer(task):
    truths = task._data.label_maps[:4]
    for kind in (np.int32, np.int64, np.float32):
        (answers,) = (task.model_answers([truths.astype(kind)]),)
        assert answers.dtype == np.uint8
        np.testing.assert_array_equal(answers, truths)
    assert task.score(EVERY[:4], truths + 0.25) == task.score(EVERY[:4], truths)


def test_scores_of_classes_are_answered_by_the_highest(task):
    scores = np.zeros((1, 16, SIDE, SIDE), dtype=np.float32)
    scores[0, 3] = 1
    scores[0, 5, 0, 0] = 2
    answer = task.model_answers([scores])
    assert answer.shape == (1, SIDE, SIDE)
    assert answer[0, 0, 0] == 5
    assert (answer.ravel()[1:] == 3).all()


def test_what_is_not_a_number_is_no_class():
    assert class_maps(np.array([1.9, np.nan, np.inf])).tolist() == [1, NO_CLASS, NO_CLASS]
    scores = np.zeros((1, 2, 1, 2), dtype=np.float32)
    scores[0, :, 0] = [[0, np.nan], [1, 0]]
    assert best_classes(scores).tolist() == [[[1, NO_CLASS]]]


def test_a_map_takes_a_byte_a_pixel_in_the_log(task):
    answer = (np.arange(SIDE * SIDE) % 16).reshape(SIDE, SIDE).astype(np.int32)
    data = task.encode(answer)
    assert len(data) == SIDE * SIDE
    np.testing.assert_array_equal(task.decode(data), answer)


def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(DataError, match=r"maps of classes of shape \(96, 96\) a sample"):
        task.score(EVERY[:2], np.zeros((2, 48, 48)))
