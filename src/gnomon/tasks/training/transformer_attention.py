"""Attention for the Transformers here: of sentences to themselves and to others, whole or a token at a time.

What lies between attention layers has a row for each token and none for padding; `Places` goes between the
two forms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error


@dataclass(frozen=True)
class Places:
    """Where the tokens of a padded batch lie; what is between the layers has rows for these alone.

    Attributes:
        shape: Sentences and tokens of the longest, padding included.
        rows: Of each token the place in the flattened batch, int64 (tokens,); None if nothing is padding.
        mask: What is added to attention scores, float (n, 1, 1, length): 0, or -inf for padding.
    """

    shape: tuple[int, int]
    rows: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, kept: Tensor, dtype: torch.dtype) -> Places:
        """Of a batch whose tokens to keep are true in `kept`, bool (n, length)."""
        mask = torch.zeros(kept.shape, dtype=dtype, device=kept.device)
        mask.masked_fill_(~kept, -math.inf)
        rows = kept.reshape(-1).nonzero()[:, 0]
        return cls((kept.shape[0], kept.shape[1]), rows, mask[:, None, None])

    def spread(self, x: Tensor) -> Tensor:
        """From (tokens, width) to (n, length, width), zeros between."""
        n, length = self.shape
        if self.rows is None:
            return x.view(n, length, -1)
        return x.new_zeros(n * length, x.shape[1]).index_copy(0, self.rows, x).view(n, length, -1)

    def gather(self, x: Tensor) -> Tensor:
        """The inverse of `spread`."""
        if self.rows is None:
            return x.flatten(0, 1)
        return cast("Tensor", _Rows.apply(x.flatten(0, 1), self.rows))  # type: ignore[no-untyped-call]


class _Rows(torch.autograd.Function):
    """`index_select` of rows that are all different, whose gradient can be copied instead of added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.total = len(x)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        (rows,) = ctx.saved_tensors
        whole = gradient.new_zeros(ctx.total, gradient.shape[1])
        return whole.index_copy_(0, rows, gradient), None


class SelfAttention(nn.Module):
    """Multi-head attention of sentences to themselves (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.projected = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, places: Places, *, causal: bool) -> Tensor:
        """Attend: (tokens, dim) to the same shape.

        Args:
            x: A row for each token.
            places: Of the tokens.
            causal: No token sees a later one. Padding comes last, so that nothing need be masked.
        """
        query, key, value = self._split(places.spread(self.projected(x)))
        share = self.dropout if self.training else 0.0
        seen = attend(query, key, value, places.mask, causal=causal, dropout=share)
        return cast("Tensor", self.out(places.gather(seen.transpose(1, 2).flatten(2))))

    def step(self, x: Tensor, keys: Tensor, values: Tensor, place: int) -> Tensor:
        """Attend from one place to it and all before, whose keys and values are kept.

        Args:
            x: Shape (n, 1, dim).
            keys: Shape (n, heads, longest, dim / heads), filled before `place`; `place` is filled here.
            values: Likewise.
            place: From 0.
        """
        query, key, value = self._split(self.projected(x))
        keys[:, :, place], values[:, :, place] = key[:, :, 0], value[:, :, 0]
        seen = attend(query, keys[:, :, : place + 1], values[:, :, : place + 1])
        return cast("Tensor", self.out(seen.flatten(1)[:, None]))

    def _split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, length, _ = projected.shape
        whole = projected.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = whole.unbind(0)
        return query, key, value


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention (section 3.2.1), by whichever way is faster.

    Args:
        query: Shape (n, heads, queries, width).
        key: Shape (n, heads, length, width).
        value: Likewise.
        mask: Added to the scores, shape (n, 1, 1, length); not looked at if `causal`.
        causal: No place sees a later one.
        dropout: Share of attention weights set to zero.
    """
    if query.device.type != "cpu" or dropout:
        return functional.scaled_dot_product_attention(
            query, key, value, None if causal else mask, dropout, is_causal=causal
        )
    # On a CPU the fused kernel takes up to a sixth longer for a training step on sentences as short as ours.
    scores = torch.matmul(query * query.shape[3] ** -0.5, key.transpose(2, 3))
    if causal:
        mask = torch.full(scores.shape[2:], -math.inf, dtype=scores.dtype).triu_(1)
    return torch.matmul((scores if mask is None else scores + mask).softmax(3), value)


class CrossAttention(nn.Module):
    """Multi-head attention to an encoder's output, whose keys and values are made once."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def memory(self, encoded: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """Keys and values, each (n, heads, length, dim / heads), of (tokens, dim)."""
        n, length = places.shape
        spread = places.spread(self.key_value(encoded))
        key, value = spread.view(n, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return key, value

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Attend: padded queries (n, length, dim), before projection of the output, to the same shape."""
        n, length, dim = x.shape
        query = x.view(n, length, self.heads, dim // self.heads).transpose(1, 2)
        seen = attend(query, *memory, mask, dropout=self.dropout if self.training else 0.0)
        return seen.transpose(1, 2).flatten(2)
