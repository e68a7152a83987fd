"""Train the model of `mobile-super-resolution` and write `super-resolution*` for every framework.

    PYTHONPATH=src /tmp/tf/bin/python tools/mobile_super_resolution.py    (see mobile_models.py)

The network is a small EDSR (B. Lim et al., arXiv 1707.02921): residual blocks without normalisation, then
channels shuffled to pixels. What it finds is added to the bilinear enlargement. It is trained on parts of
scenes of the first 1,000 digits, composed anew for each epoch.
"""

from __future__ import annotations

import numpy as np
import torch
from mobile_layers import IMAGE, Network, Trainable, folded
from mobile_models import write_images
from mobile_training import fitted, report
from torch import Tensor
from torch.nn import functional

from gnomon.tasks.mobile.scenes import SIDE, compose_scenes
from gnomon.tasks.mobile.super_resolution import MobileSuperResolution, halved

SEED = 9500
"""Of the first epoch's scenes; each epoch has the next."""
EPOCHS = 20
SCENES = 1024
PARTS = 2
"""Rows and columns of parts that a scene is cut into."""
BATCH = 32
CALIBRATED = 64
FEATURES = 16
BLOCKS = 4


def network() -> Network:
    """Four residual blocks at 48x48 pixels: about 23,000 weights, 53 million multiplications."""
    net = Network((3, SIDE // 2, SIDE // 2))

    def plain(source: str, channels: int, activation: str = "") -> str:
        return net.convolution(source, channels, activation=activation, normalised=False)

    head = value = plain(IMAGE, FEATURES)
    for _ in range(BLOCKS):
        value = net.sum(plain(plain(value, FEATURES, "relu"), FEATURES), value)
    value = net.sum(plain(value, FEATURES), head)
    detail = net.shuffled(plain(value, 3 * 2 * 2), 2)
    net.outputs = {"enlarged": net.grey(net.sum(detail, net.enlarged(IMAGE, 2)))}
    return net


def parted(images: np.ndarray) -> Tensor:
    """Images (n, channels, rows, columns) cut into PARTS by PARTS each."""
    count, channels, side, _ = images.shape
    part = side // PARTS
    cut = images.reshape(count, channels, PARTS, part, PARTS, part).transpose(0, 2, 4, 1, 3, 5)
    return torch.from_numpy(cut.reshape(-1, channels, part, part))


def main() -> None:
    def drawn(epoch: int) -> tuple[Tensor, Tensor]:
        images = compose_scenes(SCENES, SEED + epoch, held_out=False).images
        return parted(halved(images)), parted(images)

    def loss(outputs: list[Tensor], wanted: Tensor) -> Tensor:
        return functional.l1_loss(outputs[0], wanted.float())

    torch.manual_seed(SEED)
    model = fitted(Trainable(network()), drawn, loss, EPOCHS, BATCH, rate=3e-3)
    calibration = halved(compose_scenes(CALIBRATED, SEED + EPOCHS, held_out=False).images)
    write_images("super-resolution", model.network, folded(model), calibration)
    report(MobileSuperResolution())


if __name__ == "__main__":
    main()
