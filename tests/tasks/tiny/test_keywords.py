"""Keyword spotting: what ships, what it scores, and the formats of the field's own data."""

import hashlib
import json
import wave

import numpy as np
import pytest

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import make_task
from gnomon.device.host.models import open_model
from gnomon.firmware.checks import check_graph
from gnomon.firmware.read import read_graph
from gnomon.tasks.tiny import sets
from gnomon.tasks.tiny.audio import MFCC_SCALE, MFCC_ZERO_POINT, mfcc, quantise
from gnomon.tasks.tiny.keywords import DATA, LABELS, SIZE, Keywords


@pytest.fixture(scope="module")
def task():
    return Keywords()


def made():
    return json.loads((DATA / "kws01.json").read_text())


def word(seed, samples=12000):
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype("<i2")


def write_wav(path, samples, rate_hz=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples).tobytes())


def as_input(samples):
    return quantise(mfcc(samples), MFCC_SCALE, MFCC_ZERO_POINT)[..., None]


def write_binary(folder, labels, spaces=""):
    rng = np.random.default_rng(9)
    contents = [rng.integers(0, 256, SIZE, dtype=np.uint8).tobytes() for _ in labels]
    names = [f"tst_{place:06d}_{LABELS[label]}_{label}.bin" for place, label in enumerate(labels)]
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)
    rows = [f"{name},{spaces}12,{spaces}{label}" for name, label in zip(names, labels, strict=True)]
    (folder / "y_labels.csv").write_text("\n".join(rows) + "\n")
    return names, contents


def test_the_stand_in_has_every_class_about_as_often_and_says_what_it_is(task):
    source = task.source()
    assert not source.official
    assert "stand-in" in source.name
    assert len(task) == 1000
    right = np.array([LABELS.index(task.file_name(sample).split("_")[2]) for sample in range(1000)])
    assert np.bincount(right, minlength=12).min() >= 80


def test_what_ships_is_what_its_record_says():
    record = made()
    for name, file in record["files"].items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == file["sha256"]
    with np.load(DATA / "kws01.npz") as stored:
        joined = stored["inputs"].tobytes() + stored["labels"].tobytes()
    assert (
        hashlib.sha256(joined).hexdigest() == record["arrays_sha256"] == Keywords().source().sha256
    )


def test_a_payload_is_the_input_as_it_goes_over_the_wire(task):
    asked = np.array([7, 3, 7])
    inputs = task.inputs(asked)
    assert inputs.dtype == np.int8
    assert inputs.shape == (3, 49, 10, 1)
    assert [task.payloads(int(sample)) for sample in asked] == [[one.tobytes()] for one in inputs]
    assert len(inputs[0].tobytes()) == task.payload_size == 490


def test_the_score_is_the_share_of_clips_whose_word_is_most_probable(task):
    asked = np.array([5, 900, 17, 2])
    labels = [LABELS.index(task.file_name(int(sample)).split("_")[2]) for sample in asked]
    outputs = np.eye(12, dtype=np.float32)[labels]
    assert task.score(asked, outputs) == 1.0
    outputs[1] = np.roll(outputs[1], 1)
    assert task.score(asked, outputs) == 0.75
    outputs[2, 0] = np.nan
    assert task.score(asked, list(outputs)) == 0.5
    with pytest.raises(DataError, match=r"12 probabilities a clip, got outputs of shape \(4, 11\)"):
        task.score(asked, outputs[:, 1:])


def test_an_answer_is_what_the_board_printed_and_comes_back_from_the_log(task):
    printed = np.linspace(0, 0.5, 12)
    answer = task.answer([printed])
    np.testing.assert_allclose(answer, printed, atol=1e-7)
    np.testing.assert_array_equal(task.decode(task.encode(answer)), answer)
    with pytest.raises(SystemFault, match="printed 2 results and kws01 has 12 classes"):
        task.answer([printed[:2]])


def test_the_model_takes_the_fields_inputs_and_has_only_operators_that_boards_have(task):
    pytest.importorskip("tflite")
    graph = read_graph(task.model("tflite"))
    check_graph(graph)
    took = graph.tensors[graph.input]
    assert took.shape == (1, 49, 10, 1)
    assert float(took.scale) == pytest.approx(MFCC_SCALE, rel=1e-5)
    assert took.zero_point == MFCC_ZERO_POINT
    blocks = ["DEPTHWISE_CONV_2D", "CONV_2D"] * 4
    ends = ["AVERAGE_POOL_2D", "FULLY_CONNECTED", "SOFTMAX"]
    assert [operator.name for operator in graph.operators] == ["CONV_2D", *blocks, *ends]


def test_the_model_reaches_the_accuracy_in_its_record(task):
    pytest.importorskip("ai_edge_litert")
    model = open_model(task.model("tflite"), "kws01", "litert")
    outputs = []
    for sample in range(len(task)):
        (payload,) = task.payloads(sample)
        assert not model.load(payload)
        model.infer(1)
        outputs.append(task.answer([np.array(model.results())]))
    accuracy = task.score(np.arange(len(task)), outputs)
    assert accuracy == pytest.approx(made()["int8_accuracy"], abs=0.01)
    assert 0.90 <= accuracy <= 0.97


def test_there_is_no_model_in_other_formats(task):
    with pytest.raises(DataError, match="ships no onnx model"):
        task.model("onnx")


@pytest.mark.parametrize("spaces", ["", " "])
def test_the_fields_binary_files_are_sent_as_they_are(tmp_path, spaces):
    names, contents = write_binary(tmp_path, [3, 11, 0], spaces)
    task = make_task("tiny-keywords", tmp_path)
    assert [task.payloads(sample)[0] for sample in range(3)] == contents
    assert [task.file_name(sample) for sample in range(3)] == names
    assert task.score(np.arange(3), np.eye(12)[[3, 11, 0]]) == 1.0


def test_binary_files_are_official_only_if_their_list_is_the_fields(tmp_path, monkeypatch):
    write_binary(tmp_path, [3, 11, 0])
    assert not Keywords(tmp_path).source().official
    fingerprint = sets.list_sha256(sets.read_labels(tmp_path / "y_labels.csv", 12))
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "kws01", (fingerprint,))
    assert Keywords(tmp_path).source().official


def test_a_label_file_that_does_not_fit_is_one_clear_line(tmp_path):
    names, _ = write_binary(tmp_path, [3, 11, 0])
    (tmp_path / names[1]).write_bytes(b"short")
    with pytest.raises(
        DataError, match=r"line 2: .*gives 5 bytes an inference and the benchmark takes 490"
    ):
        len(Keywords(tmp_path))
    (tmp_path / names[1]).unlink()
    with pytest.raises(DataError, match="line 2: there is no file") as caught:
        len(Keywords(tmp_path))
    assert "\n" not in str(caught.value)


def test_speech_commands_is_read_by_its_testing_list(tmp_path):
    for place, name in enumerate(
        ["stop/a_nohash_0.wav", "wow/b_nohash_0.wav", "left/c_nohash_0.wav"]
    ):
        write_wav(tmp_path / name, word(place))
    (tmp_path / "testing_list.txt").write_text("wow/b_nohash_0.wav\nstop/a_nohash_0.wav\n")
    task = Keywords(tmp_path)
    assert [task.file_name(sample) for sample in range(len(task))] == [
        "wow/b_nohash_0.wav",
        "stop/a_nohash_0.wav",
    ]
    np.testing.assert_array_equal(task.inputs(np.array([1]))[0], as_input(word(0)))
    assert task.score(np.arange(2), np.eye(12)[[11, 7]]) == 1.0
    assert not task.source().official
    (tmp_path / "testing_list.txt").write_text("stop/gone.wav\n")
    with pytest.raises(DataError, match=r"gone\.wav cannot be read"):
        len(Keywords(tmp_path))
    (tmp_path / "testing_list.txt").write_text("\n")
    with pytest.raises(DataError, match=r"testing_list\.txt is empty"):
        len(Keywords(tmp_path))


def test_clips_are_read_by_the_folder_they_are_in(tmp_path):
    for place, folder in enumerate(["_silence_", "_unknown_", "down", "_background_noise_"]):
        write_wav(tmp_path / folder / "x.wav", word(place))
    task = Keywords(tmp_path)
    assert len(task) == 3, "the noise to train with is no clip"
    assert task.score(np.arange(3), np.eye(12)[[10, 11, 0]]) == 1.0


def test_other_folders_and_other_rates_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no keywords: it must be a folder with"):
        len(Keywords(tmp_path))
    write_wav(tmp_path / "go" / "x.wav", word(1), rate_hz=8000)
    with pytest.raises(DataError, match=r"x\.wav was sampled at 8000 Hz: keywords need 16000 Hz"):
        len(Keywords(tmp_path))
