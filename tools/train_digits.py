"""Make the digits benchmark: write `digits.npz`, train the reference model, write `digits.onnx`.

    pip install '.[models]' && python tools/train_digits.py

The images are scikit-learn's copy of the test part of the UCI "Optical Recognition of Handwritten Digits"
data (E. Alpaydin, C. Kaynak, 1998): 1,797 images of 8x8 pixels from 13 writers, in the order they were
collected. The first 1,000 train the model; the last 797 are what the benchmark measures. Cutting in order
keeps most writers on one side, which a random split would not. The best epoch is not picked on the
measured part: training simply runs its course.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

DATA = Path(__file__).parent.parent / "src" / "gnomon" / "data"
TRAINED = 1000
SEED = 7
EPOCHS = 120
BATCH = 50


def network() -> nn.Sequential:
    """Two 3x3 convolutions, one halving the image, and two dense layers: about 50,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(32 * 4 * 4, 96),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(96, 10),
    )


def train(images: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    """Train with random shifts of up to one pixel; the same weights on every run."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        model.train()
        for chosen in torch.randperm(len(images)).split(BATCH):
            moved = torch.stack(
                [
                    torch.roll(image, (int(down), int(right)), (1, 2))
                    for image, (down, right) in zip(
                        images[chosen], torch.randint(-1, 2, (len(chosen), 2)), strict=True
                    )
                ]
            )
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                model(moved), labels[chosen], label_smoothing=0.05
            ).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def to_onnx(model: nn.Sequential) -> onnx.ModelProto:
    """The trained layers as an ONNX graph: input `image` (n, 1, 8, 8), output `scores` (n, 10)."""
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    nodes = [
        helper.make_node("Conv", ["image", "0.weight", "0.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "2.weight", "2.bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "7.weight", "7.bias"], ["g"], transB=1),
        helper.make_node("Relu", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "10.weight", "10.bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="gnomon"
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made


def main() -> None:
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    np.savez_compressed(DATA / "digits.npz", images=images, labels=labels)

    inputs = torch.from_numpy(images[:, None].astype(np.float32) / 16)
    model = train(inputs[:TRAINED], torch.from_numpy(labels[:TRAINED].astype(np.int64)))
    path = DATA / "digits.onnx"
    onnx.save(to_onnx(model), path)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    unseen = images[TRAINED:, None].astype(np.float32) / 16
    scores = session.run(None, {"image": unseen})[0]
    right = int((scores.argmax(axis=1) == labels[TRAINED:]).sum())
    fingerprint = hashlib.sha256(
        images[TRAINED:].tobytes() + labels[TRAINED:].tobytes()
    ).hexdigest()
    print(f"accuracy on the {len(unseen)} images not trained on: {right}/{len(unseen)}")
    print(f"reference = {right / len(unseen):.6f}")
    print(f"data sha256 {fingerprint}")
    print(
        f"model {path.stat().st_size} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    )


if __name__ == "__main__":
    main()
