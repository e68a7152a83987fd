"""Small residual networks: those of He et al. 2016 for 32x32 images, of any width, depth and normalisation.

Shortcuts have no parameters (their option A): where a block halves the image, it is subsampled and padded
with channels of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from gnomon.core.errors import MissingExtraError

try:
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

Normalization: TypeAlias = Literal["group", "batch"]
GROUPS = 4

NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda channels: nn.GroupNorm(GROUPS, channels),
    "batch": nn.BatchNorm2d,
}
"""Groups are normalised within an image (Wu and He 2018), so that no sample depends on its batch."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, normalization: Normalization
    ) -> None:
        super().__init__()
        normalized = NORMALIZATIONS[normalization]
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = normalized(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = normalized(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, images: Tensor) -> Tensor:
        """From (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = functional.relu(self.first_norm(self.first(images)), inplace=True)
        shortcut = images
        if self.stride > 1:
            shortcut = shortcut[:, :, :: self.stride, :: self.stride]
        if self.added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        return functional.relu(self.second_norm(self.second(inner)) + shortcut, inplace=True)


class SmallResNet(nn.Module):
    """A 3x3 convolution, stages of basic blocks, the mean over the image, a linear layer.

    With widths (16, 32, 64) and 3 blocks a stage it is the ResNet-20 of He et al. 2016, section 4.2.

    Args:
        channels: Of an image.
        classes: How many are told apart.
        widths: Channels of each stage; every stage but the first halves the image.
        blocks: Of each stage.
        normalization: After every convolution.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: tuple[int, ...],
        blocks: int,
        normalization: Normalization,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False),
            NORMALIZATIONS[normalization](widths[0]),
            nn.ReLU(inplace=True),
        ]
        before = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(BasicBlock(before, width, stride, normalization))
                before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Class scores, (n, classes), of images (n, channels, h, w)."""
        scores: Tensor = self.head(self.body(images).mean(dim=(2, 3)))
        return scores
