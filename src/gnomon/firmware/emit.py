"""Writes a model as C: its tables for flash memory, its arena, and the list of its layers.

`model.c` holds everything; `model_size.h` has its sizes. What the structures mean is said in `c/kernels.h`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.firmware import arrange
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
    Tensor,
)
from gnomon.firmware.plan import Kernels, Plan, alive_bytes, plan_memory
from gnomon.firmware.quantization import (
    activation_range,
    add_parameters,
    output_multipliers,
    softmax_parameters,
)

Wire = Literal["int8", "uint8", "float"]

LAYER_NAMES = {
    CONV: "conv",
    DEPTHWISE: "depthwise",
    DENSE: "dense",
    AVERAGE_POOL: "avg_pool",
    MAX_POOL: "max_pool",
    ADD: "add",
    SOFTMAX: "softmax",
}
VALUES_A_LINE = 24
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """What is known of a layer before it runs.

    Attributes:
        index: The operator's, in the `.tflite`; a profile of the board has the same.
        weights_bytes: Flash memory of its tables: weights, biases and multipliers.
        ram_bytes: Activations and scratch memory that are in use while it runs.
        macs: Multiply-accumulate operations of one inference.
    """

    index: int
    name: str
    weights_bytes: int
    ram_bytes: int
    macs: int


@dataclass(frozen=True)
class Source:
    """A model as C, and what it will take.

    Attributes:
        code: The text of `model.c`.
        header: The text of `model_size.h`.
        arena_bytes: Memory of the activations, the input among them.
        payload_bytes: Bytes of a loaded input; they have memory of their own only on a `float` wire.
    """

    code: str
    header: str
    layers: tuple[Layer, ...]
    plan: Plan
    arena_bytes: int
    payload_bytes: int


def wire_of(model_id: str) -> Wire:
    """How a benchmark's input travels: images as uint8, sounds to reconstruct as float32, else int8."""
    if model_id.startswith(("vww", "ic")):
        return "uint8"
    return "float" if model_id.startswith("ad") else "int8"


def emit(
    graph: Graph,
    model_id: str,
    *,
    kernels: Kernels = "plain",
    wire: Wire | None = None,
    symbol: str = "gnomon_the_model",
) -> Source:
    """A model as C.

    Args:
        graph: The model.
        model_id: What the board answers to `profile`.
        kernels: Whose tables and scratch memory are wanted.
        wire: How an input travels; `wire_of(model_id)` if left out.
        symbol: The one name that is visible to the linker, a `gnomon_model`.

    Raises:
        DataError: The model cannot be used on that wire.
    """
    wire = wire_of(model_id) if wire is None else wire
    given, made = graph.tensors[graph.input], graph.tensors[graph.output]
    if wire == "float" and given.size != made.size:
        raise DataError(
            f"{graph.source}: on a float wire the output is compared with the input, but they are"
            f" {made.size} and {given.size} values: use another model id than {model_id!r}"
        )
    plan = plan_memory(graph, kernels)
    writer = _Writer(graph, plan, kernels)
    layers = tuple(
        writer.layer(operator) for operator in graph.operators if operator.name not in RESHAPES
    )
    payload_bytes = given.size * (FLOAT_BYTES if wire == "float" else 1)
    payload = f"(uint8_t *)({writer.address(graph.input)})"
    own_payload = ""
    if wire == "float":
        own_payload = f"_Alignas(4) static uint8_t payload[{payload_bytes}];\n"
        payload = "payload"
    listed = "\n".join(
        f"  {{{layer.index}, {_quoted(layer.name)}, layer_{layer.index}}}," for layer in layers
    )
    fields: dict[str, Any] = {
        "id": _quoted(model_id),
        "layers": "layers",
        "layer_count": len(layers),
        "wire": f"GNOMON_{wire.upper()}",
        "payload": payload,
        "payload_size": payload_bytes,
        "input": writer.address(graph.input),
        "input_size": given.size,
        "input_scale": _float(given),
        "input_zero_point": given.zero_point,
        "output": writer.address(graph.output),
        "output_size": made.size,
        "output_scale": _float(made),
        "output_zero_point": made.zero_point,
    }
    code = "\n".join(
        [
            f"/* Made by Gnomon from {Path(graph.source).name}; changes will be lost. */",
            '#include "kernels.h"',
            '#include "model.h"',
            "",
            f"_Alignas(8) static int8_t arena[{max(plan.arena_bytes, 1)}];",
            own_payload,
            *writer.parts,
            f"static const gnomon_layer layers[] = {{\n{listed}\n}};",
            f"const gnomon_model {symbol} = {{{_fields(fields)}}};",
            "",
        ]
    )
    header = "\n".join(
        [
            f"/* Made by Gnomon from {Path(graph.source).name}; changes will be lost. */",
            '#include "model.h"',
            f"#define GNOMON_ARENA_BYTES {plan.arena_bytes}",
            f"#define GNOMON_PAYLOAD_BYTES {payload_bytes}",
            f"#define GNOMON_OUTPUT_SIZE {made.size}",
            f"extern const gnomon_model {symbol};",
            "",
        ]
    )
    return Source(code, header, layers, plan, plan.arena_bytes, payload_bytes)


class _Writer:
    """Collects the C of the layers in order."""

    def __init__(self, graph: Graph, plan: Plan, kernels: Kernels) -> None:
        self.graph, self.plan, self.kernels = graph, plan, kernels
        self.parts: list[str] = []
        self._table_bytes = 0
        self._constants: set[int] = set()

    def layer(self, operator: Operator) -> Layer:
        """Write an operator's tables and its call."""
        self._table_bytes = 0
        writers = {
            CONV: self._convolution,
            DEPTHWISE: self._convolution,
            DENSE: self._dense,
            AVERAGE_POOL: self._pool,
            MAX_POOL: self._pool,
            ADD: self._add,
            SOFTMAX: self._softmax,
        }
        calls = writers[operator.name](operator)
        self.parts.append(f"static void layer_{operator.index}(void) {{ {calls} }}\n")
        return Layer(
            operator.index,
            LAYER_NAMES[operator.name],
            self._table_bytes,
            alive_bytes(self.plan, self.graph.operators.index(operator)),
            self.graph.macs(operator),
        )

    def address(self, tensor: int) -> str:
        """The C expression of where a tensor lies: in the arena, or in flash memory if it is constant."""
        if tensor in self.plan.offsets:
            return f"arena + {self.plan.offsets[tensor]}"
        name = f"constant_{tensor}"
        data = self.graph.tensors[tensor].data
        if tensor not in self._constants and data is not None:
            self._constants.add(tensor)
            self._table(name, "int8_t", data)
        return name

    def _convolution(self, operator: Operator) -> str:
        given, made = self._shape(operator.inputs[0]), self._shape(operator.output)
        kernel, padding = self.graph.kernel_size(operator), self.graph.padding(operator)
        fields = dict(zip(("in_h", "in_w", "in_c"), given[1:], strict=True))
        fields |= dict(zip(("out_h", "out_w", "out_c"), made[1:], strict=True))
        fields |= {"kernel_h": kernel[0], "kernel_w": kernel[1]}
        fields |= {"stride_h": operator.stride[0], "stride_w": operator.stride[1]}
        fields |= {"dilation_h": operator.dilation[0], "dilation_w": operator.dilation[1]}
        fields |= {"pad_top": padding[0], "pad_left": padding[1]}
        self._structure("gnomon_conv", operator, fields | self._tables(operator))
        name = "depthwise" if operator.name == DEPTHWISE else "conv"
        return (
            f"gnomon_{name}_s8(&parameters_{operator.index}, {self.address(operator.inputs[0])},"
            f" {self.address(operator.output)}, {self._scratch(operator)});"
        )

    def _dense(self, operator: Operator) -> str:
        weights = self._shape(operator.inputs[1])
        fields = {"in": weights[1], "out": weights[0]} | self._tables(operator)
        self._structure("gnomon_dense", operator, fields)
        given, made = self.address(operator.inputs[0]), self.address(operator.output)
        rows = self.graph.tensors[operator.output].size // weights[0]
        return " ".join(
            f"gnomon_dense_s8(&parameters_{operator.index}, {given} + {row * weights[1]},"
            f" {made} + {row * weights[0]}, {self._scratch(operator)});"
            for row in range(rows)
        )

    def _pool(self, operator: Operator) -> str:
        given, made = self._shape(operator.inputs[0]), self._shape(operator.output)
        padding = self.graph.padding(operator)
        low, high = self._range(operator)
        fields = {
            "in_h": given[1],
            "in_w": given[2],
            "channels": given[3],
            "out_h": made[1],
            "out_w": made[2],
            "filter_h": operator.filter_size[0],
            "filter_w": operator.filter_size[1],
            "stride_h": operator.stride[0],
            "stride_w": operator.stride[1],
            "pad_top": padding[0],
            "pad_left": padding[1],
            "act_min": low,
            "act_max": high,
        }
        self._structure("gnomon_pool", operator, fields)
        return (
            f"gnomon_{LAYER_NAMES[operator.name]}_s8(&parameters_{operator.index},"
            f" {self.address(operator.inputs[0])}, {self.address(operator.output)});"
        )

    def _add(self, operator: Operator) -> str:
        fields = {"size": self.graph.tensors[operator.output].size}
        self._structure(
            "gnomon_add", operator, fields | asdict(add_parameters(self.graph, operator))
        )
        return (
            f"gnomon_add_s8(&parameters_{operator.index}, {self.address(operator.inputs[0])},"
            f" {self.address(operator.inputs[1])}, {self.address(operator.output)});"
        )

    def _softmax(self, operator: Operator) -> str:
        depth = self._shape(operator.output)[-1]
        rows = self.graph.tensors[operator.output].size // depth
        multiplier, left_shift, least = softmax_parameters(self.graph, operator)
        return (
            f"gnomon_softmax_s8({self.address(operator.inputs[0])}, {rows}, {depth}, {multiplier},"
            f" {left_shift}, {least}, {self.address(operator.output)});"
        )

    def _tables(self, operator: Operator) -> dict[str, Any]:
        """Weights, biases, multipliers and offsets of a layer with weights, by name in its structure."""
        graph, index = self.graph, operator.index
        given, made = graph.tensors[operator.inputs[0]], graph.tensors[operator.output]
        weights, channels = graph.tensors[operator.inputs[1]], made.shape[-1]
        bias_tensor = graph.tensor(operator.inputs[2]) if len(operator.inputs) > 2 else None
        bias = np.zeros(channels, np.int32) if bias_tensor is None else bias_tensor.data
        multipliers, shifts = output_multipliers(graph, operator)
        assert weights.data is not None
        assert bias is not None
        dsp, stored = self.kernels == "dsp", weights.data
        if dsp and operator.name == DENSE:
            stored = arrange.dense_weights(stored)
        self._table(f"weights_{index}", "int8_t", stored)
        self._table(f"multiplier_{index}", "int32_t", multipliers)
        self._table(f"shift_{index}", "int8_t", shifts)
        biases = {"bias": bias.ravel()}
        if dsp and operator.name == DENSE:
            biases = {"folded": arrange.dense_folded(weights.data, bias, -given.zero_point)}
        elif dsp:
            axes = (0, 1, 2) if operator.name == DEPTHWISE else (1, 2, 3)
            sums = weights.data.sum(axis=axes, dtype=np.int64)
            folded = (biases["bias"] - given.zero_point * sums).astype(np.int32)
            # Of the optimised kernels only the depthwise one looks at the biases too.
            biases = ({} if operator.name == CONV else biases) | {"folded": folded}
        for name, values in biases.items():
            self._table(f"{name}_{index}", "int32_t", values)
        low, high = self._range(operator)
        return {
            "in_offset": -given.zero_point,
            "out_offset": made.zero_point,
            "act_min": low,
            "act_max": high,
            "weights": f"weights_{index}",
            **{name: f"{name}_{index}" for name in biases},
            "multiplier": f"multiplier_{index}",
            "shift": f"shift_{index}",
        }

    def _table(self, name: str, kind: str, values: NDArray[Any]) -> None:
        width = {"int8_t": 1, "int32_t": 4}[kind]
        self._table_bytes += width * values.size
        text = [str(value) for value in values.ravel().tolist()]
        lines = (
            ",".join(text[start : start + VALUES_A_LINE])
            for start in range(0, len(text), VALUES_A_LINE)
        )
        body = ",\n".join(lines)
        self.parts.append(f"_Alignas(4) static const {kind} {name}[] = {{\n{body}}};")

    def _structure(self, kind: str, operator: Operator, fields: dict[str, Any]) -> None:
        self.parts.append(
            f"static const {kind} parameters_{operator.index} = {{{_fields(fields)}}};"
        )

    def _scratch(self, operator: Operator) -> str:
        offset = self.plan.scratch.get(operator.index)
        return "0" if offset is None else f"arena + {offset}"

    def _range(self, operator: Operator) -> tuple[int, int]:
        return activation_range(operator.activation, self.graph.tensors[operator.output])

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape


def _fields(fields: dict[str, Any]) -> str:
    return ", ".join(f".{name} = {value}" for name, value in fields.items())


def _float(tensor: Tensor) -> str:
    return f"{float(tensor.scale).hex()}f"


def _quoted(text: str) -> str:
    safe: Iterable[str] = (
        c if c.isascii() and c.isprintable() and c not in '\\"%?' else "_" for c in text
    )
    return f'"{"".join(safe)}"'
