"""The raw record as a table: the same after a trip through Parquet, and damage told in one line."""

import os
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.errors import RunFolderError
from gnomon.loadgen import samples as samples_module
from gnomon.loadgen.samples import (
    COLUMNS,
    SAMPLES_FILE,
    SCHEMA,
    Samples,
    read_samples,
    write_samples,
)

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""

LEAST, MOST = -(2**63), 2**63 - 1


def samples_of(rows, seed=0):
    """So many rows of plausible values."""
    draw = np.random.default_rng(seed)
    scheduled_ns = np.cumsum(draw.integers(0, 10**6, rows))
    issued_ns = scheduled_ns + draw.integers(1, 10**4, rows)
    completed_ns = issued_ns + draw.integers(1, 10**7, rows)
    completed_ns[draw.random(rows) < 0.1] = 0
    return Samples(
        np.arange(rows),
        draw.integers(0, 797, rows).astype(np.int32),
        scheduled_ns,
        issued_ns,
        completed_ns,
    )


def require_equal(found, expected):
    for name in COLUMNS:
        column = getattr(found, name)
        np.testing.assert_array_equal(column, getattr(expected, name))
        assert column.dtype == SCHEMA.field(name).type.to_pandas_dtype()
    assert len(found) == len(expected)


@pytest.fixture
def stored(tmp_path):
    """A file of a thousand samples, and those samples."""
    expected = samples_of(1000)
    write_samples(expected, tmp_path / SAMPLES_FILE)
    return tmp_path / SAMPLES_FILE, expected


def test_what_is_written_is_read_back(stored):
    path, expected = stored
    require_equal(read_samples(path), expected)
    assert [found.name for found in path.parent.iterdir()] == [SAMPLES_FILE]


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_an_empty_table_and_the_smallest_ones_are_read_back(tmp_path, rows):
    path = tmp_path / SAMPLES_FILE
    write_samples(samples_of(rows), path)
    require_equal(read_samples(path), samples_of(rows))
    assert pq.read_schema(path) == SCHEMA


whole_64 = st.integers(LEAST, MOST)


@patiently
@given(data=st.data(), rows=st.integers(0, 40), width=st.integers(1, 17))
def test_any_values_are_read_back_whatever_the_size_of_a_row_group(
    tmp_path_factory, data, rows, width
):
    def column(values, dtype):
        drawn = data.draw(st.lists(values, min_size=rows, max_size=rows))
        return np.array(drawn, dtype=dtype)

    whole_32 = st.integers(-(2**31), 2**31 - 1)
    expected = Samples(
        column(whole_64, np.int64),
        column(whole_32, np.int32),
        column(whole_64, np.int64),
        column(whole_64, np.int64),
        column(whole_64, np.int64),
    )
    path = tmp_path_factory.mktemp("samples") / SAMPLES_FILE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples_module, "ROW_GROUP", width)
        write_samples(expected, path)
    assert pq.ParquetFile(path).num_row_groups >= -(-rows // width)
    require_equal(read_samples(path), expected)


def test_columns_that_are_views_or_constants_are_written_like_others(tmp_path):
    """Offline's scheduled times are one number seen many times, and the journal is a mapped file."""
    rows = 500
    long = np.arange(2 * rows)
    given_samples = Samples(
        np.broadcast_to(np.int64(0), rows),
        np.arange(rows, dtype=np.int32)[::-1],
        np.broadcast_to(np.int64(0), rows),
        long[::2],
        long[1::2],
    )
    write_samples(given_samples, tmp_path / SAMPLES_FILE)
    require_equal(read_samples(tmp_path / SAMPLES_FILE), given_samples)


def test_the_record_of_a_regular_test_takes_a_few_bytes_a_sample(tmp_path):
    rows = 100_000
    starts = np.arange(rows) * 1_000_000
    regular = Samples(np.arange(rows), np.zeros(rows, np.int32), starts, starts + 1, starts + 900)
    write_samples(regular, tmp_path / SAMPLES_FILE)
    assert (tmp_path / SAMPLES_FILE).stat().st_size < 4 * rows


def test_latency_counts_from_the_scheduled_time_and_an_answer_is_a_time_above_0():
    table = Samples(
        np.arange(3),
        np.zeros(3, np.int32),
        np.array([10, 20, 30]),
        np.array([15, 25, 35]),
        np.array([18, 0, 90]),
    )
    assert table.answered.tolist() == [True, False, True]
    assert table.latency_ns[table.answered].tolist() == [8, 60]
    assert len(table) == 3


def test_writing_again_replaces_the_file(stored):
    path, _ = stored
    write_samples(samples_of(3, seed=5), path)
    require_equal(read_samples(path), samples_of(3, seed=5))


# --- damage -----------------------------------------------------------------------------------------


def refusal(path):
    """The one line with which a file is refused."""
    with pytest.raises(RunFolderError) as caught:
        read_samples(path)
    words = str(caught.value)
    assert "\n" not in words
    assert str(path) in words
    return words


def test_a_file_that_is_missing_cannot_be_recomputed_from(tmp_path):
    path = tmp_path / SAMPLES_FILE
    assert refusal(path) == f"{path} is missing: the run cannot be recomputed"


@pytest.mark.parametrize("keep", [0, 1, 3, 0.1, 0.5, 0.9, -1, -4, -8])
def test_a_file_that_was_cut_short_is_told_in_one_line(stored, keep):
    path, _ = stored
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if 0 < keep < 1 else keep])
    assert "cannot be read as samples" in refusal(path)


def test_a_file_of_something_else_is_told_in_one_line(tmp_path):
    path = tmp_path / SAMPLES_FILE
    path.write_text("query,sample_index\n1,2\n")
    assert "cannot be read as samples" in refusal(path)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(stored, column):
    path, _ = stored
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    assert column in refusal(path)


def test_a_further_column_does_no_harm(stored):
    path, expected = stored
    table = pq.read_table(path)
    pq.write_table(table.append_column("note", pa.array([0] * len(table))), path)
    require_equal(read_samples(path), expected)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("completed_ns", pa.array(["soon", "later"])),
        ("completed_ns", pa.array([1.5, 2.5])),
        ("completed_ns", pa.array([1, None], pa.int64())),
        ("sample_index", pa.array([2**40, 1])),
    ],
)
def test_a_column_of_another_kind_is_refused_rather_than_computed_with(tmp_path, column, values):
    columns = {name: pa.array([1, 2], SCHEMA.field(name).type) for name in COLUMNS}
    path = tmp_path / SAMPLES_FILE
    pq.write_table(pa.table(columns | {column: values}), path)
    refusal(path)


def test_a_damaged_page_is_told_in_one_line_or_read_as_it_was(stored):
    path, expected = stored
    whole = bytearray(path.read_bytes())
    for place in range(4, len(whole) - 8, 97):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert len(read_samples(path)) == len(expected)
        except RunFolderError:
            refusal(path)


# --- a folder that cannot be written ----------------------------------------------------------------


def test_a_folder_that_is_not_there_is_told_with_the_mend(tmp_path):
    path = tmp_path / "away" / SAMPLES_FILE
    with pytest.raises(RunFolderError) as caught:
        write_samples(samples_of(10), path)
    assert str(path) in str(caught.value)
    assert "make room or choose another folder with --out" in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_leaves_no_half_file_behind(tmp_path):
    path = tmp_path / SAMPLES_FILE
    path.with_suffix(".partial").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="No space left on device"):
        write_samples(samples_of(100_000), path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there_while_it_is_written(tmp_path):
    path = tmp_path / SAMPLES_FILE
    expected = samples_of(300_000)
    done = threading.Event()
    seen = []

    def look():
        while not done.is_set():
            if path.exists():
                seen.append(len(read_samples(path)))
            time.sleep(0.001)

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(3):
        write_samples(expected, path)
    done.set()
    watcher.join()
    assert set(seen) <= {len(expected)}
