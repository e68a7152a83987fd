"""Image networks as plain lists of layers, and their training: one description for every framework.

`mobile_models.py` writes such a list with trained weights as ONNX, LiteRT and ncnn. Padding is TensorFlow's
`same`: what is missing is added after a row or column first. Images come in as 0 to 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

IMAGE = "image"
"""Name of the input."""
MOST_RELU6 = 6.0
MOST_GREY = 255.0

Weights = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight (out, in, rows, columns) or (out, in) and bias (out,) of each layer that has them."""


@dataclass(frozen=True)
class Layer:
    """One step of a network.

    Attributes:
        kind: Which method of `Network` made it.
        name: Of its output.
        inputs: Names of what it reads.
        shape: Of its output without the batch: (channels, rows, columns), (rows, width), (width,).
        kernel: Rows and columns of a kernel.
        stride: Pixels from one place to the next.
        activation: `relu`, `relu6`, or none.
        normalised: Whether it has batch normalisation in training, folded away afterwards.
        factor: By how much it enlarges.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    kernel: int = 1
    stride: int = 1
    activation: str = ""
    normalised: bool = False
    factor: int = 1


@dataclass
class Network:
    """A network in the making: each method adds a layer and gives the name of its output.

    Attributes:
        image: Shape of the input: channels, rows, columns.
        layers: What was added, in order.
        outputs: Names of the layers that are the network's answers, by the name of the answer.
    """

    image: tuple[int, int, int]
    layers: list[Layer] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the output of a layer, or of the input."""
        return {IMAGE: self.image, **{layer.name: layer.shape for layer in self.layers}}[name]

    def convolution(
        self,
        source: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "relu6",
        normalised: bool = True,
    ) -> str:
        """A convolution; of the input, it sees 0 to 1."""
        _, rows, columns = self.shape(source)
        shape = (channels, -(-rows // stride), -(-columns // stride))
        return self._add("convolution", (source,), shape, kernel, stride, activation, normalised)

    def depthwise(
        self, source: str, kernel: int = 3, stride: int = 1, activation: str = "relu6"
    ) -> str:
        """A convolution of each channel by itself."""
        channels, rows, columns = self.shape(source)
        shape = (channels, -(-rows // stride), -(-columns // stride))
        return self._add("depthwise", (source,), shape, kernel, stride, activation, True)

    def inverted(self, source: str, channels: int, expansion: int, stride: int = 1) -> str:
        """The inverted residual of MobileNetV2 (M. Sandler et al., arXiv 1801.04381)."""
        wide = self.convolution(source, expansion * self.shape(source)[0], kernel=1)
        filtered = self.depthwise(wide, stride=stride)
        narrow = self.convolution(filtered, channels, kernel=1, activation="")
        same = self.shape(narrow) == self.shape(source)
        return self.sum(narrow, source) if same else narrow

    def dense(self, source: str, width: int, activation: str = "") -> str:
        """A fully connected layer."""
        return self._add("dense", (source,), (width,), activation=activation)

    def sum(self, one: str, other: str) -> str:
        """The sum of two of the same shape."""
        return self._add("sum", (one, other), self.shape(one))

    def channels(self, *sources: str) -> str:
        """The channels of all of these."""
        count = sum(self.shape(source)[0] for source in sources)
        return self._add("channels", sources, (count, *self.shape(sources[0])[1:]))

    def mean(self, source: str) -> str:
        """The mean of each channel."""
        return self._add("mean", (source,), self.shape(source)[:1])

    def enlarged(self, source: str, factor: int) -> str:
        """Bilinear interpolation between the middles of pixels."""
        channels, rows, columns = self.shape(source)
        shape = (channels, factor * rows, factor * columns)
        return self._add("enlarged", (source,), shape, factor=factor)

    def shuffled(self, source: str, factor: int) -> str:
        """Channels as pixels of an image larger by a factor: first those of its first row."""
        channels, rows, columns = self.shape(source)
        shape = (channels // factor**2, factor * rows, factor * columns)
        return self._add("shuffled", (source,), shape, factor=factor)

    def rows(self, source: str, width: int) -> str:
        """The channels of each pixel as one or more rows of so many numbers, pixel by pixel."""
        channels, rows, columns = self.shape(source)
        return self._add("rows", (source,), (rows * columns * channels // width, width))

    def stacked(self, *sources: str) -> str:
        """The rows of all of these."""
        count = sum(self.shape(source)[0] for source in sources)
        return self._add("stacked", sources, (count, self.shape(sources[0])[1]))

    def grey(self, source: str) -> str:
        """Clipped to 0 to 255."""
        return self._add("grey", (source,), self.shape(source))

    def best(self, source: str) -> str:
        """The number of the highest channel at each pixel, int32 (rows, columns)."""
        return self._add("best", (source,), self.shape(source)[1:])

    def _add(
        self,
        kind: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        kernel: int = 1,
        stride: int = 1,
        activation: str = "",
        normalised: bool = False,
        factor: int = 1,
    ) -> str:
        name = f"{kind}{len(self.layers)}"
        self.layers.append(
            Layer(kind, name, inputs, shape, kernel, stride, activation, normalised, factor)
        )
        return name


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows (or columns) to add before and after so that nothing is lost, as TensorFlow's `same`."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


class Trainable(nn.Module):
    """A network in PyTorch. It takes images of 0 to 255 and gives all outputs, in order.

    `best` has no gradient: in training it gives what it reads, channel scores, as they are.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.weighted = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for layer in network.layers:
            before = network.shape(layer.inputs[0])[0]
            wide = layer.shape[0]
            biased = not layer.normalised
            if layer.kind == "convolution":
                self.weighted[layer.name] = nn.Conv2d(
                    before, wide, layer.kernel, layer.stride, bias=biased
                )
            elif layer.kind == "depthwise":
                self.weighted[layer.name] = nn.Conv2d(
                    before, wide, layer.kernel, layer.stride, groups=wide, bias=biased
                )
            elif layer.kind == "dense":
                self.weighted[layer.name] = nn.Linear(before, wide)
            if layer.normalised:
                self.norms[layer.name] = nn.BatchNorm2d(wide)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Answers to images, (n, channels, rows, columns)."""
        values = {IMAGE: images}
        for layer in self.network.layers:
            values[layer.name] = self._step(layer, [values[name] for name in layer.inputs])
        return [values[name] for name in self.network.outputs.values()]

    def _step(self, layer: Layer, given: list[Tensor]) -> Tensor:
        first = given[0]
        match layer.kind:
            case "convolution" | "depthwise":
                if layer.inputs[0] == IMAGE:
                    first = first / MOST_GREY
                above, below = padding(first.shape[2], layer.kernel, layer.stride)
                left, right = padding(first.shape[3], layer.kernel, layer.stride)
                value = self.weighted[layer.name](
                    functional.pad(first, (left, right, above, below))
                )
                if layer.normalised:
                    value = self.norms[layer.name](value)
                return _activated(value, layer.activation)
            case "dense":
                return _activated(self.weighted[layer.name](first), layer.activation)
            case "sum":
                return first + given[1]
            case "channels" | "stacked":
                return torch.cat(given, dim=1)
            case "mean":
                return first.mean(dim=(2, 3))
            case "enlarged":
                return functional.interpolate(
                    first, scale_factor=layer.factor, mode="bilinear", align_corners=False
                )
            case "shuffled":
                count, _, rows, columns = first.shape
                factor = layer.factor
                parts = first.reshape(count, factor, factor, -1, rows, columns)
                larger = parts.permute(0, 3, 4, 1, 5, 2)
                return larger.reshape(count, -1, factor * rows, factor * columns)
            case "rows":
                return first.permute(0, 2, 3, 1).reshape(len(first), *layer.shape)
            case "grey":
                return first if self.training else first.clamp(0, MOST_GREY)
            case "best":
                return first if self.training else first.argmax(dim=1)
            case _:
                raise ValueError(f"no layer {layer.kind}")


def _activated(value: Tensor, activation: str) -> Tensor:
    if activation == "relu6":
        return functional.relu6(value)
    return value.relu() if activation == "relu" else value


def folded(model: Trainable) -> Weights:
    """The trained weights with batch normalisation and the division of the input by 255 in them."""
    weights = {}
    for layer in model.network.layers:
        if layer.name not in model.weighted:
            continue
        held = model.weighted[layer.name]
        weight = held.weight.detach().double()
        bias = torch.zeros(len(weight)) if held.bias is None else held.bias.detach()
        bias = bias.double()
        if layer.normalised:
            norm = model.norms[layer.name]
            slope = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
            weight = weight * slope[:, None, None, None]
            bias = (bias - norm.running_mean.double()) * slope + norm.bias.detach().double()
        if layer.inputs[0] == IMAGE:
            weight = weight / MOST_GREY
        weights[layer.name] = (weight.float().numpy(), bias.float().numpy())
    return weights
