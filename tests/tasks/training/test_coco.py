"""COCO's format in small, SSD's boxes against those written out, and one step of the whole."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.training.coco import TrainingCoco, read_annotations
from gnomon.tasks.training.ssd_boxes import default_boxes, encoded
from gnomon.tasks.training.ssd_samples import augmented, inside, overlaps, random_crop
from gnomon.timetotrain.task import Recipe

image = pytest.importorskip("PIL.Image")

SIZE = (80, 60)
CATEGORIES = [{"id": 7, "name": "train"}, {"id": 3, "name": "car"}]
"""As in COCO, neither in order nor without gaps."""


def annotations(part):
    """Three photographs; the second has no box, the third is listed first."""
    rows = [
        {"id": 1, "image_id": 50, "category_id": 7, "bbox": [10, 20, 30, 20], "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0.5, 0, 40, 50], "iscrowd": 0},
        {"id": 3, "image_id": 50, "category_id": 3, "bbox": [50, 5, 20, 20], "iscrowd": 1},
    ]
    images = [
        {"id": number, "file_name": f"{part}{number:04}.jpg", "width": SIZE[0], "height": SIZE[1]}
        for number in (50, 12, 9)
    ]
    return {"images": images, "categories": CATEGORIES, "annotations": rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("coco")
    (place / "annotations").mkdir()
    generator = np.random.default_rng(0)
    for part in ("train2017", "val2017"):
        (place / part).mkdir()
        stored = annotations(part)
        (place / "annotations" / f"instances_{part}.json").write_text(json.dumps(stored))
        for one in stored["images"]:
            pixels = generator.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
            image.fromarray(pixels).save(place / part / one["file_name"])
    return place


def test_images_and_classes_are_numbered_by_their_ids(folder):
    task = TrainingCoco(folder)
    held_out = task.held_out_annotations
    assert held_out.files == ["val20170009.jpg", "val20170012.jpg", "val20170050.jpg"]
    assert held_out.names == ["car", "train"]
    assert held_out.truth.image.tolist() == [0, 2, 2]
    assert held_out.truth.label.tolist() == [0, 1, 0]
    assert held_out.truth.crowd.tolist() == [False, False, True]
    assert (len(task), task.training_size, task.classes) == (3, 2, 2)
    assert task.trained_on_annotations.truth.image.tolist() == [0, 1, 1]
    boxes, labels = task.trained_on_annotations.boxes_of(1)
    assert (boxes.tolist(), labels.tolist()) == ([[10, 20, 30, 20], [50, 5, 20, 20]], [1, 0])
    assert not task.source().official


def test_inputs_are_square_and_normalised(folder):
    inputs = TrainingCoco(folder).inputs(np.array([2, 0]))
    assert inputs.shape == (2, 3, 300, 300)
    assert abs(inputs.mean()) < 0.5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda stored: stored.pop("images"), "no COCO annotation file"),
        (lambda stored: stored["annotations"][0].update(bbox=[1, 2]), "no COCO annotation file"),
        (lambda stored: stored["annotations"][0].update(image_id=1), "annotation of image 1,"),
        (lambda stored: stored["annotations"][1].update(category_id=8), "of category 8,"),
        (lambda stored: stored.update(images=[], annotations=[]), "lists no images"),
    ],
)
def test_annotations_that_contradict_themselves_are_named(tmp_path, change, complaint):
    stored = annotations("val2017")
    change(stored)
    (tmp_path / "instances.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=complaint):
        read_annotations(tmp_path / "instances.json")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="--data"):
        len(TrainingCoco())
    with pytest.raises(DataError, match=r"no .*instances_val2017\.json"):
        len(TrainingCoco(tmp_path))
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(DataError, match="cut short"):
        read_annotations(tmp_path / "cut.json")


def test_default_boxes_are_those_of_the_paper():
    boxes = default_boxes()
    assert boxes.shape == (8732, 4)
    np.testing.assert_allclose(boxes[0], [4 / 300, 4 / 300, 21 / 300, 21 / 300])
    np.testing.assert_allclose(boxes[1, :2], [12 / 300, 4 / 300])
    np.testing.assert_allclose(boxes[38 * 38, 2:], np.sqrt(21 * 45) / 300)
    # Narrow and higher than the image: clipped to it.
    np.testing.assert_allclose(boxes[-1], [0.5, 0.5, 261 / 300 / 2**0.5, 1])


def test_what_is_encoded_is_decoded_again():
    torch = pytest.importorskip("torch")
    from gnomon.tasks.training.ssd_learner import decoded

    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.1, 0.64, 0.13], [0.0, 0.0, 1.0, 1.0]])
    offsets, classes = encoded(boxes, np.array([4, 2, 0]), nothing=80)
    defaults = torch.from_numpy(default_boxes()).float()
    edges = decoded(torch.from_numpy(offsets)[None], defaults)[0].numpy()
    for box, label in zip(boxes, (4, 2, 0), strict=True):
        assert (classes == label).any()
        np.testing.assert_allclose(edges[classes == label] - box, 0, atol=1e-4)
    half = default_boxes()[:, 2:] / 2
    corners = np.hstack([default_boxes()[:, :2] - half, default_boxes()[:, :2] + half])
    shared = overlaps(corners, boxes)
    assert set(np.flatnonzero(shared.max(axis=1) > 0.5)) <= set(np.flatnonzero(classes < 80))
    assert (classes == 80).sum() > 8000


def test_an_image_without_boxes_is_nothing_everywhere():
    offsets, classes = encoded(np.empty((0, 4)), np.empty(0, dtype=np.int64), nothing=80)
    assert (classes == 80).all()
    assert not offsets.any()


def test_crops_keep_a_box_whose_middle_is_inside():
    boxes = np.array([[0.1, 0.1, 0.3, 0.4], [0.6, 0.5, 0.9, 0.9]])
    labels = np.array([3, 5])
    sizes = set()
    for seed in range(200):
        crop = random_crop(boxes, np.random.default_rng(seed))
        assert crop.min() >= 0
        assert crop.max() <= 1
        left, found = inside(boxes, labels, crop)
        assert 1 <= len(found) == len(left)
        assert left.min() >= 0
        assert left.max() <= 1
        sizes.add(round(float(np.prod(crop[2:] - crop[:2])), 3))
    assert len(sizes) > 50


def test_augmentation_moves_boxes_with_what_they_show():
    pixels = np.zeros((100, 100, 3), dtype=np.uint8)
    pixels[20:50, 60:80] = 255
    boxes, labels = np.array([[0.6, 0.2, 0.8, 0.5]]), np.array([1])
    for seed in range(20):
        seen, moved, kept = augmented(
            image.fromarray(pixels), boxes, labels, np.random.default_rng(seed)
        )
        assert kept.tolist() == [1]
        rows, columns = np.nonzero(seen.mean(axis=2) > 64)
        shown = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(np.array(shown) / 300, moved[0], atol=0.03)


def greedy(edges, likely, most, candidates=2000):
    """Suppression one box after the other."""
    rows = [
        (label, likely[box, label], box)
        for box in range(len(likely))
        for label in range(likely.shape[1])
        if likely[box, label] > 0.05
    ]
    kept = []
    for label, score, box in sorted(rows, key=lambda row: -row[1])[:candidates]:
        rivals = [edges[other] for other_label, _, other in kept if other_label == label]
        shared = overlaps(edges[box][None], np.array(rivals).reshape(-1, 4))
        if not (shared > 0.5).any():
            kept.append((label, score, box))
    return kept[:most]


@pytest.mark.parametrize("seed", range(5))
def test_suppression_side_by_side_keeps_what_greedy_keeps(seed):
    torch = pytest.importorskip("torch")
    from gnomon.tasks.training.ssd_learner import suppressed

    generator = np.random.default_rng(seed)
    low = generator.random((60, 2)) * 0.4
    edges = np.hstack([low, low + 0.2 + generator.random((60, 2)) * 0.3])
    likely = generator.random((60, 3)) * 0.5
    found = suppressed(torch.from_numpy(edges), torch.from_numpy(likely), 30).numpy()
    expected = [[label, score, *edges[box]] for label, score, box in greedy(edges, likely, 30)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_ssd_trains_a_step_and_answers_in_the_photographs_own_pixels(folder, tmp_path):
    torch = pytest.importorskip("torch")
    from gnomon.tasks.training.ssd_learner import BACKBONE
    from gnomon.tasks.training.ssd_model import Backbone

    hyperparameters = {
        "global_batch_size": 1,
        "opt_name": "sgd",
        "opt_base_learning_rate": 1e-3,
        "opt_sgd_momentum": 0.9,
    }
    task = TrainingCoco(folder)
    with pytest.raises(DataError, match=r"resnet34-333f7ec4\.pth are missing"):
        task.learner(Recipe(1, hyperparameters))
    torch.manual_seed(0)
    torch.save(Backbone().state_dict() | {"fc.weight": torch.zeros(1)}, folder / BACKBONE)
    learner = task.learner(Recipe(1, hyperparameters))
    batch = next(learner.batches(1))
    for made, real in zip(learner.made_up_batch(), batch, strict=True):
        assert (made.shape, made.dtype) == (real.shape, real.dtype)
    loss = learner.loss(learner.model, batch)
    loss.backward()
    learner.optimizer.step()
    assert torch.isfinite(loss)
    assert all(weight.grad is not None for weight in learner.model.parameters())
    learner.model.eval()
    with torch.inference_mode():
        answers = learner.answers(task.held_out[1:])
    assert answers.shape == (2, 200, 6)
    found = answers[answers[..., 0] >= 0]
    assert (found[:, 2] + found[:, 4] <= SIZE[0] + 0.01).all()
    assert (found[:, 3] + found[:, 5] <= SIZE[1] + 0.01).all()
    assert 0 <= task.score(task.held_out[1:], answers) <= 1


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        (b"no weights", "cut short"),
        ({"conv1.weight": None}, r"has no bn1\.bias"),
    ],
)
def test_weights_of_something_else_are_refused(tmp_path, stored, complaint):
    torch = pytest.importorskip("torch")
    from gnomon.tasks.training.ssd_model import Backbone

    if isinstance(stored, bytes):
        (tmp_path / "weights.pth").write_bytes(stored)
    else:
        torch.save(stored, tmp_path / "weights.pth")
    with pytest.raises(DataError, match=complaint):
        Backbone().load(tmp_path / "weights.pth")
