"""Where each activation lies in one static arena, and when: memory is shared by what is not needed at once.

Buffers are placed largest first, each at the lowest place that is free while it lives (greedy by size:
Pisarchyk and Lee, arXiv 2001.03288, section 5), and in other orders; the best is kept. A reshape needs no
memory, and an addition may write over an input that nothing reads later.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gnomon.firmware import arrange
from gnomon.firmware.graph import ADD, CONV, DENSE, DEPTHWISE, RESHAPES, Graph, Operator

Kernels = Literal["plain", "dsp"]

ALIGNMENT = 4
"""Of every buffer, in bytes: kernels may read words."""

SHUFFLED, SHUFFLES = 6, 200


@dataclass(frozen=True)
class Buffer:
    """A piece of memory that lives from the `first` operator to the `last`, both included.

    Attributes:
        tensors: The activations that share it in turn; none for a kernel's scratch memory.
        first: A place among the graph's operators; -1 for the model's input.
        last: Likewise; one past them for what is needed to the end.
        size: Bytes.
        offset: From the arena's start, in bytes.
    """

    tensors: tuple[int, ...]
    first: int
    last: int
    size: int
    offset: int = 0

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are alive at once."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """The arena.

    Attributes:
        buffers: All of them, in no order.
        arena_bytes: Its size.
        offsets: Bytes from the arena's start, by tensor.
        scratch: The same by operator, for operators that need scratch memory.
    """

    buffers: tuple[Buffer, ...]
    arena_bytes: int
    offsets: dict[int, int]
    scratch: dict[int, int]


def scratch_size(graph: Graph, operator: Operator, kernels: Kernels) -> int:
    """Bytes of scratch memory that an operator's kernel needs; plain kernels need none."""
    if kernels == "plain" or operator.name not in (CONV, DEPTHWISE, DENSE):
        return 0
    weights = graph.tensors[operator.inputs[1]].shape
    if operator.name == CONV:
        return arrange.conv_scratch_bytes(math.prod(weights[1:]))
    if operator.name == DENSE:
        return arrange.dense_scratch_bytes(weights[1])
    out_width = graph.tensors[operator.output].shape[2]
    return arrange.depthwise_scratch_bytes(
        graph.kernel_size(operator), out_width, operator.stride[1]
    )


def plan_memory(graph: Graph, kernels: Kernels = "plain", *, keep_input: bool = True) -> Plan:
    """Lay out the activations of a model.

    Args:
        graph: The model.
        kernels: Whose scratch memory is wanted.
        keep_input: Nothing may overwrite the input, so that many inferences can follow one loading.
    """
    wanted = [*_activations(graph, keep_input), *_scratch(graph, kernels)]
    least = lower_bound(wanted)
    best: Sequence[Buffer] = ()
    best_bytes = -1
    for order in _orders(wanted):
        placed = place(order)
        needed = _extent(placed)
        if best_bytes < 0 or needed < best_bytes:
            best, best_bytes = placed, needed
        if best_bytes == least:
            break
    offsets = {tensor: buffer.offset for buffer in best for tensor in buffer.tensors}
    scratch = {
        graph.operators[buffer.first].index: buffer.offset for buffer in best if not buffer.tensors
    }
    return Plan(tuple(best), max(best_bytes, 0), offsets, scratch)


def place(buffers: Iterable[Buffer]) -> list[Buffer]:
    """The buffers with offsets, each at the lowest place that is free while it lives, in this order."""
    placed: list[Buffer] = []
    for buffer in buffers:
        offset = 0
        for other in sorted(placed, key=lambda other: other.offset):
            if other.overlaps(buffer):
                if offset + buffer.size <= other.offset:
                    break
                offset = max(offset, _aligned(other.offset + other.size))
        placed.append(Buffer(buffer.tensors, buffer.first, buffer.last, buffer.size, offset))
    return placed


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes that no layout can do without: the most that is alive at once."""
    return max((_crowd(buffers, time) for buffer in buffers for time in (buffer.first,)), default=0)


def _activations(graph: Graph, keep_input: bool) -> list[Buffer]:
    """One buffer for each set of activations that can lie in the same memory."""
    last_read = {graph.input: -1, graph.output: len(graph.operators)}
    for time, operator in enumerate(graph.operators):
        last_read.setdefault(operator.output, time)
        for index in operator.inputs:
            last_read[index] = max(last_read.get(index, 0), time)
    if keep_input:
        last_read[graph.input] = len(graph.operators)

    home = {graph.input: graph.input}
    members: dict[int, list[int]] = {graph.input: [graph.input]}
    first = {graph.input: -1}
    last = {graph.input: last_read[graph.input]}
    for time, operator in enumerate(graph.operators):
        made = operator.output
        shared = None
        if operator.name in RESHAPES:
            shared = home.get(operator.inputs[0])
        elif operator.name == ADD:
            dying = (home[index] for index in operator.inputs[:2] if index in home)
            shared = next((buffer for buffer in dying if last[buffer] == time), None)
        if shared is None:
            shared = made
            members[made], first[made], last[made] = [], time, time
        home[made] = shared
        members[shared].append(made)
        last[shared] = max(last[shared], last_read[made])
    return [
        Buffer(tuple(inside), first[buffer], last[buffer], graph.tensors[buffer].size)
        for buffer, inside in members.items()
    ]


def _scratch(graph: Graph, kernels: Kernels) -> list[Buffer]:
    sizes = (scratch_size(graph, operator, kernels) for operator in graph.operators)
    return [Buffer((), time, time, size) for time, size in enumerate(sizes) if size]


def _orders(buffers: Sequence[Buffer]) -> Iterator[Sequence[Buffer]]:
    """Orders to place buffers in: by size, by size and life, by how crowded their life is; then shuffles."""

    def crowd(buffer: Buffer) -> int:
        return max(_crowd(buffers, time) for time in range(buffer.first, buffer.last + 1))

    yield sorted(buffers, key=lambda each: (-each.size, each.first))
    yield sorted(buffers, key=lambda each: -each.size * (each.last - each.first + 1))
    ranked = sorted(buffers, key=lambda each: (-crowd(each), -each.size))
    yield ranked
    # Where those leave gaps, it is mostly a few of the largest that stand in each other's way.
    shuffled = random.Random(0)
    few = min(len(ranked), SHUFFLED)
    for _ in range(SHUFFLES):
        yield [*shuffled.sample(ranked[:few], few), *ranked[few:]]


def alive_bytes(plan: Plan, time: int) -> int:
    """RAM that is in use while an operator runs: its tensors, its scratch memory, and what is kept for later.

    Args:
        plan: The layout.
        time: The operator's place among the graph's.
    """
    return _crowd(plan.buffers, time)


def _crowd(buffers: Sequence[Buffer], time: int) -> int:
    return sum(_aligned(each.size) for each in buffers if each.first <= time <= each.last)


def _extent(buffers: Sequence[Buffer]) -> int:
    return max((_aligned(buffer.offset + buffer.size) for buffer in buffers), default=0)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
