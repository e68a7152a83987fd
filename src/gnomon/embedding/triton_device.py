"""The kernels that run on a GPU: pooled rows, and gradients of the array and of the weights.

One program works on a `Tile`: some output rows, or some slices of the array. What it is launched with is
checked and laid out by `triton_kernels`, which also says so when Triton is missing.
"""
# Kernels are typed by what they are launched with, not by annotations.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import triton
import triton.language as tl

from gnomon.embedding.triton_places import piece_of, places, signs


@dataclass(frozen=True)
class Tile:
    """What a kernel is compiled for besides: the output rows (or slices) and elements of one program."""

    rows: int
    width: int
    unroll: int = 1


class BagArguments(NamedTuple):
    """Bags as the kernels take them: `offsets` for bags of any size, else `length` rows each."""

    indices: Any
    offsets: Any
    weights: Any
    first_rows: Any
    wrong: Any
    batch: Any
    tables: Any
    lookups: Any
    length: Any


class LookupArguments(NamedTuple):
    """Every lookup in table-major order: row over all tables, output row it went into, weight."""

    row: Any
    cell: Any
    weight: Any


# Which rows are read ----------------------------------------------------------------------------------


@triton.jit
def _begin(bags, tile: tl.constexpr):
    """The bags of one program: output row, rows, where they begin among the indices and in what order.

    Also how many rows the longest has, and of each bag's table the rows before it and its own.
    """
    cell = tl.program_id(0) * tile.rows + tl.arange(0, tile.rows)
    inside = cell < bags.batch * bags.tables
    table = cell % bags.tables  # in 32 bits: 64-bit division is slow
    bag = (table * bags.batch + cell // bags.tables).to(tl.int64)
    cell = cell.to(tl.int64)
    if bags.offsets is None:
        begin, order, longest = cell * bags.length, bag * bags.length, bags.length
        count = tl.where(inside, bags.length, 0)
    else:
        begin = tl.load(bags.offsets + bag, mask=inside, other=0).to(tl.int64)
        end = tl.load(bags.offsets + bag + 1, mask=inside, other=0).to(tl.int64)
        if bags.wrong is not None:
            bad = (begin > end) | (begin < 0) | (end > bags.lookups)
            bad |= (bag == 0) & (begin != 0)
            bad |= (bag == bags.batch * bags.tables - 1) & (end != bags.lookups)
            tl.store(bags.wrong + tl.zeros_like(cell), 1, mask=inside & bad)
        begin = tl.maximum(begin, 0)
        count = tl.minimum(end, bags.lookups) - begin
        order, longest = begin, tl.max(count)
    before = tl.load(bags.first_rows + table, mask=inside, other=0)
    rows = tl.load(bags.first_rows + table + 1, mask=inside, other=0) - before
    return cell, count, longest, begin, order, before, rows


@triton.jit
def _row(bags, at, given, before, rows):
    """The rows that the indices `at` name, counted over all tables, and whether there are such."""
    row = tl.load(bags.indices + at, mask=given, other=0).to(tl.int64)
    known = given & (row >= 0) & (row < rows)
    if bags.wrong is not None:
        tl.store(bags.wrong + tl.zeros_like(at), 1, mask=given & ~known)
    return tl.where(known, row + before, 0), known


@triton.jit
def _weight(bags, at, known):
    weight = tl.load(bags.weights + at, mask=known, other=0.0)
    if bags.wrong is not None:
        finite = tl.abs(weight) < float("inf")
        tl.store(bags.wrong + tl.zeros_like(at), 1, mask=known & ~finite)
    return weight


# Kernels ----------------------------------------------------------------------------------------------


@triton.jit
def lookup_kernel(out, array, bags, mean: tl.constexpr, plan: tl.constexpr, tile: tl.constexpr):
    """Pooled rows."""
    i = (tl.program_id(1) * tile.width + tl.arange(0, tile.width))[None, :]
    cell, count, longest, begin, _, before, rows = _begin(bags, tile)
    total = tl.zeros((tile.rows, tile.width), tl.float32)
    unroll: tl.constexpr = tile.unroll
    for done in range(0, longest, unroll):
        for ahead in tl.static_range(unroll):
            at = begin + done + ahead
            x, known = _row(bags, at, done + ahead < count, before, rows)
            x, read = x[:, None], known[:, None] & (i < plan.dim)
            part = tl.load(array + places(x, i, plan), mask=read, other=0.0).to(tl.float32)
            if plan.signed:
                part *= signs(x, i, plan)
            if bags.weights is not None:
                part *= _weight(bags, at, known)[:, None]
            total = tl.where(read, total + part, total)
    if mean:
        total = tl.div_rn(total, tl.maximum(count, 1).to(tl.float32)[:, None])
    inside = (cell < bags.batch * bags.tables)[:, None] & (i < plan.dim)
    tl.store(out + cell[:, None] * plan.dim + i, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def multiply_kernel(found, array, gradient, bags, plan: tl.constexpr, tile: tl.constexpr):
    """Each row times the gradient of its bag."""
    cell, count, longest, begin, _, before, rows = _begin(bags, tile)
    for step in range(longest):
        x, known = _row(bags, begin + step, step < count, before, rows)
        total = tl.zeros((tile.rows,), tl.float32)
        for left in range(0, plan.dim, tile.width):
            i = (left + tl.arange(0, tile.width))[None, :]
            read = known[:, None] & (i < plan.dim)
            part = tl.load(array + places(x[:, None], i, plan), mask=read, other=0.0)
            part = part.to(tl.float32)
            if plan.signed:
                part *= signs(x[:, None], i, plan)
            given = tl.load(gradient + cell[:, None] * plan.dim + i, mask=read, other=0.0)
            total += tl.sum(part * given.to(tl.float32), axis=1)
        tl.store(found + begin + step, total, mask=known)


@triton.jit
def scatter_kernel(total, gradient, bags, plan: tl.constexpr, tile: tl.constexpr):
    """Add the gradients of rows to that of the array, in whatever order programs come."""
    i = (tl.program_id(1) * tile.width + tl.arange(0, tile.width))[None, :]
    cell, count, longest, begin, _, before, rows = _begin(bags, tile)
    inside = (cell < bags.batch * bags.tables)[:, None] & (i < plan.dim)
    given = tl.load(gradient + cell[:, None] * plan.dim + i, mask=inside, other=0.0).to(tl.float32)
    for step in range(longest):
        x, known = _row(bags, begin + step, step < count, before, rows)
        x, part = x[:, None], given
        if plan.signed:
            part *= signs(x, i, plan)
        if bags.weights is not None:
            part *= _weight(bags, begin + step, known)[:, None]
        write = known[:, None] & (i < plan.dim)
        tl.atomic_add(total + places(x, i, plan), part, mask=write, sem="relaxed")


@triton.jit
def cut_kernel(keys, looked_up, bags, plan: tl.constexpr, tile: tl.constexpr):
    """Cut rows into pieces, and write down which slices of the array each piece lies in.

    Each piece gets `touched` keys, one a slice, in table-major order of lookups: a stable sort of the keys
    leaves the pieces of each slice in the order in which the reference adds them.
    """
    c = (tl.program_id(1) * tile.width + tl.arange(0, tile.width))[None, :]
    cell, count, longest, begin, order, before, rows = _begin(bags, tile)
    touched: tl.constexpr = plan.touched
    for step in range(longest):
        x, known = _row(bags, begin + step, step < count, before, rows)
        n = order + step
        tl.store(looked_up.row + n, x, mask=known)
        tl.store(looked_up.cell + n, cell, mask=known)
        if bags.weights is not None:
            tl.store(looked_up.weight + n, _weight(bags, begin + step, known), mask=known)
        start, _, width = piece_of(x[:, None], c, plan)
        piece = n[:, None] * plan.pieces + c
        given = known[:, None] & (c < plan.pieces) & (width > 0)
        lowest = start // plan.slice
        for ahead in tl.static_range(touched):
            key = lowest + ahead
            lies = (key < plan.slices) & (key * plan.slice < start + width)
            if plan.circular:
                # What wraps goes on in the first slices; `touched` ends it before the one where it began.
                wrapped = key - plan.slices
                goes_on = wrapped * plan.slice < start + width - plan.size
                lies = tl.where(wrapped < 0, lies, goes_on)
                key = tl.where(wrapped < 0, key, wrapped)
            tl.store(keys + piece * plan.touched + ahead, key.to(tl.int32), mask=given & lies)


@triton.jit
def gather_kernel(
    total, gradient, entries, bounds, looked_up, plan: tl.constexpr, tile: tl.constexpr
):
    """Sum into slices of the array the gradients of the pieces that lie in them, piece after piece."""
    owned = tl.program_id(0).to(tl.int64) * tile.rows + tl.arange(0, tile.rows)
    place = owned[:, None] * plan.slice + tl.arange(0, plan.slice)[None, :]
    begin = tl.load(bounds + owned, mask=owned < plan.slices, other=0)
    end = tl.load(bounds + owned + 1, mask=owned < plan.slices, other=0)
    summed = tl.zeros((tile.rows, plan.slice), tl.float32)
    unroll: tl.constexpr = tile.unroll
    for done in range(0, tl.max(end - begin), unroll):
        for ahead in tl.static_range(unroll):
            at = begin + done + ahead
            has = at < end
            piece = tl.load(entries + at, mask=has, other=0) // plan.touched
            n = piece // plan.pieces
            x = tl.load(looked_up.row + n, mask=has, other=0)[:, None]
            cell = tl.load(looked_up.cell + n, mask=has, other=0)[:, None]
            start, first, width = piece_of(x, (piece - n * plan.pieces)[:, None], plan)
            j = place - start
            if plan.circular:
                j = tl.where(j < 0, j + plan.size, j)
            read = has[:, None] & (j >= 0) & (j < width) & (place < plan.size)
            i = first + j
            part = tl.load(gradient + cell * plan.dim + i, mask=read, other=0.0).to(tl.float32)
            if plan.signed:
                part *= signs(x, tl.where(read, i, 0), plan)
            if looked_up.weight is not None:
                part *= tl.load(looked_up.weight + n, mask=has, other=0.0)[:, None]
            summed = tl.where(read, summed + part, summed)
    tl.store(total + place, summed.to(total.dtype.element_ty), mask=place < plan.size)
