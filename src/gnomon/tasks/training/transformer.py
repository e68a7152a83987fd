"""A compact Transformer in PyTorch for translation.

Normalisation comes before each sublayer, nothing but attention is computed on padding, and greedy decoding
keeps the keys and values of what it has said.
"""

from __future__ import annotations

import math
from typing import cast

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from gnomon.tasks.training.transformer_attention import (
        CrossAttention,
        Places,
        SelfAttention,
        attend,
    )
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

PADDING, END = 0, 1
"""Token ids that every vocabulary here agrees on. A translation's first input is `PADDING`."""


class FeedForward(nn.Sequential):
    """Two dense layers at each place (section 3.3)."""

    def __init__(self, dim: int, inner: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(dim, inner),
            nn.ReLU(),
            *([nn.Dropout(dropout)] if dropout else []),
            nn.Linear(inner, dim),
        )


class EncoderLayer(nn.Module):
    """Self-attention and dense layers; causal, it is the layer of a language model."""

    def __init__(self, dim: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_dense = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads, dropout)
        self.dense = FeedForward(dim, inner, dropout)
        self.dropout = dropped(dropout)

    def forward(self, x: Tensor, places: Places, *, causal: bool = False) -> Tensor:
        """From (tokens, dim) to the same shape."""
        x = x + self.dropout(self.attention(self.before_attention(x), places, causal=causal))
        return cast("Tensor", x + self.dropout(self.dense(self.before_dense(x))))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder's output, and dense layers."""

    def __init__(self, dim: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_cross = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.before_dense = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads, dropout)
        self.cross = CrossAttention(dim, heads, dropout)
        self.dense = FeedForward(dim, inner, dropout)
        self.dropout = dropped(dropout)

    def forward(self, x: Tensor, places: Places, encoded: Tensor, source: Places) -> Tensor:
        """From (tokens, dim) to the same shape."""
        x = x + self.dropout(self.attention(self.before_attention(x), places, causal=True))
        query = places.spread(self.cross.query(self.before_cross(x)))
        seen = self.cross(query, self.cross.memory(encoded, source), source.mask)
        x = x + self.dropout(self.cross.out(places.gather(seen)))
        return cast("Tensor", x + self.dropout(self.dense(self.before_dense(x))))

    def step(
        self,
        x: Tensor,
        kept: tuple[Tensor, Tensor],
        memory: tuple[Tensor, Tensor],
        mask: Tensor | None,
        place: int,
    ) -> Tensor:
        """As `forward` for one place of every sentence without dropout: (n, 1, dim)."""
        x = x + self.attention.step(self.before_attention(x), *kept, place)
        query = self.cross.query(self.before_cross(x)).view(len(x), self.cross.heads, 1, -1)
        x = x + self.cross.out(attend(query, *memory, mask).flatten(1)[:, None])
        return cast("Tensor", x + self.dense(self.before_dense(x)))


class Transformer(nn.Module):
    """Encoder and decoder with one embedding for source, target and output (section 3.4).

    Args:
        vocabulary: Number of token ids.
        dim: Of embeddings and between layers.
        heads: Of each attention.
        inner: Of the dense layers.
        layers: Of the encoder, and of the decoder.
        dropout: Share of activations set to zero in training, attention weights included.
        longest: Most tokens of a sequence, the end included.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        dim: int,
        heads: int,
        inner: int,
        layers: int,
        dropout: float,
        longest: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.scale = math.sqrt(dim)
        self.sinusoids: Tensor
        self.register_buffer("sinusoids", sinusoids(longest, dim), persistent=False)
        shape = (dim, heads, inner, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*shape) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*shape) for _ in range(layers))
        self.after_encoder, self.after_decoder = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = dropped(dropout)
        initialise(self)

    def forward(self, source: Tensor, given: Tensor, kept: Tensor) -> Tensor:
        """Scores of the next token after each that the decoder is given.

        Args:
            source: Token ids, int64 (n, source length), padded with `PADDING`.
            given: What the decoder is given, int64 (n, target length): `PADDING`, then the translation.
            kept: Of which places scores are wanted, bool (n, target length): none after a false one.

        Returns:
            Shape (kept places, vocabulary).
        """
        encoded, places = self.encode(source)
        targets = Places.of(kept, encoded.dtype)
        x = self._embedded(given, targets)
        for layer in self.decoder:
            x = layer(x, targets, encoded, places)
        return self.scores(x)

    def encode(self, source: Tensor) -> tuple[Tensor, Places]:
        """The encoder's output, shape (tokens, dim), and where its tokens are."""
        places = Places.of(source != PADDING, self.embedding.weight.dtype)
        x = self._embedded(source, places)
        for layer in self.encoder:
            x = layer(x, places)
        return self.after_encoder(x), places

    def greedy(self, source: Tensor, longest: int) -> Tensor:
        """Translations by the likeliest token at each place, int64 (n, longest), padded after the end.

        Sentences that have ended leave the batch, so that no time is spent on their padding.
        """
        encoded, places = self.encode(source)
        mask = places.mask
        decoder = [cast("DecoderLayer", layer) for layer in self.decoder]
        made = [layer.cross.memory(encoded, places) for layer in decoder]
        memories = [(keys.contiguous(), values.contiguous()) for keys, values in made]
        n, heads = len(source), decoder[0].attention.heads
        shape = (n, heads, longest, encoded.shape[1] // heads)
        kept = [(encoded.new_empty(shape), encoded.new_empty(shape)) for _ in decoder]
        said = source.new_full((n, longest), PADDING)
        going = torch.arange(n, device=source.device)
        token = source.new_full((n, 1), PADDING)
        for place in range(longest):
            x = self.embedded_at(token, place)
            for layer, before, memory in zip(decoder, kept, memories, strict=True):
                x = layer.step(x, before, memory, mask, place)
            token = self.scores(x).argmax(2)
            said[going, place] = token[:, 0]
            ahead = (token[:, 0] != END).nonzero()[:, 0]
            if not len(ahead):
                break
            # Taking out the few that end costs a copy of all the others: wait until they are many.
            if 4 * len(ahead) < 3 * len(going):
                going, token = going[ahead], token[ahead]
                mask = None if mask is None else mask[ahead]
                kept = [(keys[ahead], values[ahead]) for keys, values in kept]
                memories = [(keys[ahead], values[ahead]) for keys, values in memories]
        return ended(said)

    def _embedded(self, tokens: Tensor, places: Places) -> Tensor:
        assert places.rows is not None
        chosen = self.embedding(tokens.reshape(-1).index_select(0, places.rows))
        where = self.sinusoids.index_select(0, places.rows % places.shape[1])
        return cast("Tensor", self.dropout(chosen * self.scale + where))

    def embedded_at(self, tokens: Tensor, place: int) -> Tensor:
        """What goes into the decoder at one place, (n, 1, dim), of token ids (n, 1); without dropout."""
        return cast("Tensor", self.embedding(tokens) * self.scale + self.sinusoids[place])

    def scores(self, x: Tensor) -> Tensor:
        """Of every token after each place, from the last layer's output."""
        return functional.linear(self.after_decoder(x), self.embedding.weight)


def dropped(share: float) -> nn.Module:
    """Dropout, or nothing at all."""
    return nn.Dropout(share) if share else nn.Identity()


def initialise(model: nn.Module) -> None:
    """Weights of dense layers after Glorot and Bengio 2010, their biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def ended(tokens: Tensor) -> Tensor:
    """The same with everything after each row's first `END` set to `PADDING`."""
    is_end = (tokens == END).int()
    return tokens.masked_fill(is_end.cumsum(1) - is_end > 0, PADDING)


def sinusoids(length: int, dim: int) -> Tensor:
    """Of each place, float32 (length, dim): sines, then cosines (section 3.5)."""
    half = dim // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10000.0) / max(half - 1, 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
