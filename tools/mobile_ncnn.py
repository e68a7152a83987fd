"""Networks as ncnn models: a `.ncnn.param` text of layers and a `.ncnn.bin` of weights.

After ncnn's description of its format (github.com/Tencent/ncnn, docs/developer-guide/
param-and-model-file-structure.md and operation-param-weight-table.md). ncnn has no layer for the best channel
at each pixel, so that a network which ends in one gives the channels' scores instead.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from mobile_layers import IMAGE, MOST_GREY, MOST_RELU6, Layer, Network, Weights, padding

MAGIC = "7767517"
FLOAT32 = np.zeros(1, dtype="<u4").tobytes()
"""Before weights that are stored as they are; biases have no such mark."""


def write_ncnn(place: Path, network: Network, weights: Weights) -> None:
    """Write PLACE.ncnn.param and PLACE.ncnn.bin."""
    steps = [layer for layer in network.layers if layer.kind != "best"]
    replaced = {layer.name: layer.inputs[0] for layer in network.layers if layer.kind == "best"}
    ends = {replaced.get(name, name): answer for answer, name in network.outputs.items()}
    readers = Counter(name for layer in steps for name in layer.inputs)
    channels, rows, columns = network.image
    lines = [_line("Input", IMAGE, [], [IMAGE], {0: columns, 1: rows, 2: channels})]
    content = b""
    copies: dict[str, list[str]] = {}

    def made(name: str) -> None:
        """What has several readers must be split for them."""
        if readers[name] > 1:
            copies[name] = [f"{name}.{number}" for number in range(readers[name])]
            lines.append(_line("Split", f"{name}.split", [name], copies[name], {}))

    made(IMAGE)
    for layer in steps:
        given = [copies[name].pop(0) if name in copies else name for name in layer.inputs]
        output = ends.get(layer.name, layer.name)
        lines += _lines(layer, given, output, network)
        if layer.name in weights:
            weight, bias = weights[layer.name]
            content += FLOAT32 + weight.astype("<f4").tobytes() + bias.astype("<f4").tobytes()
        made(layer.name)
    blobs = sum(int(line.split()[3]) for line in lines)
    text = "\n".join([MAGIC, f"{len(lines)} {blobs}", *lines]) + "\n"
    Path(f"{place}.ncnn.param").write_text(text)
    Path(f"{place}.ncnn.bin").write_bytes(content)


def _lines(layer: Layer, given: list[str], output: str, network: Network) -> list[str]:
    before = network.shape(layer.inputs[0])
    match layer.kind:
        case "convolution" | "depthwise":
            above, below = padding(before[1], layer.kernel, layer.stride)
            left, right = padding(before[2], layer.kernel, layer.stride)
            wide = layer.shape[0]
            deep = 1 if layer.kind == "depthwise" else before[0]
            settings: dict[int, int | float | str] = {
                0: wide,
                1: layer.kernel,
                3: layer.stride,
                4: left,
                14: above,
                15: right,
                16: below,
                5: 1,
                6: wide * deep * layer.kernel**2,
                **_activation(layer),
            }
            if layer.kind == "depthwise":
                return [
                    _line("ConvolutionDepthWise", layer.name, given, [output], settings | {7: wide})
                ]
            return [_line("Convolution", layer.name, given, [output], settings)]
        case "dense":
            settings = {0: layer.shape[0], 1: 1, 2: layer.shape[0] * before[0]}
            settings |= _activation(layer)
            return [_line("InnerProduct", layer.name, given, [output], settings)]
        case "sum":
            return [_line("BinaryOp", layer.name, given, [output], {0: 0})]
        case "channels" | "stacked":
            return [_line("Concat", layer.name, given, [output], {0: 0})]
        case "mean":
            return [_line("Pooling", layer.name, given, [output], {0: 1, 4: 1})]
        case "enlarged":
            factors = {0: 2, 1: float(layer.factor), 2: float(layer.factor)}
            return [_line("Interp", layer.name, given, [output], factors)]
        case "shuffled":
            settings = {0: layer.factor, 1: 1}
            return [_line("PixelShuffle", layer.name, given, [output], settings)]
        case "rows":
            last = f"{layer.name}.last"
            return [
                _line("Permute", last, given, [last], {0: 3}),
                _line("Reshape", layer.name, [last], [output], {0: layer.shape[1], 1: -1}),
            ]
        case "grey":
            return [_line("Clip", layer.name, given, [output], {0: 0.0, 1: MOST_GREY})]
        case _:
            raise ValueError(f"no layer {layer.kind}")


def _activation(layer: Layer) -> dict[int, int | float | str]:
    if layer.activation == "relu6":
        return {9: 3, -23310: f"2,0.0,{MOST_RELU6}"}
    return {9: 1} if layer.activation == "relu" else {}


def _line(
    kind: str,
    name: str,
    inputs: list[str],
    outputs: list[str],
    settings: dict[int, int | float | str],
) -> str:
    numbers = [str(len(inputs)), str(len(outputs)), *inputs, *outputs]
    return " ".join([kind, name, *numbers, *(f"{key}={value}" for key, value in settings.items())])
