"""Answers to questions from logits over tokens, and how well their words agree with the truth (SQuAD's F1).

As the field's app computes it (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/squad.cc` and
`squad_utils/common.h`); where that reads past the end of a list, the candidate is left out here.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CANDIDATES = 20
"""Starts, and ends, that are looked at: those of the highest logits."""
LONGEST_ANSWER = 30
"""In tokens."""
ARTICLES = frozenset({"a", "an", "the", "A", "An", "The"})
LEFT_OUT = str.maketrans("", "", string.punctuation)
LOWERED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
CONTINUED = re.compile(" ?##")


@dataclass(frozen=True)
class Feature:
    """One input of a model: a question, and the paragraph it is about or a window of that.

    Attributes:
        tokens: Word pieces, `[CLS] question [SEP] paragraph [SEP]`, without padding.
        word_of_token: For each token of the paragraph, the word of the whole paragraph that it is from.
        is_max_context: For each token of the paragraph, whether no other window of the same paragraph shows
            more to both sides of it: an answer may start only at such a token.
    """

    tokens: Sequence[str]
    word_of_token: Sequence[int]
    is_max_context: Sequence[bool]

    @property
    def paragraph_start(self) -> int:
        """Place in `tokens` of the paragraph's first."""
        return len(self.tokens) - len(self.word_of_token) - 1


@dataclass(frozen=True)
class Paragraph:
    """A text that holds the answers.

    Attributes:
        words: As written, split at spaces (`Tarnwick.`).
        tokens: Each word as the tokeniser cleans it before it cuts word pieces, its parts joined by spaces
            (`tarnwick .`).
    """

    words: Sequence[str]
    tokens: Sequence[str]


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `end`, both included, of feature number `feature`."""

    feature: int
    start: int
    end: int


def best_answer(
    start_logits: NDArray[np.floating],
    end_logits: NDArray[np.floating],
    features: Sequence[Feature],
    paragraph: Paragraph,
) -> str | None:
    """The answer to one question in the paragraph's own words, or None if no span can be one.

    Args:
        start_logits: Of an answer's first token, (features, length): a row for each feature of this question.
        end_logits: Of its last token, (features, length).
        features: The question with each window of its paragraph; one where the paragraph fits whole.
        paragraph: What the question is about.
    """
    span = best_span(start_logits, end_logits, features)
    return None if span is None else span_text(span, features[span.feature], paragraph)


def best_span(
    start_logits: NDArray[np.floating],
    end_logits: NDArray[np.floating],
    features: Sequence[Feature],
) -> Span | None:
    """The span with the highest sum of both logits; of equal ones the first. Arguments as `best_answer`.

    A feature with a logit that is infinitely high or no number has none.
    """
    best, highest = None, -np.inf
    for number, feature in enumerate(features):
        first, last = feature.paragraph_start, len(feature.tokens) - 2
        starts, ends = start_logits[number], end_logits[number]
        if not (np.all(starts < np.inf) and np.all(ends < np.inf)):  # NaN is not less, either
            continue
        start = np.argsort(-starts, kind="stable")[:MOST_CANDIDATES, None]
        end = np.argsort(-ends, kind="stable")[None, :MOST_CANDIDATES]
        within = (start >= first) & (start <= last) & (end >= first) & (end <= last)
        allowed = np.zeros(len(starts), dtype=bool)
        allowed[first : last + 1] = feature.is_max_context
        fits = within & allowed[start] & (end >= start) & (end - start < LONGEST_ANSWER)
        scores = np.where(fits, starts[start] + ends[end], -np.inf)
        row, column = np.unravel_index(scores.argmax(), scores.shape)
        if scores[row, column] > highest:
            highest = scores[row, column]
            best = Span(number, int(start[row, 0]), int(end[0, column]))
    return best


def span_text(span: Span, feature: Feature, paragraph: Paragraph) -> str:
    """The span's text in the paragraph's words, cut within the first and last word where the span is.

    If the tokens are not found in those words' tokens, the whole words.
    """
    found = CONTINUED.sub("", " ".join(feature.tokens[span.start : span.end + 1]))
    found = " ".join(found.split())
    first, last = (
        feature.word_of_token[place - feature.paragraph_start] for place in (span.start, span.end)
    )
    words = " ".join(paragraph.words[first : last + 1])
    tokens = " ".join(paragraph.tokens[first : last + 1])
    start = tokens.find(found)
    if start < 0 or not found:
        return words
    # Words and tokens have the same characters but for spaces: count those.
    skipped = len(tokens[:start].replace(" ", ""))
    length = len(found.replace(" ", ""))
    places = [place for place, character in enumerate(words) if character != " "]
    if skipped + length > len(places):
        return words
    return words[places[skipped] : places[skipped + length - 1] + 1]


def normalised(word: str) -> str:
    """A word without ASCII punctuation and capitals; nothing is left of an article."""
    return "" if word in ARTICLES else word.translate(LEFT_OUT).translate(LOWERED)


def f1(prediction: str | None, truths: Sequence[str]) -> float:
    """The best agreement of the prediction's words with those of any true answer, 0 to 1.

    Words are what single spaces part. An article counts as a word of which nothing is left, in the
    prediction as in the truth.

    Args:
        prediction: None is no answer, and agrees with nothing.
        truths: Answers of which each is right.
    """
    if prediction is None:
        return 0.0
    said = Counter(map(normalised, prediction.split(" ")))
    best = 0.0
    for truth in truths:
        true = Counter(map(normalised, truth.split(" ")))
        shared = (said & true).total()
        if shared:
            precision, recall = shared / said.total(), shared / true.total()
            best = max(best, 2 * precision * recall / (precision + recall))
    return best
