"""Digits that ship and CIFAR-10's formats: what is read, what is held out, what is refused."""

import io
import pickle

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.digits import Digits
from gnomon.tasks.training.cifar10 import FILES, PIXELS, TrainingCifar10
from gnomon.tasks.training.digits import TrainingDigits

COUNT = 7
"""Images in a file of the stand-in."""


def made_up():
    """Of every file: pixels (7, 3072) and labels (7,)."""
    generator = np.random.default_rng(2)
    return {
        name: (
            generator.integers(0, 256, (COUNT, PIXELS), dtype=np.uint8),
            generator.integers(0, 10, COUNT),
        )
        for name in FILES
    }


def write_binary(folder, contents):
    folder.mkdir()
    for name, (pixels, labels) in contents.items():
        records = np.column_stack([labels.astype(np.uint8), pixels])
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_pickled(folder, contents, protocol=2):
    folder.mkdir()
    for name, (pixels, labels) in contents.items():
        batch = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"made up"}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))


def cifar(path):
    return TrainingCifar10(path, images_a_file=COUNT)


@pytest.fixture
def binary(tmp_path):
    write_binary(tmp_path / "cifar-10-batches-bin", made_up())
    return tmp_path / "cifar-10-batches-bin"


@pytest.fixture
def pickled(tmp_path):
    write_pickled(tmp_path / "cifar-10-batches-py", made_up())
    return tmp_path / "cifar-10-batches-py"


def test_digits_are_all_used_and_held_out_from_every_writer():
    task = TrainingDigits()
    images, labels = Digits().stored
    assert len(task) + task.training_size == len(labels)
    assert sorted(image.tobytes() for image in task.pixels) == sorted(
        image.tobytes() for image in images
    )
    assert np.bincount(task.labels[: len(task)], minlength=10).min() > 20
    assert task.inputs(task.held_out).max() == 1


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint8])
def test_score_is_the_share_of_right_answers(dtype):
    task = TrainingDigits()
    samples = np.array([5, 0, 9, 100])
    answers = task.labels[samples].astype(dtype)
    assert task.score(samples, answers) == 1
    answers[1] = (answers[1] + 1) % 10
    assert task.score(samples, answers) == 0.75
    assert task.score(samples, [task.decode(task.encode(answer)) for answer in answers]) == 0.75


@pytest.mark.parametrize("answers", [np.zeros(3), np.zeros((4, 10), dtype=int), [0.5] * 4])
def test_anything_but_one_class_number_a_sample_is_refused(answers):
    with pytest.raises(DataError, match="one class number a sample"):
        TrainingDigits().score(np.arange(4), answers)


def test_both_formats_and_both_places_give_the_same_data(binary, pickled):
    tasks = [cifar(place) for place in (binary, pickled, pickled.parent)]
    contents = made_up()
    expected = np.concatenate([contents[name][0] for name in FILES]).reshape(-1, 3, 32, 32)
    for task in tasks:
        np.testing.assert_array_equal(task.pixels, expected)
        np.testing.assert_array_equal(task.labels[:COUNT], contents["test_batch"][1])
        assert (len(task), task.training_size) == (COUNT, 5 * COUNT)
        assert not task.source().official
    assert len({task.source().sha256 for task in tasks}) == 1


def test_inputs_are_normalised_by_channel(binary):
    task = cifar(binary)
    inputs = task.inputs(np.array([3]))[0]
    assert inputs.dtype == np.float32
    red = (task.pixels[3, 0] / 255 - 0.4914) / 0.2470
    np.testing.assert_allclose(inputs[0], red, rtol=1e-4, atol=1e-5)


class Hostile:
    def __reduce__(self):
        return (print, ("called",))


def test_a_pickle_that_calls_anything_is_refused_and_not_obeyed(pickled, capsys):
    (pickled / "data_batch_3").write_bytes(pickle.dumps({b"data": Hostile(), b"labels": []}))
    with pytest.raises(DataError, match=r"data_batch_3 asks to call builtins\.print"):
        _ = cifar(pickled).pixels
    assert "called" not in capsys.readouterr().out


def test_pickles_of_old_and_new_python_are_read(pickled):
    pixels, labels = made_up()["data_batch_1"]
    written = io.BytesIO()
    pickle.dump({b"data": pixels, b"labels": labels.tolist()}, written, protocol=2)
    old = written.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (pickled / "data_batch_1").write_bytes(old)
    write_pickled(pickled.parent / "new", made_up(), protocol=3)
    np.testing.assert_array_equal(cifar(pickled).pixels, cifar(pickled.parent / "new").pixels)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        ({b"data": np.zeros((COUNT, 5), np.uint8), b"labels": [0] * COUNT}, "not 7 images"),
        ({b"data": np.zeros((COUNT, PIXELS)), b"labels": [0] * COUNT}, "float64 pixels"),
        ({b"data": np.zeros((COUNT, PIXELS), np.uint8), b"labels": [0.5] * COUNT}, "whole numbers"),
        ({b"data": np.zeros((COUNT, PIXELS), np.uint8), b"labels": [10] * COUNT}, "label 10"),
        ({b"labels": [0] * COUNT}, "not a batch of CIFAR-10"),
        ([1, 2], "not a batch of CIFAR-10"),
    ],
)
def test_a_pickle_of_something_else_is_named(pickled, batch, complaint):
    (pickled / "data_batch_2").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=complaint):
        _ = cifar(pickled).pixels


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_file_that_was_cut_short_is_named(pickled, binary, kept):
    for folder, name in ((pickled, "test_batch"), (binary, "test_batch.bin")):
        file = folder / name
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(DataError, match=r"test_batch.*download it again"):
            _ = cifar(folder).pixels


def test_a_label_out_of_range_is_named(binary):
    file = binary / "data_batch_5.bin"
    data = bytearray(file.read_bytes())
    data[1 + PIXELS] = 11
    file.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"data_batch_5\.bin has label 11 at image 1"):
        _ = cifar(binary).labels


def test_what_is_missing_is_named(binary, tmp_path):
    with pytest.raises(DataError, match="--data"):
        TrainingCifar10().source()
    with pytest.raises(DataError, match="holds no test_batch"):
        cifar(tmp_path / "elsewhere").source()
    (binary / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_4\.bin"):
        cifar(binary).source()
