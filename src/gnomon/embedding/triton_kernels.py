"""Lookup and gradients on a GPU: Triton kernels over torch tensors, held bit for bit against `reference.py`.

    out = lookup(array, layout, indices)            # torch tensors on one GPU; (batch, tables, dim)
    step = backward(layout, indices, gradient)      # (size,), summed in the order of `reference.backward`

Bags come in the two forms of `Bags`. Kernels are compiled for a layout when it is first used on a device
(seconds), then kept on disk by Triton. Under `TRITON_INTERPRET=1`, set before Triton is imported, they run
on the CPU as NumPy, slowly: that is how they are tested where there is no GPU.

`check=True`, the default, has the kernels note ids, offsets or weights that cannot be, and reads that one
note back, which waits for the GPU. With `check=False` nothing waits, so that a call can be captured in a
CUDA graph or overlap with others (call once before capturing: constants are copied to the GPU then); an id
that is not a row then counts as a row of zeros, and memory outside the tensors is never touched.
"""
# Kernels are typed by what they are launched with, not by annotations.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from gnomon.core.errors import DataError, GnomonError, MissingExtraError, SettingsError
from gnomon.embedding import reference
from gnomon.embedding.bags import Bags, Pooling
from gnomon.embedding.layout import PRIME, RobeLayout

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "train", "the embedding kernels for GPUs") from None
try:
    import triton
    import triton.language as tl
except ImportError:
    raise MissingExtraError("triton", "train", "the embedding kernels for GPUs") from None

Tensor = torch.Tensor

TILE = 512
"""Elements that one program works on at a time: rows of a bag, or neighbouring weights of the array."""

MOST_BAGS = 2**31 - 1 - TILE
"""Kernels number bags in 32 bits, those of a last tile that is not full included."""

NARROWEST_SLICE, WIDEST_SLICE = 16, 1024
UNROLL = 4
"""Rows that are under way at once in one program: their addresses do not depend on each other's sums."""

_PRIME = tl.constexpr(PRIME)
_BY_ROW = tl.constexpr(0x9E3779B97F4A7C15)
_BY_BLOCK = tl.constexpr(0xD1B54A32D192ED03)
_MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
_MIX_2 = tl.constexpr(0x94D049BB133111EB)
_BY_SEED = 0x2545F4914F6CDD1D
_SIGN_WORDS = tl.constexpr(1 << 32)


@dataclass(frozen=True)
class _Plan:
    """What a kernel is compiled for: the numbers of a layout, its tables apart."""

    dim: int
    block: int
    size: int
    slots: int
    unit: int
    hash: str
    circular: bool
    signed: bool
    span: bool
    numbers: tuple[int, ...]
    seeded: int
    pieces: int
    """Runs of neighbouring weights that a row is made of, at most."""
    slice: int
    """Neighbouring weights whose gradient one row of a tile sums."""
    slices: int
    touched: int
    """Slices that a piece may lie in, at most."""

    @classmethod
    def of(cls, layout: RobeLayout) -> _Plan:
        longest = min(layout.block, layout.dim)
        width = min(max(triton.next_power_of_2(longest), NARROWEST_SLICE), WIDEST_SLICE)
        slices, circular = -(-layout.size // width), layout.wrap == "circular"
        # The last start within a slice is `unit` before its end. One more slice where a piece wraps: the
        # array's last slice may be shorter than the others.
        unit = 1 if layout.span else layout.unit
        touched = (width - unit + longest - 1) // width + 1 + circular
        return cls(
            dim=layout.dim,
            block=layout.block,
            size=layout.size,
            slots=layout.slots,
            unit=layout.unit,
            hash=layout.hash,
            circular=circular,
            signed=layout.sign == "element",
            span=layout.span,
            numbers=layout.numbers,
            seeded=layout.seed * _BY_SEED % 2**64,
            pieces=2 if layout.span else -(-layout.dim // longest),
            slice=width,
            slices=slices,
            touched=min(touched, slices),
        )


@dataclass(frozen=True)
class _Tile:
    """What a kernel is compiled for besides: the output rows (or slices) and elements of one program."""

    rows: int
    width: int
    unroll: int = 1


class _Bags(NamedTuple):
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


class _Lookups(NamedTuple):
    """Every lookup in table-major order: row over all tables, output row it went into, weight."""

    row: Any
    cell: Any
    weight: Any


# Where weights lie ------------------------------------------------------------------------------------


@triton.jit
def _modular(x, c, by_x: tl.constexpr, by_c: tl.constexpr, plus: tl.constexpr):
    """(x by_x + c by_c + plus) mod the prime; reduced apart, which divides once a row and once a column."""
    rows = ((x * by_x + plus) % _PRIME).to(tl.uint32)
    columns = (c.to(tl.int64) * by_c % _PRIME).to(tl.uint32)
    both = rows + columns
    return tl.where(both >= _PRIME, both - _PRIME, both)


@triton.jit
def _mixed(x, c, plan: tl.constexpr):
    z = (x.to(tl.uint64) + 1) * _BY_ROW + c.to(tl.uint64) * _BY_BLOCK + plan.seeded
    z = (z ^ (z >> 30)) * _MIX_1
    z = (z ^ (z >> 27)) * _MIX_2
    return z ^ (z >> 31)


@triton.jit
def _start(x, c, plan: tl.constexpr):
    """`reference.starts`."""
    if plan.hash == "identity":
        start = x * plan.dim + c * plan.block
    elif plan.hash == "modular":
        hashed = _modular(x, c, plan.numbers[3], plan.numbers[2], plan.numbers[1])
        start = (hashed % plan.slots).to(tl.int64) * plan.unit
    else:
        bits = _mixed(x, c, plan)
        slot = tl.umulhi(bits, tl.full(bits.shape, plan.slots, tl.uint64))
        start = slot.to(tl.int64) * plan.unit
    return start


@triton.jit
def _places(x, i, plan: tl.constexpr):
    """`reference.positions` of elements i (1, n) of rows x (m, 1)."""
    if plan.span:
        block = x * plan.dim // plan.block
        inside = x * plan.dim - block * plan.block + i
        zero = tl.zeros_like(block)
        here, after = _start(block, zero, plan), _start(block + 1, zero, plan)
        place = inside + tl.where(inside < plan.block, here, after - plan.block)
    elif plan.block < plan.dim:
        c = i // plan.block
        place = _start(x, c, plan) + (i - c * plan.block)
    else:
        place = _start(x, tl.zeros_like(x), plan) + i
    if plan.circular:
        place = tl.where(place >= plan.size, place - plan.size, place)
    return place


@triton.jit
def _signs(x, i, plan: tl.constexpr):
    """`reference.signs` of elements i of rows x, where a layout has signs."""
    if plan.hash == "modular":
        bits = _modular(x, i, plan.numbers[4], plan.numbers[5], plan.numbers[6]) & 1
    else:
        words = _mixed(x, (i // 64).to(tl.int64) + _SIGN_WORDS, plan)
        bits = (words >> (i % 64).to(tl.uint64)) & 1
    return tl.where(bits == 1, 1.0, -1.0)


@triton.jit
def _piece(x, c, plan: tl.constexpr):
    """Piece c of row x: where it starts, the element that lies there, and how many follow in all."""
    if plan.span:
        block = x * plan.dim // plan.block
        inside = x * plan.dim - block * plan.block
        reach = tl.minimum(plan.block - inside, plan.dim)
        start = _start(block + c, tl.zeros_like(block + c), plan) + tl.where(c == 0, inside, 0)
        if plan.circular:
            start = tl.where(start >= plan.size, start - plan.size, start)
        first = tl.where(c == 0, 0, reach)
        count = tl.where(c == 0, reach, plan.dim - reach)
    else:
        start = _start(x, c, plan)
        first = c * plan.block
        count = tl.minimum(plan.dim - first, plan.block)
    return start, first, count


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
def _lookup(out, array, bags, mean: tl.constexpr, plan: tl.constexpr, tile: tl.constexpr):
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
            part = tl.load(array + _places(x, i, plan), mask=read, other=0.0).to(tl.float32)
            if plan.signed:
                part *= _signs(x, i, plan)
            if bags.weights is not None:
                part *= _weight(bags, at, known)[:, None]
            total = tl.where(read, total + part, total)
    if mean:
        total = tl.div_rn(total, tl.maximum(count, 1).to(tl.float32)[:, None])
    inside = (cell < bags.batch * bags.tables)[:, None] & (i < plan.dim)
    tl.store(out + cell[:, None] * plan.dim + i, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _multiply(found, array, gradient, bags, plan: tl.constexpr, tile: tl.constexpr):
    """Each row times the gradient of its bag."""
    cell, count, longest, begin, _, before, rows = _begin(bags, tile)
    for step in range(longest):
        x, known = _row(bags, begin + step, step < count, before, rows)
        total = tl.zeros((tile.rows,), tl.float32)
        for left in range(0, plan.dim, tile.width):
            i = (left + tl.arange(0, tile.width))[None, :]
            read = known[:, None] & (i < plan.dim)
            part = tl.load(array + _places(x[:, None], i, plan), mask=read, other=0.0)
            part = part.to(tl.float32)
            if plan.signed:
                part *= _signs(x[:, None], i, plan)
            given = tl.load(gradient + cell[:, None] * plan.dim + i, mask=read, other=0.0)
            total += tl.sum(part * given.to(tl.float32), axis=1)
        tl.store(found + begin + step, total, mask=known)


@triton.jit
def _scatter(total, gradient, bags, plan: tl.constexpr, tile: tl.constexpr):
    """Add the gradients of rows to that of the array, in whatever order programs come."""
    i = (tl.program_id(1) * tile.width + tl.arange(0, tile.width))[None, :]
    cell, count, longest, begin, _, before, rows = _begin(bags, tile)
    inside = (cell < bags.batch * bags.tables)[:, None] & (i < plan.dim)
    given = tl.load(gradient + cell[:, None] * plan.dim + i, mask=inside, other=0.0).to(tl.float32)
    for step in range(longest):
        x, known = _row(bags, begin + step, step < count, before, rows)
        x, part = x[:, None], given
        if plan.signed:
            part *= _signs(x, i, plan)
        if bags.weights is not None:
            part *= _weight(bags, begin + step, known)[:, None]
        write = known[:, None] & (i < plan.dim)
        tl.atomic_add(total + _places(x, i, plan), part, mask=write, sem="relaxed")


@triton.jit
def _cut(keys, looked_up, bags, plan: tl.constexpr, tile: tl.constexpr):
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
        start, _, width = _piece(x[:, None], c, plan)
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
def _gather(total, gradient, entries, bounds, looked_up, plan: tl.constexpr, tile: tl.constexpr):
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
            start, first, width = _piece(x, (piece - n * plan.pieces)[:, None], plan)
            j = place - start
            if plan.circular:
                j = tl.where(j < 0, j + plan.size, j)
            read = has[:, None] & (j >= 0) & (j < width) & (place < plan.size)
            i = first + j
            part = tl.load(gradient + cell * plan.dim + i, mask=read, other=0.0).to(tl.float32)
            if plan.signed:
                part *= _signs(x, tl.where(read, i, 0), plan)
            if looked_up.weight is not None:
                part *= tl.load(looked_up.weight + n, mask=has, other=0.0)[:, None]
            summed = tl.where(read, summed + part, summed)
    tl.store(total + place, summed.to(total.dtype.element_ty), mask=place < plan.size)


# From Python ------------------------------------------------------------------------------------------


def lookup(
    array: Tensor,
    layout: RobeLayout,
    indices: Tensor,
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
    *,
    pooling: Pooling = "sum",
    check: bool = True,
) -> Tensor:
    """Pooled embedding rows; in float32 equal to `reference.lookup` bit for bit.

    Args:
        array: float32 or bfloat16 (size,), the weights.
        layout: Where they lie.
        indices: int32 or int64; (batch, tables), (batch, tables, L), or (N,) with offsets: see `Bags`.
        offsets: int32 or int64 (tables * batch + 1,), for bags of any size.
        weights: float32, one for each index.
        pooling: "sum" or "mean".
        check: Whether to wait and see that ids, offsets and weights are right.

    Returns:
        (batch, tables, dim) of the array's dtype; sums are float32 and rounded once.

    Raises:
        DataError: Tensors that do not fit each other or the layout; an id that is not a row of its table.
        SettingsError: Unknown pooling, or weights with mean pooling.
    """
    call = _Call.of(layout, indices, offsets, weights, pooling, check)
    call.check_array(array)
    out = array.new_empty((call.bags.batch, layout.tables, layout.dim))
    unroll = 1 if call.bags.length == 1 else UNROLL
    call.over_bags(
        _lookup, out, array, call.bags, pooling == "mean", width=layout.dim, unroll=unroll
    )
    call.raise_what_is_wrong()
    return out


def backward(
    layout: RobeLayout,
    indices: Tensor,
    gradient: Tensor,
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
    *,
    pooling: Pooling = "sum",
    dtype: torch.dtype = torch.float32,
    deterministic: bool = True,
    check: bool = True,
) -> Tensor:
    """Gradient of the array from the gradient of the pooled rows.

    By default every slice of the array has one owner, which adds what lies in it in the order of
    `reference.backward`: in float32 the sum is equal to it bit for bit. That sorts pieces of rows by slice,
    which takes some 60 bytes of memory for each block of each lookup; and a weight that n lookups share
    takes n additions one after another. With `deterministic=False` rows are added by atomic additions:
    nothing is sorted, and the last bits differ from run to run.

    Args:
        layout: Where weights lie.
        indices: As in `lookup`.
        gradient: float32 or bfloat16 (batch, tables, dim).
        offsets: As in `lookup`.
        weights: As in `lookup`.
        pooling: As in `lookup`.
        dtype: float32 or bfloat16, of the result; sums are float32.
        deterministic: Whether the order of additions is fixed.
        check: As in `lookup`.

    Returns:
        (size,) of `dtype`.

    Raises:
        DataError: As `lookup`.
        SettingsError: As `lookup`; or another dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise SettingsError(f"dtype must be torch.float32 or torch.bfloat16, got {dtype}")
    call = _Call.of(layout, indices, offsets, weights, pooling, check)
    gradient = call.as_gradient(gradient)
    if not deterministic:
        total = gradient.new_zeros(layout.size, dtype=torch.float32)
        call.over_bags(_scatter, total, gradient, call.bags, width=layout.dim)
        call.raise_what_is_wrong()
        return total.to(dtype)

    plan, lookups = call.plan, call.bags.lookups
    looked_up = _Lookups(
        indices.new_empty(lookups, dtype=torch.int64),
        indices.new_empty(lookups, dtype=torch.int64),
        None if weights is None else weights.new_empty(lookups),
    )
    # A key that nobody writes belongs to no slice, and is sorted behind all others.
    count = lookups * plan.pieces * plan.touched
    keys = indices.new_full((count,), plan.slices, dtype=torch.int32)
    call.over_bags(_cut, keys, looked_up, call.bags, width=plan.pieces)
    call.raise_what_is_wrong()
    ordered, entries = torch.sort(keys, stable=True)
    owners = torch.arange(plan.slices + 1, dtype=torch.int32, device=indices.device)
    bounds = torch.searchsorted(ordered, owners)
    total = gradient.new_empty(layout.size, dtype=dtype)
    tile = _Tile(max(1, TILE // plan.slice), plan.slice, UNROLL)
    grid = (-(-plan.slices // tile.rows),)
    call.launch(_gather, grid, tile, total, gradient, entries, bounds, looked_up)
    return total


def weight_gradient(
    array: Tensor,
    layout: RobeLayout,
    indices: Tensor,
    gradient: Tensor,
    offsets: Tensor | None = None,
    *,
    check: bool = True,
) -> Tensor:
    """Gradient of the per-sample weights of a sum, float32 of the shape of `indices`.

    Each is a product of a row and a gradient, added up in an order of its own: the same on every call, but
    not that of `reference.py` to the last bit.

    Raises:
        DataError: As `lookup`.
    """
    call = _Call.of(layout, indices, offsets, None, "sum", check)
    call.check_array(array)
    gradient = call.as_gradient(gradient)
    found = torch.zeros(indices.shape, dtype=torch.float32, device=indices.device)
    call.over_bags(_multiply, found, array, gradient, call.bags, width=layout.dim, across=False)
    call.raise_what_is_wrong()
    return found


@dataclass(frozen=True)
class _Call:
    """One call: bags whose form was checked, and a note in which kernels say if anything is wrong in them."""

    layout: RobeLayout
    plan: _Plan
    bags: _Bags
    pooling: Pooling

    @classmethod
    def of(
        cls,
        layout: RobeLayout,
        indices: Tensor,
        offsets: Tensor | None,
        weights: Tensor | None,
        pooling: Pooling,
        check: bool,
    ) -> _Call:
        if pooling not in get_args(Pooling):
            raise SettingsError(f"pooling must be sum or mean, got {pooling!r}")
        if weights is not None and pooling != "sum":
            raise SettingsError("per-sample weights go with sum pooling only")
        if not (indices.is_cuda or triton.knobs.runtime.interpret):
            raise DataError(
                f"Triton kernels need tensors on a GPU, indices are on {indices.device}"
            )
        for name, integers in (("indices", indices), ("offsets", offsets)):
            if integers is not None and integers.dtype not in (torch.int32, torch.int64):
                raise DataError(f"{name} must be int32 or int64, got {_kind(integers)}")
        if offsets is None:
            batch, length = _of_one_size(layout, indices)
        else:
            batch, length = _of_any_size(layout, indices, offsets), 0
            offsets = _beside("offsets", offsets, indices).contiguous()
        if weights is not None:
            if weights.dtype != torch.float32 or weights.shape != indices.shape:
                shape = tuple(indices.shape)
                raise DataError(
                    f"weights must be float32 of the shape of indices {shape}, got {_kind(weights)}"
                )
            weights = _beside("weights", weights, indices).contiguous()
        if batch * layout.tables > MOST_BAGS:
            raise DataError(
                f"one call takes at most {MOST_BAGS:,} bags, got {batch:,} samples of {layout.tables} "
                "tables: use smaller batches"
            )
        plan, first_rows = _constants(layout, indices.device)
        bags = _Bags(
            indices.contiguous(),
            offsets,
            weights,
            first_rows,
            indices.new_zeros(1, dtype=torch.int32) if check else None,
            batch,
            layout.tables,
            indices.numel(),
            length,
        )
        return cls(layout, plan, bags, pooling)

    def check_array(self, array: Tensor) -> None:
        if array.dtype not in (torch.float32, torch.bfloat16) or array.shape != (self.layout.size,):
            raise DataError(
                f"array must be float32 or bfloat16 ({self.layout.size},), got {_kind(array)}"
            )
        if not array.is_contiguous():
            raise DataError("array must be contiguous: use array.contiguous()")
        _beside("array", array, self.bags.indices)

    def as_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of the pooled rows as kernels take it: contiguous, and divided if they were."""
        shape = (self.bags.batch, self.layout.tables, self.layout.dim)
        if gradient.dtype not in (torch.float32, torch.bfloat16) or gradient.shape != shape:
            raise DataError(f"gradient must be float32 or bfloat16 {shape}, got {_kind(gradient)}")
        _beside("gradient", gradient, self.bags.indices)
        if self.pooling == "mean":
            # By a tensor on the GPU: by a number, torch would multiply with its rounded reciprocal.
            gradient = gradient.float() / self._counts()
        return gradient.contiguous()

    def _counts(self) -> Tensor:
        offsets, length = self.bags.offsets, max(self.bags.length, 1)
        counts: Tensor
        if offsets is None:
            counts = self.bags.indices.new_full((1, 1, 1), length, dtype=torch.float32)
            return counts
        counts = (offsets[1:] - offsets[:-1]).clamp(min=1).float()
        return counts.reshape(self.layout.tables, self.bags.batch, 1).transpose(0, 1)

    def over_bags(
        self, kernel: Any, *arguments: Any, width: int, unroll: int = 1, across: bool = True
    ) -> None:
        """Launch over all output rows, and `across` their width unless the kernel walks along it itself."""
        tile_width = min(triton.next_power_of_2(width), TILE)
        tile = _Tile(TILE // tile_width, tile_width, unroll)
        rows = -(-self.bags.batch * self.layout.tables // tile.rows)
        self.launch(kernel, (rows, -(-width // tile_width) if across else 1), tile, *arguments)

    def launch(self, kernel: Any, grid: tuple[int, ...], tile: _Tile, *arguments: Any) -> None:
        if 0 in grid:
            return
        with torch.cuda.device_of(self.bags.indices):
            # Multiplying and adding in one instruction would round once where the reference rounds twice.
            kernel[grid](*arguments, plan=self.plan, tile=tile, enable_fp_fusion=False)

    def raise_what_is_wrong(self) -> None:
        """Wait for the kernels' note, and if there is one, find out what it is about."""
        wrong = self.bags.wrong
        if (
            wrong is not None
            and (self.bags.lookups or self.bags.offsets is not None)
            and wrong.item()
        ):
            raise self._explained()

    def _explained(self) -> GnomonError:
        given = (self.bags.indices, self.bags.offsets, self.bags.weights)
        indices, offsets, weights = (of if of is None else of.cpu().numpy() for of in given)
        try:
            bags = Bags.of(self.layout, indices, offsets, weights, self.pooling)  # type: ignore[arg-type]
        except DataError as error:
            return error
        ids = bags.indices
        if bags.offsets is None:
            ids = ids.transpose(1, 0, 2).reshape(-1)
            bag = np.arange(len(ids)) // self.bags.length
        else:
            bag = np.searchsorted(bags.offsets, np.arange(len(ids)), side="right") - 1
        table, sample = np.divmod(bag, bags.batch)
        first = np.flatnonzero((ids < 0) | (ids >= np.array(self.layout.rows)[table]))[0]
        return reference.out_of_range(
            self.layout, int(table[first]), int(sample[first]), int(ids[first])
        )


def _of_one_size(layout: RobeLayout, indices: Tensor) -> tuple[int, int]:
    """Batch and rows of a bag."""
    tables, shape = layout.tables, tuple(indices.shape)
    if len(shape) not in (2, 3) or shape[1] != tables:
        raise DataError(
            f"indices without offsets must have shape (batch, {tables}) or (batch, {tables}, L) for "
            f"{tables} tables, got {shape}"
        )
    return shape[0], shape[2] if len(shape) == 3 else 1


def _of_any_size(layout: RobeLayout, indices: Tensor, offsets: Tensor) -> int:
    """Batch."""
    if indices.ndim != 1 or offsets.ndim != 1:
        raise DataError(
            f"indices with offsets are flat, got shapes {tuple(indices.shape)} and "
            f"{tuple(offsets.shape)}"
        )
    batch, rest = divmod(len(offsets) - 1, layout.tables)
    if rest or len(offsets) < 1:
        raise DataError(
            f"offsets must have tables * batch + 1 entries with {layout.tables} tables, got "
            f"{len(offsets)}"
        )
    if not batch and len(indices):
        raise DataError(f"offsets say no bags, but there are {len(indices)} indices")
    return batch


def _constants(layout: RobeLayout, device: torch.device) -> tuple[_Plan, Tensor]:
    """The layout as the kernels take it, made once for a device."""
    kept = layout.__dict__.setdefault("_triton", {})
    if device not in kept:
        kept[device] = _Plan.of(layout), torch.from_numpy(layout.first_rows).to(device)
    made: tuple[_Plan, Tensor] = kept[device]
    return made


def _beside(name: str, given: Tensor, indices: Tensor) -> Tensor:
    if given.device != indices.device:
        raise DataError(
            f"{name} must be on the device of the indices, {indices.device}, got {given.device}"
        )
    return given


def _kind(given: Tensor) -> str:
    return f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape)}"
