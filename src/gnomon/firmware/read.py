"""Reads an int8 `.tflite`, a flatbuffer of TensorFlow Lite's `schema.fbs`, with the `tflite` package."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError, described
from gnomon.core.extras import optional_module
from gnomon.firmware.checks import check_graph
from gnomon.firmware.graph import (
    ACTIVATIONS,
    ADD,
    AVERAGE_POOL,
    CONV,
    DENSE,
    DEPTHWISE,
    MAX_POOL,
    RESHAPES,
    SOFTMAX,
    SUPPORTED,
    Graph,
    Operator,
    Tensor,
    UnsupportedOperatorError,
)

IDENTIFIER = b"TFL3"
DAMAGE = (
    struct.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What reading a flatbuffer that was cut short or changed can raise."""

TYPES = {0: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 7: np.int16, 9: np.int8}
"""NumPy's types by number in the schema's `TensorType`."""

OPTIONS = {
    CONV: "Conv2DOptions",
    DEPTHWISE: "DepthwiseConv2DOptions",
    DENSE: "FullyConnectedOptions",
    AVERAGE_POOL: "Pool2DOptions",
    MAX_POOL: "Pool2DOptions",
    ADD: "AddOptions",
    SOFTMAX: "SoftmaxOptions",
}
"""The schema's table of each operator's parameters."""


SHAPES_ONLY = ("SHAPE", "STRIDED_SLICE", "PACK")
"""What converters leave before a reshape of a batch of any size; none has to run."""


def read_graph(model: Path | bytes) -> Graph:
    """Read a model and check that the kernels can run it.

    Args:
        model: The file, or what is in it.

    Raises:
        DataError: It cannot be read, is no `.tflite`, or is damaged.
        UnsupportedOperatorError: An operator has no kernel.
        MissingExtraError: The `tflite` package is missing.
    """
    source = "model" if isinstance(model, bytes) else str(model)
    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from None
    if content[4:8] != IDENTIFIER:
        raise DataError(
            f"{source} is no TensorFlow Lite model: it has no {IDENTIFIER.decode()} mark"
        )
    schema = _schema()
    try:
        graph = _graph(schema, content, source)
        check_graph(graph)
    except DAMAGE as error:
        raise DataError(f"{source} is damaged: {described(error)}") from None
    return graph


def _schema() -> Any:
    return optional_module("tflite", "tflite", "tiny", "reading a .tflite model")


def _graph(schema: Any, content: bytes, source: str) -> Graph:
    model = schema.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() != 1:
        raise DataError(
            f"{source} has {model.SubgraphsLength()} graphs, where the firmware runs one"
        )
    graph = model.Subgraphs(0)
    inputs, outputs = (_whole(values) for values in (graph.InputsAsNumpy(), graph.OutputsAsNumpy()))
    if len(inputs) != 1 or len(outputs) != 1:
        raise DataError(
            f"{source} has {len(inputs)} inputs and {len(outputs)} outputs, where a board has one of each"
        )
    tensors = tuple(_tensor(model, graph, index) for index in range(graph.TensorsLength()))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    operators = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = names.get(number, f"number {number}")
        if name not in SHAPES_ONLY:
            operators.append(_operator(schema, operator, index, name))
    made = Graph(tensors, tuple(operators), inputs[0], outputs[0], source)
    for place, index in (("input", made.input), ("output", made.output)):
        tensor = tensors[index]
        if tensor.dtype != np.int8 or len(tensor.scales) != 1:
            raise DataError(
                f"{source}: its {place} is {tensor.dtype}, where the firmware takes int8: convert the model"
                " with full integer quantisation (inference_input_type int8)"
            )
    return made


def _tensor(model: Any, graph: Any, index: int) -> Tensor:
    tensor = graph.Tensors(index)
    if tensor.Type() not in TYPES:
        raise DataError(
            f"tensor {index} is of type {tensor.Type()} of the schema, which no kernel takes"
        )
    dtype = np.dtype(TYPES[tensor.Type()])
    shape = _whole(tensor.ShapeAsNumpy())
    stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
    data = None
    if isinstance(stored, np.ndarray) and stored.size:
        data = np.frombuffer(stored.tobytes(), dtype=dtype).reshape(shape)
    scales, zero_points = np.empty(0, np.float32), np.empty(0, np.int64)
    quantisation = tensor.Quantization()
    if quantisation is not None and quantisation.ScaleLength():
        scales = quantisation.ScaleAsNumpy().astype(np.float32)
        zero_points = np.zeros(len(scales), np.int64)
        if quantisation.ZeroPointLength():
            zero_points[:] = quantisation.ZeroPointAsNumpy()
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    return Tensor(index, name, shape, dtype, scales, zero_points, data)


def _operator(schema: Any, operator: Any, index: int, name: str) -> Operator:
    if name not in SUPPORTED:
        raise UnsupportedOperatorError(
            index, name, f"has no kernel in the firmware; it has: {', '.join(SUPPORTED)}"
        )
    inputs, outputs = _whole(operator.InputsAsNumpy()), _whole(operator.OutputsAsNumpy())
    if name in RESHAPES:
        return Operator(index, name, inputs[:1], outputs[0])
    options = getattr(schema, OPTIONS[name])()
    table = operator.BuiltinOptions()
    if table is None:
        raise UnsupportedOperatorError(index, name, "has no options, and so is damaged")
    options.Init(table.Bytes, table.Pos)
    found: dict[str, Any] = {}
    if name == SOFTMAX:
        found["beta"] = float(options.Beta())
    else:
        fused = options.FusedActivationFunction()
        if fused >= len(ACTIVATIONS):
            raise UnsupportedOperatorError(
                index, name, f"fuses activation {fused}; known: {', '.join(ACTIVATIONS)}"
            )
        found["activation"] = ACTIVATIONS[fused]
    if name in (CONV, DEPTHWISE, AVERAGE_POOL, MAX_POOL):
        found["same_padding"] = options.Padding() == schema.Padding.SAME
        found["stride"] = (options.StrideH(), options.StrideW())
    if name in (CONV, DEPTHWISE):
        found["dilation"] = (options.DilationHFactor(), options.DilationWFactor())
    if name in (AVERAGE_POOL, MAX_POOL):
        found["filter_size"] = (options.FilterHeight(), options.FilterWidth())
    if name == DENSE and options.WeightsFormat() != 0:
        raise UnsupportedOperatorError(
            index, name, "has its weights shuffled, which no kernel reads"
        )
    return Operator(index, name, inputs, outputs[0], **found)


def _whole(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values) if isinstance(values, np.ndarray) else ()
