"""Object detection: scenes that are the same everywhere, boxes, mean average precision, every model file."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.boxes import BOXES, COLUMNS, MOST_FOUND, decoded, default_boxes, encoded
from gnomon.tasks.mobile.detection import MobileDetection

EVERY = np.arange(256)
SOME = np.arange(0, 256, 4)
PYCOCOTOOLS = 0.33697561810574217
"""mAP of `noisy` as COCOeval of pycocotools 2.0.11 has it (`stats[0]`), from the boxes of `decoded`."""


@pytest.fixture(scope="module")
def task():
    return MobileDetection()


@pytest.fixture(scope="module")
def right(task):
    """What a detector that knows the truth answers, float32 (256, 360, 15)."""
    answers = np.zeros((len(task), BOXES, COLUMNS), dtype=np.float32)
    for answer, boxes, labels in zip(answers, task.scenes.boxes, task.scenes.labels, strict=True):
        digits = (labels >= 0) & (labels < 10)
        offsets, classes = encoded(boxes[digits], labels[digits])
        answer[:, :4] = offsets
        answer[np.arange(BOXES), 4 + classes] = 12
    return answers


def noisy(right):
    """Offsets and logits a little off, some far."""
    generator = np.random.default_rng(5)
    off = generator.normal(0, 1, right.shape) * [*[0.9] * 4, *[3.0] * 11]
    return (right + off).astype(np.float32)


def saying(*rows):
    """Answers of one image, nothing anywhere but at these default boxes: (place, class, logit, offsets)."""
    answer = np.zeros((1, BOXES, COLUMNS), dtype=np.float32)
    answer[..., 4] = 20
    for place, label, logit, offsets in rows:
        answer[0, place, :4] = offsets
        answer[0, place, 4] = 0
        answer[0, place, 5 + label] = logit
    return answer


def found_in(answer):
    found = decoded(answer)
    return found.boxes[found.kept], found.labels[found.kept], found.scores[found.kept]


def test_scenes_are_the_same_everywhere(task):
    assert (
        task.source().sha256 == "c78ecc2344f41178bc36a4d6b0032dc21a4676be0f8a518a2d2fe9d503ef51fb"
    )
    assert not task.source().official
    assert task.source().name.startswith("stand-in")


def test_only_digits_are_to_be_found(task):
    assert task.truth.label.max() == 9
    assert task.scenes.labels.max() > 9
    assert len(task.truth.label) > 400
    assert (task.truth.box >= 0).all()
    assert (task.truth.box[:, :2] + task.truth.box[:, 2:] <= 96).all()


def test_inputs_are_images_of_0_to_255(task):
    stored, inputs = task.stored_inputs(SOME), task.inputs(SOME)
    assert stored.dtype == np.uint8
    assert inputs.dtype == np.float32
    assert inputs.shape == (64, 3, 96, 96)
    np.testing.assert_array_equal(inputs, stored)


def test_default_boxes_lie_by_map_row_column_and_shape():
    boxes = default_boxes()
    assert boxes.shape == (360, 4)
    np.testing.assert_array_equal(boxes[0], [4, 4, 14, 22])
    np.testing.assert_array_equal(boxes[3], [12, 4, 19, 29])
    np.testing.assert_array_equal(boxes[24], [4, 12, 14, 22])
    np.testing.assert_array_equal(boxes[288], [8, 8, 24, 37])
    np.testing.assert_array_equal(boxes[-1], [88, 88, 30, 41])


def test_offsets_move_and_enlarge_a_default_box():
    # The box at (44, 44) of 14x22: half its width to the right, 0.1 of its height down, e^0.2 as wide.
    boxes, labels, scores = found_in(saying((2 * (12 * 5 + 5), 7, 2.0, [5, 1, 1, 0])))
    width = 14 * np.exp(0.2)
    np.testing.assert_allclose(boxes[0], [44 + 7 - width / 2, 44 + 2.2 - 11, width, 22])
    assert labels[0] == 7
    assert scores[0] == pytest.approx(np.exp(2) / (np.exp(2) + 10))


def test_a_box_ends_where_the_scene_ends():
    boxes, _, _ = found_in(saying((0, 1, 9.0, [0, 0, 0, 0])))
    np.testing.assert_allclose(boxes[0], [0, 0, 11, 15])
    boxes, _, _ = found_in(saying((0, 1, 9.0, [0, 0, 1e9, 1e9])))
    np.testing.assert_allclose(boxes[0], [0, 0, 96, 96])


def test_a_box_over_a_better_one_of_its_class_is_dropped():
    here, near = 2 * (12 * 5 + 5), 2 * (12 * 5 + 6)
    # 8 pixels apart, 14 wide: they share 6 of 22, which is less than a half; offset by 6: 12 of 16.
    apart = saying((here, 3, 5.0, [0] * 4), (near, 3, 4.0, [0] * 4))
    over = saying((here, 3, 5.0, [0] * 4), (near, 3, 6.0, [-60 / 14, 0, 0, 0]))
    other = saying((here, 3, 5.0, [0] * 4), (near, 4, 6.0, [-60 / 14, 0, 0, 0]))
    assert found_in(apart)[1].tolist().count(3) == 2
    boxes, labels, _ = found_in(over)
    np.testing.assert_allclose(boxes[labels == 3], [[52 - 6 - 7, 33, 14, 22]])
    labels = found_in(other)[1].tolist()
    assert labels.count(3) >= 1
    assert labels.count(4) >= 1


def test_a_dropped_box_drops_no_other():
    # Each shares 10 of 18 with its neighbour and 6 of 22 with the one after it.
    rows = [
        (2 * (12 * 5 + 5 + step), 3, 12.0 - step, [-40 * step / 14, 0, 0, 0]) for step in range(3)
    ]
    boxes, labels, _ = found_in(saying(*rows))
    np.testing.assert_allclose(boxes[labels == 3][:, 0], [37, 45])


def test_no_more_than_a_hundred_boxes_of_an_image_count():
    answer = np.random.default_rng(0).normal(0, 3, (2, BOXES, COLUMNS)).astype(np.float32)
    assert decoded(answer).kept.sum(axis=1).max() == MOST_FOUND


def test_a_true_box_has_a_default_box_however_it_lies():
    offsets, classes = encoded(np.array([[0, 0, 5, 44], [60, 60, 20, 30]]), np.array([4, 9]))
    assert set(classes) == {0, 5, 10}
    assert (offsets[classes == 0] == 0).all()
    offsets, classes = encoded(np.zeros((0, 4), dtype=int), np.zeros(0, dtype=int))
    assert not offsets.any()
    assert not classes.any()


def test_a_detector_that_knows_the_truth_scores_one(task, right):
    assert task.score(EVERY, right) == pytest.approx(1)
    shuffled = np.random.default_rng(1).permutation(256)[:100]
    assert task.score(shuffled, right[shuffled]) == pytest.approx(1)


def test_the_score_is_that_of_pycocotools(task, right):
    assert task.score(EVERY, noisy(right)) == pytest.approx(PYCOCOTOOLS, abs=1e-9)


def test_numbers_that_are_not_finite_find_nothing(task, right):
    broken = right.copy()
    broken[..., 0] = np.nan
    assert task.score(EVERY, broken) == 0
    broken = right.copy()
    broken[::2, :, 9] = np.inf
    assert 0 < task.score(EVERY, broken) < 0.7


def test_an_answer_survives_the_log(task, right):
    back = [task.decode(task.encode(answer)) for answer in right[:4]]
    np.testing.assert_array_equal(back, right[:4])
    assert task.score(EVERY[:4], back) == task.score(EVERY[:4], right[:4])


def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(DataError, match="offsets and class logits"):
        task.score(EVERY[:2], np.zeros((2, BOXES, COLUMNS - 1)))
