"""Multi-hot ids as MLPerf makes them: the same lists as the recipe's own few lines give."""

import numpy as np
import psutil
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.tasks.clicks import MLPERF_V2, ClickBatch, ClickSchema, MultiHot, multi_hot

SCHEMA = ClickSchema((40, 1, 7, 1000), (3, 4, 1, 2))


def recipe(distribution):
    """The reference: one draw a table, from the legacy generator with seed 0."""
    generator = np.random.RandomState(0)
    for rows, hotness in zip(SCHEMA.rows, SCHEMA.hotness, strict=True):
        shape = (rows, hotness - 1)
        if distribution == "uniform":
            drawn = generator.randint(0, rows, size=shape)
        else:
            heavy = generator.pareto(a=0.25, size=shape)
            with np.errstate(invalid="ignore"):
                drawn = np.where(heavy < 2**31, heavy, -(2**31)).astype(np.int32) % rows
        yield np.concatenate([np.arange(rows)[:, None], drawn], axis=1)


@pytest.mark.parametrize("distribution", ["uniform", "pareto"])
@pytest.mark.parametrize("draws_at_once", [1, 64, 1 << 20])
@pytest.mark.parametrize("in_files", [False, True])
def test_lists_are_the_recipes_however_they_are_drawn(
    tmp_path, monkeypatch, distribution, draws_at_once, in_files
):
    monkeypatch.setattr(multi_hot, "CHUNK_DRAWS", draws_at_once)
    drawn = MultiHot.draw(SCHEMA, distribution, tmp_path if in_files else None)
    ids = np.random.default_rng(0).integers(0, SCHEMA.rows, (50, 4))
    tables = list(recipe(distribution))
    expected = np.concatenate([t[ids[:, i]] for i, t in enumerate(tables)], axis=1)
    np.testing.assert_array_equal(drawn.expand(ids), expected)
    assert drawn.expand(ids).dtype == np.int64
    assert sorted(file.name for file in tmp_path.iterdir()) == (
        ["multi_hot_0.npy", "multi_hot_1.npy", "multi_hot_3.npy"] if in_files else []
    )


def test_the_first_lists_are_numpys_published_draws():
    drawn = MultiHot.draw(ClickSchema((100,), (6,)))
    assert drawn.expand(np.array([[0]])).tolist() == [[0, 44, 47, 64, 67, 67]]


def test_a_batch_keeps_its_features_and_labels():
    batch = ClickBatch(np.ones((2, 13), np.float32), np.zeros((2, 4), int), np.ones(2, np.float32))
    expanded = MultiHot.draw(SCHEMA).expand_batch(batch)
    assert expanded.ids.shape == (2, SCHEMA.lookups)
    assert expanded.dense is batch.dense
    assert expanded.labels is batch.labels


def test_ids_that_do_not_fit_are_refused():
    drawn = MultiHot.draw(SCHEMA)
    with pytest.raises(SettingsError, match=r"ids \(n, 4\), got \(2, 3\)"):
        drawn.expand(np.zeros((2, 3), int))
    with pytest.raises(DataError, match="row 1: id 7 of table 2, which has 7 rows"):
        drawn.expand(np.array([[0, 0, 0, 0], [0, 0, 7, 0]]))


def test_what_cannot_be_drawn_is_refused_before_it_is_tried(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="uniform or pareto, got 'normal'"):
        MultiHot.draw(SCHEMA, "normal")
    free = psutil.virtual_memory()._replace(available=1 << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(
        SettingsError, match=r"take .* GiB, and 1.00 GiB of memory is free: give a folder"
    ):
        MultiHot.draw(MLPERF_V2)
    with pytest.raises(DataError, match=r"cannot be kept in .*give a folder with room"):
        MultiHot.draw(SCHEMA, folder=tmp_path / "none")
