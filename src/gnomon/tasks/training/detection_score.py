"""Mean average precision as COCO defines it, over all images, classes and thresholds at once.

After the evaluation of Lin et al. 2014 (arXiv:1405.0312) for areas "all": greedy matching by falling score,
101 points of recall, crowds ignored. The numbers are pycocotools'; its loops are arrays here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
COCO_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""Overlaps from which a box counts as found; mAP is the mean over them."""
LARGEST_CLASS_COUNT = 1 << 20


@dataclass(frozen=True)
class TrueBoxes:
    """What there is to find, one row a box.

    Attributes:
        image: Number of the image it is in, from 0, shape (boxes,).
        label: Its class, from 0, shape (boxes,).
        box: Left, upper edge, width and height in pixels, float64 (boxes, 4).
        crowd: Whether it stands for many: finding it neither helps nor harms, shape (boxes,).
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def of(self, images: NDArray[np.int64]) -> TrueBoxes:
        """Only the boxes of these images, which are counted from 0 in this order."""
        place = np.full(max(int(self.image.max(initial=-1)), int(images.max(initial=-1))) + 1, -1)
        place[images] = np.arange(len(images))
        kept = place[self.image] >= 0
        return TrueBoxes(
            place[self.image][kept], self.label[kept], self.box[kept], self.crowd[kept]
        )


@dataclass(frozen=True)
class FoundBoxes:
    """What a model found, one row a box; as `TrueBoxes`, with a `score` instead of `crowd`."""

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float64]
    score: NDArray[np.float64]


def mean_average_precision(
    truth: TrueBoxes,
    found: FoundBoxes,
    thresholds: tuple[float, ...] = COCO_THRESHOLDS,
    most_found: int = 100,
) -> float:
    """The mean over thresholds and classes of precision averaged over recall, 0 to 1.

    Classes without a true box that is no crowd do not count; with no such box at all it is 0.

    Args:
        truth: What there is to find.
        found: What was found, in any order; of equal scores the first is taken first.
        thresholds: Overlaps (intersection over union) from which a box counts as found.
        most_found: Boxes that count of an image and class, those of the highest score.
    """
    order = np.lexsort((-found.score, _group(found.image, found.label)))
    group = _group(found.image, found.label)[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    order, group, rank = (array[rank < most_found] for array in (order, group, rank))
    hit, ignored = _match(truth, found.box[order], group, rank, np.array(thresholds))
    score, label = found.score[order], found.label[order]
    # The order of the images decides among equal scores.
    by_score = np.lexsort((rank, found.image[order], -score, label))
    label, hit, ignored = label[by_score], hit[:, by_score], ignored[:, by_score]
    precisions = []
    for one in np.unique(truth.label[~truth.crowd]):
        here = slice(*np.searchsorted(label, [one, one + 1]))
        there = int(np.sum((truth.label == one) & ~truth.crowd))
        precisions.append(
            [
                _average_precision(hit[row, here][~ignored[row, here]], there)
                for row in range(len(hit))
            ]
        )
    return float(np.mean(precisions)) if precisions else 0.0


def _average_precision(hit: NDArray[np.bool_], there: int) -> float:
    """Of one class at one threshold: precision averaged over 101 recalls."""
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(found / there, RECALLS, side="left")
    reached = places < len(envelope)
    return float(np.sum(envelope[places[reached]]) / len(RECALLS))


def _match(
    truth: TrueBoxes,
    boxes: NDArray[np.float64],
    group: NDArray[np.int64],
    rank: NDArray[np.int64],
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each found box is a hit, and whether it is ignored, (thresholds, boxes) each.

    All groups (one class in one image) are matched side by side, rank by rank. Groups of like size go
    together, so that few are padded with boxes that are not there.
    """
    hit = np.zeros((len(thresholds), len(group)), dtype=bool)
    ignored = np.zeros_like(hit)
    true_group = _group(truth.image, truth.label)
    order = np.argsort(true_group, kind="stable")
    true_group, true_box, crowd = true_group[order], truth.box[order], truth.crowd[order]
    names, starts, counts = np.unique(true_group, return_index=True, return_counts=True)
    row = np.searchsorted(names, group)
    known = np.flatnonzero(np.isin(group, names))
    if not len(known):
        return hit, ignored
    size = np.zeros(len(group), dtype=np.int64)
    size[known] = 4 ** np.ceil(np.emath.logn(4, counts[row[known]])).astype(np.int64)
    for width in np.unique(size[known]):
        some = np.flatnonzero(size == width)
        groups, place = np.unique(row[some], return_inverse=True)
        there = np.arange(width) < counts[groups, None]
        slots = np.where(there, starts[groups, None] + np.arange(width), 0)
        hit[:, some], ignored[:, some] = _match_alike(
            boxes[some], rank[some], place, true_box[slots], crowd[slots], there, thresholds
        )
    return hit, ignored


def _match_alike(
    boxes: NDArray[np.float64],
    rank: NDArray[np.int64],
    place: NDArray[np.int64],
    true_box: NDArray[np.float64],
    crowd: NDArray[np.bool_],
    there: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """As `_match`, of groups that have at most so many true boxes each.

    Args:
        boxes: Found, (n, 4).
        rank: Of each among those of its group, (n,).
        place: Its group, (n,).
        true_box: By group, (groups, width, 4).
        crowd: By group, (groups, width).
        there: Which of them are no padding, (groups, width).
        thresholds: Of overlap.
    """
    hit = np.zeros((len(thresholds), len(boxes)), dtype=bool)
    ignored = np.zeros_like(hit)
    free = np.broadcast_to(there, (len(thresholds), *there.shape)).copy()
    for turn in range(int(rank.max()) + 1):
        which = np.flatnonzero(rank == turn)
        where = place[which]
        crowds = crowd[where]
        overlap = _overlap(boxes[which], true_box[where], crowds)
        # Exactly at the threshold counts; a crowd can be matched again and again.
        enough = overlap >= np.minimum(thresholds, 1 - 1e-10)[:, None, None]
        plain = np.where(enough & free[:, where] & ~crowds, overlap, -1.0)
        best = _last_highest(plain)
        matched = np.take_along_axis(plain, best[..., None], 2)[..., 0] >= 0
        hit[:, which] = matched
        ignored[:, which] = ~matched & np.any(enough & crowds & there[where], axis=2)
        threshold, found = np.nonzero(matched)
        free[threshold, where[found], best[threshold, found]] = False
    return hit, ignored


def _last_highest(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of the highest value along the last axis; of equal ones the last."""
    last: NDArray[np.int64] = values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1)
    return last


def _overlap(
    found: NDArray[np.float64], true: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Intersection over union, (n, 4) with (n, width, 4) to (n, width); of a crowd over the found box."""
    found = found[:, None]
    low = np.maximum(found[..., :2], true[..., :2])
    high = np.minimum(found[..., :2] + found[..., 2:], true[..., :2] + true[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    area = np.prod(found[..., 2:], axis=-1)
    union = np.where(crowd, area, area + np.prod(true[..., 2:], axis=-1) - shared)
    overlap: NDArray[np.float64] = shared / np.maximum(union, 1e-300)
    return overlap


def _group(image: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
    return image.astype(np.int64) * LARGEST_CLASS_COUNT + label
