"""ImageNet's folders in small: what is listed, what is cut out of a photograph, ResNet-50 itself."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.training.imagenet import MEAN, TrainingImageNet
from gnomon.tasks.training.jpeg_images import middle, opened, random_crop
from gnomon.timetotrain.task import Recipe

image = pytest.importorskip("PIL.Image")

CLASSES = ("n01440764", "n01443537", "n02000000")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes, nine photographs to train on, four held out; red grows from left to right."""
    place = tmp_path_factory.mktemp("imagenet")
    red = np.tile(np.linspace(0, 255, 90, dtype=np.uint8), (60, 1))
    for part, counts in (("train", (4, 3, 2)), ("val", (2, 1, 1))):
        for number, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            (place / part / name).mkdir(parents=True)
            pixels = np.dstack([red, np.full_like(red, 100 * number), np.zeros_like(red)])
            for one in range(count):
                file = place / part / name / f"{name}_{one}.JPEG"
                image.fromarray(pixels).save(file, quality=95)
    (place / "train" / CLASSES[0] / "notes.txt").write_text("no image")
    return place


def test_images_are_listed_by_class_and_held_out_first(folder):
    task = TrainingImageNet(folder)
    assert (len(task), task.training_size, task.classes) == (4, 9, 3)
    assert task.labels.tolist() == [0, 0, 1, 2, *[0] * 4, *[1] * 3, *[2] * 2]
    assert task.listed.files[2] == "val/n01443537/n01443537_0.JPEG"
    assert not task.source().official
    assert task.source().sha256 == TrainingImageNet(folder).source().sha256


def test_inputs_are_the_middle_of_each_image_less_the_mean(folder):
    task = TrainingImageNet(folder)
    inputs = task.inputs(np.array([3, 0]))
    assert inputs.shape == (2, 3, 224, 224)
    assert inputs.dtype == np.float32
    assert abs(inputs[0, 1].mean() + MEAN[1] - 200) < 3
    # The shorter side, 60 pixels, is made 256: 384 x 256, of which columns 80 to 304 are left.
    assert abs(inputs[1, 0, :, 0].mean() + MEAN[0] - 255 * 80 / 384) < 4
    assert abs(inputs[1, 0, :, -1].mean() + MEAN[0] - 255 * 304 / 384) < 4


def test_random_crops_differ_and_stay_inside(folder):
    picture = opened(folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG")
    crops = [random_crop(picture, 32, np.random.default_rng(seed)) for seed in range(40)]
    again = random_crop(picture, 32, np.random.default_rng(3))
    np.testing.assert_array_equal(again, crops[3])
    slopes = [float(crop[:, -4:, 0].mean()) - float(crop[:, :4, 0].mean()) for crop in crops]
    assert 8 < sum(slope < 0 for slope in slopes) < 32  # mirrored
    assert max(map(abs, slopes)) > 3 * min(map(abs, slopes))  # of different widths
    assert all(crop.shape == (32, 32, 3) for crop in crops)


def test_a_photograph_of_any_shape_has_a_middle():
    for size in ((1, 1), (1000, 3), (3, 1000)):
        assert middle(image.new("RGB", size), 224).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda place: (place / "val").rename(place / "validation"), "has no folder val"),
        (lambda place: (place / "val" / "n09999999").mkdir(), "n09999999, which"),
    ],
)
def test_folders_that_do_not_fit_are_named(tmp_path, spoil, complaint):
    for part in ("train", "val"):
        (tmp_path / part / "n01440764").mkdir(parents=True)
        (tmp_path / part / "n01440764" / "a.jpg").touch()
    spoil(tmp_path)
    with pytest.raises(DataError, match=complaint):
        len(TrainingImageNet(tmp_path))


def test_empty_folders_no_folder_and_a_broken_image_are_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="has no folders of"):
        len(TrainingImageNet(tmp_path))
    with pytest.raises(DataError, match="--data"):
        len(TrainingImageNet())
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"a\.jpg cannot be read as an image"):
        opened(tmp_path / "a.jpg")


def test_resnet_50_is_of_its_published_size():
    pytest.importorskip("torch")
    from gnomon.tasks.training.residual_network import ResNet50

    model = ResNet50(1000)
    assert sum(weight.numel() for weight in model.parameters()) == 25_557_032
    names = set(model.state_dict())
    assert {"conv1.weight", "layer1.0.downsample.0.weight", "layer4.2.bn3.running_var"} <= names


def test_one_epoch_is_read_from_disk_and_learnt_from(folder):
    torch = pytest.importorskip("torch")
    task = TrainingImageNet(folder)
    hyperparameters = {
        "global_batch_size": 4,
        "opt_name": "sgd",
        "opt_base_learning_rate": 0.01,
        "opt_weight_decay": 1e-4,
    }
    learner = task.learner(Recipe(5, hyperparameters))
    learner.load_data()
    assert learner.made_up_batch()[0].shape == (4, 3, 224, 224)
    batches = list(learner.batches(1))
    assert [images.shape for images, _ in batches] == [(4, 3, 224, 224)] * 2
    again = next(learner.batches(1))
    torch.testing.assert_close(again, batches[0], rtol=0, atol=0)
    shares = [
        next(task.learner(Recipe(5, hyperparameters, "cpu", rank, 2)).batches(1)) for rank in (0, 1)
    ]
    woven = torch.stack([images for images, _ in shares], dim=1).flatten(0, 1)
    torch.testing.assert_close(woven, batches[0][0], rtol=0, atol=0)
    images, labels = batches[0]
    loss = learner.loss(learner.model, (images[:1], labels[:1]))
    loss.backward()
    learner.optimizer.step()
    learner.model.eval()
    with torch.inference_mode():
        answers = learner.answers(task.held_out[:2])
        expected = learner.model(torch.from_numpy(task.inputs(task.held_out[:2]))).argmax(1)
    np.testing.assert_array_equal(answers, expected)
