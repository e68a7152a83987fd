"""Embedding kernels side by side: ROBE, full tables in PyTorch, in FBGEMM if it is there, and in our kernel.

    python bench/embedding.py [--rounds 15] [--only lookup,pooling,training] [--json embedding.json]

DLRM's shape: 26 tables, 128 weights a row, batches of 2048, ids by a Zipf law. All contenders take turns in
one process, every round on other ids; quoted are medians over the rounds and the median of the rounds'
ratios. Full tables have 500,000 rows each (6.7 GB). What the memory gives at most takes its turn too: the
same number of 512-byte reads at uniform places of an array of that size in huge pages, and the writes of
the output past the caches.

FBGEMM: `pip install --no-deps fbgemm-gpu-cpu==1.8.0` is the release for PyTorch 2.13.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limits import RandomReads, StreamWrites, library
from machine import describe_machine
from torch import nn

from gnomon.core.environment import processors
from gnomon.embedding import RobeLayout, allocate, compiled, functional, lookup, sgd

TABLES, DIM, BATCH, ZIPF = 26, 128, 2048, 1.05
SET_SIZES = {"7 MB": 1_664_000, "108 MB": 27_000_000}
LARGE = SET_SIZES["108 MB"]
BATCHES = 6
RATE = 1e-3


@dataclass
class Row:
    """One line of the table."""

    case: str
    contender: str
    median_ms: float
    p10_ms: float
    ratio: float  # time of the baseline over this one's, median over the rounds
    rows_per_second: float
    notes: dict[str, Any] = field(default_factory=dict)


def zipf_ids(rows: int, lookups: int, seed: int) -> np.ndarray:
    """int64 (batch, tables, lookups): ranks by a Zipf law, scattered over the table."""
    rng = np.random.default_rng(seed)
    weights = np.cumsum(np.arange(1, rows + 1) ** -ZIPF)
    ranks = np.searchsorted(weights / weights[-1], rng.random((BATCH, TABLES, lookups)))
    return (ranks.clip(max=rows - 1) * 7919 * 104729 + 12345) % rows


class Full:
    """Full tables, as PyTorch holds them."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.weight = torch.empty(TABLES * rows, DIM).uniform_(-0.01, 0.01)
        self.parts = [
            nn.Parameter(self.weight[table * rows : (table + 1) * rows]) for table in range(TABLES)
        ]
        self.bags = [
            nn.EmbeddingBag.from_pretrained(part.data, freeze=True, mode="sum")
            for part in self.parts
        ]


class Fbgemm:
    """FBGEMM's table-batched embedding on the CPU, fp32 for training and lookup, int8 for lookup."""

    def __init__(self, rows: int) -> None:
        from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
        from fbgemm_gpu.split_table_batched_embeddings_ops_inference import (
            IntNBitTableBatchedEmbeddingBagsCodegen,
        )
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
            ComputeDevice,
            SplitTableBatchedEmbeddingBagsCodegen,
        )

        self.fp32 = SplitTableBatchedEmbeddingBagsCodegen(
            [(rows, DIM, EmbeddingLocation.HOST, ComputeDevice.CPU)] * TABLES,
            optimizer=EmbOptimType.EXACT_SGD,
            learning_rate=RATE,
        )
        self.int8 = IntNBitTableBatchedEmbeddingBagsCodegen(
            [("", rows, DIM, SparseType.INT8, EmbeddingLocation.HOST)] * TABLES,
            device="cpu",
            output_dtype=SparseType.FP32,
        )
        self.int8.fill_random_weights()


def fbgemm_or_none(rows: int) -> Fbgemm | None:
    try:
        return Fbgemm(rows)
    except ImportError:
        return None


def layouts(size: int, rows: int) -> dict[str, RobeLayout]:
    tables = (rows,) * TABLES
    return {
        "ROBE, Z=128, mixer, aligned": RobeLayout(tables, DIM, size, DIM, hash="mixer", align=64),
        "ROBE, Z=128, the authors' layout": RobeLayout(tables, DIM, size, DIM),
        "ROBE, Z=32, mixer, aligned": RobeLayout(tables, DIM, size, 32, hash="mixer", align=64),
        "ROBE, Z=16, mixer, aligned": RobeLayout(tables, DIM, size, 16, hash="mixer", align=64),
    }


Contenders = dict[str, Callable[[int], Any]]


def take_turns(
    case: str, contenders: Contenders, baseline: str, lookups: int, rounds: int
) -> list[Row]:
    """Every contender once on each batch, round by round; the first batch of a turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    per_round: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            taken = []
            for batch in range(BATCHES):
                began = time.perf_counter()
                call(batch)
                taken.append(time.perf_counter() - began)
            times[name] += taken[1:]
            per_round[name].append(statistics.median(taken[1:]))
    rows = []
    for name, taken in times.items():
        ratios = [
            base / own for base, own in zip(per_round[baseline], per_round[name], strict=True)
        ]
        middle = statistics.median(taken)
        rows.append(
            Row(
                case,
                name,
                1e3 * middle,
                1e3 * float(np.percentile(taken, 10)),
                statistics.median(ratios),
                BATCH * TABLES * lookups / middle,
                {"ratios": [min(ratios), max(ratios)]},
            )
        )
    return rows


def lookup_contenders(
    full: Full, fbgemm: Fbgemm | None, size: int, lookups: int, threads: int
) -> Contenders:
    ids = [zipf_ids(full.rows, lookups, seed) for seed in range(BATCHES)]
    by_table = [
        [torch.from_numpy(np.ascontiguousarray(batch[:, t]).reshape(-1)) for t in range(TABLES)]
        for batch in ids
    ]
    offsets = torch.arange(0, BATCH * lookups, lookups)

    def bags(batch: int) -> list[torch.Tensor]:
        return [bag(one, offsets) for bag, one in zip(full.bags, by_table[batch], strict=True)]

    contenders: Contenders = {
        "nn.EmbeddingBag": bags,
        "nn.EmbeddingBag, stacked to (B, T, d)": lambda batch: torch.stack(bags(batch), 1),
    }
    if fbgemm is not None:
        flat = [torch.cat(batch) for batch in by_table]
        all_offsets = torch.arange(0, BATCH * TABLES * lookups + 1, lookups)
        flat32, offsets32 = [one.int() for one in flat], all_offsets.int()
        contenders |= {
            "FBGEMM fp32": lambda batch: fbgemm.fp32(flat[batch], all_offsets),
            "FBGEMM int8": lambda batch: fbgemm.int8(flat32[batch], offsets32),
        }
    every = RobeLayout.full((full.rows,) * TABLES, DIM)
    tables = full.weight.view(-1).numpy()
    contenders["full tables, our kernel"] = lambda batch: lookup(
        tables, every, ids[batch], threads=threads
    )
    array = allocate(size)
    array[...] = np.random.default_rng(0).uniform(-0.01, 0.01, size)
    narrow = functional.as_bfloat16(array)
    for name, layout in layouts(size, full.rows).items():
        contenders[name] = lambda batch, layout=layout: lookup(
            array, layout, ids[batch], threads=threads
        )
    best = layouts(size, full.rows)["ROBE, Z=128, mixer, aligned"]
    contenders["ROBE, Z=128, mixer, aligned, bfloat16"] = lambda batch: lookup(
        narrow, best, ids[batch], threads=threads
    )
    return contenders


def training_contenders(full: Full, fbgemm: Fbgemm | None, size: int, threads: int) -> Contenders:
    ids = [zipf_ids(full.rows, 1, seed) for seed in range(BATCHES)]
    by_table = [
        [torch.from_numpy(np.ascontiguousarray(batch[:, t, 0])) for t in range(TABLES)]
        for batch in ids
    ]
    offsets = torch.arange(BATCH)
    gradient = allocate(BATCH * TABLES * DIM).reshape(BATCH, TABLES, DIM)
    gradient[...] = np.random.default_rng(1).standard_normal(gradient.shape) * 1e-3
    given = torch.from_numpy(gradient)
    parts = [given[:, table].contiguous() for table in range(TABLES)]
    optimizer = torch.optim.SGD(full.parts, RATE)

    def torch_step(batch: int) -> None:
        optimizer.zero_grad()
        outputs = [
            nn.functional.embedding_bag(one, weight, offsets, mode="sum", sparse=True)
            for one, weight in zip(by_table[batch], full.parts, strict=True)
        ]
        torch.autograd.backward(outputs, parts)
        optimizer.step()

    contenders: Contenders = {"nn.EmbeddingBag, sparse, SGD": torch_step}
    if fbgemm is not None:
        flat = [torch.cat(batch) for batch in by_table]
        all_offsets = torch.arange(BATCH * TABLES + 1)
        side_by_side = given.reshape(BATCH, TABLES * DIM)
        contenders["FBGEMM fp32, fused SGD"] = lambda batch: fbgemm.fp32(
            flat[batch], all_offsets
        ).backward(side_by_side)

    def step_of(array: np.ndarray, layout: RobeLayout) -> Callable[[int], None]:
        def step(batch: int) -> None:
            lookup(array, layout, ids[batch], threads=threads)
            sgd(array, layout, ids[batch], gradient, learning_rate=RATE, threads=threads)

        return step

    contenders["full tables, our kernel, fused SGD"] = step_of(
        full.weight.view(-1).numpy(), RobeLayout.full((full.rows,) * TABLES, DIM)
    )
    array = allocate(size)
    array[...] = np.random.default_rng(0).uniform(-0.01, 0.01, size)
    for name, layout in layouts(size, full.rows).items():
        contenders[f"{name}, fused SGD"] = step_of(array, layout)
    return contenders


def limits(size: int, lookups: int, threads: int) -> Contenders:
    """What the memory gives at most, as contenders: the reads of one batch by themselves, and the writes."""
    probes = library()
    if probes is None:
        return {}
    count = BATCH * TABLES * lookups
    return {
        "limit: its 512-byte reads, uniform": RandomReads(probes, size, 4 * DIM, count, threads),
        "limit: its writes": StreamWrites(probes, BATCH * TABLES * DIM, threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=500_000, help="rows of each full table")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--only", default="lookup,pooling,training")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    threads, rounds = arguments.threads, arguments.rounds
    machine = describe_machine()
    print(f"{machine['text']}\nkernels: {compiled()}, {threads} threads, torch {torch.__version__}")

    full = Full(arguments.rows)
    fbgemm = fbgemm_or_none(arguments.rows)
    if fbgemm is None:
        print("FBGEMM is not installed: its rows are left out")
    rows: list[Row] = []
    wanted = arguments.only.split(",")
    stacked = "nn.EmbeddingBag, stacked to (B, T, d)"
    with torch.no_grad():
        if "lookup" in wanted:
            for name, size in SET_SIZES.items():
                contenders = lookup_contenders(full, fbgemm, size, 1, threads)
                contenders |= limits(size, 1, threads)
                rows += take_turns(f"one-hot lookup, {name}", contenders, stacked, 1, rounds)
        if "pooling" in wanted:
            contenders = lookup_contenders(full, fbgemm, LARGE, 10, threads)
            contenders |= limits(LARGE, 10, threads)
            rows += take_turns(
                "10-hot pooling, 108 MB", contenders, "nn.EmbeddingBag", 10, max(rounds // 2, 3)
            )
    if "training" in wanted:
        for name in SET_SIZES:
            contenders = training_contenders(full, fbgemm, SET_SIZES[name], threads)
            rows += take_turns(
                f"training step, {name}", contenders, "nn.EmbeddingBag, sparse, SGD", 1, rounds
            )

    case = ""
    for row in rows:
        if row.case != case:
            case = row.case
            print(f"\n{case}\n{'':44}    median      p10     ratio   M rows/s")
        low, high = row.notes["ratios"]
        print(
            f"{row.contender:44} {row.median_ms:7.3f} {row.p10_ms:8.3f} ms {row.ratio:6.2f} "
            f"{row.rows_per_second / 1e6:9.1f}   ({low:.2f} to {high:.2f})"
        )
    if arguments.json:
        arguments.json.write_text(
            json.dumps(
                {
                    "machine": machine,
                    "kernels": compiled(),
                    "threads": threads,
                    "torch": torch.__version__,
                    "rows": [asdict(row) for row in rows],
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
