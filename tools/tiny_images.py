"""Make the stand-in for image classification: write `ic01.npz`, train ResNet-8, write `ic01.tflite`.

    python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu==2.21.0 scikit-learn
    /tmp/tf/bin/python tools/tiny_images.py

The field's benchmark is CIFAR-10, which cannot be shipped. Its stand-in is ten classes of 32x32 RGB pictures:
scikit-learn's handwritten digits, turned, slanted and scaled, in colour, on coloured textures, among strokes
and scraps of other digits. The first 1,000 digits make the training pictures, the other 797, of other
writers, the measured ones. The network is the benchmark's (C. Banbury et al., MLPerf Tiny, arXiv 2106.07597).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from sklearn.datasets import load_digits

DATA = Path(__file__).parent.parent / "src" / "gnomon" / "data" / "tiny"
SIDE = 32
CLASSES = 10
FIRST_UNSEEN = 1000
TRAINED = 20_000
MEASURED = 200
CALIBRATED = 200
OTHERS = 1000
EPOCHS = 10
BATCH = 64
RATE = 2e-3
SEED = 20

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]


def texture(rng: np.random.Generator, side: int) -> Plane:
    """A coloured pattern of a few waves over a slope, (side, side, 3) in 0 to 1."""
    down, right = np.mgrid[0:side, 0:side] / side - 0.5
    base = rng.uniform(0.15, 0.85, 3)
    slope = rng.normal(0, 0.25, (2, 3))
    surface = base + down[..., None] * slope[0] + right[..., None] * slope[1]
    for _ in range(rng.integers(1, 4)):
        angle, waves = rng.uniform(0, np.pi), rng.uniform(0.5, 5)
        along = down * np.sin(angle) + right * np.cos(angle)
        wave = np.sin(2 * np.pi * (waves * along + rng.uniform()))
        surface = surface + wave[..., None] * rng.normal(0, 0.06, 3)
    return surface


def placed(rng: np.random.Generator, digit: Plane, size: float, spread: float) -> Plane:
    """How much a digit (8, 8) covers each pixel: turned, slanted, `size` pixels high, near the middle."""
    angle = rng.normal(0, 0.2)
    slant = rng.normal(0, 0.15)
    row, column = SIDE / 2 + rng.uniform(-spread, spread, 2)
    down, right = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    down, right = down - row, right - column
    scale = 8 / size
    source_down = scale * (np.cos(angle) * down - np.sin(angle) * right) + 3.5
    source_right = (
        scale * rng.uniform(0.85, 1.25) * (np.sin(angle) * down + (np.cos(angle) + slant) * right)
        + 3.5
    )
    padded = np.pad(digit, 2)
    source_down = np.clip(source_down + 2, 0, 10.999)
    source_right = np.clip(source_right + 2, 0, 10.999)
    top, left = source_down.astype(int), source_right.astype(int)
    low, side = source_down - top, source_right - left
    covered = (
        padded[top, left] * (1 - low) * (1 - side)
        + padded[top + 1, left] * low * (1 - side)
        + padded[top, left + 1] * (1 - low) * side
        + padded[top + 1, left + 1] * low * side
    )
    return np.clip(1.6 * covered - 0.25, 0, 1)


def stroke(rng: np.random.Generator) -> Plane:
    """How much a straight stroke from edge to edge of the picture covers each pixel."""
    down, right = np.mgrid[0:SIDE, 0:SIDE] + 0.5 - SIDE / 2
    angle = rng.uniform(0, np.pi)
    distance = np.abs(down * np.cos(angle) + right * np.sin(angle) - rng.uniform(-15, 15))
    return np.clip(rng.uniform(0.6, 1.3) + 0.5 - distance, 0, 1)


def picture(rng: np.random.Generator, digit: Plane, others: Plane) -> Pixels:
    """One picture of a digit (8, 8), with scraps of `others` (n, 8, 8), as uint8 (32, 32, 3)."""
    canvas = texture(rng, SIDE)

    def paint(cover: Plane, colour: Plane) -> None:
        canvas[:] += cover[..., None] * (colour - canvas)

    for _ in range(rng.integers(0, 3)):
        paint(stroke(rng) * rng.uniform(0.3, 0.8), rng.uniform(0, 1, 3))
    for _ in range(rng.integers(0, 2)):
        scrap = placed(rng, others[rng.integers(len(others))], rng.uniform(7, 12), 15)
        paint(scrap * rng.uniform(0.4, 0.9), rng.uniform(0, 1, 3))
    behind = canvas[8:24, 8:24].mean((0, 1))
    while True:
        colour = rng.uniform(0, 1, 3)
        if np.abs(colour - behind).mean() > 0.25:
            break
    ink = 0.8 * colour + 0.2 * texture(rng, SIDE)
    canvas[:] += placed(rng, digit, rng.uniform(16, 27), 4)[..., None] * (ink - canvas)
    if rng.uniform() < 0.3:
        paint(stroke(rng) * rng.uniform(0.3, 0.9), rng.uniform(0, 1, 3))
    canvas += rng.normal(0, rng.uniform(0, 0.04), canvas.shape)
    drawn: Pixels = np.clip(np.rint(255 * canvas), 0, 255).astype(np.uint8)
    return drawn


def pictures(seed: int, count: int, seen: bool) -> tuple[Pixels, Pixels]:
    """Pictures (count, 32, 32, 3) and labels (count,), as many of each class, in random order."""
    rng = np.random.default_rng(seed)
    source = load_digits()
    part = slice(None, FIRST_UNSEEN) if seen else slice(FIRST_UNSEEN, None)
    digits, targets = source.images[part] / 16, source.target[part]
    labels = rng.permutation(np.arange(count) % CLASSES).astype(np.uint8)
    drawn = [picture(rng, digits[rng.choice(np.flatnonzero(targets == k))], digits) for k in labels]
    return np.stack(drawn), labels


def resnet8() -> keras.Model:
    """ResNet-8: 16, 32 and 64 filters, one residual block each, average pool, ten classes."""

    def convolved(x: Any, filters: int, kernel: int = 3, stride: int = 1) -> Any:
        return layers.Conv2D(
            filters,
            kernel,
            stride,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(1e-4),
        )(x)

    entry = layers.Input((SIDE, SIDE, 3))
    x = layers.ReLU()(layers.BatchNormalization()(convolved(entry, 16)))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(convolved(x, filters, stride=stride)))
        y = layers.BatchNormalization()(convolved(y, filters))
        if stride == 2:
            x = convolved(x, filters, kernel=1, stride=2)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(entry, layers.Dense(CLASSES, activation="softmax")(x))


def moved(rng: np.random.Generator, drawn: Pixels, mirrored: bool) -> NDArray[np.float32]:
    """Pictures shifted by up to a sixteenth of their side, and half of them mirrored if asked; 0 to 1."""
    count, side = drawn.shape[:2]
    most = side // 16
    down, right = rng.integers(-most, most + 1, (2, count, 1))
    rows = np.clip(np.arange(side) + down, 0, side - 1)
    columns = np.clip(np.arange(side) + right, 0, side - 1)
    if mirrored:
        columns = np.where(rng.uniform(size=(count, 1)) < 0.5, columns, columns[:, ::-1])
    shifted = drawn[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.astype(np.float32) / np.float32(255)


def trained(
    model: keras.Model, drawn: Pixels, labels: Pixels, epochs: int, mirrored: bool
) -> keras.Model:
    """Adam with a cosine schedule, on pictures moved anew in each epoch; the same weights on every run."""
    rng = np.random.default_rng(SEED)
    steps = epochs * -(-len(drawn) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    for _ in range(epochs):
        order = rng.permutation(len(drawn))
        inputs = moved(rng, drawn[order], mirrored)
        model.fit(inputs, labels[order], batch_size=BATCH, verbose=2)
    return model


def quantised(model: keras.Model, calibration: Pixels) -> bytes:
    """The model with int8 weights, activations, inputs and outputs; input zero point -128, scale 1/255."""
    shape = (1, *model.input_shape[1:])

    def samples() -> Any:
        # Both ends of the range, so that a pixel is its value less 128 whatever the samples hold.
        yield [np.where(np.arange(np.prod(shape)) % 2, 1, 0).reshape(shape).astype(np.float32)]
        for one in calibration:
            yield [one[None].astype(np.float32) / np.float32(255)]

    with tempfile.TemporaryDirectory() as folder:
        signature = [tf.TensorSpec(shape, tf.float32)]
        model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def right_of(model: bytes, drawn: Pixels, labels: Pixels) -> int:
    """How many pictures the int8 model gets right by the reference kernels, whose bytes are a board's."""
    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    entry, leave = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = entry["quantization"]
    if zero_point != -128 or abs(scale - 1 / 255) > 1e-7:
        raise SystemExit(f"the input is quantised by {scale}, {zero_point}, not 1/255, -128")
    right = 0
    for one, label in zip(drawn, labels, strict=True):
        interpreter.set_tensor(entry["index"], (one[None].astype(np.int16) - 128).astype(np.int8))
        interpreter.invoke()
        right += int(interpreter.get_tensor(leave["index"])[0].argmax()) == int(label)
    return right


def operators(model: bytes) -> list[str]:
    """The operators of a model, in order."""
    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return [entry["op_name"] for entry in interpreter._get_ops_details()]


def packed(drawn: Pixels) -> Pixels:
    """Pictures as differences from the pixel to the left, modulo 256, which compress to half the size."""
    left = np.pad(drawn, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    return drawn - left


def made(
    name: str,
    draw: Callable[[int, int, bool], tuple[Pixels, Pixels]],
    network: Callable[[], keras.Model],
    counts: tuple[int, int, int],
    words: dict[str, Any],
    mirrored: bool = False,
) -> None:
    """Draw, train, quantise and write NAME.npz, NAME.tflite and NAME.json.

    Args:
        name: `ic01` or `vww01`.
        draw: Pictures and labels for a seed, a count, and whether they may hold what training sees.
        network: The untrained network.
        counts: Pictures to train on, pictures to measure, epochs.
        words: What the JSON says beside fingerprints and accuracies.
        mirrored: Whether a picture may be mirrored in training.
    """
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    trained_on, measured_on, epochs = counts
    drawn, labels = draw(SEED, trained_on, True)
    measured, truth = draw(SEED + 1, measured_on, False)
    wider, wider_truth = draw(SEED + 2, OTHERS, False)
    print(f"{len(drawn)} pictures drawn", flush=True)
    model = trained(network(), drawn, labels, epochs, mirrored)
    content = quantised(model, drawn[:CALIBRATED])

    scores = model.predict(measured.astype(np.float32) / np.float32(255), verbose=0)
    np.savez_compressed(DATA / f"{name}.npz", differences=packed(measured), labels=truth)
    (DATA / f"{name}.tflite").write_bytes(content)
    card = {
        **words,
        "samples": measured_on,
        "trained_on": {"pictures": trained_on, "epochs": epochs, "seed": SEED},
        "calibrated_on": CALIBRATED,
        "accuracy": {
            "float": float((scores.argmax(1) == truth).mean()),
            "int8": right_of(content, measured, truth) / measured_on,
            f"int8_on_{OTHERS}_others": right_of(content, wider, wider_truth) / OTHERS,
        },
        "operators": sorted(set(operators(content))),
        "parameters": model.count_params(),
        "tensorflow": tf.__version__,
        "sha256": {
            "pictures_and_labels": hashlib.sha256(measured.tobytes() + truth.tobytes()).hexdigest(),
            f"{name}.tflite": hashlib.sha256(content).hexdigest(),
        },
    }
    (DATA / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2), len(content), (DATA / f"{name}.npz").stat().st_size)


def main() -> None:
    words = {
        "benchmark": "ic01",
        "what": "stand-in for CIFAR-10: handwritten digits in colour among clutter, 32x32 RGB, ten classes",
        "made_by": "tools/tiny_images.py",
        "from": "scikit-learn digits (UCI, doi:10.24432/C50P49, CC BY 4.0): 0-999 train, 1000-1796 measure",
        "network": "ResNet-8",
    }
    made("ic01", pictures, resnet8, (TRAINED, MEASURED, EPOCHS), words)


if __name__ == "__main__":
    main()
