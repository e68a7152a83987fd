"""Embedding on a GPU: the compressed array by the Triton kernels, against nn.EmbeddingBag on full tables.

    python bench/embedding_gpu.py [--factor 1000] [--block 128] [--length 1] [--json embedding_gpu.json]

All sides look up the same rows, in turn, round after round, each round other rows. Full tables stand twice:
one EmbeddingBag a table with the outputs stacked, as models have them, and one EmbeddingBag over all rows.
Times are the GPU's alone: calls queue up behind a wait, so that what Python spends on launching is hidden;
`--launching` leaves it in. Bytes are those that a side has to move: ids and rows read, outputs written, and
of a gradient the whole array or, if sparse, the rows. They are set against a copy measured in the same run;
what a cache holds can be faster than that. `--interpret` tries the program out on the CPU, tiny; its times
mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from gnomon.embedding import RobeLayout

WAIT_CYCLES = 10_000_000
"""Some 5 ms: longer than it takes to launch what a round launches."""

BASE = {"lookup": "EmbeddingBag a table, stacked", "gradient": "EmbeddingBag, sparse gradient"}


@dataclass(frozen=True)
class Side:
    """One way to do the work."""

    task: str
    name: str
    bytes: int
    run: Callable[[int], Any]
    """With the rows of a round."""


def sides(arguments: argparse.Namespace, device: str) -> list[Side]:
    import torch

    from gnomon.embedding import triton_kernels

    tables, rows, dim = arguments.tables, arguments.rows, arguments.dim
    batch, length = arguments.batch, arguments.length
    layout = RobeLayout.compressed(
        [rows] * tables, dim, arguments.factor, block=arguments.block, align=64
    )
    rng = np.random.default_rng(0)
    popular = np.cumsum(np.arange(1, rows + 1) ** -arguments.zipf)
    drawn = rng.random((arguments.sets, batch, tables, length)) * popular[-1]
    ranks = np.minimum(np.searchsorted(popular, drawn), rows - 1)
    # Frequent ids lie anywhere in a table, as they do in real ones.
    ids = torch.from_numpy(ranks * 2654435761 % rows).to(device)
    shifted = ids + torch.arange(tables, device=device)[:, None] * rows
    gradient = torch.randn(batch, tables, dim, device=device)

    array = torch.randn(layout.size, device=device)
    whole = torch.nn.EmbeddingBag(rows * tables, dim, mode="sum", sparse=True, device=device)
    weight = whole.weight.detach()
    each = weight.view(tables, rows, dim).unbind()
    bag = torch.nn.functional.embedding_bag

    def stacked(number: int) -> Any:
        pooled = [bag(ids[number, :, t], each[t], mode="sum") for t in range(tables)]
        return torch.stack(pooled, dim=1)

    def at_once(number: int) -> Any:
        flat = shifted[number].view(batch * tables, length)
        return bag(flat, weight, mode="sum").view(batch, tables, dim)

    def sparse(number: int) -> Any:
        out = whole(shifted[number].view(batch * tables, length))
        return torch.autograd.grad(out, whole.weight, gradient.view(-1, dim))

    def compressed(number: int) -> Any:
        return triton_kernels.lookup(array, layout, ids[number], check=False)

    def in_order(number: int) -> Any:
        return triton_kernels.backward(layout, ids[number], gradient, check=False)

    def atomic(number: int) -> Any:
        return triton_kernels.backward(
            layout, ids[number], gradient, check=False, deterministic=False
        )

    pooled, looked_up = batch * tables * dim * 4, batch * tables * length * (dim * 4 + 8)
    whole_array = batch * tables * length * 8 + pooled + layout.size * 4
    return [
        Side("lookup", BASE["lookup"], looked_up + pooled, stacked),
        Side("lookup", "EmbeddingBag over all rows", looked_up + pooled, at_once),
        Side("lookup", "Triton, compressed", looked_up + pooled, compressed),
        # The forward pass is in it: torch has no gradient without one.
        Side("gradient", BASE["gradient"], 2 * looked_up + 2 * pooled, sparse),
        Side("gradient", "Triton, compressed, in order", whole_array, in_order),
        Side("gradient", "Triton, compressed, atomic", whole_array, atomic),
    ]


def seconds(run: Callable[[], Any], device: str, *, launching: bool = False) -> float:
    """How long it took: by the GPU's own clock where there is one."""
    import torch

    if device == "cpu":
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    if not launching:
        torch.cuda._sleep(WAIT_CYCLES)
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3


def copy_bandwidth(device: str, count: int) -> float:
    """Bytes read and written a second by a copy that no cache holds."""
    import torch

    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    taken = [seconds(lambda: target.copy_(source), device) for _ in range(20)]
    return 8 * count / statistics.median(taken[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=26)
    parser.add_argument("--rows", type=int, default=500_000, help="rows of a table")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--length", type=int, default=1, help="rows of a bag")
    parser.add_argument("--factor", type=float, default=1000, help="compression")
    parser.add_argument("--block", type=int, help="weights of a block; default: a row")
    parser.add_argument("--zipf", type=float, default=1.05, help="exponent of the ids")
    parser.add_argument("--sets", type=int, default=16, help="how many sets of ids take turns")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--launching", action="store_true", help="time launches as well")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--interpret", action="store_true", help="try it out, tiny, on the CPU")
    arguments = parser.parse_args()
    if arguments.interpret:
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
        tiny = {"tables": 2, "rows": 50, "dim": 8, "batch": 4, "factor": 2, "sets": 2, "rounds": 2}
        vars(arguments).update(tiny)
    import torch

    device = "cpu" if arguments.interpret else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU at hand: nothing was measured (--interpret tries the program out on the CPU)")
        return
    bandwidth = copy_bandwidth(device, 1_000 if arguments.interpret else 2**28)
    contenders = sides(arguments, device)
    taken: dict[str, list[float]] = {side.name: [] for side in contenders}
    warm_up = min(20, arguments.rounds)
    for number in range(warm_up + arguments.rounds):
        order = contenders if number % 2 else list(reversed(contenders))
        for side in order:
            spent = seconds(
                partial(side.run, number % arguments.sets), device, launching=arguments.launching
            )
            if number >= warm_up:
                taken[side.name].append(spent)

    machine = describe_machine()
    gpu = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else "no GPU: interpreted, times mean nothing"
    )
    machine["text"] = f"{gpu}; torch {torch.__version__}; {machine['text']}"
    print(machine["text"])
    print(f"copy {bandwidth / 1e9:,.0f} GB/s (read + written)")
    print(f"{'':<10}{'':<32}{'median (µs)':>12}{'p10':>10}{'ratio':>8}{'GB/s':>9}{'of copy':>9}")
    figures = []
    for side in contenders:
        median = statistics.median(taken[side.name])
        ratio = statistics.median(
            base / own for base, own in zip(taken[BASE[side.task]], taken[side.name], strict=True)
        )
        row = {
            "task": side.task,
            "side": side.name,
            "median_us": median * 1e6,
            "p10_us": float(np.percentile(taken[side.name], 10)) * 1e6,
            "times_faster_than_base": ratio,
            "gb_per_s": side.bytes / median / 1e9,
            "share_of_copy": side.bytes / median / bandwidth,
            "rounds_us": [spent * 1e6 for spent in taken[side.name]],
        }
        figures.append(row)
        print(
            f"{side.task:<10}{side.name:<32}{row['median_us']:>12.1f}{row['p10_us']:>10.1f}"
            f"{ratio:>8.2f}{row['gb_per_s']:>9.1f}{row['share_of_copy']:>9.1%}"
        )
    if arguments.json:
        asked = {name: value for name, value in vars(arguments).items() if name != "json"}
        found = {"machine": machine, "asked": asked, "copy_gb_per_s": bandwidth / 1e9}
        arguments.json.write_text(json.dumps({**found, "sides": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
