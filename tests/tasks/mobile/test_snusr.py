"""Super-resolution as the app has it, in small: pairs of photographs, PSNR worked out by hand."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.snusr import MobileSnuSr

image = pytest.importorskip("PIL.Image")


@pytest.fixture(params=["png", "rgb8"])
def folder(request, tmp_path):
    """Two pairs of 2 x 1 and 4 x 2 pixels, of one grey value each: 100 and 200."""
    for part, rows, columns in (("lr", 1, 2), ("hr", 2, 4)):
        (tmp_path / part).mkdir()
        for name, grey in (("a", 100), ("b", 200)):
            pixels = np.full((rows, columns, 3), grey, dtype=np.uint8)
            file = tmp_path / part / f"{name}.{request.param}"
            pixels.tofile(file) if request.param == "rgb8" else image.fromarray(pixels).save(file)
    (tmp_path / "task.json").write_text(json.dumps({"image_width": 2, "image_height": 1}))
    return tmp_path


def answers(*greys):
    return np.stack([np.full((3, 2, 4), grey, dtype=np.float32) for grey in greys])


def test_inputs_are_grey_values_of_0_to_255(folder):
    task = MobileSnuSr(folder)
    assert (len(task), task.times, task.shape) == (2, 2, (3, 2, 4))
    inputs = task.inputs(np.array([1, 0]))
    assert (inputs.shape, inputs.dtype) == ((2, 3, 1, 2), np.float32)
    assert inputs[:, 0, 0, 0].tolist() == [200, 100]


def test_the_score_is_the_mean_of_the_photographs_decibels(folder):
    task = MobileSnuSr(folder)
    by_ten, by_one = 20 * np.log10(255 / 10), 20 * np.log10(255)
    every = np.arange(2)
    assert task.score(every, answers(110, 199)) == pytest.approx((by_ten + by_one) / 2)
    # Fractions are cut off, as the app does, and values beyond white are white.
    assert task.score(every, answers(110.9, 199.9)) == pytest.approx((by_ten + by_one) / 2)
    assert task.score(every[1:], answers(300)) == pytest.approx(20 * np.log10(255 / 55))
    assert task.score(every[:1], answers(np.nan)) == pytest.approx(20 * np.log10(255 / 100))


def test_an_answer_survives_the_log_and_may_be_of_bytes(folder):
    task = MobileSnuSr(folder)
    outputs = answers(110.9, 198.2)
    decoded = [task.decode(task.encode(output)) for output in outputs]
    expected = task.score(np.arange(2), outputs)
    assert task.score(np.arange(2), decoded) == expected
    assert task.score(np.arange(2), outputs.astype(np.uint8)) == expected


def test_only_all_photographs_are_official(folder, monkeypatch):
    assert not MobileSnuSr(folder).source().official
    monkeypatch.setattr(MobileSnuSr, "official_count", 2)
    assert MobileSnuSr(folder).source().official


def test_photographs_that_do_not_fit_are_named(folder):
    with pytest.raises(DataError, match=r"images of shape \(3, 2, 4\), got an output of shape"):
        MobileSnuSr(folder).score(np.array([0]), np.zeros((1, 3, 2, 3)))
    (folder / "task.json").write_text(json.dumps({"image_width": 3, "image_height": 1}))
    wrong = MobileSnuSr(folder)
    with pytest.raises(DataError, match=r"not 3x1"):
        wrong.inputs(np.array([0]))
    next((folder / "hr").iterdir()).unlink()
    with pytest.raises(DataError, match="has 1 photographs"):
        MobileSnuSr(folder).source()


def test_large_photographs_must_be_a_whole_multiple(tmp_path):
    for part, size in (("lr", (2, 2)), ("hr", (4, 6))):
        (tmp_path / part).mkdir()
        image.new("RGB", size).save(tmp_path / part / "a.png")
    (tmp_path / "task.json").write_text(json.dumps({"image_width": 2, "image_height": 2}))
    with pytest.raises(DataError, match="has 4x6 pixels, no whole multiple of 2x2"):
        MobileSnuSr(tmp_path).score(np.array([0]), np.zeros((1, 3, 4, 4)))
