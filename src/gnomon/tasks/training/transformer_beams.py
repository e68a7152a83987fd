"""A Transformer in the middle of beam search: keys and values of every beam so far."""

from __future__ import annotations

from typing import cast

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor

    from gnomon.tasks.training.transformer import DecoderLayer, Transformer
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error


class TransformerBeams:
    """The state of `translation_beam.beam_search` on a Transformer.

    Args:
        model: In evaluation mode.
        source: Token ids, int64 (sentences, length), padded.
        beams: Of each sentence.
        longest: Most steps that will be taken.
    """

    def __init__(self, model: Transformer, source: Tensor, beams: int, longest: int) -> None:
        self._model = model
        self._layers = [cast("DecoderLayer", layer) for layer in model.decoder]
        encoded, places = model.encode(source)
        assert places.mask is not None
        self._mask = places.mask.repeat_interleave(beams, 0)
        self._memories = [
            (keys.repeat_interleave(beams, 0), values.repeat_interleave(beams, 0))
            for keys, values in (layer.cross.memory(encoded, places) for layer in self._layers)
        ]
        heads = self._layers[0].attention.heads
        shape = (len(source) * beams, heads, longest, encoded.shape[1] // heads)
        self._kept = [(encoded.new_empty(shape), encoded.new_empty(shape)) for _ in self._layers]
        self._used = 0

    def step(self, tokens: Tensor, place: int) -> Tensor:
        """Log-probabilities of the next token, (rows, vocabulary)."""
        x = self._model.embedded_at(tokens[:, None], place)
        for layer, kept, memory in zip(self._layers, self._kept, self._memories, strict=True):
            x = layer.step(x, kept, memory, self._mask, place)
        self._used = place + 1
        return torch.log_softmax(self._model.scores(x)[:, 0], 1)

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows. Beams never change sentences, so that memories stay."""
        used = self._used
        for keys, values in self._kept:
            keys[:, :, :used] = keys[rows, :, :used]
            values[:, :, :used] = values[rows, :, :used]
