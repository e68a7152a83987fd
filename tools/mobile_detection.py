"""Train the detector of `mobile-detection` and write its files. `mobile_models.py` says how to run it.

SSDLite (Liu et al. 2016, arXiv 1512.02325; M. Sandler et al. 2018, arXiv 1801.04381) on scenes that are
composed of the digits for training: inverted residuals to 6x6 cells, whose features are added to those of
12x12 cells, and two default boxes in each cell of both.
"""

from __future__ import annotations

import numpy as np
import torch
from mobile_layers import IMAGE, Network, Trainable, folded
from mobile_models import write_images
from mobile_training import fitted, report
from torch import Tensor
from torch.nn import functional

from gnomon.tasks.mobile.boxes import CLASSES, COLUMNS, MAPS, OFFSETS, encoded
from gnomon.tasks.mobile.detection import MobileDetection
from gnomon.tasks.mobile.scenes import SIDE, Scenes, compose_scenes

SCENES = 12_000
TRAINING_SEED = 1
EPOCHS = 4
BATCH = 32
HIGHEST_RATE = 4e-3
NEGATIVES = 3
"""Default boxes with nothing in them that count for each that stands for a digit: the worst ones."""
CALIBRATED_ON = 256


def network() -> Network:
    """About 140,000 weights and 16 million products and sums."""
    made = Network((3, SIDE, SIDE))
    value = made.convolution(IMAGE, 16, stride=2)
    value = made.inverted(value, 24, expansion=3, stride=2)
    value = made.inverted(value, 24, expansion=3)
    value = made.inverted(value, 40, expansion=4, stride=2)
    value = made.inverted(value, 40, expansion=4)
    fine = made.inverted(value, 40, expansion=4)
    value = made.inverted(fine, 64, expansion=4, stride=2)
    value = made.inverted(value, 64, expansion=3)
    coarse = made.inverted(value, 64, expansion=3)
    above = made.enlarged(made.convolution(coarse, 40, kernel=1, activation=""), 2)
    fine = made.sum(fine, above)
    heads = []
    for features, (_, shapes) in zip((fine, coarse), MAPS, strict=True):
        seen = made.depthwise(made.convolution(features, 80, kernel=1))
        said = made.convolution(
            seen, len(shapes) * COLUMNS, kernel=1, activation="", normalised=False
        )
        heads.append(made.rows(said, COLUMNS))
    made.outputs["boxes"] = made.stacked(*heads)
    return made


def wanted(scenes: Scenes) -> Tensor:
    """Offsets of the default boxes of all scenes, and the class of each: (n, 360, 5)."""
    rows = []
    for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True):
        digits = (labels >= 0) & (labels < CLASSES)
        offsets, classes = encoded(boxes[digits], labels[digits])
        rows.append(np.column_stack([offsets, classes]).astype(np.float32))
    return torch.from_numpy(np.stack(rows))


def multibox_loss(outputs: list[Tensor], wanted: Tensor) -> Tensor:
    """SSD's: of places where there is something, of classes there and at the worst of the other boxes."""
    (answers,) = outputs
    classes = wanted[..., OFFSETS].long()
    there = classes > 0
    place = functional.smooth_l1_loss(
        answers[..., :OFFSETS][there], wanted[..., :OFFSETS][there], reduction="sum"
    )
    named = functional.cross_entropy(
        answers[..., OFFSETS:].flatten(0, 1), classes.flatten(), reduction="none"
    ).view(classes.shape)
    empty = named.detach().masked_fill(there, -1)
    rank = empty.argsort(dim=1, descending=True).argsort(dim=1)
    # A scene without digits counts as one with one.
    counted = there | (rank < NEGATIVES * there.sum(dim=1, keepdim=True).clamp(min=1))
    return (place + named[counted].sum()) / there.sum().clamp(min=1)


def main() -> None:
    scenes = compose_scenes(SCENES, TRAINING_SEED, held_out=False)
    images, answers = torch.from_numpy(scenes.images), wanted(scenes)
    torch.manual_seed(TRAINING_SEED)
    model = fitted(
        Trainable(network()),
        lambda _: (images, answers),
        multibox_loss,
        EPOCHS,
        BATCH,
        HIGHEST_RATE,
    )
    write_images(MobileDetection.stem, model.network, folded(model), scenes.images[:CALIBRATED_ON])
    report(MobileDetection())


if __name__ == "__main__":
    main()
