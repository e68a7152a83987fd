"""Mean intersection over union of class maps, as MLPerf Mobile measures segmentation by it.

After mlcommons/mobile_app_open at 051a47af (flutter/cpp/datasets/ade20k.cc): classes from 1 on, label 0 is
left out, and a class that is nowhere counts as an overlap of zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALUES = 256
NO_CLASS = 255
"""What stands in a map where the answer is no number."""


def class_overlaps(
    answers: Iterable[NDArray[np.uint8]], truths: Iterable[NDArray[np.uint8]], count: int
) -> NDArray[np.float64]:
    """Intersection over union of each class, its pixels summed over all images first.

    A pixel is wrongly found only where the truth is one of the classes: what is answered where nothing is
    labelled does not harm.

    Args:
        answers: A map of classes an image, of any shape.
        truths: The true maps, of the same shapes.
        count: Classes 1 to this count.

    Returns:
        Shape (count,), 0 to 1; zero for a class that is neither there nor found.
    """
    found = np.zeros((VALUES, VALUES), dtype=np.int64)
    """Pixels by truth and answer."""
    for answer, truth in zip(answers, truths, strict=True):
        pairs = truth.astype(np.int64).ravel() * VALUES + answer.ravel()
        found += np.bincount(pairs, minlength=VALUES**2).reshape(VALUES, VALUES)
    labelled = found[1 : count + 1]
    right = np.diagonal(labelled, offset=1)
    union = labelled.sum(axis=1) + labelled.sum(axis=0)[1 : count + 1] - right
    overlaps: NDArray[np.float64] = right / np.maximum(union, 1)
    return overlaps


def mean_iou(
    answers: Iterable[NDArray[np.uint8]], truths: Iterable[NDArray[np.uint8]], count: int
) -> float:
    """The mean of `class_overlaps` over all classes, 0 to 1."""
    return float(class_overlaps(answers, truths, count).mean())


def class_maps(answer: NDArray[Any]) -> NDArray[np.uint8]:
    """Maps of classes of any type as uint8: fractions cut off, no class where there is no number."""
    if answer.dtype == np.uint8:
        return answer
    if answer.dtype.kind == "f":
        answer = np.where(np.isfinite(answer), answer, NO_CLASS)
    return (answer.astype(np.int64) & (VALUES - 1)).astype(np.uint8)


def best_classes(scores: NDArray[Any]) -> NDArray[np.uint8]:
    """The class of the highest score at each pixel, uint8 (n, rows, columns), of (n, classes, rows, columns).

    No class where a score is no number.
    """
    best: NDArray[np.uint8] = scores.argmax(axis=1).astype(np.uint8)
    # A NaN is its own highest score, and a pixel has one if and only if its highest is one.
    best[np.isnan(scores.max(axis=1))] = NO_CLASS
    return best
