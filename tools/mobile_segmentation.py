"""Train the model of `mobile-segmentation` and write `segmentation*` for every framework.

    PYTHONPATH=src /tmp/tf/bin/python tools/mobile_segmentation.py    (see mobile_models.py)

The network encodes with inverted residuals and decodes with skips, as DeepLabv3+ and MOSAIC do; it ends in
the best class of each pixel. It is trained on scenes of the first 1,000 digits, composed anew for each epoch.
"""

from __future__ import annotations

import torch
from mobile_layers import IMAGE, Network, Trainable, folded
from mobile_models import write_images
from mobile_training import fitted, report
from torch import Tensor
from torch.nn import functional

from gnomon.tasks.mobile.scenes import CLASSES, SIDE, compose_scenes
from gnomon.tasks.mobile.segmentation import MobileSegmentation

SEED = 9000
"""Of the first epoch's scenes; each epoch has the next."""
EPOCHS = 16
SCENES = 1024
BATCH = 16
CALIBRATED = 128
BACKGROUND = 0.25
"""Weight of a pixel of the background, of which there are many."""


def network() -> Network:
    """Down to 12x12 pixels and up again: about 80,000 weights, 15 million multiplications."""
    net = Network((3, SIDE, SIDE))
    half = net.convolution(IMAGE, 16, stride=2)
    value = net.inverted(half, 24, expansion=3, stride=2)
    quarter = net.inverted(value, 24, expansion=3)
    value = net.inverted(quarter, 40, expansion=4, stride=2)
    for _ in range(3):
        wide = net.convolution(value, 120, kernel=1)
        narrow = net.convolution(net.depthwise(wide, kernel=5), 40, kernel=1, activation="")
        value = net.sum(narrow, value)
    value = net.enlarged(net.convolution(value, 32, kernel=1), 2)
    value = net.sum(value, net.convolution(quarter, 32, kernel=1))
    value = net.convolution(net.depthwise(value), 24, kernel=1)
    value = net.enlarged(value, 2)
    value = net.channels(value, half)
    value = net.convolution(net.depthwise(value), 32, kernel=1)
    scores = net.convolution(value, len(CLASSES) + 1, kernel=1, activation="", normalised=False)
    net.outputs = {"classes": net.best(net.enlarged(scores, 2))}
    return net


def main() -> None:
    weights = torch.ones(len(CLASSES) + 1)
    weights[0] = BACKGROUND

    def drawn(epoch: int) -> tuple[Tensor, Tensor]:
        scenes = compose_scenes(SCENES, SEED + epoch, held_out=False)
        return torch.from_numpy(scenes.images), torch.from_numpy(scenes.label_maps)

    def loss(outputs: list[Tensor], wanted: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[0], wanted.long(), weights)

    torch.manual_seed(SEED)
    model = fitted(Trainable(network()), drawn, loss, EPOCHS, BATCH, rate=6e-3)
    calibration = compose_scenes(CALIBRATED, SEED + EPOCHS, held_out=False).images
    write_images("segmentation", model.network, folded(model), calibration)
    report(MobileSegmentation())


if __name__ == "__main__":
    main()
