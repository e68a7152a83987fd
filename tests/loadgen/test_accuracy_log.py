"""The accuracy log beside the reference load generator's own, byte for byte, and read back.

Logs of killed runs and damaged ones are read as far as they can be trusted.
"""

import json

import mlperf_loadgen
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gnomon.core.errors import DataError, RunFolderError
from gnomon.loadgen.accuracy_log import ROWS_AT_ONCE, AccuracyLog, Answer, read_accuracy_log
from gnomon.loadgen.measure import measure
from gnomon.loadgen.settings import Mode, Scenario, Settings
from gnomon.loadgen.system import SynchronousSystem
from gnomon.tasks.digits import Digits

LOG_FILE = "mlperf_log_accuracy.json"
TOTAL, AT_ONCE = 797, 300
TABLE = np.random.default_rng(5).normal(size=(TOTAL, 3)).astype(np.float32)
"""An answer for each sample."""


class FromTable(SynchronousSystem):
    name = "from-table"

    def __init__(self, max_batch_size):
        self.max_batch_size = max_batch_size

    def load(self, task, samples):
        pass

    def predict(self, samples):
        return TABLE[samples]


def reference_loadgen(settings, folder):
    """Run an accuracy test of the reference on the table; the accuracy log as bytes."""

    def issue(samples):
        mlperf_loadgen.QuerySamplesComplete(
            [
                mlperf_loadgen.QuerySampleResponse(
                    sample.id, TABLE[sample.index].ctypes.data, TABLE[sample.index].nbytes
                )
                for sample in samples
            ]
        )

    wanted = mlperf_loadgen.TestSettings()
    wanted.scenario = getattr(mlperf_loadgen.TestScenario, settings.scenario.field_name)
    wanted.mode = getattr(mlperf_loadgen.TestMode, settings.mode.field_name)
    wanted.server_target_qps = 1e6
    wanted.multi_stream_samples_per_query = settings.samples_per_query
    for name in ("qsl", "sample_index", "schedule"):
        setattr(wanted, f"{name}_rng_seed", getattr(settings.seeds, name))
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    log_settings = mlperf_loadgen.LogSettings()
    log_settings.log_output = output
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(
        TOTAL, AT_ONCE, lambda samples: None, lambda samples: None
    )
    try:
        mlperf_loadgen.StartTestWithLogSettings(system, library, wanted, log_settings)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
    return (folder / LOG_FILE).read_bytes()


def settings_of(scenario):
    return Settings(
        scenario=scenario,
        mode=Mode.ACCURACY,
        total_sample_count=TOTAL,
        performance_sample_count=AT_ONCE,
        target_qps=1e6,
        samples_per_query=4 if scenario is Scenario.MULTI_STREAM else 1,
    )


def gnomon_log(settings, folder, max_batch_size, *, encoded=False):
    """Run our accuracy test on the table; the accuracy log as bytes."""
    log = AccuracyLog(folder / LOG_FILE)

    def keep_encoded(ids, samples, outputs):
        log.append_encoded(ids, samples, [output.tobytes() for output in outputs])

    sink = keep_encoded if encoded else log.append
    measure(FromTable(max_batch_size), Digits(), settings, folder, sink=sink)
    log.close()
    return (folder / LOG_FILE).read_bytes()


def lines_by_id(content):
    """The lines in the order of their ids, each without the comma that separates it."""
    lines = [line.removesuffix(b",") for line in content.splitlines()]
    assert (lines[0], lines[-1]) == (b"[", b"]")
    return sorted(lines[1:-1], key=lambda line: json.loads(line)["seq_id"])


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.SERVER, Scenario.OFFLINE])
def test_answers_given_one_by_one_make_the_references_file_to_the_byte(tmp_path, scenario, encoded):
    settings = settings_of(scenario)
    expected = reference_loadgen(settings, tmp_path)
    assert gnomon_log(settings, tmp_path, max_batch_size=1, encoded=encoded) == expected


@pytest.mark.parametrize("scenario", Scenario)
def test_answers_given_in_batches_make_the_references_lines(tmp_path, scenario):
    settings = settings_of(scenario)
    expected = reference_loadgen(settings, tmp_path)
    content = gnomon_log(settings, tmp_path, max_batch_size=128)
    assert lines_by_id(content) == lines_by_id(expected)
    assert len(content) == len(expected)
    assert content.count(b",\n") == content.count(b"}") - 1


@pytest.mark.parametrize("scenario", Scenario)
def test_the_references_log_is_read_in_full(tmp_path, scenario):
    reference_loadgen(settings_of(scenario), tmp_path)
    answers = read_accuracy_log(tmp_path / LOG_FILE)
    assert sorted(answer.id for answer in answers) == list(range(len(answers)))
    for answer in answers:
        assert answer.data == TABLE[answer.sample_index].tobytes()
    if scenario is not Scenario.MULTI_STREAM:  # which leaves out what fills no query
        assert sorted(answer.sample_index for answer in answers) == list(range(TOTAL))


def write(path, *batches):
    log = AccuracyLog(path)
    for ids, samples, outputs in batches:
        log.append(np.array(ids, dtype=np.int64), np.array(samples, dtype=np.int64), outputs)
    log.close()
    return path.read_bytes()


def test_a_line_is_the_fields_to_the_byte(tmp_path):
    content = write(
        tmp_path / LOG_FILE, ([0], [12345], np.array([[0x10, 0xAB, 0x00]], dtype=np.uint8))
    )
    assert content == b'[\n{ "seq_id" : 0, "qsl_idx" : 12345, "data" : "10AB00" }\n]\n'


def test_a_log_without_answers_is_the_references_for_a_performance_test(tmp_path):
    assert write(tmp_path / LOG_FILE) == b"[\n]\n"
    assert read_accuracy_log(tmp_path / LOG_FILE) == []


numbers = st.integers(0, 2**63 - 1) | st.integers(0, 1200)
dtypes = st.sampled_from(["u1", "i1", "?", "<i4", ">i4", "<f4", "<f8", "<i8", "<c8"])
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def batches(draw):
    ids = draw(st.lists(numbers, min_size=1, max_size=30, unique=True))
    samples = draw(st.lists(numbers, min_size=len(ids), max_size=len(ids)))
    outputs = draw(arrays.arrays(draw(dtypes), (len(ids), *draw(shapes))))
    return ids, samples, outputs


@given(st.lists(batches(), max_size=3))
@hypothesis_settings(max_examples=60)
@example([([9, 10, 99, 100, 10**18], [10**18 - 1, 0, 9, 10, 99], np.arange(5, dtype=np.float32))])
def test_what_is_written_is_read_back(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    content = write(path, *written)
    expected = [
        Answer(number, sample, outputs[row : row + 1].tobytes())
        for ids, samples, outputs in written
        for row, (number, sample) in enumerate(zip(ids, samples, strict=True))
    ]
    key = repr
    assert sorted(read_accuracy_log(path), key=key) == sorted(expected, key=key)
    for line in content.splitlines()[1:-1]:
        entry = json.loads(line.removesuffix(b","))
        assert entry["data"] == entry["data"].upper()


@given(st.lists(st.tuples(numbers, numbers, st.binary(max_size=40)), max_size=30))
def test_answers_that_are_bytes_of_any_size_are_read_back_in_order(tmp_path_factory, written):
    path = tmp_path_factory.getbasetemp() / "encoded.json"
    log = AccuracyLog(path)
    if written:
        ids, samples, data = zip(*written, strict=True)
        log.append_encoded(np.array(ids), np.array(samples), list(data))
    log.close()
    assert read_accuracy_log(path) == [Answer(*entry) for entry in written]


def test_columns_of_a_larger_array_are_written_as_they_are_seen(tmp_path):
    table = np.arange(24, dtype=np.int16).reshape(4, 6)
    write(tmp_path / LOG_FILE, (range(4), range(4), table[:, ::2]))
    assert [answer.data for answer in read_accuracy_log(tmp_path / LOG_FILE)] == [
        row.tobytes() for row in table[:, ::2]
    ]


def test_a_batch_of_more_than_one_block_is_whole(tmp_path):
    count = ROWS_AT_ONCE + 5
    write(tmp_path / LOG_FILE, (range(count), range(count), np.arange(count, dtype=np.int32)))
    answers = read_accuracy_log(tmp_path / LOG_FILE)
    assert sorted(answer.id for answer in answers) == list(range(count))
    assert all(answer.data == np.int32(answer.id).tobytes() for answer in answers)


def test_an_empty_batch_adds_nothing(tmp_path):
    one = ([7], [8], np.zeros((1, 2), dtype=np.float32))
    none = ([], [], np.zeros((0, 2), dtype=np.float32))
    assert write(tmp_path / "with", none, one, none) == write(tmp_path / "without", one)


def written_log(path, count=12):
    write(path, (range(count), range(100, 100 + count), np.arange(count, dtype=np.int32)))
    return path.read_bytes()


def test_a_log_that_was_not_closed_is_read_as_far_as_it_goes(tmp_path):
    log = AccuracyLog(tmp_path / LOG_FILE)
    assert read_accuracy_log(tmp_path / LOG_FILE) == []
    log.append(np.arange(3), np.arange(3), np.arange(3, dtype=np.uint8))
    assert [answer.id for answer in read_accuracy_log(tmp_path / LOG_FILE)] == [0, 1, 2]
    log.close()


def test_a_log_cut_short_anywhere_gives_every_whole_answer(tmp_path):
    path = tmp_path / LOG_FILE
    content = written_log(path, 4)
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("}")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert len(read_accuracy_log(path)) == sum(end <= length for end in ends)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{ "seq_id" : 5, "qsl_idx" : 1, "data" : "0000',
        b'{ "seq_id" : 5, "qsl_idx" : 1, "data" : "0G" },',
        b'{ "seq_id" : 5, "qsl_idx" : 1, "data" : "000" },',
        b'{ "seq_id" : 5, "data" : "00" },',
        b'{ "seq_id" : 5, "qsl_idx" : 1, "data" : 7 },',
        b'{ "seq_id" : "five", "qsl_idx" : 1, "data" : "00" },',
        b'{ "seq_id" : 5, "qsl_idx" : null, "data" : "00" },',
        b'{ "seq_id" : 5, "qsl_idx" : 1.5, "data" : "00" },',
        b'{ "seq_id" : 5, "qsl_idx" : true, "data" : "00" },',
        b"7,",
        b"\x00\xff\xfe,",
        b"[" * 100_000,
    ],
    ids=lambda damage: damage[:48].decode(errors="replace") or "a line that is gone",
)
def test_a_damaged_line_is_named_with_its_file_and_number(tmp_path, damage):
    path = tmp_path / LOG_FILE
    lines = written_log(path).split(b"\n")
    lines[6] = damage
    path.write_bytes(b"\n".join(lines))
    if not damage:
        assert len(read_accuracy_log(path)) == 11
        return
    with pytest.raises(DataError, match=r"accuracy\.json:7: not an accuracy log entry \(damaged, "):
        read_accuracy_log(path)


@pytest.mark.parametrize("content", [b"", b"[", b"[\n", b"[]", b"[\n]", b"\n\n"])
def test_a_log_that_holds_nothing_yet_has_no_answers(tmp_path, content):
    (tmp_path / LOG_FILE).write_bytes(content)
    assert read_accuracy_log(tmp_path / LOG_FILE) == []


def test_fields_for_tokens_are_passed_over(tmp_path):
    (tmp_path / LOG_FILE).write_bytes(
        b'[\n{ "seq_id" : 3, "qsl_idx" : 4, "data" : "0a0B", "token_data" : "01000000", '
        b'"token_count" : 9 }\n]\n'
    )
    assert read_accuracy_log(tmp_path / LOG_FILE) == [Answer(3, 4, b"\x0a\x0b")]


def test_what_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(DataError, match=r"away\.json cannot be read: No such file"):
        read_accuracy_log(tmp_path / "away.json")
    with pytest.raises(RunFolderError, match=r"cannot write .*log\.json: .*choose another folder"):
        AccuracyLog(tmp_path / "away" / "log.json")
