"""What the tests of the mobile tasks share: the runtimes themselves, without Gnomon's systems around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

BATCH = 16
FORMATS = ("onnx", "onnx-fp16", "onnx-int8", "tflite", "tflite-fp16", "tflite-int8")


def by_onnx_runtime(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of an ONNX model for these inputs, a few samples at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    parts = [
        session.run(
            None, {name: one[at : at + BATCH] for name, one in zip(names, inputs, strict=True)}
        )
        for at in range(0, len(inputs[0]), BATCH)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def by_litert(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The same of a LiteRT model, one sample at a time: channels last, and eight bits where it has them."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs gnomon[mobile]")
    interpreter = litert.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entries = sorted(interpreter.get_input_details(), key=lambda entry: entry["name"])
    leaves = interpreter.get_output_details()
    answers = [[] for _ in leaves]
    for number in range(len(inputs[0])):
        for entry, one in zip(entries, inputs, strict=True):
            given = one[number : number + 1]
            given = given.transpose(0, 2, 3, 1) if given.ndim == 4 else given
            if entry["dtype"] == np.int8:
                scale, zero_point = entry["quantization"]
                given = np.clip(np.rint(given / scale) + zero_point, -128, 127).astype(np.int8)
            interpreter.set_tensor(entry["index"], given)
        interpreter.invoke()
        for leave, kept in zip(leaves, answers, strict=True):
            found = interpreter.get_tensor(leave["index"])
            if leave["dtype"] == np.int8:
                scale, zero_point = leave["quantization"]
                found = ((found.astype(np.float32) - zero_point) * scale).astype(np.float32)
            kept.append(found.transpose(0, 3, 1, 2) if found.ndim == 4 else found)
    return [np.concatenate(part) for part in answers]


@pytest.fixture(scope="session")
def outputs_of():
    """`outputs_of(task, "tflite-int8", samples)`: what the shipped model gives, one array an output."""
    runtimes = {"onnx": by_onnx_runtime, "tflite": by_litert}

    def outputs(task, file_format, samples):
        inputs = task.model_inputs(task.inputs(samples))
        return runtimes[file_format.partition("-")[0]](task.model(file_format), inputs)

    return outputs


@pytest.fixture(scope="session", params=FORMATS)
def file_format(request):
    """Each format of model that every mobile task ships."""
    return request.param
