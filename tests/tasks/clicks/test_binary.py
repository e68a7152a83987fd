"""dlrm's preprocessed binary files."""

import pickle

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError
from gnomon.tasks.clicks import ClickSchema, CriteoBinary, read_counts

SCHEMA = ClickSchema(tuple(range(50, 76)))


def rows(count):
    random = np.random.default_rng(count)
    labels = random.integers(0, 2, (count, 1))
    integers = random.integers(0, 10_000, (count, 13))
    ids = random.integers(0, SCHEMA.rows, (count, 26))
    return np.concatenate([labels, integers, ids], axis=1).astype("<i4")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train_data.bin"


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_rows_are_read_as_dlrm_wrote_them(path, batch_size):
    stored = rows(23)
    path.write_bytes(stored.tobytes())
    log = CriteoBinary(path, SCHEMA)
    assert len(log) == 23
    batches = list(log.batches(3, 23, batch_size))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    dense, ids, labels = (
        np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("dense", "ids", "labels")
    )
    np.testing.assert_allclose(dense, np.log(stored[3:, 1:14] + 1.0), rtol=1e-6)
    np.testing.assert_array_equal(ids, stored[3:, 14:])
    np.testing.assert_array_equal(labels, stored[3:, 0])
    assert (dense.dtype, ids.dtype, labels.dtype) == (np.float32, np.int64, np.float32)


def test_a_log_travels_to_another_process_by_name(path):
    path.write_bytes(rows(500).tobytes())
    log = CriteoBinary(path, SCHEMA)
    sent = pickle.dumps(log)
    assert len(sent) < 2000
    assert len(pickle.loads(sent)) == 500


def test_a_file_that_ends_inside_a_row_is_told_with_the_byte(path):
    path.write_bytes(rows(3).tobytes()[:-1])
    with pytest.raises(DataError, match=r"479 bytes, not whole rows of 160.*ends at byte 320"):
        CriteoBinary(path, SCHEMA)


def test_a_file_that_is_empty_or_missing_is_told(path, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        CriteoBinary(path, SCHEMA)
    path.touch()
    with pytest.raises(DataError, match="is empty"):
        CriteoBinary(path, SCHEMA)
    with pytest.raises(DataError, match=r"cannot be read|not whole rows|is empty"):
        CriteoBinary(tmp_path, SCHEMA)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (0, 2, "row 5: label 2, not 0 or 1"),
        (14, -1, "row 5: id -1 of table 0, which has 50 rows"),
        (39, 75, "row 5: id 75 of table 25, which has 75 rows: .*fold=True"),
    ],
)
def test_values_that_cannot_be_are_told_with_the_row(path, column, value, words):
    stored = rows(9)
    stored[5, column] = value
    path.write_bytes(stored.tobytes())
    log = CriteoBinary(path, SCHEMA)
    assert len(list(log.batches(0, 4, 2))) == 2
    with pytest.raises(DataError, match=words):
        list(log.batches(0, 9, 2))


def test_ids_can_be_folded_into_smaller_tables(path):
    stored = rows(9)
    path.write_bytes(stored.tobytes())
    (batch,) = CriteoBinary(path, SCHEMA.capped(10), fold=True).batches(0, 9, 9)
    np.testing.assert_array_equal(batch.ids, stored[:, 14:] % 10)


@pytest.mark.parametrize(("start", "stop", "size"), [(0, 10, 1), (-1, 3, 1), (4, 3, 1), (0, 9, 0)])
def test_a_range_outside_the_file_is_refused_at_once(path, start, stop, size):
    path.write_bytes(rows(9).tobytes())
    with pytest.raises(SettingsError):
        CriteoBinary(path, SCHEMA).batches(start, stop, size)


def test_counts_are_the_rows_of_the_tables(tmp_path):
    path = tmp_path / "day_fea_count.npz"
    np.savez(path, counts=np.array(SCHEMA.rows, np.int32))
    assert read_counts(path) == SCHEMA


def test_damaged_counts_are_told(tmp_path):
    path = tmp_path / "day_fea_count.npz"
    with pytest.raises(DataError, match="does not exist"):
        read_counts(path)
    for arrays, words in [
        ({"other": np.ones(26, int)}, "has no array 'counts'"),
        ({"counts": np.ones(25, int)}, r"shape \(25,\)"),
        ({"counts": np.ones(26)}, "type float64"),
        ({"counts": np.zeros(26, int)}, "not 26 positive"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=words):
            read_counts(path)
    np.savez(path, counts=np.ones(26, int))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        read_counts(path)
    np.save(tmp_path / "day.npy", np.ones(26, int))
    with pytest.raises(DataError, match="cannot be read"):
        read_counts(tmp_path / "day.npy")
