"""Train the model of `mobile-classification` and write `classification*` for every framework.

    PYTHONPATH=src /tmp/tf/bin/python tools/mobile_classification.py    (see mobile_models.py)

The network is a small MobileNetV2 (M. Sandler et al., arXiv 1801.04381). It is trained on pictures of the
first 1,000 digits, drawn anew for each epoch, with no look at the 797 digits that are measured.
"""

from __future__ import annotations

import numpy as np
import torch
from mobile_layers import IMAGE, Network, Trainable, folded
from mobile_models import write_images
from mobile_training import fitted, report
from torch import Tensor
from torch.nn import functional

from gnomon.tasks.digits import CLASSES, TRAINED, Digits
from gnomon.tasks.mobile.classification import SIDE, MobileClassification, draw_pictures

SEED = 7
EPOCHS = 24
DRAWN = 4
"""Pictures of each digit in an epoch."""
BATCH = 64
CALIBRATED = 300


def network() -> Network:
    """Inverted residuals on 16x16, 8x8 and 4x4 pixels: about 80,000 weights, 5 million multiplications."""
    net = Network((3, SIDE, SIDE))
    value = net.convolution(IMAGE, 16, stride=2)
    value = net.inverted(value, 24, expansion=3)
    value = net.inverted(value, 24, expansion=3)
    value = net.inverted(value, 32, expansion=4, stride=2)
    value = net.inverted(value, 32, expansion=4)
    value = net.inverted(value, 56, expansion=4, stride=2)
    value = net.inverted(value, 56, expansion=4)
    value = net.convolution(value, 192, kernel=1)
    net.outputs = {"scores": net.dense(net.mean(value), CLASSES)}
    return net


def main() -> None:
    digits, labels = (array[:TRAINED] for array in Digits().stored)
    generator = np.random.default_rng(SEED)
    truth = torch.from_numpy(np.tile(labels, DRAWN).astype(np.int64))

    def drawn(_epoch: int) -> tuple[Tensor, Tensor]:
        pictures = [draw_pictures(digits, generator) for _ in range(DRAWN)]
        return torch.from_numpy(np.concatenate(pictures)), truth

    def loss(outputs: list[Tensor], wanted: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[0], wanted, label_smoothing=0.05)

    torch.manual_seed(SEED)
    model = fitted(Trainable(network()), drawn, loss, EPOCHS, BATCH, rate=4e-3)
    calibration = draw_pictures(digits[:CALIBRATED], generator)
    write_images("classification", model.network, folded(model), calibration)
    report(MobileClassification())


if __name__ == "__main__":
    main()
