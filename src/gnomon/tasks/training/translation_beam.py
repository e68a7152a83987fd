"""Beam search over any model that answers one token at a time.

Length is rewarded as in GNMT (Wu et al. 2016, arXiv:1609.08144, section 7); the Transformer does the same.
"""

from __future__ import annotations

import math
from typing import Protocol

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

PADDING, END = 0, 1


class Stepper(Protocol):
    """A model in the middle of translating some sentences, several beginnings (beams) of each."""

    def step(self, tokens: Tensor, place: int) -> Tensor:
        """Log-probabilities of the next token, (rows, vocabulary), given the last ones, int64 (rows,)."""

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows of the state, int64 (rows,), some of them perhaps more than once."""


def length_penalty(tokens: int, alpha: float) -> float:
    """What the log-likelihood of a translation of so many tokens, its end included, is divided by."""
    return float(((5 + tokens) / 6) ** alpha)


def beam_search(
    model: Stepper, sentences: int, beams: int, longest: Tensor, alpha: float
) -> Tensor:
    """The likeliest translation of each sentence that the search finds.

    Every step the `2 * beams` likeliest continuations of a sentence are looked at: those that end are
    finished translations, and the `beams` best of the others go on. A sentence is done when no beam can
    overtake its best finished translation.

    Args:
        model: Whose rows are all beams of the first sentence, then of the second, and so on.
        sentences: How many.
        beams: Of each sentence.
        longest: Tokens after which a sentence's beams are cut, int64 (sentences,).
        alpha: Exponent of the length penalty.

    Returns:
        Token ids, int64 (sentences, max(longest)), padded after the end.
    """
    device, most = longest.device, int(longest.max())
    scores = torch.full((sentences, beams), -math.inf, device=device)
    scores[:, 0] = 0.0  # all beams begin alike: only one may go on
    said = torch.full((sentences, beams, most), PADDING, device=device)
    best = torch.full((sentences, most), PADDING, device=device)
    best_score = torch.full((sentences,), -math.inf, device=device)
    first = torch.arange(sentences, device=device)[:, None] * beams
    tokens = torch.full((sentences * beams,), PADDING, device=device)
    for place in range(most):
        likely = model.step(tokens, place).float().view(sentences, beams, -1)
        vocabulary = likely.shape[2]
        total = (scores[:, :, None] + likely).view(sentences, -1)
        top, where = total.topk(2 * beams, dim=1)
        parent, token = where // vocabulary, where % vocabulary
        history = said.gather(1, parent[:, :, None].expand(-1, -1, most))
        history[:, :, place] = token
        open_ = place < longest
        finished = (token == END) & open_[:, None]
        rated = top.masked_fill(~finished, -math.inf) / length_penalty(place + 1, alpha)
        # At its limit a sentence that has not ended is taken as it stands.
        cut = (place + 1 == longest) & best_score.isinf() & rated.isinf().all(1)
        rated = torch.where(cut[:, None], top / length_penalty(place + 1, alpha), rated)
        reached, which = rated.max(1)
        better = reached > best_score
        best[better] = history[better, which[better]]
        best_score = torch.where(better, reached, best_score)
        scores, kept = top.masked_fill(token == END, -math.inf).topk(beams, dim=1)
        said = history.gather(1, kept[:, :, None].expand(-1, -1, most))
        tokens = token.gather(1, kept).view(-1)
        model.reorder((first + parent.gather(1, kept)).view(-1))
        # A log-likelihood only falls; divided by the penalty of the longest it is the best still possible.
        possible = scores.max(1).values / length_penalty(most, alpha)
        if bool(((best_score >= possible) | (place + 1 >= longest)).all()):
            break
    return best
