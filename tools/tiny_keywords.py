"""Make the stand-in for keyword spotting: speak the words, train the reference network, quantise it.

    apt install espeak-ng && pip install tensorflow-cpu '.' && python tools/tiny_keywords.py

espeak-ng says the ten keywords and, for "unknown", the other words of Speech Commands (P. Warden, 2018,
arXiv:1804.03209) in eight accents and some ninety timbres, at many speeds and pitches; rooms, tilted spectra
and noise are added here, in training more of it. Timbres of the test are heard neither in training nor in
calibration. Network, features and quantisation are those of the field (mlcommons/tiny, benchmark/training): a
DS-CNN on 49x10 MFCCs, int8 after training. It is trained for a fixed number of epochs.

Two runs write the same data; weights differ a little from one version of TensorFlow to the next.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter, resample_poly

from gnomon.tasks.tiny.audio import (
    CLIP_SAMPLES,
    MFCC_SCALE,
    MFCC_SHAPE,
    MFCC_ZERO_POINT,
    RATE_HZ,
    mfcc,
    quantise,
    read_wav,
)

Floats = NDArray[np.float64]

DATA = Path(__file__).parent.parent / "src" / "gnomon" / "data" / "tiny"
SEED = 7
KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
LABELS = (*KEYWORDS, "silence", "unknown")
OTHERS = (
    *(
        "backward",
        "bed",
        "bird",
        "cat",
        "dog",
        "eight",
        "five",
        "follow",
        "forward",
        "four",
        "happy",
        "house",
    ),
    *(
        "learn",
        "marvin",
        "nine",
        "one",
        "seven",
        "sheila",
        "six",
        "three",
        "tree",
        "two",
        "visual",
        "wow",
    ),
    "zero",
)
ACCENTS = (
    *(
        "en-gb",
        "en-us",
        "en-gb-scotland",
        "en-gb-x-gbclan",
        "en-gb-x-rp",
        "en-gb-x-gbcwmd",
        "en-029",
    ),
    "en-us-nyc",
)
TRAINED, CALIBRATED, TESTED = 6300, 280, 1000
"""Utterances. Each that is trained on is heard in `HEARD` different surroundings."""
HEARD = 3
TURNS = (*range(len(LABELS)), LABELS.index("unknown"), LABELS.index("unknown"))
"""The classes by turns in training, where "unknown" has many words to cover."""
EPOCHS = 14
TRAINED_SNR_DB, TESTED_SNR_DB = (4.0, 32.0), (12.0, 36.0)
ESPEAK_RATE_HZ = 22_050


@dataclass(frozen=True)
class Voice:
    """One way to speak."""

    accent: str
    timbre: str
    words_per_minute: int
    pitch: int


def timbres() -> tuple[list[str], list[str]]:
    """The names of espeak-ng's voice variants: those to train with, and those to test with."""
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    )
    names = sorted(
        line.split("!v/")[1].split("  ")[0].strip()
        for line in listed.stdout.splitlines()
        if "!v/" in line
    )
    # Whispers carry no pitch and `fast` is a speed, no timbre.
    names = [name for name in names if not name.startswith("whisper") and name != "fast"]
    shuffled = [str(name) for name in np.random.default_rng(SEED).permutation(names)]
    third = len(shuffled) // 3
    return shuffled[third:], shuffled[:third]


def some_voice(rng: np.random.Generator, among: Sequence[str]) -> Voice:
    return Voice(
        ACCENTS[rng.integers(len(ACCENTS))],
        among[rng.integers(len(among))],
        int(rng.integers(110, 200)),
        int(rng.integers(20, 80)),
    )


def speak(word: str, voice: Voice) -> Floats:
    """The word without the silence around it, at 16 kHz, largest magnitude 1, (n,)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "word.wav"
        subprocess.run(
            [
                "espeak-ng",
                *("-v", f"{voice.accent}+{voice.timbre}"),
                *("-s", str(voice.words_per_minute), "-p", str(voice.pitch)),
                *("-w", str(file), word),
            ],
            check=True,
            capture_output=True,
        )
        samples, rate_hz = read_wav(file)
    if rate_hz != ESPEAK_RATE_HZ:
        raise RuntimeError(f"espeak-ng spoke at {rate_hz} Hz")
    sound = resample_poly(samples.astype(np.float64), 320, 441)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    spoken: Floats = sound[loud[0] : loud[-1] + 1]
    return spoken / np.abs(spoken).max()


def speak_all(spoken: Sequence[tuple[str, Voice]]) -> list[Floats]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda one: speak(*one), spoken))


def noise(rng: np.random.Generator, samples: int) -> Floats:
    """White to brown noise, sometimes with a hum, rms 1, (samples,)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    slope = rng.uniform(0.0, 1.0)
    spectrum /= np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 40.0) ** slope
    sound = np.fft.irfft(spectrum, samples)
    sound /= np.sqrt(np.mean(sound**2))
    if rng.random() < 0.3:
        time_s = np.arange(samples) / RATE_HZ
        hum_hz = rng.uniform(50, 400)
        for harmonic in range(1, 6):
            phase = 2 * np.pi * (harmonic * hum_hz * time_s + rng.random())
            sound += rng.uniform(0, 0.6) / harmonic * np.sin(phase)
    return sound / np.sqrt(np.mean(sound**2))


def in_a_room(rng: np.random.Generator, spoken: Floats) -> Floats:
    """The sound with a tilted spectrum and a short, random reverberation."""
    tilted = lfilter([1.0, rng.uniform(-0.7, 0.4)], [1.0], spoken)
    decay_s = rng.uniform(0.02, 0.15)
    length = int(3 * decay_s * RATE_HZ)
    echo = rng.standard_normal(length) * np.exp(-np.arange(length) / (decay_s * RATE_HZ))
    echo *= rng.uniform(0.0, 0.5) / np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    heard: Floats = fftconvolve(tilted, echo)
    return heard / np.abs(heard).max()


def clip(
    rng: np.random.Generator, spoken: Floats | None, snr_db: tuple[float, float]
) -> NDArray[np.int16]:
    """One second with the word somewhere in it, or with noise alone, as 16-bit samples."""
    around = noise(rng, CLIP_SAMPLES)
    if spoken is None:
        mixed = around
    else:
        heard = in_a_room(rng, spoken)
        late = rng.integers(-1600, max(1, CLIP_SAMPLES - len(heard) + 1600))
        mixed = np.zeros(CLIP_SAMPLES)
        begin, end = max(0, late), min(CLIP_SAMPLES, late + len(heard))
        mixed[begin:end] = heard[begin - late : end - late]
        # By the power of what sounds, which the silence around it does not lower.
        power = np.mean(mixed[np.abs(mixed) > 0.02] ** 2)
        mixed = mixed + around * np.sqrt(power / 10 ** (rng.uniform(*snr_db) / 10))
    scaled = mixed / np.abs(mixed).max() * rng.uniform(0.2, 0.95) * 32_767
    return scaled.astype(np.int16)


def utterances(
    rng: np.random.Generator,
    count: int,
    among: Sequence[str],
    turns: Sequence[int],
    heard: int,
    snr_db: tuple[float, float],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """MFCCs, shape (count * heard, 49, 10), and labels; classes take turns."""
    labels = rng.permutation(np.resize(turns, count)).astype(np.uint8)
    words = [
        OTHERS[rng.integers(len(OTHERS))] if LABELS[label] == "unknown" else LABELS[label]
        for label in labels
    ]
    spoken = speak_all([(word, some_voice(rng, among)) for word in words])
    features = [
        mfcc(clip(rng, None if word == "silence" else sound, snr_db))
        for word, sound in zip(words, spoken, strict=True)
        for _ in range(heard)
    ]
    return np.stack(features), np.repeat(labels, heard)


def network() -> Any:
    """The DS-CNN of Zhang et al. (2017, arXiv:1711.07128), small, as the field's benchmark has it."""
    from tensorflow.keras import Input, Sequential, layers, regularizers

    def settled(layer: Any) -> list[Any]:
        return [layer, layers.BatchNormalization(), layers.Activation("relu")]

    small = regularizers.l2(1e-4)
    stages = [
        *settled(
            layers.Conv2D(64, (10, 4), strides=(2, 2), padding="same", kernel_regularizer=small)
        ),
        layers.Dropout(0.2),
    ]
    for _ in range(4):
        stages += settled(
            layers.DepthwiseConv2D((3, 3), padding="same", depthwise_regularizer=small)
        )
        stages += settled(layers.Conv2D(64, (1, 1), padding="same", kernel_regularizer=small))
    return Sequential(
        [
            Input((*MFCC_SHAPE, 1)),
            *stages,
            layers.Dropout(0.4),
            layers.AveragePooling2D((24, 5)),
            layers.Flatten(),
            layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


def train(
    model: Any, inputs: NDArray[np.float32], targets: NDArray[Any], epochs: int, loss: str
) -> None:
    """Adam, its rate falling along a cosine."""
    import tensorflow as tf

    batch = 100
    rate = tf.keras.optimizers.schedules.CosineDecay(1.5e-3, epochs * -(-len(inputs) // batch))
    metrics = ["accuracy"] if "entropy" in loss else []
    model.compile(tf.keras.optimizers.Adam(rate), loss, metrics=metrics)
    model.fit(inputs, targets, batch, epochs, verbose=2)


def to_int8(model: Any, calibration: NDArray[np.float32]) -> bytes:
    """The model as int8 TFLite for a batch of one, ranges taken from `calibration`, weights per channel."""
    import tensorflow as tf

    def shown() -> Iterator[list[NDArray[np.float32]]]:
        for one in calibration:
            yield [one[None]]

    # With a batch of any size, flattening would become four operators that reckon its shape.
    one = tf.keras.Input(batch_shape=(1, *calibration.shape[1:]))
    fixed = tf.keras.Model(one, model(one))
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = shown
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    converted: bytes = converter.convert()
    return converted


def spanning(
    calibration: NDArray[np.float32], scale: float, zero_point: int
) -> NDArray[np.float32]:
    """The same, made to span exactly what int8 covers at this scale, which the converter then takes over."""
    low, high = scale * (-128 - zero_point), scale * (127 - zero_point)
    spanned = np.clip(calibration, low, high)
    flat = spanned[0].reshape(-1)
    flat[flat.argmin()], flat[flat.argmax()] = low, high
    return spanned


def run_int8(model: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    """The answers of an int8 TFLite model whose batch is one, by the reference kernels.

    Where inputs are no int8, they are quantised and the answers are real numbers, as a board does it.
    """
    import tensorflow as tf

    resolver = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    real = inputs.dtype != np.int8
    if real:
        scale, zero_point = into["quantization"]
        inputs = np.clip(np.rint(inputs / scale) + zero_point, -128, 127).astype(np.int8)
    answers = []
    for one in inputs:
        interpreter.set_tensor(into["index"], one.reshape(into["shape"]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(out["index"])[0].copy())
    answered = np.stack(answers)
    scale, zero_point = out["quantization"]
    return (answered.astype(np.float32) - zero_point) * np.float32(scale) if real else answered


def repeatable(seed: int) -> str:
    """Make TensorFlow draw the same numbers on every run; its version."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return str(tf.__version__)


def write(name: str, model: bytes, arrays: dict[str, NDArray[Any]], made: dict[str, Any]) -> None:
    """The model, its data and, beside them, how they were made."""
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / f"{name}.tflite").write_bytes(model)
    np.savez_compressed(DATA / f"{name}.npz", **arrays)
    written = {file: (DATA / file).read_bytes() for file in (f"{name}.tflite", f"{name}.npz")}
    joined = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    made["arrays_sha256"] = hashlib.sha256(joined).hexdigest()
    made["files"] = {
        file: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for file, data in written.items()
    }
    text = json.dumps(made, indent=2) + "\n"
    (DATA / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    rng = np.random.default_rng(SEED)
    heard, unheard = timbres()
    trained, trained_labels = utterances(rng, TRAINED, heard, TURNS, HEARD, TRAINED_SNR_DB)
    calibration, _ = utterances(rng, CALIBRATED, heard, TURNS, 1, TRAINED_SNR_DB)
    every = range(len(LABELS))
    tested, labels = utterances(rng, TESTED, unheard, every, 1, TESTED_SNR_DB)
    print(
        f"{len(trained)} clips to train on, MFCCs from {trained.min():.1f} to {trained.max():.1f}"
    )

    version = repeatable(SEED)
    model = network()
    train(model, trained[..., None], trained_labels, EPOCHS, "sparse_categorical_crossentropy")
    quantised = to_int8(model, spanning(calibration[..., None], MFCC_SCALE, MFCC_ZERO_POINT))

    inputs = quantise(tested, MFCC_SCALE, MFCC_ZERO_POINT).reshape(len(tested), -1)
    right = model.predict(tested[..., None], verbose=0).argmax(axis=1) == labels
    answers = run_int8(quantised, inputs)
    write(
        "kws01",
        quantised,
        {"inputs": inputs, "labels": labels},
        {
            "what": "stand-in for Speech Commands v2: espeak-ng in voices that were not trained on",
            "made_by": f"tools/tiny_keywords.py, TensorFlow {version}, seed {SEED}",
            "labels": LABELS,
            "trained_on": len(trained),
            "tested_on": len(labels),
            "float_accuracy": float(right.mean()),
            "int8_accuracy": float((answers.argmax(axis=1) == labels).mean()),
        },
    )


if __name__ == "__main__":
    main()
