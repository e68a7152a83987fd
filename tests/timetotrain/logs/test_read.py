"""Reading: every dialect in one form, broken entries counted, big files in pieces, nothing read twice."""

import json
from concurrent.futures.process import BrokenProcessPool

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError
from gnomon.timetotrain.logs import (
    Dialect,
    format_training_line,
    parse_text,
    read_log,
    read_logs,
    training_entry,
)
from gnomon.timetotrain.logs import read as reading
from tests.timetotrain.logs.example import run_entries

LINE = format_training_line(training_entry("throughput", 12.5, time_ms=1000, metadata={"step": 3}))


def only(text):
    (entry,) = parse_text(text).entries
    return entry


def test_an_mllog_line_is_found_behind_any_prefix_with_its_line_number():
    entry = only(f"plain text\n[1,0]<stdout>:{LINE}\nmore text\n")
    assert (entry.key, entry.value, entry.time_ms, entry.line) == ("throughput", 12.5, 1000, 2)
    assert entry.metadata == {"file": "", "lineno": 0, "step": 3}
    assert entry.dialect is Dialect.MLLOG
    assert entry.event_type == "POINT_IN_TIME"


def test_a_v06_line_is_read_in_milliseconds():
    entry = only(':::MLL 1560722603.602 epoch_start: {"value": null, "metadata": {"epoch_num": 4}}')
    assert (entry.key, entry.value, entry.time_ms) == ("epoch_start", None, 1560722603602)
    assert (entry.metadata["epoch_num"], entry.event_type) == (4, "INTERVAL_START")
    assert entry.dialect is Dialect.V06


@pytest.mark.parametrize(
    ("tag", "key", "value", "metadata"),
    [
        ("run_clear_caches", "cache_clear", None, {}),
        ("run_set_random_seed: 17", "seed", 17, {}),
        ('run_set_random_seed: "none"', "seed", "none", {}),
        ("input_batch_size: 16384", "global_batch_size", 16384, {}),
        ("opt_learning_rate : 0.1", "opt_base_learning_rate", 0.1, {}),
        ('eval_accuracy: {"epoch": 3, "value": 0.25}', "eval_accuracy", 0.25, {"epoch_num": 3}),
        ('run_stop: {"success": true}', "run_stop", None, {"status": "success"}),
        ('run_stop: {"success": "true"}', "run_stop", None, {"status": "success"}),
        ('run_stop: {"success": false}', "run_stop", None, {"status": "aborted"}),
        ("run_stop", "run_stop", None, {}),
        ("train_epoch: 5", "epoch_start", None, {"epoch_num": 5}),
        ("eval_start: 5", "eval_start", None, {"epoch_num": 5}),
        ("model_hp_shape: (224, 224)", "model_hp_shape", "(224, 224)", {}),
    ],
)
def test_a_v05_tag_is_translated_where_a_later_key_means_the_same(tag, key, value, metadata):
    log = parse_text(f"x :::MLPv0.5.0 ncf 1541648542 (ncf.py:7) {tag}\n")
    (entry,) = log.entries
    assert (entry.key, entry.value, entry.time_ms) == (key, value, 1541648542000)
    assert entry.metadata == {"file": "ncf.py", "lineno": 7, **metadata}
    assert entry.logged_key == tag.split(":")[0].strip()
    assert log.benchmark == "ncf"


@pytest.mark.parametrize(
    "broken",
    [
        ':::MLLOG {"key": "seed", "value": 1, "time_ms": 1, "metadata": {',
        ':::MLLOG {"key": "seed", "value": 1, "time_ms": 1}',
        ':::MLLOG {"key": 5, "value": 1, "time_ms": 1, "metadata": {}}',
        ':::MLLOG {"key": "seed", "value": 1, "time_ms": "noon", "metadata": {}}',
        f':::MLLOG {{"key": "seed", "value": 1, "time_ms": {10**400}, "metadata": {{}}}}',
        ':::MLLOG ["seed", 1]',
        ":::MLLOG",
        f"{LINE} and more",
        ":::MLL 12.5 seed: {value: true, metadata: {}}",
        ":::MLL seed: {}",
        ":::MLPv0.5.0 ncf noon (ncf.py:7) run_start",
    ],
)
def test_a_broken_entry_is_counted_and_quoted_and_hides_nothing(broken):
    log = parse_text(f"{LINE}\ntext\n{broken}\n{LINE}\n{broken}\n")
    assert [entry.line for entry in log.entries] == [1, 4]
    assert log.malformed == 2
    assert log.first_malformed.startswith("line 3: :::ML")


def test_two_entries_that_two_processes_wrote_into_one_line_are_both_read():
    assert [entry.key for entry in parse_text(f"{LINE}{LINE}\n").entries] == ["throughput"] * 2


def test_an_entry_cut_short_by_another_is_broken_and_the_other_is_read():
    log = parse_text(f"{LINE[:40]}{LINE}\n")
    assert (len(log.entries), log.malformed) == (1, 1)


def test_a_carriage_return_ends_an_entry_as_a_progress_bar_does():
    log = parse_text(f"\r50%\r{LINE}\r60%\r\n{LINE}\r\n")
    assert [entry.line for entry in log.entries] == [1, 2]
    assert log.malformed == 0


def test_a_token_within_a_logged_text_is_text():
    line = format_training_line(training_entry("note", "see :::MLLOG {}", time_ms=1))
    assert only(line).value == "see :::MLLOG {}"


def test_text_that_begins_like_the_token_is_no_broken_entry():
    assert parse_text("a :::ML and :::MLflow\n").malformed == 0


def test_bytes_of_any_encoding_are_read(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_bytes(b"\xff\xfe\x00caf\xe9\n" + LINE.encode() + b"\n")
    assert len(read_log(path).entries) == 1


def test_keys_that_are_not_asked_for_are_checked_and_counted_but_not_kept():
    log = parse_text(f"{LINE}\n{LINE[:-3]}\n{LINE.replace('throughput', 'seed')}\n", keys={"seed"})
    assert [(entry.key, entry.line) for entry in log.entries] == [("seed", 3)]
    assert (log.dialects, log.malformed) == ({Dialect.MLLOG: 2}, 1)


def test_a_file_that_is_missing_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"result_0\.txt cannot be read: No such file"):
        read_log(tmp_path / "result_0.txt")


def test_an_empty_file_has_no_entry_and_no_dialect(tmp_path):
    path = tmp_path / "result_0.txt"
    path.touch()
    log = read_log(path)
    assert (log.entries, log.dialect, log.benchmark) == ((), None, "")


@pytest.fixture
def long_log(tmp_path):
    path = tmp_path / "result_0.txt"
    lines = [format_training_line(entry) for entry in run_entries(qualities=[0.1] * 60)]
    lines = [line for entry in lines for line in ("text " * 20, entry)] + [LINE[:50], "the end"]
    path.write_text("\n".join(lines))
    return path


def small_pieces(monkeypatch, piece, block):
    monkeypatch.setattr(reading, "PIECE_BYTES", piece)
    monkeypatch.setattr(reading, "BLOCK_BYTES", block)


@pytest.mark.parametrize(("piece", "block"), [(1, 1), (100, 70), (5000, 333), (20_000, 999)])
def test_a_file_reads_the_same_in_pieces_of_any_size(long_log, monkeypatch, piece, block):
    whole = read_log(long_log)
    assert (len(whole.entries), whole.malformed) == (319, 1)
    small_pieces(monkeypatch, piece, block)
    assert read_log(long_log, workers=1) == whole


def test_a_file_reads_the_same_by_several_processes(long_log, monkeypatch):
    whole = read_log(long_log)
    small_pieces(monkeypatch, 20_000, 256 << 10)
    assert read_log(long_log, workers=2) == whole


def test_many_files_are_read_in_their_order_with_an_error_in_the_place_of_a_missing_one(
    long_log, tmp_path
):
    first, second, third = read_logs([long_log, tmp_path / "nowhere.txt", long_log])
    assert first == third == read_log(long_log)
    assert isinstance(second, DataError)


def test_a_file_is_read_by_this_process_where_no_other_can_be_started(long_log, monkeypatch):
    class Broken:
        def __init__(self, *arguments, **options):
            raise BrokenProcessPool

    whole = read_log(long_log)
    small_pieces(monkeypatch, 20_000, 256 << 10)
    monkeypatch.setattr(reading, "ProcessPoolExecutor", Broken)
    assert read_log(long_log, workers=2) == whole


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.text(min_size=1), VALUES, st.integers(0, 2**45)), max_size=5))
def test_whatever_is_written_is_read_back(logged):
    entries = [training_entry(key, value, time_ms=time_ms) for key, value, time_ms in logged]
    text = "\n".join(f"0: {format_training_line(entry)}\nplain" for entry in entries)
    read = parse_text(text).entries
    assert [(entry.key, entry.value, entry.time_ms) for entry in read] == logged


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.sampled_from([*':{}"\n\r ,', ":::MLLOG ", ":::MLL ", ":::MLPv0.5.0 ", LINE, "{}"]))
)
def test_no_text_is_too_strange_to_read(parts):
    text = "".join(parts)
    log = parse_text(text)
    assert log.line_count == text.count("\n")
    assert all(json.loads(json.dumps(entry.value)) == entry.value for entry in log.entries)
