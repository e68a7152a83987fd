"""Streaming wake word: windows over a stream, what counts as heard, and the field's recordings."""

import hashlib
import json
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import make_task
from gnomon.device.host.models import open_model
from gnomon.firmware.checks import check_graph
from gnomon.firmware.read import read_graph
from gnomon.tasks.tiny import streaming
from gnomon.tasks.tiny.audio import FULL_SCALE, LFBE_SCALE, LFBE_ZERO_POINT, lfbe, quantise
from gnomon.tasks.tiny.streaming import DATA, WakeWord, heard_at_s, match

HEARD = np.array([0.99, 0.0, 0.01], dtype=np.float32)
NOT_HEARD = np.array([0.05, 0.0, 0.95], dtype=np.float32)


@pytest.fixture(scope="module")
def task():
    return WakeWord()


def made():
    return json.loads((DATA / "sww01.json").read_text())


def outputs_of(task, detected):
    outputs = np.tile(NOT_HEARD, (len(task), 1))
    outputs[detected] = HEARD
    return outputs


def window_at(time_s):
    """The first window that has been heard to its end at this time."""
    return int(np.searchsorted(heard_at_s(np.arange(100_000)), time_s))


def write_recording(folder, windows, samples=None, rate_hz=16000, name="long.wav"):
    if samples is None:
        samples = np.random.default_rng(6).integers(-9000, 9000, 40_000)
    with wave.open(str(folder / name), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    listing = [{"wav_file": name, "sample_rate": rate_hz, "detection_windows": windows}]
    (folder / "sww_long_test.json").write_text(json.dumps(listing))
    return np.asarray(samples)


def test_the_stand_in_has_fifty_wake_words_and_says_what_it_is(task):
    source = task.source()
    assert not source.official
    assert "stand-in" in source.name
    assert task.words_s.shape == (50, 2)
    between = task.words_s[1:, 0] - task.words_s[:-1, 1]
    assert between.min() > streaming.TOLERANCE_S, "a detection can be of one word only"
    assert heard_at_s(len(task) - 1) > task.words_s[-1, 1]


def test_what_ships_is_what_its_record_says():
    for name, file in made()["files"].items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == file["sha256"]


def test_windows_slide_by_a_frame(task):
    windows = task.inputs(np.array([40, 41]))
    assert windows.dtype == np.int8
    assert windows.shape == (2, 30, 1, 40)
    np.testing.assert_array_equal(windows[0, 1:], windows[1, :-1])
    assert task.payloads(41) == [windows[1].tobytes()]
    assert len(windows[1].tobytes()) == task.payload_size == 1200
    assert len(task.payloads(len(task) - 1)[0]) == 1200


def test_a_window_is_heard_when_its_last_sample_has_sounded():
    np.testing.assert_allclose(heard_at_s([0, 1]), [(29 * 512 + 1024) / 16000, 0.992 + 0.032])


def test_an_answer_is_what_the_board_printed(task):
    answer = task.answer([np.array([0.996, 0.0, 0.004])])
    np.testing.assert_array_equal(task.decode(task.encode(answer)), answer)
    with pytest.raises(SystemFault, match="printed 12 results and sww01 has 3 classes"):
        task.answer([np.zeros(12)])


def test_a_word_is_heard_from_its_start_until_two_seconds_after_its_end():
    words = [[10.0, 10.5], [20.0, 20.5], [30.0, 30.5]]
    found = match([10.0, 22.5, 32.51], words)
    np.testing.assert_array_equal(found.true_positives_s, [10.0, 20.0])
    np.testing.assert_array_equal(found.false_negatives_s, [30.0])
    np.testing.assert_array_equal(found.false_positives_s, [32.51])
    assert found.f1 == 4 / 6


def test_by_the_written_rules_it_is_heard_for_one_second_only():
    assert len(match([22.5], [[20.0, 20.5]], tolerance_s=1.0).false_positives_s) == 1
    assert len(match([21.5], [[20.0, 20.5]], tolerance_s=1.0).true_positives_s) == 1


def test_a_false_alarm_is_counted_once_a_second():
    found = match([5.0, 5.4, 6.0, 6.01, 7.5], [])
    np.testing.assert_array_equal(found.false_positives_s, [5.0, 6.01, 7.5])
    assert found.f1 == 0


def test_hearing_a_word_many_times_counts_once():
    found = match([1.1, 1.2, 1.3, 2.0], [[1.0, 1.5]])
    assert len(found.true_positives_s) == 1
    assert len(found.false_positives_s) == 0
    assert found.f1 == 1


@settings(max_examples=100, deadline=None)
@given(
    detections=st.lists(st.floats(0, 60), max_size=30).map(sorted),
    starts=st.lists(st.floats(0, 60), max_size=8, unique=True).map(sorted),
    tolerance_s=st.floats(0, 3),
)
def test_every_word_is_found_or_missed_and_every_false_alarm_stands_alone(
    detections, starts, tolerance_s
):
    words = [[start, start + 0.5] for start in starts]
    found = match(detections, words, tolerance_s)
    both = np.concatenate([found.true_positives_s, found.false_negatives_s])
    np.testing.assert_array_equal(np.sort(both), starts)
    alarms = found.false_positives_s
    assert (np.diff(alarms) > streaming.DEBOUNCE_S).all()
    assert set(alarms) <= set(detections)
    for alarm in alarms:
        assert not any(start <= alarm <= start + 0.5 + tolerance_s for start in starts)
    assert 0 <= found.f1 <= 1


def test_the_score_is_f1_of_the_whole_stream_in_whatever_order_it_was_measured(task):
    every = np.arange(len(task))
    outputs = outputs_of(task, [window_at(end_s) for _, end_s in task.words_s])
    assert task.score(every, outputs) == 1.0
    shuffled = np.random.default_rng(2).permutation(every)
    assert task.score(shuffled, outputs[shuffled]) == 1.0
    assert task.score(every, outputs_of(task, [])) == 0.0
    missed_one = outputs_of(task, [window_at(end_s) for _, end_s in task.words_s[1:]])
    assert task.score(every, missed_one) == pytest.approx(98 / 99)


def test_a_probability_must_exceed_the_threshold_and_be_a_number(task):
    every = np.arange(len(task))
    outputs = outputs_of(task, [])
    place = window_at(task.words_s[0, 1])
    for probability, heard in ((0.949, 0), (0.95, 0), (0.953, 1), (np.nan, 0)):
        outputs[place, 0] = probability
        assert len(task.counts(every, outputs).true_positives_s) == heard


def test_a_part_of_the_stream_is_held_to_the_words_in_it_only(task):
    third = window_at(task.words_s[2, 1])
    some = np.arange(third - 5, third + 5)
    heard = task.counts(some, np.tile(HEARD, (10, 1)))
    np.testing.assert_array_equal(heard.true_positives_s, task.words_s[2:3, 0])
    assert len(heard.false_negatives_s) == 0
    with pytest.raises(
        DataError, match=r"3 probabilities a window, got outputs of shape \(10, 2\)"
    ):
        task.counts(some, np.zeros((10, 2)))


def test_the_model_is_the_fields_and_has_only_operators_that_boards_have(task):
    pytest.importorskip("tflite")
    graph = read_graph(task.model("tflite"))
    check_graph(graph)
    took = graph.tensors[graph.input]
    assert took.shape == (1, 30, 1, 40)
    assert float(took.scale) == pytest.approx(LFBE_SCALE, rel=1e-5)
    assert took.zero_point == LFBE_ZERO_POINT
    blocks = ["DEPTHWISE_CONV_2D", "CONV_2D"] * 4
    ends = ["FULLY_CONNECTED", "SOFTMAX"]
    assert [operator.name for operator in graph.operators] == [*blocks, *ends]
    kernels = [graph.tensors[operator.inputs[1]].shape[1] for operator in graph.operators[:8:2]]
    assert kernels == [3, 5, 10, 15]


def test_the_model_hears_what_its_record_says(task):
    pytest.importorskip("ai_edge_litert")
    model = open_model(task.model("tflite"), "sww01", "litert")
    every = np.arange(len(task))
    outputs = []
    for sample in every:
        assert not model.load(task.payloads(int(sample))[0])
        model.infer(1)
        outputs.append(task.answer([np.round(model.results(), 3)]))
    found, record = task.counts(every, outputs), made()["int8"]
    assert abs(len(found.true_positives_s) - record["true_positives"]) <= 1
    assert abs(len(found.false_positives_s) - record["false_positives"]) <= 1
    assert len(found.false_negatives_s) <= 8
    assert len(found.false_positives_s) <= 8
    assert found.f1 < 1, "a perfect stand-in measures nothing"


@pytest.mark.parametrize("named", ["", "sww_long_test.json"])
def test_the_fields_recordings_are_read_with_their_list(tmp_path, named):
    samples = write_recording(tmp_path, [[0.2, 0.9], [1.5, 2.1]])
    (tmp_path / "sww_short_test.json").write_text("[]")
    task = make_task("tiny-wake-word", tmp_path / named)
    frames = quantise(lfbe(samples / FULL_SCALE), LFBE_SCALE, LFBE_ZERO_POINT)
    assert len(task) == len(frames) - 29 == 48
    np.testing.assert_array_equal(task.inputs(np.array([9]))[0, :, 0], frames[9:39])
    np.testing.assert_array_equal(task.words_s, [[0.2, 0.9], [1.5, 2.1]])
    assert not task.source().official


def test_a_recording_is_official_by_its_length_and_number_of_words(tmp_path, monkeypatch):
    write_recording(tmp_path, [[0.2, 0.9], [1.5, 2.1]])
    monkeypatch.setattr(streaming, "OFFICIAL_WORDS", 2)
    assert not WakeWord(tmp_path).source().official
    monkeypatch.setattr(streaming, "OFFICIAL_DURATION_S", 2.5)
    assert WakeWord(tmp_path).source().official


@pytest.mark.parametrize(
    "windows", [[], [[1.5, 2.1], [0.2, 0.9]], [[0.9, 0.2]], [[99.0, 99.5]], [[-1.0, 0.5]]]
)
def test_windows_that_do_not_fit_the_recording_are_one_clear_line(tmp_path, windows):
    write_recording(tmp_path, windows)
    with pytest.raises(
        DataError, match="has detection windows that are none, not in order"
    ) as caught:
        len(WakeWord(tmp_path))
    assert "\n" not in str(caught.value)


def test_recordings_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.json files"):
        len(WakeWord(tmp_path))
    write_recording(tmp_path, [[0.2, 0.9]], rate_hz=8000)
    with pytest.raises(DataError, match="was sampled at 8000 Hz: wake words need 16000 Hz"):
        len(WakeWord(tmp_path))
    write_recording(tmp_path, [[0.2, 0.9]], samples=np.zeros(15_871))
    with pytest.raises(DataError, match=r"is too short \(0\.99 s\)"):
        len(WakeWord(tmp_path))
    for text in ("{}", "[]", "[1]", '[{"wav_file": "long.wav"}]', "not json"):
        (tmp_path / "sww_long_test.json").write_text(text)
        with pytest.raises(DataError, match="is no list of recordings"):
            len(WakeWord(tmp_path))
