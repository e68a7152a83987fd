"""GNMT as the field trains it: LSTMs with residual connections and normalised attention.

Wu et al. 2016 (arXiv:1609.08144), with the attention that the field's reference calls `gnmt_v2`: its query is
the first decoder layer's output, and its context goes into every layer above.
"""

from __future__ import annotations

from typing import cast

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from gnomon.tasks.training.transformer import PADDING
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

SPREAD = 0.1
"""Weights start evenly distributed between minus and plus this."""

LayerState = tuple[Tensor, Tensor]
"""Of an LSTM: hidden and cell state, each (1, n, dim)."""


class NormalisedAttention(nn.Module):
    """Bahdanau et al. 2015 with the score's direction normalised (Salimans and Kingma 2016)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.direction = nn.Parameter(torch.empty(dim))
        self.size = nn.Parameter(torch.tensor(dim**-0.5))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, query: Tensor, keys: Tensor, encoded: Tensor, padding: Tensor) -> Tensor:
        """Contexts.

        Args:
            query: Shape (n, target length, dim).
            keys: `self.key(encoded)`, made once.
            encoded: Shape (n, source length, dim).
            padding: True where the source is padded, (n, source length).

        Returns:
            Shape (n, target length, dim).
        """
        together = self.query(query)[:, :, None] + keys[:, None] + self.bias
        direction = self.direction * (self.size / self.direction.norm())
        scores = torch.matmul(torch.tanh(together), direction)
        weights = scores.masked_fill(padding[:, None], float("-inf")).softmax(2)
        return torch.matmul(weights, encoded)


class Gnmt(nn.Module):
    """Four layers of encoder, the first in both directions, and four of decoder.

    Args:
        vocabulary: Number of token ids, of source and translation alike.
        dim: Of embeddings and states.
        layers: Of the encoder, and of the decoder.
        dropout: Share of every LSTM's inputs set to zero in training.
    """

    def __init__(self, vocabulary: int, *, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        self.both_ways = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.encoder = nn.ModuleList(
            nn.LSTM(2 * dim if number == 0 else dim, dim, batch_first=True)
            for number in range(layers - 1)
        )
        self.first = nn.LSTM(dim, dim, batch_first=True)
        self.attention = NormalisedAttention(dim)
        self.decoder = nn.ModuleList(
            nn.LSTM(2 * dim, dim, batch_first=True) for _ in range(layers - 1)
        )
        self.classifier = nn.Linear(dim, vocabulary)
        self.dropout = nn.Dropout(dropout)
        kept = (self.attention.size, self.attention.bias)
        for weight in self.parameters():
            if not any(weight is one for one in kept):
                nn.init.uniform_(weight, -SPREAD, SPREAD)

    def forward(self, source: Tensor, given: Tensor, kept: Tensor) -> Tensor:
        """Scores of the next token after each that the decoder is given; as `Transformer.forward`."""
        encoded, padding = self.encode(source)
        x, _ = self.decode(given, encoded, self.attention.key(encoded), padding, None)
        return cast("Tensor", self.classifier(x[kept]))

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's output, (n, length, dim), and where the source is padding, bool (n, length)."""
        padding = source == PADDING
        packed = pack_padded_sequence(
            self.dropout(self.embedding(source)),
            (~padding).sum(1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        x, _ = pad_packed_sequence(
            self.both_ways(packed)[0], batch_first=True, total_length=source.shape[1]
        )
        for number, layer in enumerate(self.encoder):
            out = layer(self.dropout(x))[0]
            x = out if number == 0 else out + x
        return x, padding

    def decode(
        self,
        given: Tensor,
        encoded: Tensor,
        keys: Tensor,
        padding: Tensor,
        states: list[LayerState] | None,
    ) -> tuple[Tensor, list[LayerState]]:
        """The decoder's output at every place, (n, length, dim), and its states after the last.

        Args:
            given: Token ids, (n, length).
            encoded: As `encode` gives it.
            keys: As `NormalisedAttention` wants them.
            padding: As `encode` gives it.
            states: After what came before; None at the beginning.
        """
        before: list[LayerState] | list[None] = states or [None] * (1 + len(self.decoder))
        x, state = self.first(self.dropout(self.embedding(given)), before[0])
        after: list[LayerState] = [state]
        context = self.attention(x, keys, encoded, padding)
        for number, layer in enumerate(self.decoder):
            out, state = layer(self.dropout(torch.cat([x, context], 2)), before[number + 1])
            after.append(state)
            x = out if number == 0 else out + x
        return x, after


class GnmtBeams:
    """The state of `translation_beam.beam_search` on GNMT; as `TransformerBeams`."""

    def __init__(self, model: Gnmt, source: Tensor, beams: int) -> None:
        self._model = model
        encoded, padding = model.encode(source)
        keys = model.attention.key(encoded)
        self._memory = tuple(one.repeat_interleave(beams, 0) for one in (encoded, keys, padding))
        self._states: list[LayerState] | None = None

    def step(self, tokens: Tensor, place: int) -> Tensor:
        """Log-probabilities of the next token, (rows, vocabulary)."""
        encoded, keys, padding = self._memory
        x, self._states = self._model.decode(tokens[:, None], encoded, keys, padding, self._states)
        return torch.log_softmax(self._model.classifier(x[:, 0]), 1)

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows."""
        if self._states is not None:
            self._states = [(hidden[:, rows], cell[:, rows]) for hidden, cell in self._states]
