"""Mean average precision against COCO's own program, and against its loops written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.tasks.training.detection_score import (
    COCO_THRESHOLDS,
    FoundBoxes,
    TrueBoxes,
    mean_average_precision,
)

IMAGES, CLASSES = 40, 5

PYCOCOTOOLS = {
    0: (0.11523716137634199, 0.3276481288303262),
    1: (0.14697593851449764, 0.42719757506792266),
    2: (0.1144411703720176, 0.3245918521209269),
}
"""By seed of `made_up`: mAP and mAP@.5 as COCOeval of pycocotools 2.0.11 has them (`stats[:2]`), with images,
boxes and classes numbered in the order below and `area` the box's."""


def made_up(seed, images=IMAGES):
    """True boxes, some of them crowds, and found ones near them or anywhere, many of equal score."""
    generator = np.random.default_rng(seed)
    true, found = [], []

    def box():
        return [*generator.integers(0, 60, 2).tolist(), *generator.integers(8, 40, 2).tolist()]

    for image in range(images):
        for _ in range(int(generator.integers(0, 9))):
            there = box()
            label = int(generator.integers(CLASSES))
            true.append((image, label, there, bool(generator.random() < 0.15)))
            for _ in range(int(generator.integers(0, 4))):
                near = [value + int(generator.integers(-4, 5)) for value in there]
                same = generator.random() < 0.9
                named = label if same else int(generator.integers(CLASSES))
                found.append((image, named, near, int(generator.integers(1, 101)) / 100))
        for _ in range(int(generator.integers(0, 3))):
            named = int(generator.integers(CLASSES))
            found.append((image, named, box(), int(generator.integers(1, 101)) / 100))
    return true, found


def as_arrays(true, found):
    def column(rows, place, kind, width=()):
        return np.array([row[place] for row in rows], dtype=kind).reshape(-1, *width)

    return (
        TrueBoxes(
            column(true, 0, np.int64),
            column(true, 1, np.int64),
            column(true, 2, float, (4,)),
            column(true, 3, bool),
        ),
        FoundBoxes(
            column(found, 0, np.int64),
            column(found, 1, np.int64),
            column(found, 2, float, (4,)),
            column(found, 3, float),
        ),
    )


def overlap(one, other, crowd):
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    area = one[2] * one[3]
    return shared / (area if crowd else area + other[2] * other[3] - shared)


def coco_in_loops(true, found, thresholds, most_found):
    """The evaluation of Lin et al. 2014, one box after the other."""
    precisions = []
    for label in sorted({row[1] for row in true if not row[3]}):
        for threshold in thresholds:
            outcomes = []
            for image in sorted({row[0] for row in found}):
                there = [row for row in true if row[:2] == (image, label)]
                there.sort(key=lambda row: row[3])
                boxes = [row for row in found if row[:2] == (image, label)]
                boxes.sort(key=lambda row: -row[3])
                taken = set()
                for box in boxes[:most_found]:
                    best, match = min(threshold, 1 - 1e-10), None
                    for place, row in enumerate(there):
                        if place in taken and not row[3]:
                            continue
                        if match is not None and not there[match][3] and row[3]:
                            break
                        shared = overlap(box[2], row[2], row[3])
                        if shared >= best:
                            best, match = shared, place
                    if match is not None and not there[match][3]:
                        taken.add(match)
                    if match is None or not there[match][3]:
                        outcomes.append((box[3], match is not None))
            outcomes.sort(key=lambda outcome: -outcome[0])
            positives = sum(row[1] == label and not row[3] for row in true)
            hits = np.cumsum([hit for _, hit in outcomes])
            total = 0.0
            for recall in np.linspace(0, 1, 101):
                reached = [
                    hits[place] / (place + 1)
                    for place in range(len(hits))
                    if hits[place] / positives >= recall
                ]
                total += max(reached, default=0.0)
            precisions.append(total / 101)
    return np.mean(precisions) if precisions else 0.0


@pytest.mark.parametrize("seed", PYCOCOTOOLS)
def test_the_numbers_are_those_of_pycocotools(seed):
    truth, found = as_arrays(*made_up(seed))
    every, half = PYCOCOTOOLS[seed]
    assert mean_average_precision(truth, found) == pytest.approx(every, abs=1e-12)
    assert mean_average_precision(truth, found, (0.5,)) == pytest.approx(half, abs=1e-12)


@given(st.integers(3, 2**32), st.sampled_from([1, 2, 100]), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_arrays_find_what_loops_find(seed, most_found, shuffle):
    true, found = made_up(seed, images=4)
    shuffle.shuffle(true)
    expected = coco_in_loops(true, found, COCO_THRESHOLDS[::3], most_found)
    score = mean_average_precision(*as_arrays(true, found), COCO_THRESHOLDS[::3], most_found)
    assert score == pytest.approx(expected, abs=1e-12)


def test_finding_everything_is_one_and_finding_nothing_is_zero():
    true, _ = made_up(5)
    perfect = [(image, label, box, 0.5) for image, label, box, crowd in true if not crowd]
    assert mean_average_precision(*as_arrays(true, perfect)) == 1
    assert mean_average_precision(*as_arrays(true, [])) == 0
    assert mean_average_precision(*as_arrays([], perfect)) == 0


def test_boxes_of_some_images_are_counted_anew():
    true, found = made_up(6)
    chosen = [31, 4, 17]
    kept = as_arrays(
        [(chosen.index(row[0]), *row[1:]) for row in true if row[0] in chosen],
        [(chosen.index(row[0]), *row[1:]) for row in found if row[0] in chosen],
    )
    some = as_arrays(true, found)[0].of(np.array(chosen))
    assert mean_average_precision(some, kept[1]) == mean_average_precision(*kept)
