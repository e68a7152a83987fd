"""Picture tasks: the stand-ins and their models, the field's score and AUC, and CIFAR-10 in every form."""

import hashlib
import importlib
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gnomon.core.errors import DataError, SystemFault
from gnomon.tasks.tiny import sets
from gnomon.tasks.tiny.images import DATA, Images, class_auc
from gnomon.tasks.tiny.person import Person
from gnomon.tasks.tiny.sets import LABELS, list_sha256, read_labels

STAND_INS = pytest.mark.parametrize("make", [Images, Person])
SEEN = {
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D"),
    *("RESHAPE", "SOFTMAX", "ADD"),
}
"""The operators that the firmware knows."""


def every(task):
    return np.arange(len(task))


def one_hot(labels, classes):
    return np.eye(classes, dtype=np.float32)[labels]


def card(task):
    return json.loads((DATA / f"{task.model_id}.json").read_text())


@STAND_INS
def test_the_data_is_called_a_stand_in_and_is_the_data_that_its_card_describes(make):
    task = make()
    source = task.source()
    assert not source.official
    assert "stand-in" in source.name
    assert source.sha256 == card(task)["sha256"]["pictures_and_labels"]
    assert len(task) == card(task)["samples"]
    assert task.file_name(0).startswith("stand_in_")


@STAND_INS
def test_every_class_has_as_many_pictures(make):
    task = make()
    counts = np.bincount(task.pictures.labels, minlength=task.classes)
    assert counts.tolist() == [len(task) // task.classes] * task.classes


@STAND_INS
def test_inputs_are_the_pixels_of_the_wire_less_128(make):
    task = make()
    asked = np.array([5, 0, 5])
    inputs = task.inputs(asked)
    assert inputs.dtype == np.int8
    assert inputs.shape == (3, task.side, task.side, 3)
    for sample, one in zip(asked, inputs, strict=True):
        (payload,) = task.payloads(sample)
        assert len(payload) == task.payload_size
        pixels = np.frombuffer(payload, dtype=np.uint8).reshape(one.shape)
        np.testing.assert_array_equal(one, pixels.astype(np.int16) - 128)


@STAND_INS
def test_the_score_is_the_share_of_right_answers_and_nan_is_wrong(make):
    task = make()
    some = np.array([3, 1, 4, 15])
    outputs = one_hot(task.pictures.labels[some], task.classes)
    assert task.score(some, outputs) == 1.0
    outputs[0] = np.roll(outputs[0], 1)
    assert task.score(some, list(outputs)) == 0.75
    outputs[2, task.pictures.labels[some[2]]] = np.nan
    assert task.score(some, outputs) == 0.5
    with pytest.raises(DataError, match="probabilities a picture, got outputs of shape"):
        task.score(some, outputs[:, :1])


@STAND_INS
def test_what_a_board_prints_is_the_answer_and_survives_the_log(make):
    task = make()
    printed = np.linspace(0.1, 0.9, task.classes)
    answer = task.answer([printed])
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(task.decode(task.encode(answer)), printed.astype(np.float32))
    with pytest.raises(SystemFault, match=f"the board printed {task.classes + 1} results"):
        task.answer([np.zeros(task.classes + 1)])


@STAND_INS
def test_it_ships_an_int8_model_with_the_fingerprint_of_its_card_and_no_other(make):
    task = make()
    content = task.model("tflite").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card(task)["sha256"][f"{task.model_id}.tflite"]
    with pytest.raises(DataError, match="ships no onnx model"):
        task.model("onnx")


@STAND_INS
def test_the_model_is_of_known_operators_on_int8_with_weights_scaled_by_channel(make):
    schema = pytest.importorskip("tflite", reason="needs the TFLite schema: gnomon[tiny]")
    model = schema.Model.GetRootAs(make().model("tflite").read_bytes())
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [model.OperatorCodes(k) for k in range(model.OperatorCodesLength())]
    assert {names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes} <= SEEN
    graph = model.Subgraphs(0)
    for end in (graph.Inputs(0), graph.Outputs(0)):
        assert graph.Tensors(end).Type() == schema.TensorType.INT8
    channels = 0
    for place in range(graph.OperatorsLength()):
        operator = graph.Operators(place)
        name = names[codes[operator.OpcodeIndex()].BuiltinCode()]
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = graph.Tensors(operator.Inputs(1))
            axis = 0 if name == "CONV_2D" else 3
            assert weights.Type() == schema.TensorType.INT8
            assert weights.Quantization().ScaleLength() == weights.Shape(axis)
            channels += weights.Shape(axis)
    assert channels > 200


def answers(task, samples, runtime):
    """The model's probabilities as stored, int8 (n, classes)."""
    path = str(task.model("tflite"))
    if runtime == "tflm":
        name = "tflite_micro.python.tflite_micro.runtime"
        pytest.importorskip("tflite_micro", reason="needs tflite-micro: gnomon[tiny]")
        interpreter = importlib.import_module(name).Interpreter.from_file(path)
        give, take = interpreter.set_input, interpreter.get_output
    else:
        lite = pytest.importorskip("ai_edge_litert.interpreter", reason="needs gnomon[tiny]")
        kind = lite.OpResolverType.BUILTIN_REF
        interpreter = lite.Interpreter(path, experimental_op_resolver_type=kind)
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]["index"]
        leave = interpreter.get_output_details()[0]["index"]

        def give(value, _):
            interpreter.set_tensor(entry, value)

        def take(_):
            return interpreter.get_tensor(leave)

    found = []
    for one in task.inputs(samples):
        give(one[None], 0)
        interpreter.invoke()
        found.append(np.array(take(0)[0]))
    return np.stack(found)


@STAND_INS
def test_tflite_micro_reaches_the_accuracy_of_the_card_which_is_above_the_fields_target(make):
    task = make()
    probabilities = (answers(task, every(task), "tflm").astype(np.float32) + 128) / 256
    accuracy = task.score(every(task), probabilities)
    assert accuracy == pytest.approx(card(task)["accuracy"]["int8"], abs=1.5 / len(task))
    assert {"ic01": 0.85, "vww01": 0.80}[task.model_id] <= accuracy < 1
    assert task.auc(every(task), probabilities) > accuracy


@STAND_INS
def test_the_reference_kernels_of_litert_and_of_tflite_micro_differ_in_rare_bytes_by_little(make):
    task = make()
    samples = every(task)[:: max(1, len(task) // 20)]
    micro = answers(task, samples, "tflm").astype(int)
    apart = np.abs(answers(task, samples, "litert") - micro)
    assert apart.max() <= 2
    assert (apart > 0).mean() <= 0.02


def simplex(rng, count, classes):
    """Probabilities as boards print them, with three decimals and so with ties."""
    return np.round(rng.dirichlet(np.ones(classes), count), 3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 12))
def test_the_auc_is_scikit_learns_of_probabilities_scaled_to_one(seed, classes):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(5 * classes) % classes)
    printed = simplex(rng, len(labels), classes)
    scaled = printed / printed.sum(axis=1, keepdims=True)
    if classes == 2:
        expected = roc_auc_score(labels, scaled[:, 1])
    else:
        expected = roc_auc_score(labels, scaled, multi_class="ovr")
    assert class_auc(labels, printed) == pytest.approx(expected, abs=1e-12)


def test_an_auc_that_means_nothing_is_nan():
    probabilities = np.full((4, 2), 0.5)
    assert class_auc([0, 1, 0, 1], probabilities) == 0.5
    assert math.isnan(class_auc([1, 1, 1, 1], probabilities))
    probabilities[2] = 0
    assert math.isnan(class_auc([0, 1, 0, 1], probabilities))
    probabilities[2] = np.nan
    assert math.isnan(class_auc([0, 1, 0, 1], probabilities))


NAMES = ("dog_s_000001", "cat_s_000002", "emu_s_000003")
CLASSES = (5, 3, 2)


def planes():
    return np.random.default_rng(5).integers(0, 256, (3, 3072), dtype=np.uint8)


def pictures():
    return planes().reshape(3, 3, 32, 32).transpose(0, 2, 3, 1)


def write_python_version(folder):
    """Planes, labels and names as the python version stores them."""
    names = [f"{name}.png".encode() for name in NAMES]
    stored = {b"data": planes(), b"labels": list(CLASSES), b"filenames": names}
    (folder / "test_batch").write_bytes(pickle.dumps(stored, protocol=2))


def write_list(folder, rows):
    (folder / LABELS).write_text("".join(f"{name}.bin,10,{label}\n" for name, label in rows))


def test_the_fields_binary_files_are_official_if_their_list_is_the_fields(tmp_path, monkeypatch):
    write_list(tmp_path, zip(NAMES, CLASSES, strict=True))
    for name, picture in zip(NAMES, pictures(), strict=True):
        (tmp_path / f"{name}.bin").write_bytes(picture.tobytes())
    task = Images(tmp_path)
    np.testing.assert_array_equal(task.inputs(np.array([2]))[0] + 128.0, pictures()[2])
    assert task.score(every(task), one_hot(list(CLASSES), 10)) == 1.0
    assert task.file_name(1) == "cat_s_000002.bin"
    assert not task.source().official
    own = list_sha256(read_labels(tmp_path / LABELS, 10))
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "ic01", (own,))
    assert Images(tmp_path).source().official


def test_of_cifar_10_the_images_that_the_fields_list_names_are_taken_in_its_order(
    tmp_path, monkeypatch
):
    write_python_version(tmp_path)
    write_list(tmp_path, [(NAMES[2], 2), (NAMES[0], 5)])
    own = list_sha256(read_labels(tmp_path / LABELS, 10))
    monkeypatch.setitem(sets.OFFICIAL_LISTS, "ic01", (own,))
    task = Images(tmp_path)
    assert task.payloads(0) == [pictures()[2].tobytes()]
    assert task.payloads(1) == [pictures()[0].tobytes()]
    assert task.score(every(task), one_hot([2, 5], 10)) == 1.0
    assert task.file_name(0) == "emu_s_000003.bin"
    assert task.source().official


def test_cifar_10_without_a_list_is_taken_whole_and_is_not_official(tmp_path):
    write_python_version(tmp_path)
    task = Images(tmp_path)
    assert len(task) == 3
    assert task.payloads(1) == [pictures()[1].tobytes()]
    assert task.file_name(1) == "cat_s_000002.png"
    assert not task.source().official
    assert len(Images(tmp_path / "test_batch")) == 3


@pytest.mark.parametrize("name", ["test_batch.bin", "data_batch_2.bin"])
def test_the_binary_version_of_cifar_10_is_taken_whole_a_batch_at_a_time(tmp_path, name):
    path = tmp_path / name
    rows = zip(CLASSES, planes(), strict=True)
    path.write_bytes(b"".join(bytes([label]) + row.tobytes() for label, row in rows))
    task = Images(tmp_path if name == "test_batch.bin" else path)
    assert task.payloads(2) == [pictures()[2].tobytes()]
    assert task.score(every(task), one_hot(list(CLASSES), 10)) == 1.0
    assert task.file_name(2).endswith("_00002")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("gnu_s_000009", 1), "test_batch holds no image gnu_s_000009.bin"),
        ((NAMES[1], 4), "cat_s_000002.bin has label 4 and in test_batch 3"),
    ],
)
def test_a_list_of_other_images_is_refused_by_file_and_line(tmp_path, row, words):
    write_python_version(tmp_path)
    write_list(tmp_path, [(NAMES[0], 5), row])
    with pytest.raises(DataError) as caught:
        len(Images(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path / LABELS}, line 2: {words}")


def test_a_folder_without_images_is_told_what_it_should_hold(tmp_path):
    with pytest.raises(DataError, match=r"holds no images: .* y_labels.csv .* test_batch"):
        len(Images(tmp_path))


SPOILED = {
    "of another size": (np.zeros((2, 8, 8, 3), np.uint8), [0, 1], "holds differences of shape"),
    "of fewer labels": (np.zeros((2, 32, 32, 3), np.uint8), [0], "holds labels of shape"),
    "of another type": (np.zeros((2, 32, 32, 3)), [0, 1], "holds other values than pictures do"),
    "of another label": (np.zeros((2, 32, 32, 3), np.uint8), [0, 10], "holds other values"),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_stand_in_that_is_damaged_is_named_with_its_mend(tmp_path, monkeypatch, spoiled):
    differences, labels, words = SPOILED[spoiled]
    path = tmp_path / "ic01.npz"
    np.savez(path, differences=differences, labels=np.array(labels, np.uint8))
    monkeypatch.setattr("gnomon.tasks.tiny.images.DATA", tmp_path)
    with pytest.raises(DataError, match=words) as caught:
        len(Images())
    assert str(path) in str(caught.value)
    assert "reinstall gnomon" in str(caught.value)


def test_a_stand_in_that_is_missing_is_named_with_its_mend(tmp_path, monkeypatch):
    monkeypatch.setattr("gnomon.tasks.tiny.images.DATA", tmp_path)
    with pytest.raises(DataError, match=r"ic01\.npz is missing: reinstall gnomon"):
        len(Images())
