"""Random int8 models: networks made layer by layer, and any `Graph` written as a `.tflite`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

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
    Graph,
    Operator,
    Tensor,
)
from gnomon.firmware.read import OPTIONS, TYPES

SPREAD = 74.0
"""Standard deviation of uniformly random int8."""


class Network:
    """A chain of random layers; each method adds one behind the last, or `after`, and returns its tensor."""

    def __init__(self, seed, shape):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.operators = [], []
        self.last = self.activation((1, *shape), self.rng.uniform(0.01, 0.6))

    def graph(self):
        return Graph(tuple(self.tensors), tuple(self.operators), 0, self.last)

    def activation(self, shape, scale, zero_point=None):
        if zero_point is None:
            zero_point = int(self.rng.integers(-128, 128))
        return self._tensor(shape, np.int8, [scale], [zero_point], None)

    def conv(self, channels, kernel, after=None, *, per_channel=True, bias=True, **options):
        given = self.shape(after)
        weights = self._weights((channels, *kernel, given[3]), channels if per_channel else 1, 0)
        return self._weighted(CONV, weights, channels, kernel, after, bias, options)

    def depthwise(self, multiplier, kernel, after=None, *, bias=True, **options):
        channels = self.shape(after)[3] * multiplier
        weights = self._weights((1, *kernel, channels), channels, 3)
        return self._weighted(DEPTHWISE, weights, channels, kernel, after, bias, options)

    def dense(self, outputs, after=None, *, per_channel=False, bias=True, rows=1, **options):
        inputs = math.prod(self.shape(after)) // rows
        weights = self._weights((outputs, inputs), outputs if per_channel else 1, 0)
        return self._weighted(DENSE, weights, outputs, None, after, bias, options, rows)

    def pool(self, name, filter_size, after=None, **options):
        after = self.last if after is None else after
        given = self.tensors[after]
        operator = self._operator(
            name, (after,), filter_size=filter_size, **{"stride": filter_size, **options}
        )
        shape = self._window_shape(operator, filter_size, given.shape, given.shape[3])
        return self._ends(operator, self.activation(shape, given.scale, given.zero_point))

    def add(self, one, other, **options):
        scale = max(self.tensors[one].scale, self.tensors[other].scale) * self.rng.uniform(0.8, 2)
        operator = self._operator(ADD, (one, other), **options)
        return self._ends(operator, self.activation(self.tensors[one].shape, scale))

    def softmax(self, beta=1.0):
        operator = self._operator(SOFTMAX, (self.last,), beta=beta)
        return self._ends(operator, self.activation(self.shape(), 1 / 256, -128))

    def reshape(self, shape, after=None):
        after = self.last if after is None else after
        given = self.tensors[after]
        operator = self._operator(RESHAPES[0], (after,))
        return self._ends(operator, self.activation(shape, given.scale, given.zero_point))

    def shape(self, tensor=None):
        return self.tensors[self.last if tensor is None else tensor].shape

    def _weights(self, shape, scales, axis):
        values = self.rng.integers(-127, 128, shape, dtype=np.int8)
        return self._tensor(
            shape, np.int8, self.rng.uniform(0.001, 0.02, scales), np.zeros(scales), values, axis
        )

    def _weighted(self, name, weights, channels, kernel, after, bias, options, rows=1):
        after = self.last if after is None else after
        given, factors = self.tensors[after], self.tensors[weights]
        terms = factors.size // channels
        inputs = (after, weights)
        if bias:
            values = self.rng.integers(-3000, 3001, channels) * math.isqrt(terms)
            scales = given.scale * factors.scales
            inputs += (self._tensor((channels,), np.int32, scales, 0 * scales, values),)
        else:
            inputs += (-1,) if name != DEPTHWISE else ()
        operator = self._operator(name, inputs, **options)
        shape = (rows, channels)
        if kernel is not None:
            shape = self._window_shape(operator, kernel, given.shape, channels)
        real = given.scale * factors.scales.mean() * SPREAD**2 * math.sqrt(terms)
        return self._ends(
            operator, self.activation(shape, real / SPREAD * self.rng.uniform(0.5, 1.5))
        )

    def _window_shape(self, operator, kernel, given, channels):
        sides = (
            -(-(side if operator.same_padding else side - (size - 1) * dilation) // stride)
            for side, size, dilation, stride in zip(
                given[1:3], kernel, operator.dilation, operator.stride, strict=True
            )
        )
        return (1, *sides, channels)

    def _operator(self, name, inputs, **options):
        return Operator(len(self.operators), name, inputs, -1, **options)

    def _ends(self, operator, output):
        self.operators.append(replace(operator, output=output))
        self.last = output
        return output

    def _tensor(self, shape, dtype, scales, zero_points, data, axis=0):
        data = None if data is None else np.asarray(data, dtype)
        index = len(self.tensors)
        scales = np.asarray(scales, np.float32)
        zero_points = np.asarray(zero_points, np.int64)
        shape = tuple(map(int, shape))
        tensor = Tensor(index, f"t{index}", shape, np.dtype(dtype), scales, zero_points, data)
        self.tensors.append(tensor)
        return index


def write_model(graph):
    """The `.tflite` of a graph: what `read_graph` reads."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    numbers = {np.dtype(dtype): number for number, dtype in TYPES.items()}
    model, made = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes = 3, [made], []
    model.buffers = [schema.BufferT()]
    made.inputs, made.outputs, made.tensors, made.operators = [graph.input], [graph.output], [], []
    depthwise = {each.inputs[1] for each in graph.operators if each.name == DEPTHWISE}
    for tensor in graph.tensors:
        written = schema.TensorT()
        written.name, written.shape = tensor.name.encode(), list(tensor.shape)
        written.type, written.buffer = numbers[tensor.dtype], 0
        written.quantization = schema.QuantizationParametersT()
        written.quantization.scale = tensor.scales.tolist()
        written.quantization.zeroPoint = tensor.zero_points.tolist()
        written.quantization.quantizedDimension = 3 if tensor.index in depthwise else 0
        if tensor.data is not None:
            written.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        made.tensors.append(written)
    for place, operator in enumerate(graph.operators):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(
            schema.BuiltinOperator, operator.name
        )
        code.version = 1
        model.operatorCodes.append(code)
        written = schema.OperatorT()
        written.opcodeIndex = place
        written.inputs, written.outputs = list(operator.inputs), [operator.output]
        _write_options(schema, graph, operator, written)
        made.operators.append(written)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _write_options(schema, graph, operator, written):
    name = OPTIONS.get(operator.name, "ReshapeOptions")
    options = getattr(schema, f"{name}T")()
    written.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    written.builtinOptions = options
    if operator.name not in OPTIONS:
        options.newShape = list(graph.tensors[operator.output].shape)
        return
    if operator.name == SOFTMAX:
        options.beta = operator.beta
        return
    options.fusedActivationFunction = ACTIVATIONS.index(operator.activation)
    if operator.name in (CONV, DEPTHWISE, AVERAGE_POOL, MAX_POOL):
        options.padding = schema.Padding.SAME if operator.same_padding else schema.Padding.VALID
        options.strideH, options.strideW = operator.stride
    if operator.name in (CONV, DEPTHWISE):
        options.dilationHFactor, options.dilationWFactor = operator.dilation
    if operator.name == DEPTHWISE:
        channels = graph.tensors[operator.inputs[0]].shape[3]
        options.depthMultiplier = graph.tensors[operator.output].shape[3] // channels
    if operator.name in (AVERAGE_POOL, MAX_POOL):
        options.filterHeight, options.filterWidth = operator.filter_size
    if operator.name == DENSE:
        options.keepNumDims = False


def single_layers(graph):
    """Each operator of a model as a model of its own, by the operator's index; additions are left out."""
    found = {}
    for operator in graph.operators:
        if operator.name in RESHAPES or operator.name == ADD:
            continue
        kept = [*operator.inputs, operator.output]
        places = {old: new for new, old in enumerate(index for index in kept if index >= 0)}
        tensors = tuple(replace(graph.tensors[old], index=new) for old, new in places.items())
        alone = replace(
            operator,
            index=0,
            inputs=tuple(places.get(index, -1) for index in operator.inputs),
            output=places[operator.output],
        )
        found[operator.index] = Graph(tensors, (alone,), 0, alone.output)
    return found
