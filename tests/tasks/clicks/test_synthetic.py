"""The synthetic log: the same rows however they are asked for, and labels with a known best AUC."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.tasks.clicks import ClickLog, roc_auc
from gnomon.tasks.clicks.alias import alias_table
from gnomon.tasks.clicks.synthetic import CHUNK_ROWS

SMALL = ClickLog(rows=(7, 1, 300, 64))
WHOLE = SMALL.generate(0, 3 * CHUNK_ROWS)


def assert_same(batch, other):
    np.testing.assert_array_equal(batch.dense, other.dense)
    np.testing.assert_array_equal(batch.ids, other.ids)
    np.testing.assert_array_equal(batch.labels, other.labels)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * CHUNK_ROWS), st.integers(0, 3 * CHUNK_ROWS), st.integers(1, 9000))
def test_a_row_is_the_same_in_any_range_and_any_batch_size(one, other, batch_size):
    start, stop = sorted((one, other))
    at = start
    for batch in SMALL.batches(start, stop, batch_size):
        assert_same(batch, WHOLE.part(at, at + len(batch)))
        at += len(batch)
    assert at == stop


def test_far_rows_cost_no_more_than_near_ones_and_differ_from_them():
    far = SMALL.generate(1 << 40, (1 << 40) + 50)
    assert len(far) == 50
    assert not np.array_equal(far.dense, WHOLE.dense[:50])


def test_a_log_is_settled_by_its_values_alone():
    again = pickle.loads(pickle.dumps(SMALL))
    assert again == SMALL
    assert_same(again.generate(100, 200), WHOLE.part(100, 200))
    assert len(pickle.dumps(SMALL)) < 1000
    other = ClickLog(rows=SMALL.rows, seed=4).generate(100, 200)
    assert not np.array_equal(other.ids, WHOLE.ids[100:200])


def test_the_rows_are_those_that_were_published():
    batch = ClickLog().generate(0, 3)
    assert batch.ids[:, :3].tolist() == [
        [69694, 29273, 1724],
        [88461, 2110, 2940],
        [31823, 50978, 26803],
    ]
    np.testing.assert_allclose(batch.dense[0, :3], [1.5311263, 0.6456693, 0.9597304], rtol=1e-6)
    published = [0.010318733, 0.042642716, 0.563606702]
    np.testing.assert_allclose(ClickLog().probabilities(0, 3), published, rtol=1e-6)


def test_batches_have_the_documented_shapes_and_types():
    assert WHOLE.dense.shape == (len(WHOLE), 13)
    assert WHOLE.dense.dtype == np.float32
    assert WHOLE.ids.shape == (len(WHOLE), 4)
    assert WHOLE.ids.dtype == np.int64
    assert WHOLE.labels.dtype == np.float32
    assert set(WHOLE.labels) == {0.0, 1.0}
    assert (WHOLE.ids.min(axis=0) >= 0).all()
    assert (WHOLE.ids.max(axis=0) < SMALL.rows).all()
    assert WHOLE.dense.min() >= 0
    empty = SMALL.generate(5, 5)
    assert (empty.dense.shape, empty.ids.shape) == ((0, 13), (0, 4))


def test_the_default_log_has_the_published_bayes_auc_and_click_rate():
    log = ClickLog()
    labels = log.generate(0, 200_000).labels
    truth = log.probabilities(0, 200_000)
    assert log.bayes_auc(0, 200_000) == roc_auc(truth, labels)
    assert log.bayes_auc(0, 200_000) == pytest.approx(0.8563, abs=0.003)
    assert labels.mean() == pytest.approx(0.197, abs=0.004)
    # Calibrated: of the rows with true probability p, a share p is clicked.
    for low in np.arange(0, 1, 0.1):
        there = (truth >= low) & (truth < low + 0.1)
        sigma = np.sqrt((truth[there] * (1 - truth[there])).sum()) / there.sum()
        assert abs(labels[there].mean() - truth[there].mean()) < 4 * sigma


def test_the_labels_can_be_learned_from_the_ids():
    log = ClickLog(rows=(50, 20, 400, 8))
    train, test = log.generate(0, 60_000), log.generate(60_000, 90_000)
    scores = np.zeros(len(test))
    for table, rows in enumerate(log.rows):  # how often each id was clicked, smoothed
        shown = np.bincount(train.ids[:, table], minlength=rows) + 20
        clicks = np.bincount(train.ids[:, table], train.labels, minlength=rows)
        rate = (clicks + 20 * train.labels.mean()) / shown
        scores += np.log(rate / (1 - rate))[test.ids[:, table]]
    best = log.bayes_auc(60_000, 90_000)
    assert best > 0.8
    assert best - 0.06 < roc_auc(scores, test.labels) < best


def test_ids_follow_zipfs_law_over_a_shuffled_order():
    ids = ClickLog(rows=(1000,)).generate(0, 100_000).ids[:, 0]
    share = np.sort(np.bincount(ids, minlength=1000))[::-1] / len(ids)
    law = np.arange(1.0, 1001) ** -1.2
    law /= law.sum()
    np.testing.assert_allclose(share[:20], law[:20], rtol=0.1)
    assert np.argmax(np.bincount(ids)) != 0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=70).filter(lambda p: sum(p) > 1e-3))
@example([0.5, 0.5, 1.0])
@example([0.25, 0.5, 0.25])
@example([0.5, 1.0, 1.0, 1.0, 0.5])
def test_an_alias_table_gives_each_outcome_its_probability(weights):
    probabilities = np.array(weights) / sum(weights)
    table = alias_table(probabilities)
    width = 1 << int(table.shift)
    slots = np.arange(len(table.threshold))
    own = (table.threshold.astype(np.int64) - slots * width) / width
    given_away = np.bincount(table.other, 1 - own, minlength=len(slots))
    total = (own + given_away) / len(slots)
    np.testing.assert_allclose(total[: len(weights)], probabilities, atol=1e-8)
    draws = np.random.default_rng(0).integers(0, 1 << 32, 1000, dtype=np.uint32)
    assert table.sample(np.r_[draws, [0, (1 << 32) - 1]].astype(np.uint32)).max() < len(weights)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": ()}, "at least one table"),
        ({"rows": (10, 0)}, "table 1 must have 1"),
        ({"zipf_exponent": -1}, "zipf_exponent must be a number of at least 0, got -1"),
        ({"scale": float("nan")}, "scale must be a number"),
        ({"id_weight": float("inf")}, "id_weight must be"),
        ({"bias": float("inf")}, "bias must be a finite number"),
        ({"seed": -1}, "seed must be"),
        ({"factors": 0}, "factors must be"),
    ],
)
def test_values_that_cannot_be_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        ClickLog(**options)


@pytest.mark.parametrize(("start", "stop", "batch_size"), [(-1, 5, 1), (5, 4, 1), (0, 5, 0)])
def test_a_range_that_cannot_be_is_refused_at_once(start, stop, batch_size):
    with pytest.raises(SettingsError, match="got"):
        SMALL.batches(start, stop, batch_size)
