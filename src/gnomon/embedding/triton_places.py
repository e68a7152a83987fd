"""Where weights lie, worked out on a GPU: `reference.starts`, `positions` and `signs` in Triton.

`x` is a row counted over all tables, `i` an element of it, `c` one of its blocks. All numbers of a layout are
constants that a kernel is compiled for: its `Plan`.
"""
# Kernels are typed by what they are launched with, not by annotations.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl

from gnomon.embedding.layout import PRIME, RobeLayout

NARROWEST_SLICE, WIDEST_SLICE = 16, 1024

_PRIME = tl.constexpr(PRIME)
_BY_ROW = tl.constexpr(0x9E3779B97F4A7C15)
_BY_BLOCK = tl.constexpr(0xD1B54A32D192ED03)
_MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
_MIX_2 = tl.constexpr(0x94D049BB133111EB)
_BY_SEED = 0x2545F4914F6CDD1D
_SIGN_WORDS = tl.constexpr(1 << 32)


@dataclass(frozen=True)
class Plan:
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
    def of(cls, layout: RobeLayout) -> Plan:
        """The plan of a layout."""
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
def places(x, i, plan: tl.constexpr):
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
def signs(x, i, plan: tl.constexpr):
    """`reference.signs` of elements i of rows x, where a layout has signs."""
    if plan.hash == "modular":
        bits = _modular(x, i, plan.numbers[4], plan.numbers[5], plan.numbers[6]) & 1
    else:
        words = _mixed(x, (i // 64).to(tl.int64) + _SIGN_WORDS, plan)
        bits = (words >> (i % 64).to(tl.uint64)) & 1
    return tl.where(bits == 1, 1.0, -1.0)


@triton.jit
def piece_of(x, c, plan: tl.constexpr):
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
