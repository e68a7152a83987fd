"""ONNX Runtime as a system: which model it takes, which it refuses, and that it answers right."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import gnomon
from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.core.run import Run, find_runs
from gnomon.core.task import make_task
from gnomon.results.check import check
from gnomon.systems.onnx import OnnxSystem
from gnomon.tasks.digits import Digits

EVERY = np.arange(797)


def reduce_model(path, *, batch="n", shape=(1, 8, 8), kind=TensorProto.FLOAT, inputs=1, width=10):
    """A model that answers `width` scores an image: sums over it, or zeros times it."""
    images = [
        helper.make_tensor_value_info(f"images{number}", kind, [batch, *shape])
        for number in range(inputs)
    ]
    scores = helper.make_tensor_value_info("scores", kind, [batch, width])
    count = int(np.prod(shape))
    weights = np.arange(count * width).reshape(count, width) % 7
    nodes = [
        helper.make_node("Flatten", ["images0"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    constant = helper.make_tensor("weights", kind, weights.shape, weights.reshape(-1).tolist())
    graph = helper.make_graph(nodes, "sums", images, [scores], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def accuracy_run(out, **system_options):
    return gnomon.run("digits", system_options=system_options, performance=False, out=out)


def test_it_answers_as_a_session_of_ones_own_does():
    task = Digits()
    system = OnnxSystem()
    system.load(task, EVERY)
    session = onnxruntime.InferenceSession(task.model("onnx"), providers=["CPUExecutionProvider"])
    asked = np.array([700, 3, 3, 41])
    name = session.get_inputs()[0].name
    expected = session.run(None, {name: task.inputs(asked)})[0]
    np.testing.assert_allclose(system.predict(asked), expected, rtol=1e-5, atol=1e-5)
    assert task.score(EVERY, system.predict(EVERY)) == pytest.approx(787 / 797)
    system.close()


def test_it_says_which_model_on_which_runtime_it_is():
    system = OnnxSystem(threads=2, batch_size=8)
    assert "model_sha256" not in system.describe()
    system.load(Digits(), EVERY)
    described = system.describe()
    assert described["model"] == "digits.onnx"
    assert (
        described["model_sha256"] == hashlib.sha256(Digits().model("onnx").read_bytes()).hexdigest()
    )
    assert described["onnxruntime"] == onnxruntime.__version__
    assert described["providers"] == ["CPUExecutionProvider"]
    assert (described["threads"], described["batch_size"]) == (2, 8)


def test_a_precision_is_the_tasks_model_of_that_precision():
    task = make_task("mobile-classification")
    system = OnnxSystem(precision="int8")
    system.load(task, EVERY[:8])
    described = system.describe()
    assert described["model"] == task.model("onnx-int8").name
    expected = {"framework": "ONNX Runtime", "accelerator": "CPU", "precision": "int8"}
    assert described.items() >= expected.items()


def test_a_model_of_several_inputs_and_outputs_is_fed_and_read_as_the_task_says():
    task = make_task("mobile-question-answering")
    system = OnnxSystem()
    asked = np.array([5, 2, 9])
    system.load(task, EVERY[:10])
    session = onnxruntime.InferenceSession(task.model("onnx"), providers=["CPUExecutionProvider"])
    fed = dict(
        zip(
            [given.name for given in session.get_inputs()],
            task.model_inputs(task.inputs(asked)),
            strict=True,
        )
    )
    expected = task.model_answers(session.run(None, fed))
    np.testing.assert_allclose(system.predict(asked), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(system.predict(asked[1:2])[0], expected[1], rtol=1e-4, atol=1e-4)


def test_what_it_is_goes_into_the_run_once_it_is_known(tmp_path):
    run = accuracy_run(tmp_path)
    described = Run.open(run.path).record["system"]["description"]
    assert described["model"] == "digits.onnx"
    assert len(described["model_sha256"]) == 64


def test_a_model_of_ones_own_is_measured(tmp_path):
    path = reduce_model(tmp_path / "mine.onnx")
    run = accuracy_run(tmp_path, model=str(path))
    assert run.record["system"]["description"]["model"] == "mine.onnx"
    weights = np.arange(640).reshape(64, 10) % 7
    expected = Digits().score(EVERY, Digits().inputs(EVERY).reshape(797, 64) @ weights)
    assert run.result["accuracy"]["quality"] == expected
    assert [failed.name for failed in run.verdict.failures] == ["quality"]
    assert not check(run.path).disagreements


def test_a_model_of_fixed_batch_one_is_called_with_one_sample(tmp_path):
    system = OnnxSystem(model=reduce_model(tmp_path / "one.onnx", batch=1), batch_size=32)
    system.load(Digits(), EVERY)
    assert system.max_batch_size == 1
    run = accuracy_run(tmp_path, model=tmp_path / "one.onnx")
    assert run.result["accuracy"]["sample_count"] == 797


NO_MODEL = {
    "missing": (lambda path: None, "is missing: give a file with --model"),
    "empty": (lambda path: path.write_bytes(b""), "is not an ONNX model"),
    "text": (lambda path: path.write_text("not a model"), "is not an ONNX model"),
    "cut short": (
        lambda path: path.write_bytes(Digits().model("onnx").read_bytes()[:3000]),
        "is not an ONNX model",
    ),
    "a folder": (lambda path: path.mkdir(), "is missing: give a file with --model"),
    "wrong image size": (
        lambda path: reduce_model(path, shape=(1, 28, 28)),
        "takes images0 of shape ['n', 1, 28, 28], task 'digits' gives ('n', 1, 8, 8)",
    ),
    "wrong rank": (
        lambda path: reduce_model(path, shape=(64,)),
        "takes images0 of shape ['n', 64], task 'digits' gives ('n', 1, 8, 8)",
    ),
    "wrong type": (
        lambda path: reduce_model(path, kind=TensorProto.DOUBLE),
        "cannot run on the inputs of 'digits'",
    ),
    "two inputs": (
        lambda path: reduce_model(path, inputs=2),
        "has inputs images0, images1; task 'digits' gives 1",
    ),
    "fixed batch of five": (
        lambda path: reduce_model(path, batch=5),
        "takes images0 of shape [5, 1, 8, 8]",
    ),
}


@pytest.mark.parametrize("kind", NO_MODEL)
def test_a_file_that_is_no_model_for_the_task_is_told_in_one_line(tmp_path, capfd, kind):
    make, words = NO_MODEL[kind]
    path = tmp_path / "mine.onnx"
    make(path)
    with pytest.raises(DataError) as caught:
        gnomon.run("digits", system_options={"model": path}, quick=True, out=tmp_path / "runs")
    message = str(caught.value)
    assert message.startswith(f"model {path} ")
    assert words in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")  # nor has the runtime said anything itself
    for left in find_runs(tmp_path / "runs"):
        assert Run.open(left).status == "aborted"
        assert not check(left).fine


def test_a_model_with_too_few_classes_is_found_when_its_answers_are_scored(tmp_path):
    path = reduce_model(tmp_path / "five.onnx", width=5)
    with pytest.raises(
        DataError, match=r"10 class scores a sample, got outputs of shape \(797, 5\)"
    ):
        accuracy_run(tmp_path / "runs", model=path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
        ({"threads": "two"}, "threads must be a whole number of at least 1, got 'two'"),
        ({"precision": "int4"}, "precision must be one of fp32, fp16, int8, got 'int4'"),
        (
            {"model": "m.onnx", "precision": "int8"},
            "a model of your own has its precision in ONNX Runtime: leave out int8",
        ),
        ({"batch_size": -3}, "batch_size must be a whole number of at least 1, got -3"),
    ],
)
def test_options_out_of_range_are_refused_before_a_run_folder_is_made(tmp_path, options, words):
    with pytest.raises(SettingsError, match=words):
        accuracy_run(tmp_path, **options)
    assert find_runs(tmp_path) == []


def test_a_provider_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'CPUExecutionProvider'"):
        accuracy_run(tmp_path, providers="CPUExecutionProvder")


def test_an_unknown_option_of_the_system_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="'thread': did you mean 'threads'"):
        accuracy_run(tmp_path, thread=2)


def test_it_refuses_to_answer_before_it_was_loaded():
    with pytest.raises(SettingsError, match="before it was loaded"):
        OnnxSystem().predict(EVERY)
