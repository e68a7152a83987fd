"""The record in mapped memory: it grows under those who write, and outlives the process that wrote it."""

import errno
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gnomon.core.errors import RunFolderError
from gnomon.loadgen import journal as journal_module
from gnomon.loadgen.journal import (
    COMPLETED_FILE,
    FIRST_ROWS,
    ISSUED_FILE,
    JOURNAL_FOLDER,
    Journal,
    read_journal,
)

patiently = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that others use too: no example is failed for being slow."""


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path)
    yield made
    made.close()


def leave(folder, issued_ns, completed_ns):
    """Files as a killed run leaves them."""
    path = folder / JOURNAL_FOLDER
    path.mkdir()
    np.asarray(issued_ns, dtype=np.int64).tofile(path / ISSUED_FILE)
    np.asarray(completed_ns, dtype=np.int64).tofile(path / COMPLETED_FILE)


# --- growth -----------------------------------------------------------------------------------------


def test_a_journal_starts_empty_and_has_room_for_what_is_asked_for(journal):
    assert journal.rows == len(journal.issued_ns) == len(journal.completed_ns) == 0
    journal.reserve(1)
    assert journal.rows == len(journal.issued_ns) == len(journal.completed_ns) == FIRST_ROWS
    journal.reserve(FIRST_ROWS + 1)
    assert journal.rows == 2 * FIRST_ROWS
    journal.reserve(10 * FIRST_ROWS + 3)
    assert journal.rows == 10 * FIRST_ROWS + 3


def test_room_that_is_there_is_not_made_again(journal):
    journal.reserve(100)
    column = journal.issued_ns
    journal.reserve(100)
    journal.reserve(0)
    assert journal.issued_ns is column


def test_growth_is_bounded_so_that_a_long_test_does_not_double_its_disk(monkeypatch, journal):
    monkeypatch.setattr(journal_module, "MOST_ROWS_AT_ONCE", FIRST_ROWS)
    journal.reserve(4 * FIRST_ROWS)
    journal.reserve(4 * FIRST_ROWS + 1)
    assert journal.rows == 5 * FIRST_ROWS


def test_new_rows_are_zero_and_old_ones_keep_their_values(journal):
    journal.reserve(100)
    journal.issued_ns[:] = np.arange(1, FIRST_ROWS + 1)
    journal.completed_ns[:] = 7
    journal.reserve(5 * FIRST_ROWS)
    np.testing.assert_array_equal(journal.issued_ns[:FIRST_ROWS], np.arange(1, FIRST_ROWS + 1))
    assert not journal.issued_ns[FIRST_ROWS:].any()
    assert (journal.completed_ns[:FIRST_ROWS] == 7).all()
    assert not journal.completed_ns[FIRST_ROWS:].any()


def test_a_worker_that_still_holds_the_old_column_writes_to_the_same_rows(journal):
    journal.reserve(100)
    held = journal.completed_ns
    journal.reserve(10 * FIRST_ROWS)
    held[3] = 333
    journal.completed_ns[4] = 444
    assert journal.completed_ns[3] == 333
    assert held[4] == 444


@patiently
@given(asked=st.lists(st.integers(0, 8 * FIRST_ROWS), max_size=12))
def test_whatever_is_asked_for_in_turn_there_is_room_and_nothing_is_lost(tmp_path_factory, asked):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    written = []
    for rows in asked:
        journal.reserve(rows)
        assert journal.rows >= rows
        if rows:
            journal.issued_ns[rows - 1] = rows
            written.append(rows)
    assert all(journal.issued_ns[rows - 1] == rows for rows in written)
    journal.remove()


def test_several_threads_may_ask_for_room_and_write_at_once(journal):
    threads, rounds, block = 8, 40, 700
    start = threading.Barrier(threads)
    errors = []

    def work(number):
        start.wait()
        try:
            for turn in range(rounds):
                first = (turn * threads + number) * block
                journal.reserve(first + block)
                rows = np.arange(first, first + block)
                journal.issued_ns[first : first + block] = rows + 1
                journal.completed_ns[rows] = rows + 2
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=[number]) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    total = threads * rounds * block
    assert journal.rows >= total > 4 * FIRST_ROWS
    np.testing.assert_array_equal(journal.issued_ns[:total], np.arange(total) + 1)
    np.testing.assert_array_equal(journal.completed_ns[:total], np.arange(total) + 2)


def test_a_journal_that_is_there_already_is_not_overwritten(tmp_path, journal):
    with pytest.raises(RunFolderError, match=r"cannot write .*journal: File exists.*--out"):
        Journal(tmp_path)


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, "make room or choose another folder"), (errno.EIO, "choose another --out")],
)
def test_a_disk_that_gives_no_room_is_an_error_here_and_keeps_the_rows_before(
    monkeypatch, journal, number, mend
):
    journal.reserve(10)
    journal.issued_ns[5] = 55

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail, raising=False)
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(RunFolderError, match=os.strerror(number)) as caught:
        journal.reserve(FIRST_ROWS + 1)
    assert mend in str(caught.value)
    assert journal.rows == FIRST_ROWS
    assert journal.issued_ns[5] == 55
    monkeypatch.undo()
    journal.reserve(FIRST_ROWS + 1)  # room was made
    assert journal.issued_ns[5] == 55


def test_without_fallocate_a_journal_grows_all_the_same(monkeypatch, journal):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    journal.reserve(FIRST_ROWS + 1)
    journal.completed_ns[FIRST_ROWS] = 9
    assert journal.completed_ns[FIRST_ROWS] == 9


def test_a_removed_journal_is_gone_but_who_still_writes_to_it_does_no_harm(tmp_path, journal):
    journal.reserve(10)
    column = journal.completed_ns
    journal.remove()
    assert list(tmp_path.iterdir()) == []
    column[3] = 5  # a late answer
    assert column[3] == 5
    assert read_journal(tmp_path) is None


# --- a process that is killed -----------------------------------------------------------------------

WRITER = """
import os, signal, sys, threading
from pathlib import Path
from gnomon.loadgen.journal import FIRST_ROWS, Journal

journal = Journal(Path(sys.argv[1]))
rows = 3 * FIRST_ROWS + 5
journal.reserve(rows)
journal.issued_ns[:rows] = range(1, rows + 1)
journal.completed_ns[: rows - 100] = range(2, rows - 98)
print(rows, flush=True)
if sys.argv[2] == "self":
    os.kill(os.getpid(), signal.SIGKILL)
threading.Event().wait()
"""


@pytest.mark.parametrize("killer", ["self", "other"])
def test_what_was_stored_is_there_after_the_process_was_killed_without_warning(tmp_path, killer):
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path, killer], stdout=subprocess.PIPE, text=True
    ) as process:
        rows = int(process.stdout.readline())
        if killer == "other":
            process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    issued_ns, completed_ns = read_journal(tmp_path)
    np.testing.assert_array_equal(issued_ns, np.arange(1, rows + 1))
    np.testing.assert_array_equal(completed_ns[: rows - 100], np.arange(2, rows - 98))
    assert not completed_ns[rows - 100 :].any()


# --- what was left ----------------------------------------------------------------------------------


def test_a_journal_is_read_up_to_the_last_row_issued(tmp_path):
    leave(tmp_path, [1, 2, 0, 4, 0, 0], [2, 0, 0, 9, 0, 0])
    issued_ns, completed_ns = read_journal(tmp_path)
    assert issued_ns.tolist() == [1, 2, 0, 4]
    assert completed_ns.tolist() == [2, 0, 0, 9]


def test_without_a_journal_there_is_nothing(tmp_path):
    assert read_journal(tmp_path) is None
    assert read_journal(tmp_path / "away") is None


@pytest.mark.parametrize("missing", [ISSUED_FILE, COMPLETED_FILE])
def test_half_a_journal_is_none(tmp_path, missing):
    leave(tmp_path, [1, 2], [2, 3])
    (tmp_path / JOURNAL_FOLDER / missing).unlink()
    assert read_journal(tmp_path) is None


def test_a_journal_in_which_nothing_was_issued_has_no_rows(tmp_path):
    leave(tmp_path, np.zeros(FIRST_ROWS), np.zeros(FIRST_ROWS))
    assert [len(column) for column in read_journal(tmp_path)] == [0, 0]
    other = tmp_path / "other"
    other.mkdir()
    leave(other, [], [])
    assert [len(column) for column in read_journal(other)] == [0, 0]


def test_a_kill_between_the_growth_of_two_columns_leaves_the_rows_that_both_have(tmp_path):
    leave(tmp_path, [1, 2, 3, 4, 5], [6, 7, 8])
    issued_ns, completed_ns = read_journal(tmp_path)
    assert issued_ns.tolist() == [1, 2, 3]
    assert completed_ns.tolist() == [6, 7, 8]


@pytest.mark.parametrize("cut", [1, 7])
def test_a_file_that_was_cut_in_the_middle_of_a_row_is_read_up_to_it(tmp_path, cut):
    leave(tmp_path, [1, 2, 3], [6, 7, 8])
    for name in (ISSUED_FILE, COMPLETED_FILE):
        path = tmp_path / JOURNAL_FOLDER / name
        path.write_bytes(path.read_bytes()[:-cut])
    issued_ns, completed_ns = read_journal(tmp_path)
    assert issued_ns.tolist() == [1, 2]
    assert completed_ns.tolist() == [6, 7]


def test_a_journal_that_cannot_be_read_is_told_in_one_line(tmp_path):
    (tmp_path / JOURNAL_FOLDER / ISSUED_FILE).mkdir(parents=True)
    with pytest.raises(RunFolderError) as caught:
        read_journal(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_a_journal_changes_nothing_in_it(tmp_path):
    leave(tmp_path, [1, 2, 3], [6, 7, 8])
    issued_ns, _ = read_journal(tmp_path)
    issued_ns[:] = 0
    assert read_journal(tmp_path)[0].tolist() == [1, 2, 3]
