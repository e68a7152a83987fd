"""Answers from logits, and F1, by examples worked out by hand."""

import numpy as np
import pytest

from gnomon.tasks.mobile.squad_score import (
    Feature,
    Paragraph,
    Span,
    best_answer,
    best_span,
    f1,
    span_text,
)

PARAGRAPH = Paragraph(
    ["In", "1875,", "Mira", "built", "the", "Tarnwick", "gate."],
    ["in", "1875 ,", "mira", "built", "the", "tarnwick", "gate ."],
)
TOKENS = "[CLS] who built it ? [SEP] in 18 ##75 , mira built the tarn ##wick gate . [SEP]"
FEATURE = Feature(
    TOKENS.split(),
    [0, 1, 1, 1, 2, 3, 4, 5, 5, 6, 6],
    [True] * 11,
)
FIRST = 6
"""Place of `in`."""


def logits(*rows, length=24):
    """One row a feature; each a mapping from place to logit, 0 elsewhere."""
    made = np.zeros((len(rows), length), dtype=np.float32)
    for number, row in enumerate(rows):
        for place, value in row.items():
            made[number, place] = value
    return made


@pytest.mark.parametrize(
    ("prediction", "truths", "expected"),
    [
        ("red bicycle", ["red bicycle"], 1),
        ("Red Bicycle.", ["red bicycle"], 1),
        ("bicycle", ["red bicycle"], 2 / 3),
        ("bicycle", ["red bicycle", "bicycle"], 1),
        ("boat", ["red bicycle", "bicycle"], 0),
        # An article stays a word of which nothing is left: 1 of 2 words is right.
        ("the bicycle", ["bicycle"], 2 / 3),
        ("the bicycle", ["a bicycle"], 1),
        ("The boat", ["an island"], 1 / 2),
        # Only these spellings are articles.
        ("THE bicycle", ["bicycle"], 2 / 3),
        ("THE boat", ["a car"], 0),
        # Each repetition counts once for each in the truth.
        ("new new york", ["new york"], 4 / 5),
        ("new york", ["new new york"], 4 / 5),
        ("new new new york", ["new new york"], 6 / 7),
        ("U.S.A.", ["usa"], 1),
        ("twenty-two", ["twenty two"], 0),
        ("Ärger", ["ärger"], 0),
        ("", ["bicycle"], 0),
        (None, ["a bicycle"], 0),
    ],
)
def test_f1_counts_words_that_agree(prediction, truths, expected):
    assert f1(prediction, truths) == pytest.approx(expected)


def test_the_best_span_has_the_highest_sum_of_both_logits():
    starts, ends = logits({FIRST + 1: 3, FIRST + 4: 2}), logits({FIRST + 2: 1, FIRST + 4: 3})
    assert best_span(starts, ends, [FEATURE]) == Span(0, FIRST + 1, FIRST + 4)
    assert best_answer(starts, ends, [FEATURE], PARAGRAPH) == "1875, Mira"


def test_a_span_never_ends_before_it_starts():
    starts, ends = logits({FIRST + 4: 9}), logits({FIRST + 1: 9, FIRST + 5: 1})
    assert best_span(starts, ends, [FEATURE]) == Span(0, FIRST + 4, FIRST + 5)


def test_neither_the_question_nor_the_separators_nor_padding_answer():
    high = {place: 9.0 for place in range(24) if not FIRST <= place < FIRST + 11}
    starts, ends = logits({**high, FIRST + 4: 1}), logits({**high, FIRST + 4: 1})
    # Of 13 places that are no answer and 11 that are, 20 are looked at.
    assert best_span(starts, ends, [FEATURE]) == Span(0, FIRST + 4, FIRST + 4)


def test_only_twenty_starts_and_ends_are_looked_at():
    length = 40
    feature = Feature(["[CLS]", "who", "[SEP]", *"abcdefgh", "[SEP]"], range(8), [True] * 8)
    outside = {place: 9.0 for place in range(length) if not 3 <= place < 11}
    assert len(outside) > 20
    answer = logits({**outside, 5: 1}, length=length)
    assert best_span(answer, answer, [feature]) is None
    assert best_answer(answer, answer, [feature], PARAGRAPH) is None


def test_an_answer_has_thirty_tokens_at_most():
    words = [f"w{number}" for number in range(40)]
    feature = Feature(["[CLS]", "[SEP]", *words, "[SEP]"], range(40), [True] * 40)
    starts = logits({2: 5}, length=48)
    thirty, more = logits({31: 5}, length=48), logits({32: 5, 20: 1}, length=48)
    assert best_span(starts, thirty, [feature]) == Span(0, 2, 31)
    assert best_span(starts, more, [feature]) == Span(0, 2, 20)


def test_a_start_needs_the_most_context_and_an_end_does_not():
    allowed = [place != 4 for place in range(11)]
    feature = Feature(FEATURE.tokens, FEATURE.word_of_token, allowed)
    peak = {FIRST + 4: 9, FIRST + 3: 1}
    assert best_span(logits(peak), logits(peak), [feature]) == Span(0, FIRST + 3, FIRST + 4)


def test_the_best_of_all_windows_of_a_paragraph_answers():
    window = Feature(["[CLS]", "who", "[SEP]", "gate", ".", "[SEP]"], [6, 6], [True] * 2)
    starts, ends = logits({FIRST: 2}, {3: 3}), logits({FIRST: 2}, {3: 3})
    assert best_span(starts, ends, [FEATURE, window]) == Span(1, 3, 3)
    assert best_answer(starts, ends, [FEATURE, window], PARAGRAPH) == "gate"


def test_of_equal_spans_the_first_is_taken():
    flat = logits({}, {})
    assert best_span(flat, flat, [FEATURE, FEATURE]) == Span(0, FIRST, FIRST)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_window_with_a_logit_that_is_no_number_answers_nothing(value):
    broken, whole = {FIRST: value}, {FIRST + 4: 1}
    starts, ends = logits(broken, whole), logits({FIRST: 9}, whole)
    assert best_span(starts, ends, [FEATURE, FEATURE]) == Span(1, FIRST + 4, FIRST + 4)
    assert best_span(starts[:1], ends[:1], [FEATURE]) is None


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (7, 8, "Tarnwick"),
        (1, 2, "1875"),
        (1, 3, "1875,"),
        (9, 9, "gate"),
        (4, 7, "Mira built the Tarn"),
        (8, 9, "wick gate"),
        (0, 10, "In 1875, Mira built the Tarnwick gate."),
    ],
)
def test_a_span_is_told_in_the_words_of_the_paragraph(start, end, text):
    assert span_text(Span(0, FIRST + start, FIRST + end), FEATURE, PARAGRAPH) == text


def test_whole_words_stand_for_tokens_that_are_not_found_in_them():
    unknown = Feature(["[CLS]", "[SEP]", "[UNK]", "gate", "[SEP]"], [5, 6], [True] * 2)
    assert span_text(Span(0, 2, 2), unknown, PARAGRAPH) == "Tarnwick"
    assert span_text(Span(0, 2, 3), unknown, PARAGRAPH) == "Tarnwick gate."
