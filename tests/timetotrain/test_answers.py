"""The answers of a run's evaluations, in their file."""

import gc
import signal
import subprocess
import sys

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.timetotrain.answers import ANSWERS_FILE, read_answers, write_answers

ANSWERS = {1: np.arange(6.0).reshape(3, 2), 2: np.ones((3, 2), np.float32)}
ENDED_WHILE_WRITING = """
import os, pathlib, signal, sys
import numpy as np
from gnomon.timetotrain.answers import write_answers

class Last:
    def __array__(self, *_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

write_answers(pathlib.Path(sys.argv[1]), {1: np.arange(6.0), 2: Last()})
"""


def test_answers_are_read_as_they_were_written(tmp_path):
    write_answers(tmp_path, ANSWERS)
    found = read_answers(tmp_path)
    assert list(found) == [1, 2]
    for number, answers in ANSWERS.items():
        np.testing.assert_array_equal(found[number], answers)
        assert found[number].dtype == answers.dtype
    assert [path.name for path in tmp_path.iterdir()] == [ANSWERS_FILE]


def test_a_run_that_keeps_no_answers_has_none(tmp_path):
    assert read_answers(tmp_path) == {}


def test_a_process_that_is_ended_while_it_writes_leaves_no_half_of_a_file(tmp_path):
    ended = subprocess.run([sys.executable, "-c", ENDED_WHILE_WRITING, str(tmp_path)])
    assert ended.returncode == -signal.SIGKILL
    assert read_answers(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "cut short"])
def test_a_damaged_file_is_named_and_not_left_open(tmp_path, content):
    write_answers(tmp_path, ANSWERS)
    path = tmp_path / ANSWERS_FILE
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match=f"{ANSWERS_FILE} is damaged"):
        read_answers(tmp_path)
    gc.collect()  # a file left open would be a warning, which is an error here
