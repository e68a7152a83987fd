"""SSD at 300x300 on ResNet-34's first three stages: 8,732 boxes an image.

Liu et al. 2016 (arXiv:1512.02325), with the backbone of the field's reference implementation.
"""

from __future__ import annotations

from pathlib import Path

from gnomon.core.errors import DataError, MissingExtraError
from gnomon.tasks.training.ssd_boxes import PER_CELL

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.residual_network import BasicBlock, initialise, stage
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

CHANNELS = (256, 512, 512, 256, 256, 256)
"""Of each scale."""
INNER = (256, 256, 128, 128, 128)
HALVED = 3
"""Further scales that halve the one before; the last two shrink by having no margin."""


class Backbone(nn.Module):
    """ResNet-34 up to its third stage, which does not halve: (n, 3, 300, 300) to (n, 256, 38, 38)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(BasicBlock, 64, 64, 3, 1)
        self.layer2 = stage(BasicBlock, 64, 128, 4, 2)
        self.layer3 = stage(BasicBlock, 128, 256, 6, 1)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Features of the finest scale."""
        seen = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        seen = functional.max_pool2d(seen, 3, 2, 1)
        features: Tensor = self.layer3(self.layer2(self.layer1(seen)))
        return features

    def load(self, file: Path) -> None:
        """Weights trained on ImageNet, as torchvision publishes them.

        Raises:
            DataError: The file is missing, or does not hold ResNet-34.
        """
        mend = f"download https://download.pytorch.org/models/{file.name}"
        try:
            stored = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise DataError(f"the backbone's weights {file} are missing: {mend}") from None
        except Exception:  # whatever a damaged file makes of itself
            raise DataError(f"{file} holds no weights or was cut short: {mend}") from None
        wanted = self.state_dict()
        counters = {name for name in wanted if name.endswith("num_batches_tracked")}
        lacking = sorted(set(wanted) - counters - set(stored))
        if lacking:
            raise DataError(f"{file} has no {lacking[0]}, which ResNet-34 has: {mend}")
        try:
            self.load_state_dict({name: stored.get(name, wanted[name]) for name in wanted})
        except RuntimeError:
            raise DataError(f"{file} has weights of other shapes than ResNet-34: {mend}") from None


class Ssd300(nn.Module):
    """Images (n, 3, 300, 300) to offsets (n, 8732, 4) and class scores (n, 8732, classes + 1).

    The last class is nothing.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.further = nn.ModuleList()
        for scale, inner in enumerate(INNER):
            halves = scale < HALVED
            self.further.append(
                nn.Sequential(
                    nn.Conv2d(CHANNELS[scale], inner, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(inner, CHANNELS[scale + 1], 3, 1 + halves, int(halves)),
                    nn.ReLU(inplace=True),
                )
            )
        self.offsets, self.classes = (
            nn.ModuleList(
                nn.Conv2d(channels, boxes * width, 3, 1, 1)
                for channels, boxes in zip(CHANNELS, PER_CELL, strict=True)
            )
            for width in (4, classes + 1)
        )
        for part in (self.further, self.offsets, self.classes):
            for weight in part.parameters():
                if weight.ndim > 1:
                    nn.init.xavier_uniform_(weight)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets and class scores of every default box."""
        scales = [self.backbone(images)]
        for further in self.further:
            scales.append(further(scales[-1]))
        offsets, classes = (
            torch.cat(
                [
                    _by_box(head(features), boxes)
                    for head, features, boxes in zip(heads, scales, PER_CELL, strict=True)
                ],
                dim=1,
            )
            for heads in (self.offsets, self.classes)
        )
        return offsets, classes


def _by_box(said: Tensor, boxes: int) -> Tensor:
    """(n, boxes * width, h, w) to (n, boxes * h * w, width)."""
    count, _, height, width = said.shape
    return said.reshape(count, boxes, -1, height, width).permute(0, 1, 3, 4, 2).flatten(1, 3)
