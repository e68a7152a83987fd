"""torchrec's preprocessed NumPy files."""

import pickle

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.tasks.clicks import ClickSchema, CriteoNpy

SCHEMA = ClickSchema(tuple(range(50, 76)))


def arrays(count, seed):
    random = np.random.default_rng(seed)
    return {
        "dense": random.random((count, 13), np.float32),
        "sparse": random.integers(0, SCHEMA.rows, (count, 26)),
        "labels": random.integers(0, 2, (count, 1), dtype=np.int32),
    }


@pytest.fixture
def days(tmp_path):
    stored = {day: arrays(rows, day) for day, rows in [(0, 10), (1, 1), (5, 7)]}
    for day, parts in stored.items():
        for name, array in parts.items():
            np.save(tmp_path / f"day_{day}_{name}.npy", array)
    return stored


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize(("start", "stop"), [(0, 18), (3, 12), (10, 11), (6, 6)])
def test_days_are_read_one_after_another(tmp_path, days, batch_size, start, stop):
    log = CriteoNpy(tmp_path, (5, 1, 0), SCHEMA)
    assert len(log) == 18
    batches = list(log.batches(start, stop, batch_size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    for name, stored in [("dense", "dense"), ("ids", "sparse"), ("labels", "labels")]:
        expected = np.concatenate([days[day][stored] for day in (5, 1, 0)])[start:stop]
        found = [getattr(batch, name) for batch in batches]
        found = np.concatenate(found) if found else expected[:0]
        np.testing.assert_array_equal(found, expected.reshape(found.shape))
        assert all(batch.labels.dtype == np.float32 for batch in batches)


def test_a_log_travels_to_another_process_by_name(tmp_path, days):
    log = CriteoNpy(tmp_path, (0,), SCHEMA)
    assert len(pickle.dumps(log)) < 2000
    assert len(pickle.loads(pickle.dumps(log))) == 10


def test_ids_are_32_or_64_bits_wide_and_can_be_folded(tmp_path, days):
    sparse = days[0]["sparse"]
    np.save(tmp_path / "day_0_sparse.npy", sparse.astype(np.int32))
    (batch,) = CriteoNpy(tmp_path, (0,), SCHEMA.capped(10), fold=True).batches(0, 10, 10)
    np.testing.assert_array_equal(batch.ids, sparse % 10)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("dense", lambda a: a.astype(float), r"holds float64 \(10, 13\), not float32 \(n, 13\)"),
        ("dense", lambda a: a[:, :12], r"float32 \(10, 12\)"),
        ("sparse", lambda a: a.astype(np.uint8), r"uint8 \(10, 26\), not int64 or int32"),
        ("sparse", lambda a: a[:9], "10 rows of dense features, 9 of ids and 10 labels"),
        ("labels", lambda a: a.astype(np.float32), r"float32 \(10, 1\), not int32 \(n, 1\)"),
        ("labels", lambda a: np.array("x", object), "is no NumPy array or was cut short"),
    ],
)
def test_files_of_another_kind_are_told(tmp_path, days, name, change, words):
    np.save(tmp_path / f"day_0_{name}.npy", change(days[0][name]))
    with pytest.raises(DataError, match=words):
        CriteoNpy(tmp_path, (0,), SCHEMA)


def test_files_that_are_missing_cut_short_or_archives_are_told(tmp_path, days):
    with pytest.raises(DataError, match=r"day_7_dense.npy does not exist: write it again"):
        CriteoNpy(tmp_path, (0, 7), SCHEMA)
    path = tmp_path / "day_1_sparse.npy"
    for content in (path.read_bytes()[:-1], path.read_bytes()[:20], b"", b"junk"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is no NumPy array or was cut short"):
            CriteoNpy(tmp_path, (1,), SCHEMA)
    with path.open("wb") as stream:
        np.savez(stream, np.ones(3))
    with pytest.raises(DataError, match="is no NumPy array"):
        CriteoNpy(tmp_path, (1,), SCHEMA)


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        ("dense", 4, np.nan, "day_5_dense.npy, row 3: a feature that is not a finite number"),
        ("sparse", 25, 75, "day_5_sparse.npy, row 3: id 75 of table 25, which has 75 rows"),
        ("labels", 0, -1, "day_5_labels.npy, row 3: label -1"),
    ],
)
def test_values_that_cannot_be_are_told_with_file_and_row(
    tmp_path, days, name, column, value, words
):
    days[5][name][3, column] = value
    np.save(tmp_path / f"day_5_{name}.npy", days[5][name])
    with pytest.raises(DataError, match=words):
        list(CriteoNpy(tmp_path, (0, 5), SCHEMA).batches(0, 17, 2))


def test_what_cannot_be_asked_for_is_refused_at_once(tmp_path, days):
    with pytest.raises(SettingsError, match="at least one day"):
        CriteoNpy(tmp_path, (), SCHEMA)
    with pytest.raises(SettingsError, match="there are only 10"):
        CriteoNpy(tmp_path, (0,), SCHEMA).batches(0, 11, 1)
