"""Aggregation held against Flower's strategies, against definitions written out, and against liars."""

import itertools
import math
import re
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.fleet.aggregate import (
    Aggregation,
    combine,
    krum_scores,
    norm_bound,
    norms,
    parse_aggregation,
    screen,
)
from gnomon.fleet.orders import Outcome, Report

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
EVERY = ("mean", "samples", "unbiased", "median", "trimmed:0.2", "krum:1", "multi-krum:1")


def made_up(count=7, size=5, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, size)).astype(np.float32)


def even(count):
    return np.full(count, 1 / count)


def combined(text, updates, shares=None, clients=None, draws=None):
    shares = even(len(updates)) if shares is None else shares
    return combine(parse_aggregation(text), updates, shares, clients or len(updates), draws)


def flower(strategy, updates, samples=None):
    """What one of Flower's strategies makes of these as parameters of clients."""
    app = pytest.importorskip("flwr.app")
    replies = []
    for number, update in enumerate(updates):
        count = 1 if samples is None else int(samples[number])
        content = app.RecordDict(
            {
                "arrays": app.ArrayRecord({"w": app.Array(update)}),
                "metrics": app.MetricRecord({"num-examples": count}),
            }
        )
        # A real message would want to know its run.
        replies.append(SimpleNamespace(content=content, has_error=lambda: False))
    arrays, _ = strategy.aggregate_train(1, replies)
    return arrays["w"].numpy()


@pytest.fixture
def strategies():
    return pytest.importorskip("flwr.serverapp.strategy")


def test_samples_is_flowers_average(strategies):
    updates, samples = made_up(), np.array([5, 1, 30, 2, 2, 9, 11])
    ours = combined("samples", updates, samples / 1000)
    np.testing.assert_allclose(
        ours, flower(strategies.FedAvg(), updates, samples), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_median_is_flowers(strategies, count):
    updates = made_up(count)
    assert np.array_equal(combined("median", updates), flower(strategies.FedMedian(), updates))


@pytest.mark.parametrize(("count", "share"), [(5, 0.2), (10, 0.25), (9, 0.4), (3, 0.1)])
def test_trimmed_mean_is_flowers(strategies, count, share):
    updates = made_up(count)
    theirs = flower(strategies.FedTrimmedAvg(beta=share), updates)
    np.testing.assert_allclose(combined(f"trimmed:{share}", updates), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("byzantine", [0, 1, 3])
def test_krum_is_flowers(strategies, seed, byzantine):
    updates = made_up(9, 6, seed)
    theirs = flower(strategies.Krum(num_malicious_nodes=byzantine), updates)
    np.testing.assert_allclose(combined(f"krum:{byzantine}", updates), theirs, rtol=1e-6)


@pytest.mark.parametrize("selected", [1, 4, 6])
def test_multi_krum_is_flowers(strategies, selected):
    updates = made_up(9, 6)
    theirs = flower(
        strategies.MultiKrum(num_malicious_nodes=2, num_nodes_to_select=selected), updates
    )
    ours = combined(f"multi-krum:2:{selected}", updates)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_krum_scores_are_the_sums_written_out():
    updates = made_up(8, 4).astype(np.float64)
    for byzantine in (0, 1, 2):
        wanted = []
        for own in range(8):
            distances = sorted(
                float(np.sum((updates[own] - updates[other]) ** 2))
                for other in range(8)
                if other != own
            )
            wanted.append(sum(distances[: 8 - byzantine - 2]))
        scores = krum_scores(updates.astype(np.float32), byzantine)
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_multi_krum_averages_all_but_the_byzantine_ones():
    updates = made_up(7)
    updates[4] = 100
    wanted = updates[[0, 1, 2, 3, 5, 6]].mean(axis=0)
    np.testing.assert_allclose(combined("multi-krum:1", updates), wanted, rtol=1e-5)
    np.testing.assert_array_equal(
        combined("multi-krum:1", updates), combined("multi-krum:1:6", updates)
    )


@pytest.mark.parametrize("text", ["median", "trimmed:0.2", "krum:2", "multi-krum:2"])
def test_two_liars_of_ten_do_not_move_what_withstands_them(text):
    honest = made_up(8, 20) * 0.01 + 1
    for lie in (-50.0, 1e4, 3e38):
        updates = np.vstack([honest[:3], np.full((2, 20), lie), honest[3:]]).astype(np.float32)
        assert np.abs(combined(text, updates) - 1).max() < 0.05
        assert np.abs(combined("mean", updates) - 1).max() > 1


def test_unbiased_is_on_average_the_sum_over_all_clients():
    clients = 6
    updates = made_up(clients)
    shares = np.array([0.4, 0.1, 0.1, 0.05, 0.3, 0.05])
    for count in (1, 2, 4, 6):
        directions = [
            combined("unbiased", updates[list(chosen)], shares[list(chosen)], clients)
            for chosen in itertools.combinations(range(clients), count)
        ]
        np.testing.assert_allclose(
            np.mean(directions, axis=0, dtype=np.float64), shares @ updates, atol=1e-6
        )


@pytest.mark.parametrize("text", ["mean", "samples", "unbiased", "median", "trimmed:0.2"])
def test_a_client_drawn_twice_counts_as_two(text):
    updates, shares = made_up(4), np.array([0.1, 0.2, 0.3, 0.15])
    draws = np.array([1, 3, 1, 2])
    repeated = combined(text, np.repeat(updates, draws, axis=0), np.repeat(shares, draws), 9)
    np.testing.assert_allclose(combined(text, updates, shares, 9, draws), repeated, rtol=1e-6)


def test_a_client_drawn_twice_does_not_vouch_for_itself():
    updates = made_up(7)
    updates[2] = 100
    often = np.array([1, 1, 6, 1, 1, 1, 1])
    assert np.array_equal(combined("krum:1", updates, draws=often), combined("krum:1", updates))


@pytest.mark.parametrize("text", EVERY)
@given(
    updates=hnp.arrays(
        np.float32,
        st.tuples(st.integers(5, 9), st.integers(1, 4)),
        elements=st.floats(-8, 8, width=16),
    )
)
@quick
def test_directions_keep_within_the_updates_and_leave_them_alone(text, updates):
    kept = updates.copy()
    direction = combined(text, updates)
    assert direction.dtype == np.float32
    assert direction.shape == updates.shape[1:]
    assert (direction >= updates.min(axis=0) - 1e-5).all()
    assert (direction <= updates.max(axis=0) + 1e-5).all()
    assert np.array_equal(updates, kept)
    assert direction.tobytes() == combined(text, updates).tobytes()
    assert not np.shares_memory(direction, updates)


@pytest.mark.parametrize("text", EVERY)
def test_the_order_of_clients_matters_no_more_than_rounding(text):
    updates, shares = made_up(9), np.arange(1, 10) / 45
    order = np.random.default_rng(1).permutation(9)
    direction = combined(text, updates, shares)
    shuffled = combined(text, updates[order], shares[order])
    np.testing.assert_allclose(shuffled, direction, rtol=1e-5, atol=1e-7)


def test_of_equally_good_updates_krum_takes_the_first():
    updates = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)
    assert combined("krum:1", updates)[0] == 1
    assert combined("krum:1", updates[::-1].copy())[0] == 3


def test_a_share_that_makes_a_whole_number_on_paper_cuts_that_many():
    updates = np.arange(100, dtype=np.float32)[:, None] ** 2
    wanted = np.mean(np.arange(29, 71) ** 2)
    assert combined("trimmed:0.29", updates)[0] == pytest.approx(wanted)


def test_too_few_updates_for_krum_are_refused_with_the_number_needed():
    with pytest.raises(SettingsError, match="krum:2 needs at least 7 updates a round, got 6"):
        combined("krum:2", made_up(6))
    assert parse_aggregation("krum:2").fewest == 7
    assert parse_aggregation("median").fewest == 1


def test_no_update_at_all_is_refused():
    with pytest.raises(SettingsError, match="needs at least 1 updates a round, got 0"):
        combine(Aggregation("mean"), np.empty((0, 3), np.float32), np.empty(0), 5)


@pytest.mark.parametrize("text", ["mean", "unbiased", "median"])
def test_sums_past_the_range_of_floats_do_not_raise(text):
    largest = np.full((2, 3), np.finfo(np.float32).max)
    assert (combined(text, largest, np.array([0.9, 0.05]), 20) > 1e38).all()


@pytest.mark.parametrize("text", [*EVERY, "multi-krum:2:5", "trimmed:0.0001234567"])
def test_text_and_value_turn_into_each_other(text):
    assert str(parse_aggregation(text)) == text
    assert parse_aggregation(str(parse_aggregation(text))) == parse_aggregation(text)


@pytest.mark.parametrize(
    "text",
    [
        "trimmed",
        "trimmed:",
        "trimmed:0.5",
        "trimmed:-0.1",
        "trimmed:nan",
        "trimmed:a",
        "krum",
        "krum:-1",
        "krum:1.5",
        "krum:1:2",
        "multi-krum",
        "multi-krum:1:0",
        "multi-krum:1:2:3",
        "mean:1",
        "median:",
    ],
)
def test_text_with_wrong_numbers_is_refused(text):
    with pytest.raises(SettingsError, match="aggregation"):
        parse_aggregation(text)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'median'"):
        parse_aggregation("medain")


@given(
    updates=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    limit=st.floats(1e-3, 1e6),
)
@quick
def test_bounded_updates_keep_their_way_and_no_more_than_the_limit(updates, limit):
    bounded = norm_bound(updates, limit)
    before, after = norms(updates), norms(bounded)
    assert (after <= limit * (1 + 1e-6)).all()
    short = before <= limit
    assert np.array_equal(bounded[short], updates[short])
    np.testing.assert_allclose(after[~short], limit, rtol=1e-5)
    ways = np.einsum("ij,ij->i", updates.astype(float), bounded.astype(float))
    np.testing.assert_allclose(ways, before * after, rtol=1e-5, atol=1e-30)


def report(update, outcome=Outcome.USED, samples=10, note=""):
    return Report(3, outcome, update, samples, 0.5, 2.0, 1.0, 4.0, 2.0, note)


GOOD = np.array([3.0, 0.0, 4.0], dtype=np.float32)


def screened(update, **options):
    (answer,) = screen([report(update)], (3,), **options)
    return answer


def test_a_sound_report_passes_as_it_is():
    sound = report(GOOD)
    assert screen([sound], (3,), max_update_norm=5.0)[0] is sound


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (None, "without an update"),
        ([1.0, 2.0, 3.0], "update is a list, not an array"),
        (np.zeros(4, np.float32), r"update has shape \(4,\), the model \(3,\)"),
        (np.zeros((3, 1), np.float32), r"update has shape \(3, 1\)"),
        (np.zeros(3), "update holds float64, the model float32"),
        (np.zeros(3, np.int64), "update holds int64"),
        (np.array(["a", "b", "c"]), "update holds <U1"),
        (np.array([1, np.nan, 0], np.float32), "not finite in 1 of 3 places"),
        (np.array([np.inf, 0, -np.inf], np.float32), "not finite in 2 of 3 places"),
    ],
)
def test_an_update_that_cannot_be_used_is_rejected_in_words(update, words):
    answer = screened(update)
    assert answer.outcome is Outcome.REJECTED
    assert answer.update is None
    assert re.search(words, answer.note)
    assert (answer.client, answer.duration_s, answer.energy_j) == (3, 2.0, 4.0)


def test_a_report_of_no_samples_is_rejected():
    (answer,) = screen([report(GOOD, samples=0)], (3,))
    assert answer.outcome is Outcome.REJECTED
    assert "claims 0 samples" in answer.note


def test_reports_that_were_not_used_are_not_looked_at():
    others = [report(None, outcome) for outcome in Outcome if outcome is not Outcome.USED]
    assert screen(others, (3,)) == tuple(others)


def test_a_long_update_is_clipped_or_rejected_as_asked():
    clipped = screened(GOOD, max_update_norm=2.5)
    assert clipped.outcome is Outcome.USED
    np.testing.assert_allclose(clipped.update, GOOD / 2)
    assert clipped.note == "update has norm 5, more than 2.5: clipped"
    rejected = screened(GOOD, max_update_norm=2.5, too_long="reject")
    assert rejected.outcome is Outcome.REJECTED
    assert rejected.update is None
    assert rejected.note == "update has norm 5, more than 2.5"


def test_an_update_of_the_largest_floats_is_clipped_without_overflow():
    answer = screened(np.full(3, np.finfo(np.float32).max), max_update_norm=1.0)
    np.testing.assert_allclose(answer.update, np.full(3, 1 / math.sqrt(3)), rtol=1e-6)


def test_a_fault_is_added_to_what_the_fleet_had_noted():
    (answer,) = screen([report(None, note="energy from a meter")], (3,))
    assert answer.note == "energy from a meter; report came without an update"
