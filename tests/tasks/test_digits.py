"""The digits task: the real images, the labels' score, and data that is missing or damaged."""

import gc
import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

import gnomon
from gnomon.core.errors import DataError
from gnomon.core.registry import TASKS
from gnomon.core.run import find_runs
from gnomon.tasks import digits
from gnomon.tasks.digits import DATA, TOTAL, TRAINED, Digits

EVERY = np.arange(TOTAL - TRAINED)


def stored():
    with np.load(DATA / "digits.npz") as archive:
        return {name: archive[name] for name in archive.files}


def one_hot(labels):
    return np.eye(10, dtype=np.float32)[labels]


def test_the_data_is_scikit_learns_from_the_first_held_out_image_on():
    source = load_digits()
    expected = source.images[TRAINED:].astype(np.float32) / 16
    np.testing.assert_array_equal(Digits().inputs(EVERY)[:, 0], expected)
    assert Digits().score(EVERY, one_hot(source.target[TRAINED:])) == 1.0


def test_inputs_are_float32_images_in_the_order_asked_for():
    task = Digits()
    asked = np.array([5, 0, 5])
    images = task.inputs(asked)
    assert images.dtype == np.float32
    assert images.shape == (3, 1, 8, 8)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, task.inputs(EVERY)[asked])
    assert len(task) == 797


def test_the_score_is_the_share_of_right_answers():
    task = Digits()
    labels = stored()["labels"][TRAINED:]
    some = np.array([3, 1, 4, 15])
    outputs = one_hot(labels[some])
    outputs[0] = np.roll(outputs[0], 1)
    assert task.score(some, outputs) == 0.75
    assert task.score(some, list(outputs)) == 0.75


def test_an_answer_that_is_not_a_number_is_wrong_even_if_it_points_at_the_label():
    task = Digits()
    labels = stored()["labels"][TRAINED:]
    outputs = one_hot(labels[:4])
    outputs[2, labels[2]] = np.nan
    assert task.score(EVERY[:4], outputs) == 0.75


@pytest.mark.parametrize("shape", [(4, 9), (3, 10), (4,), (4, 1, 10)])
def test_outputs_of_another_shape_are_refused_with_both_shapes(shape):
    with pytest.raises(DataError, match="10 class scores a sample, got outputs of shape"):
        Digits().score(EVERY[:4], np.zeros(shape, dtype=np.float32))


def test_what_is_encoded_is_decoded_again():
    task = Digits()
    scores = np.linspace(-3, 7, 10, dtype=np.float32)
    np.testing.assert_array_equal(task.decode(task.encode(scores)), scores)
    np.testing.assert_array_equal(task.decode(task.encode(scores.astype(np.float64))), scores)
    np.testing.assert_array_equal(task.decode(task.encode(scores.tolist())), scores)


def test_the_source_says_that_the_data_is_of_no_published_round_and_fingerprints_it():
    source = Digits().source()
    arrays = stored()
    digest = hashlib.sha256(
        arrays["images"][TRAINED:].tobytes() + arrays["labels"][TRAINED:].tobytes()
    )
    assert source.official is False
    assert source.sha256 == digest.hexdigest()
    assert "digits" in source.name


def test_the_fingerprint_changes_with_one_pixel(tmp_path):
    arrays = stored()
    arrays["images"] = arrays["images"].copy()
    arrays["images"][-1, 0, 0] ^= 1
    np.savez(tmp_path / "digits.npz", **arrays)
    assert Digits(tmp_path / "digits.npz").source().sha256 != Digits().source().sha256


def test_it_ships_an_onnx_model_and_no_other():
    assert Digits().model("onnx").is_file()
    assert Digits().model("onnx").stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"ships no tflite model: pass one with --model"):
        Digits().model("tflite")


def cut_short(path):
    whole = (DATA / "digits.npz").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def damaged_inside(path):
    whole = bytearray((DATA / "digits.npz").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 200] = bytes(200)
    path.write_bytes(whole)


def without_labels(path):
    np.savez(path, images=stored()["images"])


def with_fewer_images(path):
    arrays = stored()
    np.savez(path, images=arrays["images"][:100], labels=arrays["labels"][:100])


def with_other_values(path):
    arrays = stored()
    np.savez(path, images=arrays["images"].astype(np.float64), labels=arrays["labels"])


def with_other_labels(path):
    arrays = stored()
    np.savez(path, images=arrays["images"], labels=arrays["labels"] + np.uint8(1))


def with_pickled_objects(path):
    arrays = stored()
    np.savez(path, images=arrays["images"].astype(object), labels=arrays["labels"])


DAMAGE = {
    "missing": (lambda path: None, "is missing"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read or was cut short"),
    "cut short": (cut_short, "cannot be read or was cut short"),
    "damaged": (damaged_inside, "cannot be read or was cut short"),
    "a folder": (lambda path: path.mkdir(), "cannot be read or was cut short"),
    "no archive": (lambda path: path.write_text("digits"), "cannot be read or was cut short"),
    "without labels": (without_labels, "has no array"),
    "with fewer images": (
        with_fewer_images,
        "holds images (100, 8, 8) and labels (100,), not 1797",
    ),
    "with other values": (with_other_values, "holds other values than digits do"),
    "with other labels": (with_other_labels, "holds other values than digits do"),
    "with pickled objects": (with_pickled_objects, "cannot be read or was cut short"),
}


# NumPy leaves a file that is no archive to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_data_set_that_is_not_whole_is_named_with_its_mend_before_a_run_begins(
    tmp_path, monkeypatch, damage
):
    spoil, words = DAMAGE[damage]
    path = tmp_path / "digits.npz"
    spoil(path)
    monkeypatch.setattr(Digits.__init__, "__defaults__", (path,))
    assert TASKS.load("digits") is digits.Digits
    with pytest.raises(DataError) as caught:
        gnomon.run("digits", out=tmp_path / "runs")
    message = str(caught.value)
    assert message.startswith(f"data set {path} {words}")
    assert message.endswith("reinstall gnomon, or write it with tools/train_digits.py")
    assert "\n" not in message
    assert find_runs(tmp_path / "runs") == []
    del caught
    gc.collect()
