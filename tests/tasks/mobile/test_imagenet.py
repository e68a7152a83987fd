"""ImageNet as the app has it, in small: files in order, the class after an offset, what the log keeps."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.imagenet import MobileImageNet

image = pytest.importorskip("PIL.Image")

LABELS = (2, 0, 1)


@pytest.fixture
def folder(tmp_path):
    """Three photographs of one colour each, named so that their order is not that of writing."""
    (tmp_path / "img").mkdir()
    for name, red in (("c.JPEG", 255), ("a.JPEG", 0), ("b.JPEG", 128)):
        pixels = np.full((40, 60, 3), (red, 128, 0), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / "img" / name, quality=100)
    (tmp_path / "imagenet_val_full.txt").write_text("\n".join(map(str, LABELS)) + "\n")
    return tmp_path


def scores(*named, width=4):
    return np.eye(width, dtype=np.float32)[list(named)]


def test_samples_are_photographs_by_name_at_the_models_size(folder):
    task = MobileImageNet(folder)
    assert len(task) == 3
    inputs = task.inputs(np.array([2, 0]))
    assert (inputs.shape, inputs.dtype) == ((2, 3, 224, 224), np.float32)
    np.testing.assert_allclose(inputs[:, 0].mean(axis=(1, 2)), [1, -1], atol=0.03)


def test_the_score_counts_classes_after_the_offset(folder):
    task = MobileImageNet(folder)
    every = np.arange(3)
    assert task.score(every, scores(3, 1, 2)) == 1
    assert task.score(every, scores(3, 1, 1)) == pytest.approx(2 / 3)
    # The class that is none does not count however high it is: what follows decides.
    outputs = scores(3, 1, 2)
    outputs[:, 0] = 9
    assert task.score(every, outputs) == 1
    assert task.score(every[:1], np.array([[200, 3, 7, 250]], dtype=np.uint8)) == 1
    outputs[0, 3] = np.nan
    assert task.score(every, outputs) == pytest.approx(2 / 3)


def test_the_log_keeps_the_class_alone(folder):
    task = MobileImageNet(folder)
    outputs = scores(3, 1, 1)
    logged = [task.encode(output) for output in outputs]
    assert {len(data) for data in logged} == {4}
    assert task.score(np.arange(3), [task.decode(data) for data in logged]) == pytest.approx(2 / 3)


def test_a_file_says_what_is_different(folder):
    stated = {"image_width": 96, "image_height": 64, "offset": 0, "mean": 0, "divisor": 1}
    (folder / "task.json").write_text(json.dumps(stated))
    task = MobileImageNet(folder)
    inputs = task.inputs(np.array([2]))
    assert inputs.shape == (1, 3, 64, 96)
    assert inputs.max() > 250
    assert task.score(np.arange(3), scores(2, 0, 1, width=3)) == 1
    elsewhere = folder / "elsewhere" / "mine.json"
    elsewhere.parent.mkdir()
    places = {"inputs": "../img", "truth": "../imagenet_val_full.txt"}
    elsewhere.write_text(json.dumps(places))
    other = MobileImageNet(elsewhere)
    assert len(other) == 3
    assert other.source().sha256 != task.source().sha256
    assert other.source().sha256 == MobileImageNet(elsewhere).source().sha256


def test_raw_photographs_are_taken_as_they_are(tmp_path):
    (tmp_path / "img").mkdir()
    stored = np.arange(2 * 4 * 3, dtype=np.uint8)
    stored.tofile(tmp_path / "img" / "a.rgb8")
    (tmp_path / "imagenet_val_full.txt").write_text("5")
    stated = {"image_width": 4, "image_height": 2, "mean": 0, "divisor": 1}
    (tmp_path / "task.json").write_text(json.dumps(stated))
    inputs = MobileImageNet(tmp_path).inputs(np.array([0]))
    np.testing.assert_array_equal(inputs[0].transpose(1, 2, 0).ravel(), stored)


def test_some_photographs_are_not_the_official_data_and_all_are(folder, monkeypatch):
    source = MobileImageNet(folder).source()
    assert not source.official
    assert source.name == "3 samples in the format of ImageNet (ILSVRC 2012) validation"
    monkeypatch.setattr(MobileImageNet, "official_count", 3)
    assert MobileImageNet(folder).source().official


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ('{"image_with": 3}', "'image_with': did you mean 'image_width'"),
        ('{"num_classes": 3}', "unknown key in .*for task 'mobile-imagenet': 'num_classes'"),
        ('{"image_width": "3"}', "image_width: Input should be a valid integer"),
        ('{"divisor": 0}', "divisor: Input should be greater than 0"),
        ("[]", "must hold one JSON object"),
        ("{", "cannot be read as JSON"),
        ('{"truth": "none.txt"}', r"there is no .*none\.txt"),
        ('{"offset": 3}', "set offset in task.json"),
    ],
)
def test_a_layout_that_means_nothing_is_named(folder, stated, complaint):
    (folder / "task.json").write_text(stated)
    with pytest.raises(DataError, match=complaint):
        MobileImageNet(folder).score(np.arange(3), scores(0, 0, 0))


@pytest.mark.parametrize("truth", ["1 2", "1 2 3 4", "1 -2 3", "1 two 3", ""])
def test_classes_that_are_not_one_a_photograph_are_refused(folder, truth):
    (folder / "imagenet_val_full.txt").write_text(truth)
    with pytest.raises(DataError, match="imagenet_val_full"):
        MobileImageNet(folder).source()


def test_no_data_says_which_and_how(tmp_path):
    with pytest.raises(DataError, match=r"50,000 validation images.*--data FOLDER"):
        len(MobileImageNet())
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        len(MobileImageNet(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"there is no .*img: task 'mobile-imagenet' needs"):
        len(MobileImageNet(tmp_path))
