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

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from gnomon.core.errors import DataError, GnomonError, MissingExtraError, SettingsError
from gnomon.embedding import reference
from gnomon.embedding.bags import Bags, Pooling
from gnomon.embedding.layout import RobeLayout

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "train", "the embedding kernels for GPUs") from None
try:
    import triton
except ImportError:
    raise MissingExtraError("triton", "train", "the embedding kernels for GPUs") from None

from gnomon.embedding.triton_device import (
    BagArguments,
    LookupArguments,
    Tile,
    cut_kernel,
    gather_kernel,
    lookup_kernel,
    multiply_kernel,
    scatter_kernel,
)
from gnomon.embedding.triton_places import Plan

Tensor = torch.Tensor

TILE = 512
"""Elements that one program works on at a time: rows of a bag, or neighbouring weights of the array."""

MOST_BAGS = 2**31 - 1 - TILE
"""Kernels number bags in 32 bits, those of a last tile that is not full included."""

UNROLL = 4
"""Rows that are under way at once in one program: their addresses do not depend on each other's sums."""


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
        lookup_kernel, out, array, call.bags, pooling == "mean", width=layout.dim, unroll=unroll
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
        call.over_bags(scatter_kernel, total, gradient, call.bags, width=layout.dim)
        call.raise_what_is_wrong()
        return total.to(dtype)

    plan, lookups = call.plan, call.bags.lookups
    looked_up = LookupArguments(
        indices.new_empty(lookups, dtype=torch.int64),
        indices.new_empty(lookups, dtype=torch.int64),
        None if weights is None else weights.new_empty(lookups),
    )
    # A key that nobody writes belongs to no slice, and is sorted behind all others.
    count = lookups * plan.pieces * plan.touched
    keys = indices.new_full((count,), plan.slices, dtype=torch.int32)
    call.over_bags(cut_kernel, keys, looked_up, call.bags, width=plan.pieces)
    call.raise_what_is_wrong()
    ordered, entries = torch.sort(keys, stable=True)
    owners = torch.arange(plan.slices + 1, dtype=torch.int32, device=indices.device)
    bounds = torch.searchsorted(ordered, owners)
    total = gradient.new_empty(layout.size, dtype=dtype)
    tile = Tile(max(1, TILE // plan.slice), plan.slice, UNROLL)
    grid = (-(-plan.slices // tile.rows),)
    call.launch(gather_kernel, grid, tile, total, gradient, entries, bounds, looked_up)
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
    call.over_bags(
        multiply_kernel, found, array, gradient, call.bags, width=layout.dim, across=False
    )
    call.raise_what_is_wrong()
    return found


@dataclass(frozen=True)
class _Call:
    """One call: bags whose form was checked, and a note in which kernels say if anything is wrong in them."""

    layout: RobeLayout
    plan: Plan
    bags: BagArguments
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
        bags = BagArguments(
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
        tile = Tile(TILE // tile_width, tile_width, unroll)
        rows = -(-self.bags.batch * self.layout.tables // tile.rows)
        self.launch(kernel, (rows, -(-width // tile_width) if across else 1), tile, *arguments)

    def launch(self, kernel: Any, grid: tuple[int, ...], tile: Tile, *arguments: Any) -> None:
        if 0 in grid:
            return
        with torch.cuda.device_of(self.bags.indices):  # type: ignore[no-untyped-call]
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


def _constants(layout: RobeLayout, device: torch.device) -> tuple[Plan, Tensor]:
    """The layout as the kernels take it, made once for a device."""
    kept = layout.__dict__.setdefault("_triton", {})
    if device not in kept:
        kept[device] = Plan.of(layout), torch.from_numpy(layout.first_rows).to(device)
    made: tuple[Plan, Tensor] = kept[device]
    return made


def _beside(name: str, given: Tensor, indices: Tensor) -> Tensor:
    if given.device != indices.device:
        raise DataError(
            f"{name} must be on the device of the indices, {indices.device}, got {given.device}"
        )
    return given


def _kind(given: Tensor) -> str:
    return f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape)}"
