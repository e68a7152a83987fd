"""ADE20K as the app has it, in small: maps in pairs with photographs, mIoU worked out by hand."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.ade20k import MobileAde20k

image = pytest.importorskip("PIL.Image")

TRUE = np.array([[[0, 1, 1, 2]], [[2, 2, 1, 255]]], dtype=np.uint8)
"""Of two photographs of one row of four pixels."""
ANSWER = np.array([[[1, 1, 2, 2]], [[2, 3, 1, 1]]], dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for part in ("images", "annotations"):
        (tmp_path / part).mkdir()
    for number, labels in enumerate(TRUE):
        image.fromarray(labels).save(tmp_path / "annotations" / f"{number}.png")
        image.new("RGB", (4, 1), (255 * number,) * 3).save(tmp_path / "images" / f"{number}.png")
    stated = {"image_width": 4, "image_height": 1, "num_classes": 3}
    (tmp_path / "task.json").write_text(json.dumps(stated))
    return tmp_path


def test_photographs_are_given_as_they_are(folder):
    inputs = MobileAde20k(folder).inputs(np.array([1, 0]))
    assert (inputs.shape, inputs.dtype) == ((2, 3, 1, 4), np.float32)
    assert inputs[0].min() == 1
    assert inputs[1].max() == -1


def test_overlaps_are_summed_over_photographs_before_they_are_averaged(folder):
    # Class 1: 2 right of 3 there, and 2 answers where the truth is none of the classes: 2 / 3.
    # Class 2: 2 right of 3 there, one answer where 1 is right: 2 / 4.
    # Class 3: nowhere, answered once where 2 is right: 0.
    task = MobileAde20k(folder)
    assert task.score(np.arange(2), ANSWER) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert task.score(np.arange(2)[::-1], ANSWER[::-1]) == task.score(np.arange(2), ANSWER)
    assert task.score(np.array([0]), ANSWER[:1]) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.int64, np.uint8])
def test_maps_of_any_type_and_scores_give_the_same_answers(folder, kind):
    task = MobileAde20k(folder)
    np.testing.assert_array_equal(task.model_answers([ANSWER.astype(kind)]), ANSWER)
    np.testing.assert_array_equal(task.model_answers([ANSWER[:, None].astype(kind)]), ANSWER)
    np.testing.assert_array_equal(task.model_answers([ANSWER[..., None].astype(kind)]), ANSWER)
    expected = task.score(np.arange(2), ANSWER)
    assert task.score(np.arange(2), ANSWER.astype(kind)) == expected
    decoded = [task.decode(task.encode(answer.astype(kind))) for answer in ANSWER]
    assert task.score(np.arange(2), decoded) == expected


def test_scores_of_classes_become_the_class_of_the_highest(tmp_path):
    for part in ("images", "annotations"):
        (tmp_path / part).mkdir()
    labels = np.array([[1, 2], [3, 0]], dtype=np.uint8)
    image.fromarray(labels).save(tmp_path / "annotations" / "a.png")
    image.new("RGB", (2, 2)).save(tmp_path / "images" / "a.png")
    (tmp_path / "task.json").write_text('{"image_width": 2, "image_height": 2, "num_classes": 3}')
    task = MobileAde20k(tmp_path)
    scores = np.eye(4, dtype=np.float32)[labels].transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(task.model_answers([scores]), labels[None])
    assert task.score(np.array([0]), task.model_answers([scores])) == 1


def test_only_all_photographs_of_all_classes_are_official(folder, monkeypatch):
    assert not MobileAde20k(folder).source().official
    monkeypatch.setattr(MobileAde20k, "official_count", 2)
    assert not MobileAde20k(folder).source().official  # three classes, not 31
    (folder / "task.json").write_text('{"image_width": 4, "image_height": 1}')
    assert MobileAde20k(folder).source().official


def test_files_that_do_not_fit_are_named(folder):
    task = MobileAde20k(folder)
    with pytest.raises(DataError, match=r"maps of 1x4 classes, the model gave shape \(1, 3\)"):
        task.score(np.array([0]), ANSWER[:1, :, :3])
    image.new("L", (5, 1)).save(folder / "annotations" / "0.png")
    with pytest.raises(DataError, match=r"0\.png has 5x1 pixels, not 4x1"):
        task.score(np.array([0]), ANSWER[:1])
    image.new("RGB", (4, 2)).save(folder / "images" / "1.png")
    with pytest.raises(DataError, match=r"1\.png has 4x2 pixels"):
        task.inputs(np.array([1]))
    (folder / "annotations" / "1.png").rename(folder / "annotations" / "9.png")
    with pytest.raises(DataError, match="files of the same names, only one has 1"):
        MobileAde20k(folder).source()
