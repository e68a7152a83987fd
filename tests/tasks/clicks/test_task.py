"""Click prediction as a task: which impressions it holds out, how they are laid out, how it scores."""

import hashlib

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.clicks import SYNTHETIC_ROWS, ClickBatch, ClickLog, roc_auc
from gnomon.tasks.clicks.task import FIRST_HELD_OUT, HELD_OUT, Clicks, impressions

LOG = ClickLog(rows=(400, 60, 8))
TASK = Clicks(LOG, count=2000)
BATCH = LOG.generate(FIRST_HELD_OUT, FIRST_HELD_OUT + 2000)
EVERY = np.arange(2000)


def test_a_record_holds_one_impression_as_it_is_in_the_batch():
    records = impressions(BATCH)
    assert records.shape == (2000,)
    assert records.dtype.names == ("dense", "ids")
    assert records["dense"].dtype == np.float32
    assert records["ids"].dtype == np.int32
    np.testing.assert_array_equal(records["dense"], BATCH.dense)
    np.testing.assert_array_equal(records["ids"], BATCH.ids)
    assert records[7]["ids"].tolist() == BATCH.ids[7].tolist()


def test_several_lookups_of_a_table_lie_side_by_side_in_a_record():
    ids = np.arange(24).reshape(2, 12)
    batch = ClickBatch(np.zeros((2, 13), np.float32), ids, np.zeros(2, np.float32))
    assert impressions(batch)["ids"].tolist() == ids.tolist()


def test_no_impressions_are_an_empty_array_of_records():
    records = impressions(BATCH.part(0, 0))
    assert records.shape == (0,)
    assert records["ids"].shape == (0, 3)


def test_inputs_are_the_logs_own_rows_far_beyond_those_that_models_are_trained_on():
    asked = np.array([1999, 0, 5, 5])
    records = TASK.inputs(asked)
    np.testing.assert_array_equal(records["dense"], BATCH.dense[asked])
    np.testing.assert_array_equal(records["ids"], BATCH.ids[asked])
    assert TASK.rows == LOG.rows
    assert (records["ids"] < np.array(LOG.rows)).all()


def test_fewer_samples_are_the_first_of_more():
    fewer = Clicks(LOG, count=100)
    assert len(fewer) == 100
    first = np.arange(100)
    np.testing.assert_array_equal(fewer.inputs(first), TASK.inputs(first))


def test_unless_told_otherwise_it_is_a_hundred_thousand_rows_over_26_tables():
    task = Clicks()
    assert len(task) == HELD_OUT == 100_000
    assert task.rows == SYNTHETIC_ROWS
    records = task.inputs(np.arange(len(task)))
    assert records["dense"].shape == (HELD_OUT, 13)
    assert records["ids"].shape == (HELD_OUT, 26)
    assert records["ids"].min() >= 0
    assert (records["ids"].max(axis=0) < np.array(SYNTHETIC_ROWS)).all()


def test_its_source_names_seed_and_rows_and_is_never_official():
    source = TASK.source()
    assert not source.official
    assert f"seed {LOG.seed}" in source.name
    assert "100,000,000 to 100,001,999" in source.name
    records = impressions(BATCH)
    expected = hashlib.sha256(records.tobytes() + BATCH.labels.tobytes()).hexdigest()
    assert source.sha256 == expected


def test_its_fingerprint_changes_with_whatever_decides_a_result():
    prints = {
        task.source().sha256
        for task in (
            Clicks(LOG, count=2000),
            TASK,
            Clicks(LOG, count=1999),
            Clicks(ClickLog(rows=LOG.rows, seed=4), count=2000),
            Clicks(ClickLog(rows=(400, 60, 9)), count=2000),
        )
    }
    assert len(prints) == 4


def test_a_score_is_the_auc_over_the_samples_that_were_answered_in_any_order():
    rng = np.random.default_rng(1)
    answers = rng.random(2000, dtype=np.float32)
    assert TASK.score(EVERY, answers) == roc_auc(answers, BATCH.labels)
    order = rng.permutation(2000)
    assert TASK.score(order, answers[order]) == TASK.score(EVERY, answers)
    assert TASK.score(EVERY, answers[:, None]) == TASK.score(EVERY, answers)
    assert TASK.score(EVERY, list(answers)) == TASK.score(EVERY, answers)
    some = order[:300]
    assert TASK.score(some, answers[some]) == roc_auc(answers[some], BATCH.labels[some])
    assert TASK.score(EVERY, BATCH.labels) == 1
    assert TASK.score(EVERY, 1 - BATCH.labels) == 0


def test_the_best_that_can_be_known_scores_well_and_chance_does_not():
    probabilities = LOG.probabilities(FIRST_HELD_OUT, FIRST_HELD_OUT + 2000)
    assert 0.75 < TASK.score(EVERY, probabilities) < 0.95
    assert TASK.score(EVERY, np.zeros(2000)) == 0.5


def test_a_score_survives_the_accuracy_log():
    answers = np.random.default_rng(2).random(2000, dtype=np.float32)
    decoded = [TASK.decode(TASK.encode(answer)) for answer in answers]
    assert TASK.score(EVERY, decoded) == TASK.score(EVERY, answers)


@pytest.mark.parametrize("shape", [(2000, 2), (1999,), (0,)])
def test_outputs_that_are_not_one_probability_a_sample_are_refused_in_one_line(shape):
    with pytest.raises(DataError, match="one probability a sample") as caught:
        TASK.score(EVERY, np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_that_are_no_numbers_are_refused():
    answers = np.full(2000, 0.5, np.float32)
    answers[7] = np.nan
    with pytest.raises(DataError, match="NaN"):
        TASK.score(EVERY, answers)
