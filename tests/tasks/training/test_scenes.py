"""Composed scenes: where the digits are, that no digit is on both sides, and how answers are scored."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.digits import Digits
from gnomon.tasks.training.scenes import HELD_OUT, INK, NOISE, SIDE, TrainingScenes, compose


@pytest.fixture(scope="module")
def task():
    return TrainingScenes()


def perfect(task):
    """Answers with every true box, found with certainty."""
    truth = task.held_out_truth
    answers = np.full((len(task), task.most_found, 6), -1, dtype=np.float32)
    place = np.arange(len(truth.image)) - np.searchsorted(truth.image, truth.image)
    answers[truth.image, place] = np.column_stack(
        [truth.label, np.ones(len(truth.label)), truth.box]
    )
    return answers


def test_scenes_are_the_same_everywhere(task):
    digest = "ef8fe1e32b0c7c790108954a69436aacb43aa87054d59412a6ca755ca0fc565f"
    assert task.source().sha256 == digest


def test_every_box_lies_inside_its_scene_and_meets_no_other(task):
    boxes, labels = task.scenes.boxes, task.scenes.labels
    assert set((labels >= 0).sum(axis=1)) == {1, 2, 3}
    assert boxes.min() >= 0
    assert (boxes[..., :2] + boxes[..., 2:]).max() <= SIDE
    for scene in range(200):
        covered = np.zeros((SIDE, SIDE), dtype=int)
        for left, upper, wide, high in boxes[scene][labels[scene] >= 0]:
            covered[upper : upper + high, left : left + wide] += 1
        assert covered.max() == 1


def test_a_digit_of_its_own_size_is_drawn_as_it_is():
    digits, labels = Digits().stored
    scenes = compose(digits[:1], labels[:1].astype(np.int64), 60, np.random.default_rng(1))
    seen = 0
    for image, boxes, found in zip(scenes.images[:, 0], scenes.boxes, scenes.labels, strict=True):
        for left, upper, wide, high in boxes[found >= 0]:
            if wide == 8:
                cut = image[upper : upper + high, left : left + wide]
                ink = digits[0].astype(int) * INK
                assert (cut[ink > NOISE] == ink[ink > NOISE]).all()
                assert (cut[ink <= NOISE] < NOISE).all()
                seen += 1
    assert seen > 5


def test_perfect_answers_score_one_however_they_are_ordered(task):
    answers = perfect(task)
    assert task.score(task.held_out, answers) == 1
    some = np.array([50, 3, 299])
    assert task.score(some, answers[some]) == 1
    assert task.score(some, answers[some[::-1]]) < 1
    assert task.score(task.held_out, [task.decode(task.encode(one)) for one in answers]) == 1


def test_no_number_and_no_score_find_nothing(task):
    answers = perfect(task)
    for value in (np.nan, np.inf, 0.0):
        spoilt = answers.copy()
        spoilt[..., 1] = value
        assert task.score(task.held_out, spoilt) == 0


def test_boxes_moved_by_half_their_side_are_not_found(task):
    answers = perfect(task)
    answers[..., 2] += answers[..., 4] / 2
    assert task.score(task.held_out, answers) < 0.01


def test_answers_of_another_shape_are_refused(task):
    with pytest.raises(DataError, match="16 rows of 6 numbers"):
        task.score(task.held_out, np.zeros((HELD_OUT, 5, 6)))


def test_cells_say_where_the_boxes_are(task):
    pytest.importorskip("torch")
    from gnomon.tasks.training.scenes_learner import STRIDE, cell_targets

    scenes = task.scenes
    classes, distances = cell_targets(scenes.boxes[:100], scenes.labels[:100])
    for scene in range(100):
        rows, columns = np.nonzero(classes[scene] < 10)
        said = set()
        for row, column in zip(rows, columns, strict=True):
            left, upper, right, lower = STRIDE * distances[scene, :, row, column]
            x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
            box = (x - left, y - upper, left + right, upper + lower)
            said.add((int(classes[scene, row, column]), *(round(float(value)) for value in box)))
        true = {
            (int(label), *box)
            for label, box in zip(scenes.labels[scene], scenes.boxes[scene].tolist(), strict=True)
            if label >= 0
        }
        assert said == true
