"""OpenVINO as a system: what it runs on, at which precision, and which model it refuses."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.core.task import make_task
from gnomon.systems.litert import LiteRtSystem
from gnomon.systems.onnx import OnnxSystem
from gnomon.systems.openvino import OpenVinoSystem
from gnomon.tasks.digits import Digits

pytest.importorskip("openvino", reason="needs gnomon[openvino]")
EVERY = np.arange(797)
MOBILE = "mobile-classification"


def answers(task=None, samples=EVERY, **options):
    system = OpenVinoSystem(**options)
    system.load(task or Digits(), samples)
    return system, system.predict(samples)


def test_it_answers_as_onnx_runtime_does():
    other = OnnxSystem()
    other.load(Digits(), EVERY)
    system, found = answers()
    np.testing.assert_allclose(found, other.predict(EVERY), rtol=1e-4, atol=1e-4)
    assert Digits().score(EVERY, found) == pytest.approx(787 / 797)
    alone = [system.predict(EVERY[place : place + 1])[0] for place in (0, 5, 796)]
    np.testing.assert_allclose(found[[0, 5, 796]], alone, rtol=1e-4, atol=1e-4)
    system.close()


def test_fp32_is_fp32_and_what_ran_is_on_record():
    described = answers(threads=1)[0].describe()
    expected = {
        "framework": "OpenVINO",
        "accelerator": "CPU",
        "device": "CPU",
        "precision": "fp32",
        "precision_executed": "fp32",
        "threads": 1,
        "model": "digits.onnx",
    }
    assert described.items() >= expected.items()
    assert described["kernels"]
    assert not any("bf16" in kernel for kernel in described["kernels"])


def test_what_fp16_comes_to_on_this_processor_is_said():
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    system, found = answers(precision="fp16")
    ran = system.describe()["precision_executed"]
    if "FP16" in able or "BF16" in able:
        assert ran.split()[0] in {"fp16", "bf16"}
    else:
        assert ran == "fp32"
    assert Digits().score(EVERY, found) > 0.97


def test_int8_is_the_tasks_int8_model_and_runs_as_such():
    system, _ = answers(make_task(MOBILE), EVERY[:32], precision="int8")
    described = system.describe()
    assert described["model"] == make_task(MOBILE).model("onnx-int8").name
    assert described["precision_executed"].startswith("int8")


def test_it_reads_the_models_of_litert_as_well():
    task = make_task(MOBILE)
    other = LiteRtSystem()
    other.load(task, EVERY)
    system, found = answers(task, model=task.model("tflite"))
    assert system.describe()["precision"] == "own"
    np.testing.assert_allclose(found, other.predict(EVERY), rtol=1e-3, atol=1e-3)


def test_its_own_choice_of_device_is_read_back():
    system, _ = answers(device="auto")
    assert system.describe()["device"] == "AUTO"
    assert system.describe()["accelerator"] != "AUTO"


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        SettingsError, match=r"finds no device TPU here, only CPU, .*AUTO: choose one"
    ):
        OpenVinoSystem(device="TPU")


def one_image_model(path):
    """Scores for the first image alone, however many come: a model that was made for one."""
    nodes = [
        helper.make_node("Slice", ["images", "from", "to", "axis"], ["first"]),
        helper.make_node("Flatten", ["first"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    constants = [
        helper.make_tensor("from", TensorProto.INT64, [1], [0]),
        helper.make_tensor("to", TensorProto.INT64, [1], [1]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [64, 10], np.arange(640) % 7),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "sums", [images], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_model_that_was_made_for_one_sample_is_called_with_one(tmp_path):
    system, found = answers(model=one_image_model(tmp_path / "one.onnx"), batch_size=8)
    assert system.max_batch_size == 1
    assert system.describe()["batch_size"] == 1
    weights = (np.arange(640) % 7).reshape(64, 10)
    np.testing.assert_allclose(found, Digits().inputs(EVERY).reshape(797, 64) @ weights, rtol=1e-3)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "can load for CPU"), (b"not a model", "can load for CPU"), (None, "is missing")],
)
def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path, content, words):
    path = tmp_path / "mine.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        answers(model=path)
    assert str(caught.value).startswith(f"model {path} ")
    assert "\n" not in str(caught.value)


def test_a_model_of_bytes_whose_scale_it_does_not_tell_is_refused():
    task = make_task(MOBILE)
    with pytest.raises(DataError, match="on a scale that is not told"):
        answers(task, model=task.model("tflite-int8"))


def test_importing_it_sends_nothing_anywhere():
    """Its package reports every import to its maker, by a package that must not be loaded here."""
    code = (
        "import sys; from gnomon.systems.openvino import OpenVinoSystem; OpenVinoSystem(); "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_signal_after_a_model_was_let_go_in_another_thread_is_handled():
    code = (
        "import signal, threading; import numpy as np\n"
        "from gnomon.systems.openvino import OpenVinoSystem; from gnomon.tasks.digits import Digits\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "held = [OpenVinoSystem()]; held[0].load(Digits(), np.arange(8)); held[0].close()\n"
        "thread = threading.Thread(target=held.clear); thread.start(); thread.join()\n"
        "signal.raise_signal(signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_without_its_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gnomon\[openvino\]'"):
        OpenVinoSystem()
