"""How photographs become inputs, against values worked out by hand."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.images_on_disk import (
    label_map,
    list_files,
    middle,
    normalised,
    pixels,
    resized,
)

image = pytest.importorskip("PIL.Image")


def in_grey(values):
    return np.repeat(np.array(values, dtype=np.float32)[..., None], 3, axis=2)


def test_twice_as_large_lies_half_way_between_and_repeats_the_last():
    larger = resized(in_grey([[0, 8], [16, 24]]), 4, 4)
    expected = [[0, 4, 8, 8], [8, 12, 16, 16], [16, 20, 24, 24], [16, 20, 24, 24]]
    np.testing.assert_array_equal(larger, in_grey(expected))


def test_a_third_as_large_takes_every_third_pixel():
    row = in_grey([np.arange(9)])
    np.testing.assert_array_equal(resized(row, 3, 1), in_grey([[0, 3, 6]]))


def test_the_middle_keeps_seven_eighths_of_the_shorter_side():
    # 16 x 12 for a model of 7 x 7: the shorter side becomes 8, the longer 11; of that, columns 2 to 8 and
    # rows 1 to 7 stay.
    columns = in_grey(np.tile(np.arange(16), (12, 1)))
    rows = in_grey(np.tile(np.arange(12)[:, None], (1, 16)))
    np.testing.assert_allclose(middle(columns, 7, 7)[0, :, 0], np.arange(2, 9) * 16 / 11, rtol=1e-6)
    np.testing.assert_allclose(middle(rows, 7, 7)[:, 0, 0], np.clip(np.arange(1, 8) * 1.5, 0, 11))


def test_a_photograph_of_any_shape_has_a_middle():
    for rows, columns in ((1, 1), (1000, 3), (3, 1000), (375, 500)):
        assert middle(np.zeros((rows, columns, 3), dtype=np.float32), 384, 224).shape == (
            224,
            384,
            3,
        )


def test_normalised_pixels_lie_between_minus_one_and_one_channels_first():
    batch = normalised([np.array([[[0, 127.5, 255]]], dtype=np.float32)] * 2, 127.5, 127.5)
    assert batch.dtype == np.float32
    assert batch.tolist() == [[[[-1]], [[0]], [[1]]]] * 2


def test_files_are_listed_by_name_without_hidden_ones(tmp_path):
    for name in ("b.JPG", "a.jpeg", "._a.jpeg", "notes.txt", "c.rgb8"):
        (tmp_path / name).touch()
    names = [file.name for file in list_files(tmp_path, (".jpg", ".jpeg", ".rgb8"))]
    assert names == ["a.jpeg", "b.JPG", "c.rgb8"]
    with pytest.raises(DataError, match=r"has no \.png files"):
        list_files(tmp_path, (".png",))
    with pytest.raises(DataError, match="is no folder"):
        list_files(tmp_path / "a.jpeg", (".png",))


def test_raw_grey_and_palette_files_are_read(tmp_path):
    colours = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    colours.tofile(tmp_path / "one.rgb8")
    np.testing.assert_array_equal(pixels(tmp_path / "one.rgb8", 3, 2), colours)
    image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels(tmp_path / "grey.png")[..., 2], colours[..., 0])
    np.testing.assert_array_equal(label_map(tmp_path / "grey.png"), colours[..., 0])
    palette = image.fromarray(colours[..., 0], mode=None).convert("P")
    palette.save(tmp_path / "palette.png")
    assert label_map(tmp_path / "palette.png").shape == (2, 3)


def test_files_that_are_something_else_are_named(tmp_path):
    (tmp_path / "short.rgb8").write_bytes(b"123")
    with pytest.raises(DataError, match="has 3 bytes, not 2x2x3"):
        pixels(tmp_path / "short.rgb8", 2, 2)
    with pytest.raises(DataError, match="cannot be read"):
        pixels(tmp_path / "none.rgb8", 2, 2)
    (tmp_path / "no.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"no\.jpg cannot be read as an image"):
        pixels(tmp_path / "no.jpg")
    image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match="no map of labels"):
        label_map(tmp_path / "colour.png")
