"""A trained DLRM's dense parts as ONNX graphs, written with onnx's own helpers: no tracing.

The embedding lookup stays outside: whoever serves the model does it, and hands in the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import MissingExtraError
from gnomon.recommend.config import DlrmConfig

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
IR_VERSION = 8
Weights = dict[str, NDArray[np.float32]]


class _Graph:
    """Nodes and weights as they are added; names of values are those of the layers that make them."""

    def __init__(self, name: str) -> None:
        try:
            import onnx
        except ImportError:
            raise MissingExtraError("onnx", "train", "writing a model's graphs") from None
        self._onnx, self._name = onnx, name
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._weights.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def mlp(self, weights: Weights, prefix: str, given: str, layers: int, last: str) -> str:
        """Linear layers with ReLU between them; the value after the last is `last`."""
        for layer in range(layers):
            # In the trained model a ReLU has a number too: linear layers are the even ones.
            name = f"{prefix}.{2 * layer}"
            kernel = self.constant(f"{name}.weight", weights[f"{name}.weight"])
            bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
            end = layer == layers - 1
            given = self.node(
                "Gemm", [given, kernel, bias], last if end else f"{name}.linear", transB=1
            )
            if not end:
                given = self.node("Relu", [given], f"{name}.relu")
        return given

    def made(self, inputs: dict[str, list[Any]], output: str, shape: list[Any]) -> ModelProto:
        """The checked model. Shapes name the batch axis `n`."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(name, kind, axes) for name, axes in inputs.items()],
            [helper.make_tensor_value_info(output, kind, shape)],
            self._weights,
        )
        model: ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="gnomon"
        )
        model.ir_version = IR_VERSION
        self._onnx.checker.check_model(model)
        return model


def bottom_graph(config: DlrmConfig, weights: Weights) -> ModelProto:
    """`dense` (n, dense) to `vector` (n, dim)."""
    graph = _Graph("dlrm-bottom")
    linear = graph.mlp(weights, "bottom", "dense", len(config.bottom), "bottom.linear")
    graph.node("Relu", [linear], "vector")
    return graph.made({"dense": ["n", config.dense]}, "vector", ["n", config.dim])


def top_graph(config: DlrmConfig, weights: Weights) -> ModelProto:
    """`vector` (n, dim) and `rows` (n, tables, dim) to `probability` (n,), the interaction inside."""
    graph = _Graph("dlrm-top")
    first = graph.constant("axis", np.array([1], dtype=np.int64))
    dense = graph.node("Unsqueeze", ["vector", first], "dense.row")
    vectors = graph.node("Concat", [dense, "rows"], "vectors", axis=1)
    if config.interaction == "dot":
        features = _dot(graph, config, vectors)
    else:
        features = _cross(graph, config, weights, vectors)
    _head(graph, config, weights, features)
    inputs = {"vector": ["n", config.dim], "rows": ["n", config.tables, config.dim]}
    return graph.made(inputs, "probability", ["n"])


def head_graph(config: DlrmConfig, weights: Weights) -> ModelProto:
    """`features` (n, features), as the interaction gives them, to `probability` (n,)."""
    graph = _Graph("dlrm-head")
    _head(graph, config, weights, "features")
    return graph.made({"features": ["n", config.features]}, "probability", ["n"])


def _dot(graph: _Graph, config: DlrmConfig, vectors: str) -> str:
    turned = graph.node("Transpose", [vectors], "vectors.turned", perm=[0, 2, 1])
    products = graph.node("MatMul", [vectors, turned], "products")
    row, column = np.tril_indices(config.vectors, -1)
    shape = graph.constant("products.shape", np.array([0, config.vectors**2], dtype=np.int64))
    flat = graph.node("Reshape", [products, shape], "products.flat")
    which = graph.constant("pairs.index", row * config.vectors + column)
    pairs = graph.node("Gather", [flat, which], "pairs", axis=1)
    return graph.node("Concat", ["vector", pairs], "features", axis=1)


def _cross(graph: _Graph, config: DlrmConfig, weights: Weights, vectors: str) -> str:
    shape = graph.constant("x0.shape", np.array([0, config.vectors * config.dim], dtype=np.int64))
    first = graph.node("Reshape", [vectors, shape], "x0")
    crossed = first
    for layer in range(config.cross_layers):
        name = f"cross.{layer}"
        v = graph.constant(f"{name}.v", weights[f"cross.v.{layer}"])
        w = graph.constant(f"{name}.w", weights[f"cross.w.{layer}"])
        b = graph.constant(f"{name}.b", weights[f"cross.b.{layer}"])
        low = graph.node("Gemm", [crossed, v], f"{name}.low", transB=1)
        wide = graph.node("Gemm", [low, w, b], f"{name}.wide", transB=1)
        product = graph.node("Mul", [first, wide], f"{name}.product")
        crossed = graph.node("Add", [product, crossed], f"{name}.x")
    return crossed


def _head(graph: _Graph, config: DlrmConfig, weights: Weights, features: str) -> None:
    logit = graph.mlp(weights, "top", features, len(config.top), "logit")
    column = graph.constant("column", np.array([1], dtype=np.int64))
    flat = graph.node("Squeeze", [logit, column], "logit.flat")
    graph.node("Sigmoid", [flat], "probability")
