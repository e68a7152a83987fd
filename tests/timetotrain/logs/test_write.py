"""Lines written: the same characters as the field's logger writes."""

import io
import logging

import numpy as np
import pytest

from gnomon.core.errors import RunFolderError, UsageError
from gnomon.timetotrain.logs import format_training_line, training_entry, write_log
from tests.timetotrain.logs.example import run_entries


@pytest.mark.parametrize(
    ("key", "value", "metadata"),
    [
        ("run_start", None, {}),
        ("run_stop", None, {"status": "success", "epoch_num": 0.9}),
        ("eval_accuracy", 0.7205635, {"epoch_num": 3, "samples_count": 1}),
        ("opt_name", 'ädam "\\', {}),
        ("tracked_stats", {"throughput": 1e-8, "steps": [1, 2]}, {}),
        ("seed", np.int64(7), {}),
        ("opt_base_learning_rate", np.float32(0.1), {"parts": np.arange(3)}),
        ("loss", float("nan"), {}),
    ],
)
def test_the_line_equals_that_of_reference_mllog(key, value, metadata):
    mllog = pytest.importorskip("mlperf_logging.mllog")
    stream = io.StringIO()
    logger = logging.Logger("to a text", level=logging.INFO)
    logger.addHandler(logging.StreamHandler(stream))
    reference = mllog.mllog.MLLogger(logger)
    written = training_entry(
        key, value, time_ms=1234.9, file="train.py", lineno=7, metadata=metadata
    )
    call = {"INTERVAL_START": reference.start, "INTERVAL_END": reference.end}.get(
        written.event_type, reference.event
    )
    # File and line are the caller's; naming them here puts them in their place with our values.
    reference.default_stack_offset = 0
    call(key, value, metadata={"file": "train.py", "lineno": 7, **metadata}, time_ms=1234)
    line = stream.getvalue().splitlines()[-1]
    assert format_training_line(written) == line


def test_a_log_is_written_whole(tmp_path):
    path = tmp_path / "result_0.txt"
    entries = run_entries()
    write_log(path, entries)
    lines = path.read_text().splitlines()
    assert lines == [format_training_line(entry) for entry in entries]


def test_a_log_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RunFolderError, match=r"nowhere/result_0\.txt cannot be written"):
        write_log(tmp_path / "nowhere" / "result_0.txt", [])


def test_a_value_that_json_cannot_hold_is_refused_by_its_key():
    with pytest.raises(UsageError, match="entry 'seed' cannot be logged: set is no JSON value"):
        format_training_line(training_entry("seed", {1}))


def test_an_unknown_type_of_event_is_refused():
    with pytest.raises(UsageError, match="event_type must be one of"):
        training_entry("seed", 1, event_type="POINT")
