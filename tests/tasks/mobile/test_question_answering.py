"""Question answering: text that is the same everywhere, word pieces, scoring, every model file."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.generated_questions import LENGTH, generated, vocabulary
from gnomon.tasks.mobile.question_answering import MobileQuestionAnswering
from gnomon.tasks.mobile.wordpieces import feature_of, model_row, paragraph_of, parts_of, pieces_of

EVERY = np.arange(400)
SOME = np.arange(0, 400, 5)
SMALL = {
    piece: place
    for place, piece in enumerate(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tarn", "##wick", "##w", "t", "is", "old", ".", "?"]
    )
}


@pytest.fixture(scope="module")
def task():
    return MobileQuestionAnswering()


def true_logits(questions):
    """Logits of a model that knows the answers."""
    made = np.zeros((len(questions), 2, LENGTH), dtype=np.float32)
    for row, question in zip(made, questions, strict=True):
        first = question.feature.paragraph_start
        answer = [
            first + place
            for place, word in enumerate(question.feature.word_of_token)
            if question.first <= word <= question.last
            and question.feature.tokens[first + place] != "."
        ]
        row[0, answer[-1]] = row[1, answer[0]] = 1
    return made


def names_in(questions):
    told = {
        word.strip(".?")
        for question in questions
        for word in (*question.paragraph.words, *question.text.split())
        if word[0].isupper()
    }
    return {word for word in told if len(pieces_of(word.lower(), vocabulary())) > 1}


def test_the_questions_are_the_same_everywhere(task):
    digest = "be9825823d69971190946c1a29e0c4d340ba89be4a642a252eb7d1f94aa6ebe3"
    assert task.source().sha256 == digest
    assert not task.source().official
    assert task.source().name.startswith("stand-in")


def test_measured_names_are_in_no_text_that_a_model_is_trained_on(task):
    measured, trained = names_in(task.questions), names_in(generated(2000, 1, held_out=False))
    assert len(measured) > 100
    assert len(trained) > 300
    assert not measured & trained


def test_an_answer_stands_in_its_paragraph_among_other_facts(task):
    for question in task.questions:
        words = question.paragraph.words[question.first : question.last + 1]
        assert " ".join(words).rstrip(".") == question.truths[0]
        assert sum(word.endswith(".") for word in question.paragraph.words) >= 4
    assert len({question.truths[0] for question in task.questions}) > 200


def test_every_text_fits_and_has_no_unknown_word(task):
    lengths = [len(question.feature.tokens) for question in task.questions]
    assert max(lengths) == LENGTH
    assert min(lengths) < LENGTH
    assert not any("[UNK]" in question.feature.tokens for question in task.questions)


def test_the_model_is_given_ids_mask_and_segments_apart(task):
    stored = task.stored_inputs(SOME)
    assert stored.dtype == np.int32
    assert stored.shape == (80, 3, LENGTH)
    np.testing.assert_array_equal(task.inputs(SOME), stored)
    ids, mask, segments = task.model_inputs(stored)
    np.testing.assert_array_equal(ids, stored[:, 0])
    np.testing.assert_array_equal(mask, ids != 0)
    feature = task.questions[5].feature
    expected = [feature.paragraph_start <= place < len(feature.tokens) for place in range(LENGTH)]
    np.testing.assert_array_equal(segments[1], expected)


def test_words_are_cut_into_the_longest_pieces():
    assert parts_of("Tarnwick's,") == ["tarnwick", "'", "s", ","]
    assert pieces_of("tarnwick", SMALL) == ["tarn", "##wick"]
    assert pieces_of("tarnw", SMALL) == ["tarn", "##w"]
    assert pieces_of("tarnx", SMALL) == ["[UNK]"]
    assert pieces_of("is", SMALL) == ["is"]


def test_a_row_holds_question_and_paragraph_between_separators():
    feature = feature_of("Is old?", paragraph_of("Tarnwick is old."), SMALL)
    assert " ".join(feature.tokens) == "[CLS] is old ? [SEP] tarn ##wick is old . [SEP]"
    assert feature.word_of_token == [0, 0, 1, 2, 2]
    assert feature.paragraph_start == 5
    np.testing.assert_array_equal(
        model_row(feature, SMALL, 13),
        [
            [2, 8, 9, 11, 3, 4, 5, 8, 9, 10, 3, 0, 0],
            [1] * 11 + [0] * 2,
            [0] * 5 + [1] * 6 + [0] * 2,
        ],
    )


def test_a_model_that_knows_the_answers_scores_one_and_one_that_knows_half_the_half(task):
    outputs = true_logits(task.questions)
    assert task.score(EVERY, outputs) == 1.0
    outputs[::2] = np.nan
    assert task.score(EVERY, outputs) == 0.5
    assert task.score(EVERY[1::2], outputs[1::2]) == 1.0


def test_words_too_many_cost_precision(task):
    number = next(
        place for place, question in enumerate(task.questions) if question.last == question.first
    )
    question = task.questions[number]
    outputs = true_logits([question])
    end = outputs[0, 0].argmax()
    outputs[0, 0, end] = 0
    outputs[0, 0, outputs[0, 1].argmax() + 3] = 1
    score = task.score(np.array([number]), outputs)
    assert 0 < score < 1


def test_an_answer_survives_the_log(task):
    outputs = true_logits(task.questions[:3])
    back = [task.decode(task.encode(output)) for output in outputs]
    np.testing.assert_array_equal(back, outputs)
    assert task.score(EVERY[:3], back) == 1.0


def test_outputs_of_another_shape_are_refused(task):
    with pytest.raises(DataError, match="logits of tokens"):
        task.score(EVERY[:2], np.zeros((2, LENGTH)))
