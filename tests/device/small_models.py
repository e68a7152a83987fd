"""Small int8 models as `.tflite` files, written with LiteRT's own schema: one dense layer."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def dense(
    path: Path, *, inputs: int, outputs: int, seed: int = 0, in_scale=0.5, out_scale=1 / 256
) -> Path:
    """A model of one fully connected layer with random weights; zero points 3 and -128."""
    random = np.random.default_rng(seed)
    weights = random.integers(-127, 128, (outputs, inputs), dtype=np.int8)
    bias = random.integers(-500, 500, outputs, dtype=np.int32)
    weight_scale = 8 * out_scale / (in_scale * 60 * np.sqrt(inputs) * 60)
    buffers = [b"", weights.tobytes(), bias.tobytes()]
    tensors = [
        _tensor("in", (1, inputs), schema.TensorType.INT8, 0, in_scale, 3),
        _tensor("weights", weights.shape, schema.TensorType.INT8, 1, weight_scale, 0),
        _tensor("bias", bias.shape, schema.TensorType.INT32, 2, in_scale * weight_scale, 0),
        _tensor("out", (1, outputs), schema.TensorType.INT8, 0, out_scale, -128),
    ]
    options = schema.FullyConnectedOptionsT()
    layer = schema.OperatorT()
    layer.opcodeIndex = 0
    layer.inputs, layer.outputs = [0, 1, 2], [3]
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = options
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [layer], [0], [3]
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [_buffer(data) for data in buffers]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _tensor(name, shape, kind, buffer, scale, zero_point):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [float(scale)]
    tensor.quantization.zeroPoint = [zero_point]
    return tensor


def _buffer(data):
    buffer = schema.BufferT()
    if data:
        buffer.data = np.frombuffer(data, dtype=np.uint8)
    return buffer
