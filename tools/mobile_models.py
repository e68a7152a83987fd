"""From one set of weights to the model files of every framework: ONNX and LiteRT of three precisions, ncnn.

    python -m venv /tmp/tf
    /tmp/tf/bin/pip install tensorflow-cpu==2.21.0 torch==2.13.0 onnx onnxruntime onnxconverter-common
    PYTHONPATH=src /tmp/tf/bin/python tools/mobile_classification.py

This module has no networks of its own; `tools/mobile_*.py` call it. For each of them it writes, in
`src/gnomon/data/mobile`: NAME.onnx, NAME-fp16.onnx (float16 within, float32 outside), NAME-int8.onnx (QDQ),
the same as .tflite (int8: inputs and outputs too), and what `mobile_ncnn.py` writes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import tensorflow as tf
from mobile_layers import IMAGE, MOST_GREY, MOST_RELU6, Layer, Network, Weights, padding
from mobile_ncnn import write_ncnn
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common import float16
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

DATA = Path(__file__).parent.parent / "src" / "gnomon" / "data" / "mobile"
OPSET = 17
IR_VERSION = 8

Feeds = Sequence[Mapping[str, NDArray[Any]]]
"""Samples to calibrate on: the batch of one of each model input, by name, as ONNX has it."""


def write_images(
    stem: str, network: Network, weights: Weights, calibration: NDArray[np.uint8], **int8: Any
) -> None:
    """Write all files of a network of images.

    Args:
        stem: How their names begin.
        network: Its layers.
        weights: From `folded`.
        calibration: Images of the training data, uint8 (n, channels, rows, columns).
        int8: Options of `write_onnx`.
    """
    ends = np.where(np.arange(calibration[0].size) % 2, MOST_GREY, 0).reshape(calibration[0].shape)
    # Both ends of the range, so that a grey value is its own step whatever the samples hold.
    images = np.concatenate([ends[None], calibration]).astype(np.float32)
    write_onnx(stem, onnx_model(network, weights), [{IMAGE: one[None]} for one in images], **int8)
    write_tflite(
        stem,
        keras_model(network, weights),
        [[one[None].transpose(0, 2, 3, 1)] for one in images],
    )
    write_ncnn(DATA / stem, network, weights)


def write_onnx(
    stem: str,
    model: onnx.ModelProto,
    calibration: Feeds,
    percentile: float = 0.0,
    excluded: Sequence[str] = (),
    operators: Sequence[str] | None = None,
) -> None:
    """Write a float32 model, and its float16 and int8 versions.

    Args:
        stem: How their names begin.
        model: In float32, with named nodes.
        calibration: What int8 ranges come from.
        percentile: Ranges hold so many of a hundred values; 0: all.
        excluded: Names of nodes that stay in float32 in the int8 version.
        operators: Kinds of nodes that become int8; default: all that can.
    """
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, DATA / f"{stem}.onnx")
    half = float16.convert_float_to_float16(model, keep_io_types=True)
    onnx.save(half, DATA / f"{stem}-fp16.onnx")

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)  # type: ignore[return-value]

    options = {"CalibPercentile": percentile} if percentile else {}
    quantize_static(
        onnx.shape_inference.infer_shapes(model),
        str(DATA / f"{stem}-int8.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Seven bits: kernels of processors without VNNI add up pairs of products in 16 bits.
        reduce_range=True,
        calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
        nodes_to_exclude=list(excluded),
        op_types_to_quantize=list(operators) if operators else None,
        extra_options=options,
    )


def write_tflite(stem: str, model: Any, calibration: Sequence[Sequence[NDArray[Any]]]) -> None:
    """Write a float32 model of batch 1, its version with float16 weights, and the all-int8 one.

    Args:
        stem: How their names begin.
        model: In Keras, images as (rows, columns, channels); or a concrete function, for more than one input.
        calibration: What int8 ranges come from: the inputs of a sample each, in the model's order, batch 1.
    """

    def samples() -> Iterator[list[NDArray[Any]]]:
        for one in calibration:
            yield list(one)

    def half(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    def int8(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if all(one.dtype == np.float32 for one in calibration[0]):
            converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8

    settings: dict[str, Callable[[tf.lite.TFLiteConverter], None]] = {
        "": lambda converter: None,
        "-fp16": half,
        "-int8": int8,
    }
    for ending, set_up in settings.items():
        with tempfile.TemporaryDirectory() as folder:
            converter = _converter(model, folder)
            set_up(converter)
            (DATA / f"{stem}{ending}.tflite").write_bytes(converter.convert())


def _converter(model: Any, folder: str) -> tf.lite.TFLiteConverter:
    """A new converter of a Keras model with one input, or of a concrete function of TensorFlow's."""
    if not isinstance(model, keras.Model):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([model])
        converter.experimental_lower_to_saved_model = False  # that would mix up the inputs
        return converter
    signature = [
        tf.TensorSpec((1, *entry.shape[1:]), entry.dtype, name=entry.name) for entry in model.inputs
    ]
    model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
    return tf.lite.TFLiteConverter.from_saved_model(folder)


def onnx_model(network: Network, weights: Weights) -> onnx.ModelProto:
    """The network in ONNX, with any batch size."""
    nodes: list[onnx.NodeProto] = []
    held: list[onnx.TensorProto] = []
    names = {layer: answer for answer, layer in network.outputs.items()}

    def constant(name: str, value: NDArray[Any]) -> str:
        held.append(numpy_helper.from_array(value, name))
        return name

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def activated(layer: Layer, value: str, output: str) -> None:
        if layer.activation == "relu6":
            limits = [
                constant(f"{output}.{name}", np.array(limit, dtype=np.float32))
                for name, limit in (("low", 0), ("high", MOST_RELU6))
            ]
            node("Clip", [value, *limits], output)
        elif layer.activation == "relu":
            node("Relu", [value], output)

    for layer in network.layers:
        output = names.get(layer.name, layer.name)
        given = [names.get(name, name) for name in layer.inputs]
        if layer.name in weights:
            weight, bias = weights[layer.name]
            given += [constant(f"{output}.weight", weight), constant(f"{output}.bias", bias)]
            value = f"{output}.sum" if layer.activation else output
        match layer.kind:
            case "convolution" | "depthwise":
                channels, rows, columns = network.shape(layer.inputs[0])
                above, below = padding(rows, layer.kernel, layer.stride)
                left, right = padding(columns, layer.kernel, layer.stride)
                node(
                    "Conv",
                    given,
                    value,
                    kernel_shape=[layer.kernel] * 2,
                    strides=[layer.stride] * 2,
                    pads=[above, left, below, right],
                    group=channels if layer.kind == "depthwise" else 1,
                )
                activated(layer, value, output)
            case "dense":
                node("Gemm", given, value, transB=1)
                activated(layer, value, output)
            case "sum":
                node("Add", given, output)
            case "channels" | "stacked":
                node("Concat", given, output, axis=1)
            case "mean":
                node("GlobalAveragePool", given, f"{output}.mean")
                node("Flatten", [f"{output}.mean"], output)
            case "enlarged":
                factors = np.array([1, 1, layer.factor, layer.factor], dtype=np.float32)
                node(
                    "Resize",
                    [*given, "", constant(f"{output}.factors", factors)],
                    output,
                    mode="linear",
                    coordinate_transformation_mode="half_pixel",
                )
            case "shuffled":
                node("DepthToSpace", given, output, blocksize=layer.factor, mode="DCR")
            case "rows":
                node("Transpose", given, f"{output}.last", perm=[0, 2, 3, 1])
                shape = constant(f"{output}.shape", np.array([0, *layer.shape], dtype=np.int64))
                node("Reshape", [f"{output}.last", shape], output)
            case "grey":
                limits = [
                    constant(f"{output}.low", np.array(0, dtype=np.float32)),
                    constant(f"{output}.high", np.array(MOST_GREY, dtype=np.float32)),
                ]
                node("Clip", [*given, *limits], output)
            case "best":
                node("ArgMax", given, f"{output}.wide", axis=1, keepdims=0)
                node("Cast", [f"{output}.wide"], output, to=TensorProto.INT32)
            case _:
                raise ValueError(f"no layer {layer.kind}")

    kinds = {layer.name: layer.kind for layer in network.layers}
    outputs = [
        helper.make_tensor_value_info(
            answer,
            TensorProto.INT32 if kinds[name] == "best" else TensorProto.FLOAT,
            ["n", *network.shape(name)],
        )
        for answer, name in network.outputs.items()
    ]
    entry = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["n", *network.image])
    graph = helper.make_graph(nodes, "gnomon", [entry], outputs, held)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph, opset_imports=opset, producer_name="gnomon", ir_version=IR_VERSION
    )


def keras_model(network: Network, weights: Weights) -> keras.Model:
    """The network in Keras, images as (rows, columns, channels)."""
    from keras import layers

    channels, rows, columns = network.image
    entry = layers.Input((rows, columns, channels), name=IMAGE)
    values = {IMAGE: entry}
    for layer in network.layers:
        given = [values[name] for name in layer.inputs]
        first = given[0]
        if layer.name in weights:
            weight, bias = weights[layer.name]
            fixed = keras.initializers.Constant
            activation = layer.activation or None
        match layer.kind:
            case "convolution":
                kernel = weight.transpose(2, 3, 1, 0)
                value = layers.Conv2D(
                    layer.shape[0],
                    layer.kernel,
                    layer.stride,
                    padding="same",
                    activation=activation,
                    kernel_initializer=fixed(kernel),
                    bias_initializer=fixed(bias),
                )(first)
            case "depthwise":
                kernel = weight.transpose(2, 3, 0, 1)
                value = layers.DepthwiseConv2D(
                    layer.kernel,
                    layer.stride,
                    padding="same",
                    activation=activation,
                    depthwise_initializer=fixed(kernel),
                    bias_initializer=fixed(bias),
                )(first)
            case "dense":
                value = layers.Dense(
                    layer.shape[0],
                    activation=activation,
                    kernel_initializer=fixed(weight.T),
                    bias_initializer=fixed(bias),
                )(first)
            case "sum":
                value = layers.Add()(given)
            case "channels":
                value = layers.Concatenate()(given)
            case "stacked":
                value = layers.Concatenate(axis=1)(given)
            case "mean":
                value = layers.GlobalAveragePooling2D()(first)
            case "enlarged":
                value = layers.UpSampling2D(layer.factor, interpolation="bilinear")(first)
            case "shuffled":
                value = layers.Lambda(
                    lambda one, factor=layer.factor: tf.nn.depth_to_space(one, factor)
                )(first)
            case "rows":
                value = layers.Reshape(layer.shape)(first)
            case "grey":
                value = layers.ReLU(max_value=MOST_GREY)(first)
            case "best":
                value = layers.Lambda(lambda one: tf.argmax(one, axis=-1, output_type=tf.int32))(
                    first
                )
            case _:
                raise ValueError(f"no layer {layer.kind}")
        values[layer.name] = value
    return keras.Model(entry, [values[name] for name in network.outputs.values()])
