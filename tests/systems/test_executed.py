"""The precision that really ran: from layers, from answers, from ONNX Runtime's own trace."""

import numpy as np
import pytest

from gnomon.core.task import make_task
from gnomon.systems.executed import in_single_precision, over_layers
from gnomon.systems.onnx import OnnxSystem
from gnomon.systems.onnx_trace import precision_in

TASK = "mobile-classification"
SINGLE = np.random.default_rng(3).normal(size=(1, 64)).astype(np.float32)


def kernel(operator, *types, name="_kernel_time"):
    """One event of ONNX Runtime's trace, in its form."""
    shapes = [{kind: [1, 8]} for kind in types]
    args = {"op_name": operator, "provider": "CPUExecutionProvider", "input_type_shape": shapes}
    return {"cat": "Node", "name": f"/layer/{operator}{name}", "ph": "X", "args": args}


def test_layers_of_one_precision_have_one_word_and_others_are_counted():
    assert over_layers(["int8"] * 3) == "int8"
    assert over_layers(["int8", "fp32", "int8"]) == "int8 (2 of 3 layers), fp32 (1 of 3 layers)"
    assert over_layers([]) == ""


def test_answers_of_single_precision_are_known_by_their_digits():
    other_kernels = SINGLE * np.float32(1 + 2e-6)
    assert in_single_precision([other_kernels], [SINGLE])


def softmax(logits):
    raised = np.exp(logits - logits.max())
    return (raised / raised.sum()).astype(np.float32)


def test_a_sure_answer_shows_nothing_of_the_layers_before_it():
    logits = np.r_[12.0, np.linspace(-2, 2, 30)].astype(np.float32)
    assert not in_single_precision(
        [softmax(logits.astype(np.float16).astype(np.float32))], [softmax(logits)]
    )


@pytest.mark.parametrize(
    "other", [SINGLE[:, :-1], np.empty((1, 0), np.float32)], ids=["fewer", "none"]
)
def test_answers_of_another_shape_are_no_answers_to_compare(other):
    assert not in_single_precision([SINGLE], [other])
    assert not in_single_precision([other[:, :0]], [other[:, :0]])


def test_answers_beyond_the_range_of_half_precision_were_not_made_in_it():
    assert in_single_precision([SINGLE * np.float32(1e6)], [SINGLE * np.float32(1e6)])


@pytest.mark.parametrize(
    "found",
    [
        [SINGLE.astype(np.float16).astype(np.float32)],
        [SINGLE * np.float32(1 + 3e-4)],
        [SINGLE, SINGLE.astype(np.float16).astype(np.float32)],
        [np.full_like(SINGLE, np.nan)],
    ],
    ids=["rounded to half", "rounded on the way", "one output of two", "no numbers"],
)
def test_answers_that_half_precision_may_have_made_are_not_claimed_for_single(found):
    assert not in_single_precision(found, [SINGLE] * len(found))


def test_answers_that_both_precisions_hold_tell_nothing():
    classes = np.arange(64, dtype=np.int32)[None]
    assert not in_single_precision([classes], [classes])
    certain = np.eye(1, 64, dtype=np.float32)
    assert not in_single_precision([certain], [certain])


def test_a_trace_tells_what_the_kernels_that_matter_took():
    casts = [kernel("Cast", "float16"), kernel("Conv", "float", "float"), kernel("Cast", "float")]
    assert precision_in(casts) == "fp32"
    assert precision_in([kernel("Conv", "float16", "float16")]) == "fp16"
    assert precision_in([kernel("QLinearConv", "uint8", "float"), kernel("MatMul", "float")]) == (
        "int8 (1 of 2 layers), fp32 (1 of 2 layers)"
    )
    assert precision_in([kernel("DynamicQuantizeMatMul", "float", "int8")]) == "int8"


def test_a_trace_without_such_kernels_tells_nothing():
    session = {"cat": "Session", "name": "model_run", "ph": "X", "args": {}}
    assert precision_in([session, kernel("Conv", "float", name="_fence_before")]) == ""


def test_what_another_provider_left_to_the_cpu_does_not_speak_for_the_model():
    compiled = kernel("CoreML_1", "float")
    compiled["args"]["provider"] = "CoreMLExecutionProvider"
    assert precision_in([compiled, kernel("Gemm", "float", "float")]) == ""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_session_is_traced_before_the_clock_and_leaves_nothing_behind(
    tmp_path, monkeypatch, precision
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    task = make_task(TASK)
    system = OnnxSystem(precision=precision)
    assert "precision_executed" not in system.describe()
    system.load(task, np.arange(8))
    told = system.describe()["precision_executed"]
    assert told in {"int8": ["int8"], "fp16": ["fp32", "fp16"]}[precision]
    system.predict(np.arange(8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trouble", [("json.loads", None), ("tempfile.tempdir", "/no-such")])
def test_a_trace_that_cannot_be_kept_costs_the_word_alone(monkeypatch, trouble):
    place, value = trouble
    monkeypatch.setattr(place, value or _no_json)
    system = OnnxSystem(precision="int8")
    system.load(make_task(TASK), np.arange(8))
    assert "precision_executed" not in system.describe()
    assert system.predict(np.arange(8)).shape == (8, 10)


def _no_json(text):
    raise ValueError("cut short")
