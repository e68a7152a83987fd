"""Integer parameters of the kernels, from scales and zero points, exactly as TensorFlow Lite computes them.

Real multipliers become a 32-bit fraction and a power of two (Jacob et al., arXiv 1712.05877, section 2.2).
What is float32 and what is float64 here follows TensorFlow Lite, since the last bit of a multiplier can
change an output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.firmware.graph import DENSE, Graph, Operator, Tensor

INT8_MIN, INT8_MAX = -128, 127
ADD_LEFT_SHIFT = 20
SOFTMAX_INTEGER_BITS = 5


@dataclass(frozen=True)
class AddParameters:
    """What `gnomon_add` has beside the size; offsets are the negated zero points of the inputs."""

    left_shift: int
    offset1: int
    offset2: int
    out_offset: int
    multiplier1: int
    multiplier2: int
    out_multiplier: int
    shift1: int
    shift2: int
    out_shift: int
    act_min: int
    act_max: int


def quantize_multiplier(real: float) -> tuple[int, int]:
    """A real multiplier as (multiplier, shift): about `multiplier / 2**31 * 2**shift`.

    The fraction lies in [2**30, 2**31), or is 0 for a multiplier of 0 or too small to shift to.
    """
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = int(_round_half_away(fraction * 2**31))
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def output_multipliers(
    graph: Graph, operator: Operator
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Multipliers and shifts of a convolution or dense layer, shape (channels,) each."""
    given, weights, made = (
        graph.tensors[operator.inputs[0]],
        graph.tensors[operator.inputs[1]],
        graph.tensors[operator.output],
    )
    if operator.name == DENSE and len(weights.scales) == 1:
        # Here TensorFlow Lite multiplies the scales in float32.
        products = [float(given.scale * weights.scales[0])]
    else:
        products = [float(given.scale) * float(scale) for scale in weights.scales]
    pairs = [quantize_multiplier(product / float(made.scale)) for product in products]
    channels = made.shape[-1]
    multipliers, shifts = (
        np.broadcast_to([pair[place] for pair in pairs], channels) for place in (0, 1)
    )
    return multipliers.astype(np.int32), shifts.astype(np.int8)


def activation_range(activation: str, tensor: Tensor) -> tuple[int, int]:
    """Least and greatest stored value that a fused activation leaves in an int8 tensor."""

    def quantized(value: float) -> int:
        return tensor.zero_point + int(_round_half_away(float(np.float32(value) / tensor.scale)))

    if activation == "NONE":
        return INT8_MIN, INT8_MAX
    low, high = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[activation]
    return (
        max(INT8_MIN, quantized(low)),
        INT8_MAX if high is None else min(INT8_MAX, quantized(high)),
    )


def add_parameters(graph: Graph, operator: Operator) -> AddParameters:
    """Inputs are brought to twice the larger scale with 20 more bits, added, and scaled to the output."""
    one, other = (graph.tensors[index] for index in operator.inputs[:2])
    made = graph.tensors[operator.output]
    common = 2.0 * max(float(one.scale), float(other.scale))
    multiplier1, shift1 = quantize_multiplier(float(one.scale) / common)
    multiplier2, shift2 = quantize_multiplier(float(other.scale) / common)
    out_multiplier, out_shift = quantize_multiplier(
        common / (2**ADD_LEFT_SHIFT * float(made.scale))
    )
    return AddParameters(
        ADD_LEFT_SHIFT,
        -one.zero_point,
        -other.zero_point,
        made.zero_point,
        multiplier1,
        multiplier2,
        out_multiplier,
        shift1,
        shift2,
        out_shift,
        *activation_range(operator.activation, made),
    )


def softmax_parameters(graph: Graph, operator: Operator) -> tuple[int, int, int]:
    """Multiplier and left shift of `beta * scale`, and the least difference from the maximum that counts."""
    scaled = operator.beta * float(graph.tensors[operator.inputs[0]].scale)
    multiplier, left_shift = quantize_multiplier(
        min(scaled * 2 ** (31 - SOFTMAX_INTEGER_BITS), 2.0**31 - 1)
    )
    radius = (2**SOFTMAX_INTEGER_BITS - 1) * 2.0 ** (31 - SOFTMAX_INTEGER_BITS) / 2.0**left_shift
    return multiplier, left_shift, -math.floor(radius)


def _round_half_away(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)
