"""ncnn as a system: its two files, its options, and which model it refuses."""

import hashlib
import shutil
import sys

import numpy as np
import pytest

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.core.task import make_task
from gnomon.systems.ncnn import HALF_PRECISION, NcnnSystem
from gnomon.tasks.digits import Digits

ncnn = pytest.importorskip("ncnn", reason="needs gnomon[ncnn]")
TASK = "mobile-classification"
SOME = np.arange(40)


@pytest.fixture
def own_model(tmp_path):
    """The task's model, copied to where it may be spoiled."""
    param = make_task(TASK).model("ncnn")
    shutil.copy(param, tmp_path / "mine.param")
    shutil.copy(param.with_suffix(".bin"), tmp_path / "mine.bin")
    return tmp_path / "mine.param"


def answers(**options):
    system = NcnnSystem(**options)
    system.load(make_task(TASK), SOME)
    return system, system.predict(SOME)


def test_it_answers_as_a_network_of_ones_own_does():
    task = make_task(TASK)
    network = ncnn.Net()
    network.opt.use_fp16_storage = network.opt.use_fp16_packed = False
    network.opt.use_fp16_arithmetic = False
    network.load_param(str(task.model("ncnn")))
    network.load_model(str(task.model("ncnn").with_suffix(".bin")))
    image = task.inputs(SOME[3:4])[0]  # held: a Mat only points at it
    with network.create_extractor() as extractor:
        extractor.input(network.input_names()[0], ncnn.Mat(image))
        expected = np.array(extractor.extract(network.output_names()[0])[1])
    system, found = answers()
    assert found.shape == (len(SOME), 10)
    np.testing.assert_allclose(found[3], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(system.predict(SOME[3:4])[0], found[3], rtol=1e-5)
    system.close()


def test_it_says_which_two_files_and_which_options():
    described = answers(precision="fp16")[0].describe()
    param = make_task(TASK).model("ncnn")
    both = param.read_bytes() + param.with_suffix(".bin").read_bytes()
    expected = {
        "framework": "ncnn",
        "accelerator": "CPU",
        "precision": "fp16",
        "threads": 1,
        "batch_size": 1,
        "model": param.name,
        "model_sha256": hashlib.sha256(both).hexdigest(),
        **dict.fromkeys(HALF_PRECISION, True),
    }
    assert described.items() >= expected.items()
    assert not any(answers()[0].describe()[option] for option in HALF_PRECISION)


def test_a_task_without_a_model_names_those_that_have_one():
    with pytest.raises(
        DataError, match=rf"'digits' ships no ncnn model \({TASK}.* do(es)?\): pass"
    ):
        NcnnSystem().load(Digits(), SOME)


def test_a_precision_without_a_model_says_so():
    with pytest.raises(DataError, match=r"ships no ncnn-int8 model \(none does\)"):
        answers(precision="int8")


def test_a_missing_bin_is_named(own_model):
    own_model.with_suffix(".bin").unlink()
    with pytest.raises(DataError, match=r"mine\.bin is missing"):
        answers(model=own_model)


@pytest.mark.parametrize("spoiled", ["param", "bin"])
def test_a_spoiled_file_is_told_in_one_line_and_not_on_the_terminal(own_model, spoiled, capfd):
    file = own_model.with_suffix(f".{spoiled}")
    file.write_bytes(file.read_bytes()[: 1000 if spoiled == "bin" else 0])
    with pytest.raises(DataError, match=r"with mine\.bin is not a model that ncnn") as caught:
        answers(model=own_model)
    assert "failed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_model_for_other_inputs_is_refused(own_model):
    with pytest.raises(DataError, match=r"gives \('n', 1, 8, 8\): use a model for this task"):
        NcnnSystem(model=own_model).load(Digits(), SOME)


def test_vulkan_without_a_gpu_is_refused(capfd):
    if ncnn.get_gpu_count():
        pytest.skip("there is one")
    capfd.readouterr()
    with pytest.raises(SettingsError, match="finds no GPU through Vulkan here"):
        NcnnSystem(vulkan=True)
    assert capfd.readouterr().err == ""


def test_without_its_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gnomon\[ncnn\]'"):
        NcnnSystem()


def test_fp16_that_is_computed_in_single_precision_is_said_to_be():
    task = make_task("mobile-detection")
    half, single = NcnnSystem(precision="fp16"), NcnnSystem()
    for system in (half, single):
        system.load(task, SOME)
    same = np.array_equal(half.predict(SOME[:1]), single.predict(SOME[:1]))
    assert (half.describe().get("precision_executed") == "fp32") is same
    assert "precision_executed" not in single.describe()
