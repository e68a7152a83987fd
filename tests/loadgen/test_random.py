"""Random numbers held, draw for draw, against a slow oracle that follows the C++ library's text.

The oracle is plain Python with whole numbers: none of it is shared with the code under test.
"""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon.loadgen.random import BLOCK, MOST_PAIRED, Engine

RANGE = 2**32
DEFAULT_SEED = 5489


quickly = settings(deadline=None, derandomize=True, max_examples=40)
seeds = st.integers(0, 2**64 - 1)
lengths = st.integers(0, 400)
pieces = st.lists(st.integers(0, 700), max_size=8)


def joined(parts):
    return [value for part in parts for value in part.tolist()]


class StandardLibrary:
    """`std::mt19937` and libstdc++'s distributions over it, one draw at a time."""

    def __init__(self, seed):
        self.state = [seed % RANGE]
        for place in range(1, 624):
            last = self.state[-1]
            self.state.append((1812433253 * (last ^ last >> 30) + place) % RANGE)
        self.place = 624

    def draw(self):
        if self.place == 624:
            state = self.state
            for place in range(624):
                joined = state[place] & 0x80000000 | state[(place + 1) % 624] & 0x7FFFFFFF
                twist = 0x9908B0DF if joined & 1 else 0
                state[place] = state[(place + 397) % 624] ^ joined >> 1 ^ twist
            self.place = 0
        value = self.state[self.place]
        self.place += 1
        value ^= value >> 11
        value ^= value << 7 & 0x9D2C5680
        value ^= value << 15 & 0xEFC60000
        return value ^ value >> 18

    def uniform(self, bound):
        product = self.draw() * bound
        while product % RANGE < (RANGE - bound) % bound:
            product = self.draw() * bound
        return product // RANGE

    def shuffle(self, items):
        items = list(items)
        swaps = []
        if len(items) and (RANGE - 1) // len(items) >= len(items):
            first = 1
            if len(items) % 2 == 0:
                swaps.append((1, self.uniform(2)))
                first = 2
            for place in range(first, len(items), 2):
                pair = divmod(self.uniform((place + 1) * (place + 2)), place + 2)
                swaps += zip((place, place + 1), pair, strict=True)
        else:
            swaps = [(place, self.uniform(place + 1)) for place in range(1, len(items))]
        for place, other in swaps:
            items[place], items[other] = items[other], items[place]
        return items

    def gap_ns(self, rate):
        low, high = self.draw(), self.draw()
        share = min((low + high * 2.0**32) / 2.0**64, 1 - 2.0**-53)
        return int(-math.log(1.0 - share) / rate * 1e9)


def test_the_ten_thousandth_draw_of_the_default_seed_is_the_one_that_the_standard_names():
    assert Engine(DEFAULT_SEED).draw(10_000)[-1] == 4123659995


def test_the_first_draws_of_the_default_seed_are_the_published_ones():
    published = [3499211612, 581869302, 3890346734, 3586334585, 545404204]
    assert Engine(DEFAULT_SEED).draw(5).tolist() == published


@quickly
@given(seeds)
@example(0)
@example(RANGE - 1)
@example(RANGE)
@example(2**64 - 1)
def test_draws_are_those_of_the_mersenne_twister_with_the_low_half_of_the_seed(seed):
    reference = StandardLibrary(seed)
    assert Engine(seed).draw(1500).tolist() == [reference.draw() for _ in range(1500)]
    np.testing.assert_array_equal(Engine(seed).draw(10), Engine(seed % RANGE).draw(10))


@quickly
@given(seeds, pieces)
def test_draws_do_not_depend_on_how_many_are_asked_for_at_once(seed, counts):
    engine = Engine(seed)
    drawn = [engine.draw(count) for count in counts]
    assert [len(part) for part in drawn] == counts
    assert joined(drawn) == Engine(seed).draw(sum(counts)).tolist()


bounds = st.one_of(
    st.integers(1, 300), st.integers(1, RANGE - 1), st.integers(1, 6).map((2**31).__add__)
)
"""Small, any, and just above half of the range, where half of the draws are rejected."""


@quickly
@given(seeds, bounds, st.integers(0, 600))
@example(1, 1, 10)
@example(1, RANGE - 1, 600)
@example(1, 3 * 2**30, 600)
def test_uniform_is_lemires_method_with_its_rejections(seed, bound, count):
    engine, reference = Engine(seed), StandardLibrary(seed)
    assert engine.uniform(bound, count).tolist() == [reference.uniform(bound) for _ in range(count)]
    assert engine.draw(1)[0] == reference.draw()  # nothing more was used up


@quickly
@given(seeds, bounds, pieces)
def test_uniform_integers_do_not_depend_on_how_many_are_asked_for_at_once(seed, bound, counts):
    engine = Engine(seed)
    drawn = [engine.uniform(bound, count) for count in counts]
    assert joined(drawn) == Engine(seed).uniform(bound, sum(counts)).tolist()


def test_uniform_goes_on_over_the_border_of_a_block():
    bound, count = 2**31 + 1, BLOCK + 1000
    engine = Engine(7)
    parts = [engine.uniform(bound, BLOCK - 10), engine.uniform(bound, 1010)]
    assert joined(parts) == Engine(7).uniform(bound, count).tolist()


@quickly
@given(seeds, lengths)
@example(1, 0)
@example(1, 1)
@example(1, 2)
@example(1, 3)
def test_a_shuffle_leaves_what_the_standard_library_leaves(seed, length):
    engine, reference = Engine(seed), StandardLibrary(seed)
    items = np.arange(length, dtype=np.int64) * 3 - 5
    assert engine.shuffle(items).tolist() == reference.shuffle(items.tolist())
    assert engine.draw(1)[0] == reference.draw()
    np.testing.assert_array_equal(items, np.arange(length) * 3 - 5)


@pytest.mark.parametrize(
    "length", [MOST_PAIRED - 1, MOST_PAIRED, MOST_PAIRED + 1, MOST_PAIRED + 2, 150_001]
)
def test_a_shuffle_changes_its_method_where_two_places_no_longer_fit_one_draw(length):
    engine, reference = Engine(2085463073848966840), StandardLibrary(2085463073848966840)
    assert engine.shuffle(np.arange(length)).tolist() == reference.shuffle(range(length))
    assert engine.draw(1)[0] == reference.draw()


@quickly
@given(seeds, lengths, st.integers(0, 12))
def test_skipping_shuffles_is_shuffling_and_forgetting(seed, length, count):
    skipping, shuffling = Engine(seed), Engine(seed)
    skipping.skip_shuffles(length, count)
    for _ in range(count):
        shuffling.shuffle(np.arange(length))
    np.testing.assert_array_equal(skipping.draw(3), shuffling.draw(3))


@pytest.mark.parametrize(
    ("length", "count"),
    [(MOST_PAIRED, 3), (MOST_PAIRED + 1, 3), (2 * BLOCK // 5, 4), (BLOCK + 2, 1), (5001, 450)],
)
def test_skipping_long_or_many_shuffles_is_shuffling_and_forgetting(length, count):
    skipping, shuffling = Engine(3), Engine(3)
    skipping.skip_shuffles(length, count)
    for _ in range(count):
        shuffling.shuffle(np.arange(length))
    np.testing.assert_array_equal(skipping.draw(3), shuffling.draw(3))


def test_skipping_more_shuffles_than_a_block_holds_uses_up_one_draw_for_each():
    skipping, drawing = Engine(4), Engine(4)
    skipping.skip_shuffles(3, BLOCK + 5)  # three items: one draw of 2 * 3 places
    drawing.uniform(6, BLOCK + 5)
    np.testing.assert_array_equal(skipping.draw(3), drawing.draw(3))


rates = st.one_of(
    st.floats(1e-3, 1e10),
    st.floats(-6, 12).map(lambda power: 10.0**power),
    st.sampled_from([1.0, 1e3, 1e6, 1e9]),
)


@quickly
@given(seeds, rates)
@example(1, 1e-9)
@example(1, 1e15)
def test_gaps_are_those_of_the_plain_formula_to_the_nanosecond(seed, rate):
    engine, reference = Engine(seed), StandardLibrary(seed)
    assert engine.exponential_gaps_ns(rate, 500).tolist() == [
        reference.gap_ns(rate) for _ in range(500)
    ]
    assert engine.draw(1)[0] == reference.draw()


@quickly
@given(seeds, rates, pieces)
def test_gaps_do_not_depend_on_how_many_are_asked_for_at_once(seed, rate, counts):
    engine = Engine(seed)
    drawn = [engine.exponential_gaps_ns(rate, count) for count in counts]
    assert joined(drawn) == Engine(seed).exponential_gaps_ns(rate, sum(counts)).tolist()


@pytest.mark.parametrize("rate", [0.7, 12345.678, 1e9])
def test_every_one_of_a_million_gaps_is_that_of_the_c_librarys_logarithm(rate):
    count = BLOCK + 1000
    draws = Engine(11).draw(2 * count).tolist()
    expected = [
        int(-math.log(1.0 - (low + high * 2.0**32) / 2.0**64) / rate * 1e9)
        for low, high in zip(draws[::2], draws[1::2], strict=True)
    ]
    assert Engine(11).exponential_gaps_ns(rate, count).tolist() == expected


@pytest.mark.parametrize("toward", [-np.inf, np.inf])
@pytest.mark.parametrize("rate", [1e-6, 0.7, 1e3, 12345.678, 1e6, 1e9])
def test_gaps_do_not_depend_on_the_last_bit_of_numpys_logarithm(monkeypatch, rate, toward):
    reference = StandardLibrary(5)
    expected = [reference.gap_ns(rate) for _ in range(20_000)]
    exact = np.log
    monkeypatch.setattr(np, "log", lambda values: np.nextafter(exact(values), toward))
    assert Engine(5).exponential_gaps_ns(rate, 20_000).tolist() == expected


def test_the_highest_draws_give_the_longest_gap_and_not_an_infinite_one():
    engine = Engine(1)
    engine._ahead = np.full(2, RANGE - 1, dtype=np.uint64)
    longest = int(-math.log(2.0**-53) * 1e9)
    assert engine.exponential_gaps_ns(1.0, 1).tolist() == [longest]


def test_the_lowest_draws_give_no_gap():
    engine = Engine(1)
    engine._ahead = np.zeros(2, dtype=np.uint64)
    assert engine.exponential_gaps_ns(1.0, 1).tolist() == [0]
