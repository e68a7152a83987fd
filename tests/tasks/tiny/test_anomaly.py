"""Anomaly detection: windows over recordings, the AUC of their errors, the formats of the field's data."""

import hashlib
import json
import wave

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import make_task
from gnomon.device.host.models import open_model
from gnomon.firmware.checks import check_graph
from gnomon.firmware.read import read_graph
from gnomon.tasks.tiny import sets
from gnomon.tasks.tiny.anomaly import DATA, MachineSounds, windows_of
from gnomon.tasks.tiny.audio import FULL_SCALE, log_mel


@pytest.fixture(scope="module")
def task():
    return MachineSounds()


@pytest.fixture(scope="module")
def labels(task):
    return np.array([task.file_name(sample).startswith("anomaly") for sample in range(len(task))])


def made():
    return json.loads((DATA / "ad01.json").read_text())


def write_binary(folder, frames, labels, numbers="2560,512"):
    rng = np.random.default_rng(4)
    contents = []
    for place, count in enumerate(frames):
        content = rng.normal(-20, 9, (count, 128)).astype("<f4")
        (folder / f"file_{place}.bin").write_bytes(content.tobytes())
        contents.append(content)
    rows = [f"file_{place}.bin, 2, {label}, {numbers}" for place, label in enumerate(labels)]
    (folder / "y_labels.csv").write_text("\n".join(rows) + "\n")
    return contents


def write_wav(path, samples, rate_hz=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())


def test_windows_are_five_frames_one_after_the_other():
    frames = np.arange(7 * 128, dtype=np.float32).reshape(7, 128)
    windows = windows_of(frames)
    assert windows.shape == (3, 640)
    for place in range(3):
        np.testing.assert_array_equal(windows[place], frames[place : place + 5].reshape(-1))


def test_the_stand_in_has_machines_of_both_kinds_and_says_what_it_is(task, labels):
    source = task.source()
    assert not source.official
    assert "stand-in" in source.name
    assert len(task) == 64
    assert labels.sum() == 28


def test_what_ships_is_what_its_record_says():
    for name, file in made()["files"].items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == file["sha256"]


def test_a_payload_is_a_window_as_little_endian_floats(task):
    (windows,) = task.inputs(np.array([5]))
    assert windows.dtype == np.float32
    payloads = task.payloads(5)
    assert len(payloads) == len(windows) == 12
    assert {len(payload) for payload in payloads} == {task.payload_size} == {2560}
    np.testing.assert_array_equal(np.frombuffer(payloads[3], dtype="<f4"), windows[3])


def test_an_answer_is_the_mean_of_what_the_board_printed(task):
    answer = task.answer([np.array([1.5]), np.array([2.5]), np.array([5.0])])
    assert answer == 3.0
    assert task.decode(task.encode(answer)) == [3.0]
    with pytest.raises(SystemFault, match="printed 640 results for a window, not its one mean"):
        task.answer([np.array([1.0]), np.zeros(640)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=64, max_size=64), st.integers(2, 64))
def test_the_score_is_scikit_learns_auc_ties_included(task, labels, scores, measured):
    asked = np.random.default_rng(measured).permutation(64)[:measured]
    assume(len(set(labels[asked])) == 2)
    outputs = [np.float32(scores[sample]) for sample in asked]
    expected = roc_auc_score(labels[asked], np.array(scores)[asked])
    assert task.score(asked, outputs) == pytest.approx(expected, abs=1e-12)


def test_a_recording_whose_score_is_no_number_is_ranked_wrong(task, labels):
    every = np.arange(len(task))
    scores = labels.astype(np.float32)
    assert task.score(every, scores[:, None]) == 1.0
    for kind in (True, False):
        lost = scores.copy()
        lost[np.flatnonzero(labels == kind)[0]] = np.nan
        assert task.score(every, lost) == pytest.approx(1 - 1 / np.sum(labels == kind))


def test_recordings_of_one_kind_and_outputs_of_another_shape_have_no_score(task, labels):
    sound = np.flatnonzero(~labels)[:3]
    with pytest.raises(DataError, match="all 3 measured are normal: measure more"):
        task.score(sound, np.zeros(3))
    with pytest.raises(DataError, match=r"one number a recording, got outputs of shape \(3, 2\)"):
        task.score(sound, np.zeros((3, 2)))


def test_the_model_is_the_fields_autoencoder_and_has_only_operators_that_boards_have(task):
    pytest.importorskip("tflite")
    graph = read_graph(task.model("tflite"))
    check_graph(graph)
    assert {operator.name for operator in graph.operators} == {"FULLY_CONNECTED"}
    widths = [graph.tensors[operator.output].shape for operator in graph.operators]
    assert widths == [(1, n) for n in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640)]
    assert graph.tensors[graph.input].shape == (1, 640)


def test_the_model_reaches_the_auc_in_its_record(task):
    pytest.importorskip("ai_edge_litert")
    model = open_model(task.model("tflite"), "ad01", "litert")

    def printed(payload):
        assert not model.load(payload)
        model.infer(1)
        return np.round(model.results(), 3)

    every = np.arange(len(task))
    outputs = [task.answer([printed(one) for one in task.payloads(sample)]) for sample in every]
    auc = task.score(every, outputs)
    assert auc == pytest.approx(made()["int8_auc"], abs=0.01)
    assert 0.85 < auc < 1


def test_the_fields_binary_files_are_cut_into_windows(tmp_path):
    contents = write_binary(tmp_path, [6, 5, 9], [0, 1, 1])
    task = make_task("tiny-machine-sounds", tmp_path)
    assert [len(task.payloads(sample)) for sample in range(3)] == [2, 1, 5]
    for sample, content in enumerate(contents):
        for place, payload in enumerate(task.payloads(sample)):
            assert payload == content[place : place + 5].tobytes()
    assert task.score(np.arange(3), np.array([1.0, 3.0, 0.0])) == 0.5


@pytest.mark.parametrize(("frames", "official"), [([200, 200], True), ([200, 199], False)])
def test_binary_files_are_official_only_if_list_and_length_are_the_fields(
    tmp_path, monkeypatch, frames, official
):
    write_binary(tmp_path, frames, [0, 1])
    assert not MachineSounds(tmp_path).source().official
    fingerprint = sets.list_sha256(sets.read_labels(tmp_path / "y_labels.csv", 2))
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "ad01", (fingerprint,))
    assert MachineSounds(tmp_path).source().official is official


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("2560,1024", "line 1: .*(stride 1024|every 1024)"),
        ("1280,512", "1280 bytes an inference and the benchmark takes 2560"),
        ("2560", "line 1: "),
    ],
)
def test_a_label_file_that_does_not_fit_is_one_clear_line(tmp_path, numbers, message):
    write_binary(tmp_path, [7, 7], [0, 1], numbers)
    with pytest.raises(DataError, match=message) as caught:
        len(MachineSounds(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["", "test"])
def test_recordings_of_dcase_are_read_from_their_middle(tmp_path, where):
    rng = np.random.default_rng(8)
    samples = rng.integers(-8000, 8000, 60 * 512).astype("<i2")
    write_wav(tmp_path / where / "normal_id_01_00000000.wav", samples)
    write_wav(tmp_path / where / "anomaly_id_01_00000000.wav", samples[::-1])
    write_wav(tmp_path / where / "notes.wav", samples)
    task = MachineSounds(tmp_path)
    assert [task.file_name(0), task.file_name(1)] == [
        "anomaly_id_01_00000000.wav",
        "normal_id_01_00000000.wav",
    ]
    (windows,) = task.inputs(np.array([1]))
    frames = log_mel(samples / FULL_SCALE)[50:]
    np.testing.assert_array_equal(windows, windows_of(frames))
    assert task.score(np.arange(2), np.array([2.0, 1.0])) == 1.0
    assert not task.source().official


def test_other_folders_and_short_recordings_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no machine sounds: it must be a folder with"):
        len(MachineSounds(tmp_path))
    write_wav(tmp_path / "normal_id_01_00000000.wav", np.zeros(16000))
    with pytest.raises(DataError, match=r"00000000\.wav is too short \(1\.0 s\)"):
        len(MachineSounds(tmp_path))
