"""The generated interactions, the candidates drawn for them, and the hit rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.tasks.training.interactions import TrainingInteractions

TASK = TrainingInteractions()


def taken_by(data):
    """The items that each user took, the one held out among them."""
    taken = [set() for _ in range(data.users)]
    for user, item in data.pairs.tolist():
        taken[user].add(item)
    held_out = data.candidates[np.arange(data.users), data.held_out]
    for user, item in enumerate(held_out.tolist()):
        assert item not in taken[user]
        taken[user].add(item)
    return taken


def test_every_user_took_31_items_one_of_which_is_held_out():
    data = TASK.data
    assert len(TASK) == data.users == 1000
    assert TASK.training_size == 5 * len(data.pairs) == 150_000
    assert {len(items) for items in taken_by(data)} == {31}


def test_candidates_are_different_and_only_the_one_held_out_was_taken():
    data = TASK.data
    for items, ranked in zip(taken_by(data), data.candidates.tolist(), strict=True):
        assert ranked == sorted(set(ranked))
        assert len(ranked) == 100
        assert len(items & set(ranked)) == 1


def test_the_generated_data_are_those_that_the_reference_points_were_measured_on():
    assert TASK.source().sha256.startswith("07af2d4db405721779e1")
    assert not TASK.source().official


def test_where_the_held_out_item_stands_says_nothing():
    assert abs(TASK.data.held_out.mean() - 49.5) < 5


def test_inputs_are_the_user_and_its_candidates():
    inputs = TASK.inputs(np.array([7, 3]))
    assert inputs[:, 0].tolist() == [7, 3]
    np.testing.assert_array_equal(inputs[:, 1:], TASK.data.candidates[[7, 3]])


@given(st.integers(0, 2**32 - 1))
def test_the_score_is_the_share_of_users_found_by_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    samples = rng.permutation(1000)[:50]
    answers = rng.permuted(np.tile(np.arange(100, dtype=np.uint16), (50, 1)), axis=1)[:, :10]
    held_out = TASK.data.held_out
    found = sum(
        int(held_out[sample]) in ten.tolist() for sample, ten in zip(samples, answers, strict=True)
    )
    assert TASK.score(samples, answers) == found / 50
    decoded = np.stack([TASK.decode(TASK.encode(ten)) for ten in answers])
    assert TASK.score(samples, decoded) == found / 50


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (np.zeros((2, 10), np.int64), r"sample 4 .*different"),
        (np.arange(91, 101)[None].repeat(2, 0), "among 0 to 99"),
        (np.arange(-1, 9)[None].repeat(2, 0), "among 0 to 99"),
        (np.arange(9)[None].repeat(2, 0), r"shape \(2, 9\)"),
        (np.arange(10.0)[None].repeat(2, 0), "float64"),
    ],
)
def test_answers_that_are_no_ten_places_are_refused(answers, words):
    with pytest.raises(DataError, match=words):
        TASK.score(np.array([4, 5]), answers)
