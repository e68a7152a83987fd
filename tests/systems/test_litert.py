"""LiteRT as a system: its delegates, its batches, and which model it refuses."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.core.run import find_runs
from gnomon.core.task import make_task
from gnomon.systems.litert import LiteRtSystem
from gnomon.tasks.digits import Digits

lite = pytest.importorskip("ai_edge_litert.interpreter", reason="needs gnomon[mobile]")
TASK = "mobile-classification"
SOME = np.arange(40)
CPU = Path("/proc/cpuinfo")
DELEGATE = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
typedef struct {
  void *data;
  int (*prepare)(void *, void *);
  void *copies[3];
  int64_t flags;
  void *builder;
} Delegate;
static int prepare(void *context, void *delegate) { return 0; }
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                        void (*report)(const char *)) {
  if (count && keys[0][0] == 'b') {
    report("no such option");
    return NULL;
  }
  Delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}
void tflite_plugin_destroy_delegate(Delegate *made) { free(made); }
"""


@pytest.fixture(scope="module")
def idle_delegate(tmp_path_factory):
    """A delegate's library that LiteRT loads and that takes no operator of any model."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("delegate")
    (folder / "idle.c").write_text(DELEGATE)
    library = folder / "libidle.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "idle.c"], check=True)
    return str(library)


def answers(samples=SOME, **options):
    system = LiteRtSystem(**options)
    system.load(make_task(TASK), samples)
    return system, system.predict(samples)


def test_it_answers_as_an_interpreter_of_ones_own_does():
    task = make_task(TASK)
    own = lite.Interpreter(model_path=str(task.model("tflite")), num_threads=1)
    own.allocate_tensors()
    expected = []
    for image in task.inputs(SOME).transpose(0, 2, 3, 1):
        own.set_tensor(own.get_input_details()[0]["index"], image[None])
        own.invoke()
        expected.append(own.get_tensor(own.get_output_details()[0]["index"])[0])
    system, found = answers(batch_size=1)
    np.testing.assert_array_equal(found, expected)
    system.close()


def test_bytes_go_in_and_out_on_the_models_own_scale():
    task = make_task(TASK)
    own = lite.Interpreter(model_path=str(task.model("tflite-int8")), num_threads=1)
    own.allocate_tensors()
    (given,), (taken,) = own.get_input_details(), own.get_output_details()
    assert given["dtype"] in (np.int8, np.uint8)
    (scale, zero), (step, offset) = given["quantization"], taken["quantization"]
    bounds = np.iinfo(given["dtype"])
    image = task.inputs(SOME[7:8]).transpose(0, 2, 3, 1)
    stored = np.clip(np.rint(image / np.float32(scale)) + zero, bounds.min, bounds.max)
    own.set_tensor(given["index"], stored.astype(given["dtype"]))
    own.invoke()
    expected = (own.get_tensor(taken["index"]).astype(np.float32) - offset) * step
    system, _ = answers(precision="int8", batch_size=1)
    found = system.predict(SOME[7:8])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_batch_is_answered_as_its_samples_are_whatever_is_left_over():
    system, whole = answers(batch_size=16)
    assert system.max_batch_size == 16
    alone = np.concatenate([system.predict(SOME[place : place + 1]) for place in range(len(SOME))])
    np.testing.assert_allclose(whole, alone, rtol=1e-4, atol=1e-5)
    for count in (3, 9, 17):  # one by one; padded; a batch and one
        np.testing.assert_allclose(
            system.predict(SOME[:count]), whole[:count], rtol=1e-4, atol=1e-5
        )


def test_samples_that_do_not_lie_in_a_row_are_found():
    task, asked = make_task(TASK), np.array([700, 3, 41, 3])
    system = LiteRtSystem(batch_size=4)
    system.load(task, asked)
    _, expected = answers(np.arange(701), batch_size=1)
    np.testing.assert_allclose(system.predict(asked), expected[asked], rtol=1e-4, atol=1e-5)


def test_it_says_which_model_which_delegate_and_how_much_of_the_model_that_took():
    system, _ = answers(threads=2, precision="fp16")
    file = make_task(TASK).model("tflite-fp16")
    expected = {
        "framework": "LiteRT",
        "accelerator": "CPU",
        "delegate": "xnnpack",
        "precision": "fp16",
        "threads": 2,
        "model": file.name,
        "model_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    described = system.describe()
    assert described.items() >= expected.items()
    assert described["delegated_parts"] >= 1
    bare, _ = answers(delegate="none")
    assert bare.describe()["delegate"] == "none"
    assert "delegated_parts" not in bare.describe()


def test_its_own_kernels_and_xnnpacks_agree():
    (_, own), (_, theirs) = answers(delegate="none"), answers()
    np.testing.assert_allclose(own, theirs, rtol=1e-3, atol=1e-3)


def test_its_greeting_does_not_reach_the_terminal(capfd):
    answers()
    assert capfd.readouterr().err == ""


def test_a_delegate_that_takes_nothing_is_refused_and_not_measured_as_if_it_had(idle_delegate):
    with pytest.raises(SettingsError, match=r"libidle\.so' took no operator of model"):
        answers(delegate=idle_delegate)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delegate": "xnnpak"}, "'xnnpak' is neither 'xnnpack', 'none' nor a library"),
        ({"delegate_options": {"a": 1}}, "'xnnpack' takes no delegate_options"),
        ({"precision": "int4"}, "precision must be one of fp32, fp16, int8, got 'int4'"),
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
        ({"model": "m.tflite", "precision": "int8"}, "a model of your own has its precision"),
    ],
)
def test_options_out_of_range_are_refused_before_a_run_folder_is_made(tmp_path, options, words):
    with pytest.raises(SettingsError, match=words):
        gnomon.run(TASK, system="litert", system_options=options, out=tmp_path)
    assert find_runs(tmp_path) == []


def test_an_option_that_a_delegates_library_refuses_is_told_in_its_words(idle_delegate):
    with pytest.raises(SettingsError, match="no such option"):
        LiteRtSystem(delegate=idle_delegate, delegate_options={"bad": 1})


def test_a_task_without_a_model_for_it_says_what_to_pass():
    with pytest.raises(
        DataError, match=r"ships no tflite model: pass one with --model FILE\.tflite"
    ):
        LiteRtSystem().load(Digits(), SOME)


@pytest.mark.parametrize("content", [b"", b"not a model", None], ids=["empty", "text", "cut short"])
def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "mine.tflite"
    whole = make_task(TASK).model("tflite").read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if content is None else content)
    with pytest.raises(DataError) as caught:
        answers(model=path)
    assert str(caught.value).startswith(f"model {path} ")
    assert "\n" not in str(caught.value)


def test_a_model_for_other_inputs_is_refused():
    with pytest.raises(DataError, match=r"task 'digits' gives \('n', 1, 8, 8\): use a model for"):
        LiteRtSystem(model=make_task(TASK).model("tflite")).load(Digits(), SOME)


def test_without_its_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gnomon\[mobile\]'"):
        LiteRtSystem()


def test_which_precision_ran_is_looked_into_once_though_sets_are_loaded_anew(monkeypatch):
    task = make_task("mobile-segmentation")  # its answers are classes, which tell nothing
    system = LiteRtSystem(precision="fp16")
    looked = []
    monkeypatch.setattr(system, "_in_single_precision", looked.append)
    for samples in (SOME[:4], SOME[4:8]):
        system.load(task, samples)
    assert len(looked) == 1
    assert "precision_executed" not in system.describe()


def test_fp16_that_is_computed_in_single_precision_is_said_to_be():
    assert answers(precision="fp16", delegate="none")[0].describe()["precision_executed"] == "fp32"
    flags = CPU.read_text().split() if CPU.exists() else ["unknown"]
    with_kernels_for_it = not {"avx512_fp16", "asimdhp", "unknown"}.isdisjoint(flags)
    told = answers(precision="fp16")[0].describe().get("precision_executed")
    assert told == "fp32" or with_kernels_for_it
    assert "precision_executed" not in answers()[0].describe()
