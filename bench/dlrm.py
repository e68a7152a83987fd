"""DLRM end to end, v1 widths: ROBE against full tables, by batch size, with a breakdown by stage.

    python bench/dlrm.py [--rounds 8] [--batches 1,8,32,128,2048] [--json dlrm.json]

All contenders have the same MLP weights. "PyTorch" is how the reference runs the model: `nn.EmbeddingBag`s,
stacked, `bmm`, `nn.Linear`. "ONNX Runtime" is Gnomon's system: its MLPs, our lookup and interaction. The
breakdown times each stage by itself on the values that the stage before it gave. bfloat16 is PyTorch's, for
the MLPs only. The ceiling is what the whole would take if the lookup were free.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from embedding import SET_SIZES, TABLES, Full, zipf_ids
from machine import describe_machine
from torch import nn

from gnomon.core.environment import processors
from gnomon.embedding import RobeLayout, allocate, compiled, dot_interaction, lookup
from gnomon.recommend.config import DLRM_V1
from gnomon.recommend.graphs import bottom_graph, head_graph

BATCHES = 6
Call = Callable[[int], Any]


def random_weights() -> dict[str, np.ndarray]:
    """The MLPs' weights as the reference draws them, by the names of the trained model's parameters."""
    rng = np.random.default_rng(0)
    weights = {}
    for prefix, layers in (("bottom", DLRM_V1.bottom_layers), ("top", DLRM_V1.top_layers)):
        for number, (inputs, outputs) in enumerate(layers):
            scale = np.sqrt(2 / (inputs + outputs))
            kernel = rng.standard_normal((outputs, inputs)) * scale
            weights[f"{prefix}.{2 * number}.weight"] = kernel.astype(np.float32)
            bias = rng.standard_normal(outputs) * np.sqrt(1 / outputs)
            weights[f"{prefix}.{2 * number}.bias"] = bias.astype(np.float32)
    return weights


def torch_mlp(weights: dict[str, np.ndarray], prefix: str, relu_at_end: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    count = sum(name.startswith(prefix) and name.endswith("weight") for name in weights)
    for number in range(count):
        kernel = torch.from_numpy(weights[f"{prefix}.{2 * number}.weight"])
        linear = nn.Linear(kernel.shape[1], kernel.shape[0])
        linear.weight.data = kernel
        linear.bias.data = torch.from_numpy(weights[f"{prefix}.{2 * number}.bias"])
        layers.append(linear)
        if relu_at_end or number < count - 1:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def session(graph: Any, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between its two graphs our kernels need the cores that its threads would spin on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


class Models:
    """Every part, over the same weights."""

    def __init__(self, full: Full, size: int, threads: int) -> None:
        weights = random_weights()
        self.full, self.threads = full, threads
        self.bottom = torch_mlp(weights, "bottom", relu_at_end=True)
        self.top = torch_mlp(weights, "top", relu_at_end=False)
        self.bottom16 = torch_mlp(weights, "bottom", relu_at_end=True).bfloat16()
        self.top16 = torch_mlp(weights, "top", relu_at_end=False).bfloat16()
        self.ort_bottom = session(bottom_graph(DLRM_V1, weights), threads)
        self.ort_head = session(head_graph(DLRM_V1, weights), threads)
        row, column = torch.tril_indices(TABLES + 1, TABLES + 1, -1)
        self.pairs = row * (TABLES + 1) + column
        self.layout = RobeLayout(
            (full.rows,) * TABLES, DLRM_V1.dim, size, DLRM_V1.dim, hash="mixer", align=64
        )
        self.array = allocate(size)
        self.array[...] = np.random.default_rng(1).uniform(-0.01, 0.01, size)
        self.tables = full.weight.view(-1).numpy()
        self.every = RobeLayout.full((full.rows,) * TABLES, DLRM_V1.dim)

    def embedding_bags(self, ids: list[torch.Tensor], offsets: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [bag(one, offsets) for bag, one in zip(self.full.bags, ids, strict=True)], 1
        )

    def robe(self, ids: np.ndarray) -> np.ndarray:
        return lookup(self.array, self.layout, ids, threads=self.threads)

    def full_rows(self, ids: np.ndarray) -> np.ndarray:
        return lookup(self.tables, self.every, ids, threads=self.threads)

    def torch_interaction(self, vector: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        vectors = torch.cat([vector.unsqueeze(1), rows], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).view(len(vector), -1)
        return torch.cat([vector, products.index_select(1, self.pairs)], 1)

    def fused(self, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return dot_interaction(vector, rows, threads=self.threads)


def calls_for(models: Models, batch: int) -> tuple[dict[str, Call], dict[str, Call]]:
    """The stages by themselves, and the whole, each taking the number of a batch."""
    rng = np.random.default_rng(2)
    ids = [zipf_ids(models.full.rows, 1, seed)[:batch] for seed in range(BATCHES)]
    by_table = [
        [torch.from_numpy(np.ascontiguousarray(one[:, t, 0])) for t in range(TABLES)] for one in ids
    ]
    offsets = torch.arange(batch)
    dense = rng.standard_normal((batch, DLRM_V1.dense)).astype(np.float32)
    dense_t = torch.from_numpy(dense)
    dense16 = dense_t.bfloat16()
    vector = models.ort_bottom.run(None, {"dense": dense})[0]
    vector_t = torch.from_numpy(vector)
    rows = models.robe(ids[0])
    rows_t = torch.from_numpy(rows)
    features = models.fused(vector, rows)
    features_t = torch.from_numpy(features)
    features16 = features_t.bfloat16()
    stages: dict[str, Call] = {
        "bottom MLP, PyTorch": lambda _: models.bottom(dense_t),
        "bottom MLP, ONNX Runtime": lambda _: models.ort_bottom.run(None, {"dense": dense}),
        "bottom MLP, PyTorch bfloat16": lambda _: models.bottom16(dense16),
        "lookup, nn.EmbeddingBag stacked": lambda k: models.embedding_bags(by_table[k], offsets),
        "lookup, full tables, our kernel": lambda k: models.full_rows(ids[k]),
        "lookup, ROBE": lambda k: models.robe(ids[k]),
        "interaction, PyTorch": lambda _: models.torch_interaction(vector_t, rows_t),
        "interaction, our kernel": lambda _: models.fused(vector, rows),
        "top MLP, PyTorch": lambda _: models.top(features_t),
        "top MLP, ONNX Runtime": lambda _: models.ort_head.run(None, {"features": features}),
        "top MLP, PyTorch bfloat16": lambda _: models.top16(features16),
    }

    def torch_whole(k: int) -> torch.Tensor:
        rows = models.embedding_bags(by_table[k], offsets)
        return models.top(models.torch_interaction(models.bottom(dense_t), rows)).sigmoid()

    def torch_robe(k: int) -> torch.Tensor:
        rows = torch.from_numpy(models.robe(ids[k]))
        return models.top(models.torch_interaction(models.bottom(dense_t), rows)).sigmoid()

    def ort(k: int, rows_of: Callable[[np.ndarray], np.ndarray]) -> Any:
        found = models.ort_bottom.run(None, {"dense": dense})[0]
        return models.ort_head.run(None, {"features": models.fused(found, rows_of(ids[k]))})

    def bfloat16(k: int) -> torch.Tensor:
        found = models.bottom16(dense16).float().numpy()
        mixed = torch.from_numpy(models.fused(found, models.robe(ids[k])))
        return models.top16(mixed.bfloat16()).float().sigmoid()

    whole: dict[str, Call] = {
        "full tables, PyTorch": torch_whole,
        "ROBE, PyTorch MLPs and interaction": torch_robe,
        "full tables, our kernels, ONNX Runtime": lambda k: ort(k, models.full_rows),
        "ROBE, our kernels, ONNX Runtime": lambda k: ort(k, models.robe),
        "ROBE, our kernels, PyTorch bfloat16 MLPs": bfloat16,
    }
    return stages, whole


def agree(whole: dict[str, Call]) -> None:
    """The same embedding gives the same answers, whatever computes them."""
    answers = {name: np.asarray(call(0)).reshape(-1) for name, call in whole.items()}
    for one, other in (
        ("full tables, PyTorch", "full tables, our kernels, ONNX Runtime"),
        ("ROBE, PyTorch MLPs and interaction", "ROBE, our kernels, ONNX Runtime"),
    ):
        np.testing.assert_allclose(answers[one], answers[other], rtol=1e-3, atol=1e-4)


def take_turns(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """The median of each round, in seconds."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken = []
            for batch in range(BATCHES):
                began = time.perf_counter()
                call(batch)
                taken.append(time.perf_counter() - began)
            found[name].append(statistics.median(taken[1:]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batches", default="1,8,32,128,2048")
    parser.add_argument("--rows", type=int, default=500_000, help="rows of each full table")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine = describe_machine()
    print(f"{machine['text']}\nkernels: {compiled()}, {arguments.threads} threads")
    full = Full(arguments.rows)
    models = Models(full, SET_SIZES["108 MB"], arguments.threads)
    told = []
    with torch.no_grad():
        for batch in map(int, arguments.batches.split(",")):
            stages, whole = calls_for(models, batch)
            agree(whole)
            stage_times = take_turns(stages, arguments.rounds)
            whole_times = take_turns(whole, arguments.rounds)
            base = whole_times["full tables, PyTorch"]
            print(f"\nbatch {batch}")
            for name, taken in stage_times.items():
                print(f"  {name:42} {1e3 * statistics.median(taken):9.3f} ms")
            ratios = {}
            for name, taken in whole_times.items():
                each = [one / own for one, own in zip(base, taken, strict=True)]
                ratios[name] = statistics.median(each)
                print(
                    f"  {name:42} {1e3 * statistics.median(taken):9.3f} ms "
                    f"{batch / statistics.median(taken):10,.0f} samples/s  {ratios[name]:5.2f}   "
                    f"({min(each):.2f} to {max(each):.2f})"
                )
            without = statistics.median(
                all_ - found
                for all_, found in zip(
                    base, stage_times["lookup, nn.EmbeddingBag stacked"], strict=True
                )
            )
            ceiling = statistics.median(base) / without
            print(f"  were the lookup of full tables in PyTorch free: {ceiling:.2f}")
            told.append(
                {
                    "batch": batch,
                    "stages_ms": {k: 1e3 * statistics.median(v) for k, v in stage_times.items()},
                    "whole_ms": {k: 1e3 * statistics.median(v) for k, v in whole_times.items()},
                    "ratios": ratios,
                    "ceiling_with_free_lookup": ceiling,
                }
            )
    if arguments.json:
        record = {"machine": machine, "threads": arguments.threads, "batches": told}
        arguments.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
