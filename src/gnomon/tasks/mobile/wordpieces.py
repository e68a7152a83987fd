"""Text to word pieces and back to ids, as BERT's models take a question and a paragraph.

After Devlin et al. 2018 (arXiv:1810.04805): words lose their capitals, punctuation stands alone, and each
is cut greedily into the longest pieces that the vocabulary has; `##` begins a piece inside a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.mobile.squad_score import Feature, Paragraph

PADDING, UNKNOWN, CLASSIFY, SEPARATE = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PADDING, UNKNOWN, CLASSIFY, SEPARATE)
PARTS = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")
INPUTS = 3
"""Ids, mask and segments."""


def parts_of(word: str) -> list[str]:
    """A word without capitals, punctuation apart: `Tarnwick.` is `tarnwick` and `.`."""
    return PARTS.findall(word.lower())


def pieces_of(part: str, vocabulary: Mapping[str, int]) -> list[str]:
    """The longest pieces that the vocabulary has, from the left; unknown as a whole if any is missing."""
    if part in vocabulary:
        return [part]
    pieces: list[str] = []
    start = 0
    while start < len(part):
        ends = range(len(part), start, -1)
        candidates = (("##" if start else "") + part[start:end] for end in ends)
        piece = next((piece for piece in candidates if piece in vocabulary), None)
        if piece is None:
            return [UNKNOWN]
        pieces.append(piece)
        start += len(piece.removeprefix("##")) if start else len(piece)
    return pieces


def paragraph_of(text: str) -> Paragraph:
    """A text split at spaces."""
    words = text.split()
    return Paragraph(words, [" ".join(parts_of(word)) for word in words])


def feature_of(question: str, paragraph: Paragraph, vocabulary: Mapping[str, int]) -> Feature:
    """The word pieces of a question and a paragraph that is short enough to be shown whole."""
    asked = [
        piece
        for word in question.split()
        for part in parts_of(word)
        for piece in pieces_of(part, vocabulary)
    ]
    shown = [
        (piece, place)
        for place, parts in enumerate(paragraph.tokens)
        for part in parts.split()
        for piece in pieces_of(part, vocabulary)
    ]
    told = [piece for piece, _ in shown]
    return Feature(
        [CLASSIFY, *asked, SEPARATE, *told, SEPARATE],
        [place for _, place in shown],
        [True] * len(shown),
    )


def model_row(feature: Feature, vocabulary: Mapping[str, int], length: int) -> NDArray[np.int32]:
    """What a model takes of a feature: ids, mask (1 for each token) and segments (1 in the paragraph).

    Returns:
        int32 (3, length); zero past the feature's end.
    """
    count = len(feature.tokens)
    row = np.zeros((INPUTS, length), dtype=np.int32)
    row[0, :count] = [vocabulary[token] for token in feature.tokens]
    row[1, :count] = 1
    row[2, feature.paragraph_start : count] = 1
    return row


def numbered(pieces: Sequence[str]) -> dict[str, int]:
    """A vocabulary of the special tokens and these pieces, each with its id."""
    return {piece: place for place, piece in enumerate((*SPECIAL, *pieces))}
