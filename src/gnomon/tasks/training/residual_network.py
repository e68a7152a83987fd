"""Residual networks for photographs (He et al. 2016, table 1): ResNet-34 and ResNet-50 v1.5.

Parts are named as torchvision names them, so that weights go back and forth.
"""

from __future__ import annotations

from gnomon.core.errors import MissingExtraError

try:
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ResNet-34."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, images: Tensor) -> Tensor:
        """From (n, inputs, h, w) to (n, width, h / stride, w / stride)."""
        inner = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        return functional.relu(self.bn2(self.conv2(inner)) + self.downsample(images), inplace=True)


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1: ResNet-50. In v1.5 the 3x3 one has the stride."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        # A block that starts as the identity: Goyal et al. 2017 (arXiv:1706.02677), section 5.1.
        nn.init.zeros_(self.bn3.weight)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, images: Tensor) -> Tensor:
        """From (n, inputs, h, w) to (n, 4 * width, h / stride, w / stride)."""
        inner = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        inner = functional.relu(self.bn2(self.conv2(inner)), inplace=True)
        return functional.relu(self.bn3(self.conv3(inner)) + self.downsample(images), inplace=True)


Block = type[BasicBlock] | type[Bottleneck]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stage(block: Block, inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
    """So many blocks in a row, the first of which has the stride."""
    outputs = width * block.expansion
    return nn.Sequential(
        block(inputs, width, stride), *(block(outputs, width, 1) for _ in range(count - 1))
    )


def initialise(model: nn.Module) -> None:
    """Weights of all convolutions: He et al. 2015 (arXiv:1502.01852), by outputs."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class ResNet50(nn.Module):
    """ResNet-50 v1.5: photographs (n, 3, 224, 224) to class scores (n, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(Bottleneck, 64, 64, 3, 1)
        self.layer2 = stage(Bottleneck, 256, 128, 4, 2)
        self.layer3 = stage(Bottleneck, 512, 256, 6, 2)
        self.layer4 = stage(Bottleneck, 1024, 512, 3, 2)
        self.fc = nn.Linear(2048, classes)
        initialise(self)
        nn.init.normal_(self.fc.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores."""
        seen = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        seen = functional.max_pool2d(seen, 3, 2, 1)
        seen = self.layer4(self.layer3(self.layer2(self.layer1(seen))))
        scores: Tensor = self.fc(seen.mean(dim=(2, 3)))
        return scores
