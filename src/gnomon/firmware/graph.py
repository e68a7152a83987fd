"""An int8 model as plain values: tensors, and operators in the order they run.

`read.py` makes a `Graph` of a `.tflite`; the planner, the tables of the firmware and the figures of an image
are all made from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

CONV, DEPTHWISE, DENSE = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"
AVERAGE_POOL, MAX_POOL, ADD, SOFTMAX = "AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD", "SOFTMAX"
RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
SUPPORTED = (CONV, DEPTHWISE, DENSE, AVERAGE_POOL, MAX_POOL, ADD, SOFTMAX, *RESHAPES)
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
"""The schema's `ActivationFunctionType` in its order, as far as int8 kernels fuse them."""


class UnsupportedOperatorError(DataError):
    """A model has an operator, or a form of one, that the firmware has no kernel for."""

    def __init__(self, index: int, name: str, problem: str) -> None:
        super().__init__(f"operator {index} ({name}) {problem}")
        self.index, self.name = index, name


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the model.

    Attributes:
        shape: NHWC for images; the batch is 1.
        dtype: Of the stored values.
        scales: Real value of one step, shape (1,), or (channels,); empty if not quantised.
        zero_points: Stored value that means 0, in the shape of `scales`.
        data: The values of a constant, in `shape`; None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    data: NDArray[Any] | None

    @property
    def size(self) -> int:
        """How many values it has, which for int8 are its bytes."""
        return math.prod(self.shape)

    @property
    def scale(self) -> np.float32:
        """The one scale of an activation."""
        scale: np.float32 = self.scales[0]
        return scale

    @property
    def zero_point(self) -> int:
        """The one zero point of an activation."""
        return int(self.zero_points[0])


@dataclass(frozen=True)
class Operator:
    """One operator with the parameters that its kind has; pairs are (height, width).

    Attributes:
        index: Its place in the model.
        inputs: Indices of tensors; -1 for a bias that is left out.
        activation: One of `ACTIVATIONS`.
        same_padding: SAME rather than VALID.
        filter_size: Of a pool; a convolution's is in its weights' shape.
        beta: Softmax's.
    """

    index: int
    name: str
    inputs: tuple[int, ...]
    output: int
    activation: str = "NONE"
    same_padding: bool = False
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    filter_size: tuple[int, int] = (1, 1)
    beta: float = 1.0


@dataclass(frozen=True)
class Graph:
    """A model with one input and one output, operators in the order they run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    output: int
    source: str = field(default="model")

    def tensor(self, index: int) -> Tensor | None:
        """The tensor of this index; None for a bias that is left out (-1)."""
        return self.tensors[index] if index >= 0 else None

    def kernel_size(self, operator: Operator) -> tuple[int, int]:
        """Height and width of a convolution's or pool's window."""
        if operator.name in (CONV, DEPTHWISE):
            shape = self.tensors[operator.inputs[1]].shape
            return shape[1], shape[2]
        return operator.filter_size

    def padding(self, operator: Operator) -> tuple[int, int]:
        """Rows above and columns left of the image that its window covers."""
        given, made = self.tensors[operator.inputs[0]].shape, self.tensors[operator.output].shape
        if not operator.same_padding:
            return 0, 0
        before = [
            max((made[axis + 1] - 1) * stride + (kernel - 1) * dilation + 1 - given[axis + 1], 0)
            // 2
            for axis, (stride, kernel, dilation) in enumerate(
                zip(operator.stride, self.kernel_size(operator), operator.dilation, strict=True)
            )
        ]
        return before[0], before[1]

    def macs(self, operator: Operator) -> int:
        """Multiply-accumulate operations, counted as if nothing were padded."""
        made = self.tensors[operator.output].size
        if operator.name in (CONV, DENSE):
            return made * math.prod(self.tensors[operator.inputs[1]].shape[1:])
        return made * math.prod(self.kernel_size(operator)) if operator.name == DEPTHWISE else 0
