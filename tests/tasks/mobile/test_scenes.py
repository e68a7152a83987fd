"""Composed scenes: the same bytes everywhere, boxes and label maps that agree, digits on one side only."""

import time

import numpy as np
import pytest

from gnomon.tasks.digits import TRAINED, Digits
from gnomon.tasks.mobile.drawing import (
    SHAPES,
    contrasting,
    covered_by_digits,
    covered_by_shapes,
    covered_by_strokes,
    paint,
)
from gnomon.tasks.mobile.scenes import CLASSES, LARGEST, MOST_OBJECTS, SIDE, compose_scenes


@pytest.fixture(scope="module")
def scenes():
    return compose_scenes(256, seed=1, held_out=True)


def test_scenes_of_a_seed_are_the_first_of_a_longer_list(scenes):
    few = compose_scenes(3, seed=1, held_out=True)
    assert few.images.shape == (3, 3, SIDE, SIDE)
    for name in ("images", "boxes", "labels", "label_maps"):
        np.testing.assert_array_equal(getattr(few, name), getattr(scenes, name)[:3])


def test_another_seed_or_side_gives_other_scenes(scenes):
    for other in (
        compose_scenes(8, seed=2, held_out=True),
        compose_scenes(8, seed=1, held_out=False),
    ):
        assert (other.images != scenes.images[:8]).any(axis=(1, 2, 3)).all()


def test_boxes_lie_tightly_around_the_pixels_of_their_objects(scenes):
    for boxes, labels, marks in zip(scenes.boxes, scenes.labels, scenes.label_maps, strict=True):
        outside = np.ones((SIDE, SIDE), dtype=bool)
        for (left, upper, wide, high), label in zip(boxes, labels, strict=True):
            if label < 0:
                assert (left, upper, wide, high) == (0, 0, 0, 0)
                continue
            inside = (slice(upper, upper + high), slice(left, left + wide))
            outside[inside] = False
            ours = marks[inside] == label + 1
            for edge in (ours[0], ours[-1], ours[:, 0], ours[:, -1]):
                assert edge.any()
        assert (marks[outside] == 0).all()


def test_every_class_is_there_and_most_scenes_have_several_objects(scenes):
    assert set(np.unique(scenes.labels)) == set(range(-1, len(CLASSES)))
    counts = (scenes.labels >= 0).sum(axis=1)
    assert counts.min() >= 1
    assert counts.max() == MOST_OBJECTS
    assert counts.mean() > 2.5


def test_objects_are_seen_against_what_is_behind_them(scenes):
    off = []
    for image, marks in zip(scenes.images.astype(int), scenes.label_maps, strict=True):
        for value in np.unique(marks)[1:]:
            ours, behind = image[:, marks == value], image[:, marks == 0]
            off.append(np.abs(ours.mean(axis=1) - behind.mean(axis=1)).mean())
    assert np.quantile(off, 0.02) > 25


def test_hundreds_of_scenes_take_about_a_second_at_most():
    taken_s = []
    for _ in range(3):
        began = time.thread_time()
        compose_scenes(256, seed=5, held_out=True)
        taken_s.append(time.thread_time() - began)
    assert min(taken_s) < 1.5


def test_a_contrasting_colour_differs_in_every_channel():
    behind = np.arange(768).reshape(256, 3) % 256
    colours = contrasting(np.random.default_rng(0), behind)
    assert np.abs(colours - behind).min() >= 56
    assert colours.min() >= 0
    assert colours.max() <= 255


def test_a_digit_covers_about_as_much_as_its_ink_says():
    digits = Digits().stored[0][:TRAINED]
    size = np.full(TRAINED, 32)
    cover = covered_by_digits(np.random.default_rng(3), digits, size, LARGEST)
    assert cover.min() == 0
    assert cover.max() == 256
    ink, drawn = digits.sum(axis=(1, 2)) / 16, cover.sum(axis=(1, 2)) / 256 / 16
    assert np.corrcoef(ink, drawn)[0, 1] > 0.7
    assert 0.5 < (drawn / ink).mean() < 1.3


def test_shapes_fit_the_square_they_are_given_however_they_are_turned():
    shape = np.arange(500) % len(SHAPES)
    size = np.full(500, 30)
    cover = covered_by_shapes(np.random.default_rng(4), shape, size, LARGEST)
    margin = (LARGEST - 30) // 2
    assert (cover[:, : margin - 1] < 96).all()
    assert (cover[:, :, : margin - 1] < 96).all()
    share = [(cover[shape == one] >= 96).mean() for one in range(len(SHAPES))]
    assert min(share) > 0.1
    middle = cover[:, LARGEST // 2, LARGEST // 2]
    assert (middle[shape == SHAPES.index("ring")] == 0).all()
    assert (middle[shape != SHAPES.index("ring")] == 256).all()


def test_a_stroke_is_three_pixels_wide():
    cover = covered_by_strokes(np.random.default_rng(5), 200, SIDE)
    straight = [one for one in cover if (one == one[:1]).all() and one.any()]
    assert straight
    for one in straight:
        assert 2 <= one[0].sum() / 256 <= 4


def test_paint_replaces_mixes_and_leaves_alone_by_how_much_is_covered():
    canvas = np.full((2, 3, 4, 4), 100, dtype=np.int32)
    cover = np.zeros((1, 2, 2), dtype=np.int32)
    cover[0] = [[256, 128], [0, 256]]
    paint(canvas, np.array([1]), np.array([[3, 0]]), cover, np.array([[0, 100, 200]]))
    assert (canvas[0] == 100).all()
    assert canvas[1, :, 0, 3].tolist() == [0, 100, 200]
    assert canvas[1, :, 1, 3].tolist() == [100, 100, 100]  # not covered
    assert (canvas[1, :, :, :3] == 100).all()  # the rest of the cover lies outside
    paint(canvas, np.array([0]), np.array([[0, 0]]), cover, np.array([[0, 100, 200]]))
    assert canvas[0, :, 0, 1].tolist() == [50, 100, 150]
