"""Lookup and gradients in plain torch operations: the readable reference, on any device and floating type.

`ops.py` takes this path where there is no kernel: float64 (for `torch.autograd.gradcheck`), float16, and
devices other than CPU and CUDA. Read it beside `reference.py`, which says the same in NumPy.
"""

from __future__ import annotations

from gnomon.core.errors import MissingExtraError
from gnomon.embedding.bags import Bags, Pooling
from gnomon.embedding.layout import PRIME, RobeLayout
from gnomon.embedding.reference import out_of_range

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("torch", "train", "the embedding in torch") from error

_SIGN_WORDS = 1 << 32
_LOW = 0xFFFFFFFF


def lookup(
    array: Tensor,
    layout: RobeLayout,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    pooling: Pooling,
) -> Tensor:
    """Pooled rows (batch, tables, dim), of the array's type."""
    x, bags, count, batch = _flat(layout, indices, offsets, weights, pooling)
    rows = array[positions(layout, x)] * signs(layout, x, array.dtype)
    if weights is not None:
        rows = rows * weights.reshape(-1, 1).to(rows.dtype)
    out = rows.new_zeros(batch * layout.tables, layout.dim).index_add(0, bags, rows)
    if pooling == "mean":
        out = out / count.clamp(min=1)[:, None].to(out.dtype)
    return out.view(layout.tables, batch, layout.dim).transpose(0, 1).contiguous()


def backward(
    layout: RobeLayout,
    indices: Tensor,
    gradient: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    pooling: Pooling,
) -> Tensor:
    """Gradient of the array (size,), of the gradient's type."""
    x, bags, count, _ = _flat(layout, indices, offsets, weights, pooling)
    given = gradient.transpose(0, 1).reshape(-1, layout.dim)
    if pooling == "mean":
        given = given / count.clamp(min=1)[:, None].to(given.dtype)
    parts = given[bags] * signs(layout, x, gradient.dtype)
    if weights is not None:
        parts = parts * weights.reshape(-1, 1).to(parts.dtype)
    where = positions(layout, x).reshape(-1)
    return gradient.new_zeros(layout.size).index_add(0, where, parts.reshape(-1))


def weight_gradient(
    array: Tensor, layout: RobeLayout, indices: Tensor, gradient: Tensor, offsets: Tensor | None
) -> Tensor:
    """Gradient of the per-sample weights of a sum, of the shape of indices."""
    x, bags, _, _ = _flat(layout, indices, offsets, None, "sum")
    rows = array[positions(layout, x)] * signs(layout, x, array.dtype)
    given = gradient.transpose(0, 1).reshape(-1, layout.dim)[bags]
    return (rows * given.to(rows.dtype)).sum(1).view(indices.shape)


def positions(layout: RobeLayout, x: Tensor) -> Tensor:
    """Where each element of the rows x (counted over all tables) lies: int64 (n, dim)."""
    element = torch.arange(layout.dim, device=x.device)
    if layout.span:
        whole = x[:, None] * layout.dim + element
        block, inside = whole // layout.block, whole % layout.block
        start = _starts(layout, block, torch.zeros_like(block))
    else:
        block = element // layout.block  # zeros if a block is longer than a row
        inside = element - block * layout.block
        start = _starts(layout, x[:, None], block)
    return (start + inside) % layout.size


def signs(layout: RobeLayout, x: Tensor, dtype: torch.dtype) -> Tensor:
    """+1 or -1 for each element of the rows x: (n, dim), or (1, 1) without signs."""
    if layout.sign == "none":
        return torch.ones(1, 1, dtype=dtype, device=x.device)
    element = torch.arange(layout.dim, device=x.device)
    if layout.hash == "modular":
        r4, r5, r6 = layout.numbers[4:]
        bits = (x[:, None] * r4 + element * r5 + r6) % PRIME & 1
    else:
        words = _mixed(x[:, None], _SIGN_WORDS + element // 64, layout.seed)
        bits = words >> element % 64 & 1
    return (2 * bits - 1).to(dtype)


def _starts(layout: RobeLayout, x: Tensor, c: Tensor) -> Tensor:
    if layout.hash == "identity":
        return x * layout.dim + c * layout.block
    if layout.hash == "modular":
        _, r1, r2, r3, *_ = layout.numbers
        return (x * r3 + c * r2 + r1) % PRIME % layout.slots * layout.unit
    # The high half of bits * slots, in 32-bit halves: torch has no 128-bit product.
    bits = _mixed(x, c, layout.seed)
    high, low = _right(bits, 32), bits & _LOW
    return _right(high * layout.slots + _right(low * layout.slots, 32), 32) * layout.unit


def _mixed(x: Tensor, c: Tensor, seed: int) -> Tensor:
    """`reference.mixed` in int64, whose products wrap like those of uint64."""
    z = (
        (x + 1) * _signed(0x9E3779B97F4A7C15)
        + c * _signed(0xD1B54A32D192ED03)
        + _signed(seed * 0x2545F4914F6CDD1D)
    )
    z = (z ^ _right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _right(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _right(z, 31)


def _right(z: Tensor, count: int) -> Tensor:
    """A shift that fills with zeros: torch's fills with the sign."""
    return z >> count & ((1 << 64 - count) - 1)


def _signed(value: int) -> int:
    value %= 1 << 64
    return value - (1 << 64) if value >> 63 else value


def _flat(
    layout: RobeLayout,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    pooling: Pooling,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Every lookup as its row over all tables and its bag (table-major); sizes of the bags; batch.

    Raises:
        DataError: Indices, offsets or weights that do not fit, or an id that is not a row of its table.
        SettingsError: Unknown pooling, or weights with mean pooling.
    """
    batch = Bags.of(
        layout,
        indices.cpu().numpy(),
        None if offsets is None else offsets.cpu().numpy(),
        None if weights is None else weights.detach().float().cpu().numpy(),
        pooling,
    ).batch
    device = indices.device
    if offsets is None:
        sample = torch.arange(batch, device=device)[:, None]
        bag = torch.arange(layout.tables, device=device) * batch + sample
        size = indices[0, 0].numel() if batch else 0
        bags = bag[:, :, None].expand(batch, layout.tables, size).reshape(-1)
        count = torch.full((batch * layout.tables,), size, device=device)
    else:
        count = offsets.diff()
        bags = torch.arange(len(count), device=device).repeat_interleave(count)
    ids = indices.reshape(-1).long()
    table = bags // max(batch, 1)
    wrong = (ids < 0) | (ids >= torch.tensor(layout.rows, device=device)[table])
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        where = int(bags[first])
        raise out_of_range(layout, where // batch, where % batch, int(ids[first]))
    return ids + torch.from_numpy(layout.first_rows).to(device)[table], bags, count, batch
