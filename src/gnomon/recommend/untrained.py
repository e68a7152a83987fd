"""A DLRM with random weights: for speed and memory at sizes that nobody here can train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gnomon.embedding import RobeLayout, allocate
from gnomon.recommend.config import DlrmConfig
from gnomon.recommend.export import SavedModel
from gnomon.recommend.graphs import Weights, bottom_graph, head_graph, top_graph


def untrained_model(
    config: DlrmConfig,
    layout: RobeLayout,
    hotness: tuple[int, ...],
    folder: Path,
    seed: int = 0,
) -> SavedModel:
    """A model as `load_model` gives it, its graphs written to `folder`.

    Raises:
        MissingExtraError: The package `onnx` is missing.
        MemoryError: The embedding does not fit.
    """
    rng = np.random.default_rng(seed)
    weights = _weights(config, rng)
    for name, graph in (
        ("bottom", bottom_graph(config, weights)),
        ("top", top_graph(config, weights)),
        ("head", head_graph(config, weights)),
    ):
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    array = allocate(layout.size)
    scale = np.float32(np.sqrt(1 / max(layout.rows)))
    step = 1 << 20
    for start in range(0, layout.size, step):
        part = array[start : start + step]
        part[...] = (rng.random(len(part), dtype=np.float32) * 2 - 1) * scale
    return SavedModel(folder, config, layout, array, hotness, {"auc": None})


def _weights(config: DlrmConfig, rng: np.random.Generator) -> Weights:
    """By the names of the trained model's parameters, drawn as the reference draws them."""

    def drawn(shape: tuple[int, ...], scale: float) -> Any:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    weights: Weights = {}
    for prefix, layers in (("bottom", config.bottom_layers), ("top", config.top_layers)):
        for number, (inputs, outputs) in enumerate(layers):
            name = f"{prefix}.{2 * number}"
            weights[f"{name}.weight"] = drawn((outputs, inputs), (2 / (inputs + outputs)) ** 0.5)
            weights[f"{name}.bias"] = drawn((outputs,), (1 / outputs) ** 0.5)
    width = config.vectors * config.dim
    for layer in range(config.cross_layers):
        scale = (2 / (width + config.cross_rank)) ** 0.5
        weights[f"cross.v.{layer}"] = drawn((config.cross_rank, width), scale)
        weights[f"cross.w.{layer}"] = drawn((width, config.cross_rank), scale)
        weights[f"cross.b.{layer}"] = np.zeros(width, dtype=np.float32)
    return weights
