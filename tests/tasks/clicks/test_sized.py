"""Impressions over tables of Criteo 1TB's sizes: ids in range, a few of them frequent, always the same."""

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.clicks import MLPERF_V2_HOTNESS, MLPERF_V2_ROWS
from gnomon.tasks.clicks.sized import (
    CLICK_RATE,
    ZIPF_EXPONENT,
    CriteoSized,
    CriteoSizedMultiHot,
    zipf_ids,
)

SOME = np.array([0, 9, 65_535, 9, 1024])


@pytest.fixture(scope="module", params=[CriteoSized, CriteoSizedMultiHot])
def task(request):
    return request.param()


@pytest.fixture(scope="module")
def records(task):
    return task.inputs(np.arange(len(task)))


def scattered(ranks, rows):
    """Where a rank's id lies, worked out in Python's own whole numbers."""
    return np.array([(rank * 7919 * 104_729 + 12_345) % rows for rank in ranks])


def test_the_tables_have_the_204_million_rows_that_were_published(task):
    assert task.rows == MLPERF_V2_ROWS
    assert sum(task.rows) == 204_184_588
    assert len(task.rows) == 26


def test_every_id_is_a_row_of_its_table(task, records):
    assert records["ids"].dtype == np.int32
    assert records["ids"].shape == (len(task), task.schema.lookups)
    rows = np.repeat(task.rows, task.schema.hotness)
    assert records["ids"].min() >= 0
    assert (records["ids"].max(axis=0) < rows).all()


def test_one_task_has_one_lookup_a_table_and_the_other_214_in_all():
    one, many = CriteoSized(), CriteoSizedMultiHot()
    assert (one.schema.one_hot, one.schema.lookups, len(one)) == (True, 26, 204_800)
    assert (many.schema.one_hot, many.schema.lookups, len(many)) == (False, 214, 65_536)
    assert many.schema.hotness == MLPERF_V2_HOTNESS


def test_the_same_impressions_come_each_time(task, records):
    again = type(task)()
    assert again.source() == task.source()
    np.testing.assert_array_equal(again.inputs(SOME), records[SOME])
    assert CriteoSized().source().sha256 != CriteoSizedMultiHot().source().sha256


def test_its_source_is_never_official(task):
    assert not task.source().official
    assert "random" in task.source().name


def test_dense_features_are_finite_and_at_least_0(records):
    dense = records["dense"]
    assert dense.shape[1:] == (13,)
    assert np.isfinite(dense).all()
    assert dense.min() >= 0
    assert dense.std() > 0.3


@pytest.mark.parametrize("table", [0, 9, 22], ids="table {}".format)
def test_frequencies_follow_the_power_law_cut_to_whole_ranks(table):
    """The share of each of the first ranks is the integral of x^-1.05 from it to the next."""
    task = CriteoSized()
    column = task.inputs(np.arange(len(task)))["ids"][:, table]
    rows, power = task.rows[table], 1 - ZIPF_EXPONENT
    ranks = np.arange(1, 30)
    expected = ((ranks + 1.0) ** power - ranks**power) / ((rows + 1.0) ** power - 1)
    found = np.array([(column == where).mean() for where in scattered(ranks.tolist(), rows)])
    noise = np.sqrt(expected * (1 - expected) / len(column))
    assert (np.abs(found - expected) < 5 * noise).all()
    slope = np.polyfit(np.log(ranks + 0.5), np.log(found), 1)[0]
    assert slope == pytest.approx(-ZIPF_EXPONENT, abs=0.1)


def test_frequent_ids_lie_scattered_over_a_large_table():
    ids = np.sort(scattered(range(1, 65), 40_000_000))
    assert np.diff(ids).min() > 1000
    drawn = zipf_ids(np.random.default_rng(0), 40_000_000, (5000,), ZIPF_EXPONENT)
    assert np.isin(ids, drawn).mean() > 0.9
    np.testing.assert_allclose(np.histogram(ids, 4, (0, 4e7))[0] / 64, 0.25, atol=0.2)


@pytest.mark.parametrize("rows", [1, 2, 3, 36, 976])
def test_each_row_of_a_small_table_comes(rows):
    drawn = zipf_ids(np.random.default_rng(1), rows, (200_000, 2), ZIPF_EXPONENT)
    assert drawn.shape == (200_000, 2)
    assert np.unique(drawn).tolist() == list(range(rows))


def test_labels_are_chance_so_that_no_model_is_better_than_another(task):
    every = np.arange(len(task))
    records = task.inputs(every)
    assert task.score(every, records["dense"][:, 0]) == pytest.approx(0.5, abs=0.02)
    assert task.score(every, records["ids"][:, 0]) == pytest.approx(0.5, abs=0.02)
    assert task.score(every, task._batch.labels) == 1
    assert task._batch.labels.mean() == pytest.approx(CLICK_RATE, abs=0.003)


def test_outputs_that_are_not_one_probability_a_sample_are_refused_in_one_line(task):
    with pytest.raises(DataError, match="one probability a sample") as caught:
        task.score(SOME, np.zeros((5, 2)))
    assert "\n" not in str(caught.value)
