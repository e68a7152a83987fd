"""How the networks of `mobile_layers.py` are trained, and how good the written files are."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf
import torch
from mobile_layers import Trainable
from mobile_models import DATA
from numpy.typing import NDArray
from torch import Tensor

from gnomon.tasks.mobile.shipped import MobileTask

Drawn = tuple[Tensor, Tensor]
"""Images, uint8 (n, channels, rows, columns), and what is wanted of each."""


def fitted(
    model: Trainable,
    drawn: Callable[[int], Drawn],
    loss: Callable[[list[Tensor], Tensor], Tensor],
    epochs: int,
    batch: int,
    rate: float,
) -> Trainable:
    """Train on one thread with AdamW and one rise and fall of the learning rate.

    Args:
        model: Changed in place, and left ready for answering.
        drawn: The samples of an epoch, by its number.
        loss: Of a batch's outputs against what is wanted.
        epochs: How many.
        batch: Samples in a step.
        rate: The highest learning rate.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Channels last is twice as fast for convolutions of this size.
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    schedule = None
    began = time.perf_counter()
    for epoch in range(epochs):
        images, wanted = drawn(epoch)
        order = torch.randperm(len(images))
        if schedule is None:
            steps = epochs * -(-len(images) // batch)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
        total = 0.0
        for chosen in order.split(batch):
            given = images[chosen].float().contiguous(memory_format=torch.channels_last)
            cost = loss(model(given), wanted[chosen])
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
            schedule.step()
            total += cost.item() * len(chosen)
        taken = time.perf_counter() - began
        print(f"epoch {epoch + 1} loss {total / len(images):.4f} after {taken:.0f} s", flush=True)
    return model.eval()


def report(task: MobileTask) -> None:
    """Measure every file of ONNX and LiteRT on all samples; write NAME.json: sizes, fingerprints, quality."""
    samples = np.arange(len(task))
    source = task.source()
    card: dict[str, Any] = {
        "benchmark": task.name,
        "made_by": f"tools/mobile_{task.stem.replace('-', '_')}.py",
        "measured_on": {"what": source.name, "samples": len(task), "sha256": source.sha256},
        "files": {},
    }
    for path in sorted(DATA.glob(f"{task.stem}*")):
        content = path.read_bytes()
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        answered = {".onnx": by_onnx, ".tflite": by_tflite}.get(path.suffix)
        if answered:
            answers = task.model_answers(answered(content, task.model_inputs(task.inputs(samples))))
            entry[task.metric] = round(task.score(samples, answers), 6)
        if path.suffix != ".json":
            card["files"][path.name] = entry
    (DATA / f"{task.stem}.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def by_onnx(content: bytes, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of an ONNX model for these inputs, in ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    parts = [
        session.run(None, dict(zip(names, (one[at : at + 16] for one in inputs), strict=True)))
        for at in range(0, len(inputs[0]), 16)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def by_tflite(content: bytes, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The same of a LiteRT model of batch 1, images turned to channels last and back."""
    # Built-in kernels: in int8, products of two activations are far off in the XNNPACK of TensorFlow 2.21.
    interpreter = tf.lite.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    entries, leaves = interpreter.get_input_details(), interpreter.get_output_details()
    answers: list[list[NDArray[Any]]] = [[] for _ in leaves]
    for number in range(len(inputs[0])):
        for entry, one in zip(entries, inputs, strict=True):
            given = one[number : number + 1]
            given = given.transpose(0, 2, 3, 1) if given.ndim == 4 else given
            interpreter.set_tensor(entry["index"], _quantised(entry, given))
        interpreter.invoke()
        for leave, kept in zip(leaves, answers, strict=True):
            found = _dequantised(leave, interpreter.get_tensor(leave["index"]))
            kept.append(found.transpose(0, 3, 1, 2) if found.ndim == 4 else found)
    return [np.concatenate(part) for part in answers]


def _quantised(entry: dict[str, Any], value: NDArray[Any]) -> NDArray[Any]:
    scale, zero_point = entry["quantization"]
    if entry["dtype"] != np.int8:
        return value.astype(entry["dtype"])
    return np.clip(np.rint(value / scale) + zero_point, -128, 127).astype(np.int8)


def _dequantised(leave: dict[str, Any], value: NDArray[Any]) -> NDArray[Any]:
    scale, zero_point = leave["quantization"]
    if value.dtype != np.int8:
        return value
    return ((value.astype(np.float32) - zero_point) * scale).astype(np.float32)
