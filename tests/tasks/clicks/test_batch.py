"""Batches and schemas: published sizes, joining parts, and settings that cannot be."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.tasks.clicks import MLPERF_V2, ClickBatch, ClickSchema, dlrm_split, torchrec_split
from gnomon.tasks.clicks.batch import rebatch


def numbered(start, stop):
    numbers = np.arange(start, stop)
    ids = np.repeat(numbers[:, None], 26, axis=1)
    return ClickBatch(ids[:, :13].astype(np.float32), ids, numbers.astype(np.float32))


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_parts_of_any_size_become_batches_of_one_size(sizes, batch_size):
    borders = np.cumsum([0, *sizes])
    parts = [numbered(a, b) for a, b in pairwise(borders)]
    batches = list(rebatch(parts, batch_size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert not batches or 1 <= len(batches[-1]) <= batch_size
    labels = [label for batch in batches for label in batch.labels]
    assert labels == list(range(sum(sizes)))
    for batch in batches:
        np.testing.assert_array_equal(batch.ids[:, 25], batch.labels)
        np.testing.assert_array_equal(batch.dense[:, 0], batch.labels)


def test_the_published_schema_has_the_published_sums():
    assert sum(MLPERF_V2.rows) == 204_184_588
    assert MLPERF_V2.lookups == 214
    assert len(MLPERF_V2.rows) == 26
    assert not MLPERF_V2.one_hot


def test_capping_a_schema_bounds_its_tables():
    assert ClickSchema((5, 50), (1, 2)).capped(10) == ClickSchema((5, 10), (1, 2))


def test_the_two_code_bases_name_the_halves_of_day_23_differently():
    assert dlrm_split(5) == (range(3), range(3, 5))
    assert torchrec_split(5).validation == range(3)
    assert torchrec_split(5).test == range(3, 5)


@pytest.mark.parametrize(
    ("rows", "hotness", "words"),
    [
        ((), (), "at least one table"),
        ((3, 0), (), "table 1 must have 1 to 2\\^31 rows, got 0"),
        ((3, 1 << 32), (), "table 1"),
        ((3, 4), (1,), "each of the 2 tables, got 1"),
        ((3, 4), (1, 0), "table 1 must have at least 1 lookup"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(rows, hotness, words):
    with pytest.raises(SettingsError, match=words):
        ClickSchema(rows, hotness)
