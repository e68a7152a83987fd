"""COCO as the app has it, in small: boxes in both formats, an SSD model's answers, mAP worked out by hand."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.coco import MobileCoco

image = pytest.importorskip("PIL.Image")

TEXT = """
detection_results {
  objects {
    class_id: 44
    bounding_box { normalized_top: 0.25 normalized_bottom: 0.75 normalized_left: 0.1 normalized_right: 0.6 }
  }
  image_name: "000000000009.jpg"
  image_id: 9
}
detection_results {
  objects {
    class_id: 1
    bounding_box { normalized_top: 0 normalized_bottom: 0.5 normalized_left: 0.5 normalized_right: 1 }
  }
  objects {
    class_id: 44
    bounding_box { normalized_top: 0.5 normalized_bottom: 1 normalized_left: 0 normalized_right: 0.5 }
  }
  image_name: "000000000012.jpg"
  image_id: 12
}
"""
ANNOTATIONS = {
    "images": [
        {"id": 12, "file_name": "000000000012.jpg", "width": 60, "height": 40},
        {"id": 9, "file_name": "000000000009.jpg", "width": 80, "height": 40},
    ],
    "categories": [{"id": 44, "name": "bottle"}, {"id": 1, "name": "person"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 44, "bbox": [8, 10, 40, 20], "iscrowd": 0},
        {"id": 2, "image_id": 12, "category_id": 1, "bbox": [30, 0, 30, 20], "iscrowd": 0},
        {"id": 3, "image_id": 12, "category_id": 44, "bbox": [0, 20, 30, 20], "iscrowd": 0},
    ],
}
RIGHT = {
    0: [(44, 0.25, 0.1, 0.75, 0.6)],
    1: [(1, 0, 0.5, 0.5, 1), (44, 0.5, 0, 1, 0.5)],
    2: [],
}
"""By sample: class, top, left, bottom and right edge. The third photograph is named nowhere."""


@pytest.fixture(params=["text", "annotations"])
def folder(request, tmp_path):
    """Three photographs, the truth in either format."""
    (tmp_path / "img").mkdir()
    for name, grey in (("000000000012", 255), ("000000000009", 0), ("000000000020", 128)):
        image.new("RGB", (60, 40), (grey,) * 3).save(tmp_path / "img" / f"{name}.jpg")
    if request.param == "text":
        (tmp_path / "coco_val_full.pbtxt").write_text(TEXT)
    else:
        (tmp_path / "instances_val2017.json").write_text(json.dumps(ANNOTATIONS))
        (tmp_path / "task.json").write_text(json.dumps({"truth": "instances_val2017.json"}))
    return tmp_path


def given_by_a_model(found, rows=3):
    """Four outputs of an SSD model: edges, classes from 0, scores, counts; rubbish beyond the count."""
    edges = np.full((len(found), rows, 4), 0.3, dtype=np.float32)
    classes = np.full((len(found), rows), 5, dtype=np.float32)
    scores = np.full((len(found), rows), 0.99, dtype=np.float32)
    for image_, boxes in enumerate(found):
        for row, (label, *sides) in enumerate(boxes):
            edges[image_, row], classes[image_, row] = sides, label - 1
            scores[image_, row] = 0.9 - 0.1 * row
    return [edges, classes, scores, np.array([len(boxes) for boxes in found], dtype=np.float32)]


def test_whole_photographs_are_made_square(folder):
    task = MobileCoco(folder)
    assert len(task) == 3
    inputs = task.inputs(np.array([0, 1]))
    assert (inputs.shape, inputs.dtype) == ((2, 3, 320, 320), np.float32)
    assert inputs[0].max() == -1
    assert inputs[1].min() == 1


def test_what_is_right_scores_one_in_either_format_and_through_the_log(folder):
    task = MobileCoco(folder)
    answers = task.model_answers(given_by_a_model(list(RIGHT.values())))
    assert answers.shape == (3, 3, 6)
    assert (answers[2, :, 0] == -1).all()
    every = np.arange(3)
    assert task.score(every, answers) == 1
    decoded = [task.decode(task.encode(answer)) for answer in answers]
    assert task.score(every, decoded) == 1
    assert task.score(every[::-1], answers[::-1]) == 1


def test_a_box_that_overlaps_six_tenths_counts_at_three_of_ten_thresholds(folder):
    # Of class 44 one of two boxes is found exactly and one at 0.6; class 1 is found.
    found = [[(44, 0.25, 0.1, 0.55, 0.6)], RIGHT[1], []]
    task = MobileCoco(folder)
    outputs = given_by_a_model(found)
    outputs[2][0, 0] = 0.5  # the worse one comes last
    answers = task.model_answers(outputs)
    half = 51 / 101  # recall 0 to 0.5 in steps of a hundredth
    expected = (1 + (3 * 1 + 7 * half) / 10) / 2
    assert task.score(np.arange(3), answers) == pytest.approx(expected)


def test_a_wrong_class_is_not_found_and_nan_is_left_out(folder):
    task = MobileCoco(folder)
    wrong = [[(45, *RIGHT[0][0][1:])], RIGHT[1], []]
    assert task.score(np.arange(3), task.model_answers(given_by_a_model(wrong))) < 0.8
    answers = task.model_answers(given_by_a_model(list(RIGHT.values())))
    answers[1, 0, 2] = np.nan
    assert task.score(np.arange(3), answers) == pytest.approx(0.5)


def test_only_a_whole_set_is_official(folder, monkeypatch):
    assert not MobileCoco(folder).source().official
    monkeypatch.setattr(MobileCoco, "official_count", 3)
    assert not MobileCoco(folder).source().official
    monkeypatch.setattr(MobileCoco, "official_boxes", range(3, 4))
    source = MobileCoco(folder).source()
    assert source.official
    assert source.name == "COCO 2017 validation"


def test_another_model_is_refused(folder):
    task = MobileCoco(folder)
    outputs = given_by_a_model(list(RIGHT.values()))
    for other in (outputs[:3], outputs[1:], [outputs[1], outputs[0], *outputs[2:]]):
        with pytest.raises(DataError, match="SSD's post-processing"):
            task.model_answers(other)
    with pytest.raises(DataError, match=r"rows of 6 numbers, got an answer of shape \(5,\)"):
        task.score(np.arange(1), [np.zeros(5)])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no detection_results"),
        (TEXT.replace("class_id: 1\n", "class_id: 1 class: 2\n"), "line 12: Object has no field"),
        (TEXT.replace("0000", "1111"), "names none of the photographs"),
    ],
)
def test_true_boxes_that_do_not_fit_are_named(tmp_path, text, complaint):
    (tmp_path / "img").mkdir()
    image.new("RGB", (6, 4)).save(tmp_path / "img" / "000000000009.jpg")
    (tmp_path / "coco_val_full.pbtxt").write_text(text)
    with pytest.raises(DataError, match=complaint):
        MobileCoco(tmp_path).source()
