"""Refuses forms of an operator that the kernels do not compute, and shapes that contradict each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gnomon.core.errors import DataError
from gnomon.firmware.graph import (
    ADD,
    AVERAGE_POOL,
    CONV,
    DENSE,
    DEPTHWISE,
    MAX_POOL,
    RESHAPES,
    SOFTMAX,
    Graph,
    Operator,
    UnsupportedOperatorError,
)

LARGEST_SIDE = 2**15 - 1
LEAST_SCALE, LARGEST_SCALE = 1e-15, 1e15
LARGEST_MULTIPLIER = 2.0**30
Require = Callable[[bool, str], None]
"""Called with what must hold, and what is wrong with the operator if it does not."""


def check_graph(graph: Graph) -> None:
    """Check that the kernels compute each operator, and that each reads what was written before.

    Raises:
        UnsupportedOperatorError: No kernel computes it.
    """
    for tensor in graph.tensors:
        if not ((tensor.scales >= 0) & (tensor.scales < LARGEST_SCALE)).all():
            raise DataError(f"{graph.source}: tensor {tensor.index} has an impossible scale")
    known = {graph.input, *(each.index for each in graph.tensors if each.data is not None)}
    for operator in graph.operators:
        bias = operator.inputs[2:3] if operator.name in (CONV, DEPTHWISE, DENSE) else ()
        read = set(operator.inputs) - ({-1} if bias == (-1,) else set())
        if not read or not read <= known or operator.output in known:
            raise UnsupportedOperatorError(
                operator.index, operator.name, "reads what nothing wrote, or writes what is written"
            )
        known.add(operator.output)
        _check_operator(graph, operator)
    if graph.output not in known:
        raise DataError(f"{graph.source}: no operator writes the model's output")


def _check_operator(graph: Graph, operator: Operator) -> None:

    def require(holds: bool, problem: str) -> None:
        if not holds:
            raise UnsupportedOperatorError(operator.index, operator.name, problem)

    given, made = graph.tensors[operator.inputs[0]], graph.tensors[operator.output]
    for tensor in (given, made):
        require(tensor.dtype == np.int8, f"is {tensor.dtype}, where kernels compute in int8")
        require(len(tensor.scales) == 1, "has an activation with no scale, or with several")
        require(float(tensor.scale) >= LEAST_SCALE, "has an activation whose scale is 0")
        require(-128 <= tensor.zero_point <= 127, "has a zero point that is no int8")
    if operator.name in RESHAPES:
        require(given.size == made.size, "changes the number of values")
        return
    if operator.name == SOFTMAX:
        require(0 < operator.beta < LARGEST_MULTIPLIER, f"has a beta of {operator.beta:g}")
        require(given.shape == made.shape, "changes the shape")
        require(
            bool(np.isclose(made.scale, 1 / 256)) and made.zero_point == -128,
            "has an output of a scale other than 1/256 or a zero point other than -128",
        )
    elif operator.name == ADD:
        other = graph.tensors[operator.inputs[1]]
        require(given.shape == other.shape == made.shape, "adds tensors of different shapes")
        require(
            other.dtype == np.int8 and len(other.scales) == 1, "adds something that is not int8"
        )
        largest = max(float(given.scale), float(other.scale))
        require(
            float(other.scale) >= LEAST_SCALE and 2 * largest < 2**20 * float(made.scale),
            "has scales too far apart",
        )
    else:
        _check_window(graph, operator, require)


def _check_window(graph: Graph, operator: Operator, require: Require) -> None:
    given, made = graph.tensors[operator.inputs[0]], graph.tensors[operator.output]
    if operator.name != DENSE:
        require(len(given.shape) == len(made.shape) == 4, "works on tensors that are not NHWC")
        require(given.shape[0] == made.shape[0] == 1, "has a batch other than 1")
        require(max(*given.shape, *made.shape) <= LARGEST_SIDE, f"has a side above {LARGEST_SIDE}")
        require(min(*operator.stride, *operator.dilation) >= 1, "has a stride or dilation of 0")
    if operator.name in (AVERAGE_POOL, MAX_POOL):
        require(given.shape[3] == made.shape[3], "changes the number of channels")
        require(
            given.scale == made.scale and given.zero_point == made.zero_point,
            "has an input and an output of different scales",
        )
    else:
        weights = graph.tensors[operator.inputs[1]]
        require(
            weights.data is not None and weights.dtype == np.int8,
            "has weights that are no int8 constant",
        )
        require(not weights.zero_points.any(), "has weights whose zero point is not 0")
        product = float(given.scale) * float(weights.scales.max(initial=0))
        require(product < LARGEST_MULTIPLIER * float(made.scale), "has scales too far apart")
        channels = made.shape[-1]
        require(len(weights.scales) in (1, channels), "has scales for other than its channels")
        bias = graph.tensor(operator.inputs[2]) if len(operator.inputs) > 2 else None
        require(
            bias is None
            or (bias.dtype == np.int32 and bias.data is not None and bias.size == channels),
            "has a bias that is no int32 constant, one value a channel",
        )
        expected: tuple[int, ...] = (channels, *weights.shape[1:3], given.shape[-1])
        if operator.name == DEPTHWISE:
            expected = (1, *weights.shape[1:3], channels)
            require(channels % given.shape[3] == 0, "has no whole depth multiplier")
        elif operator.name == DENSE:
            rows = made.size // channels
            expected = (channels, given.size // rows)
            require(rows * channels == made.size, "has an output that is no rows of its channels")
        require(weights.shape == expected, f"has weights of shape {weights.shape}, not {expected}")
    if operator.name != DENSE:
        for axis in (0, 1):
            kernel, dilation = graph.kernel_size(operator)[axis], operator.dilation[axis]
            stride, reach = operator.stride[axis], (kernel - 1) * dilation
            side = given.shape[axis + 1] if operator.same_padding else given.shape[axis + 1] - reach
            require(
                made.shape[axis + 1] == -(-side // stride),
                "has an output of another size than its window makes",
            )
