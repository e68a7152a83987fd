"""Make the stand-in for the streaming wake word: an evening of talk, "marvin" said fifty times.

    apt install espeak-ng && pip install tensorflow-cpu '.' && python tools/tiny_streaming.py

espeak-ng says words and sentences one after the other, among them "marvin" and words that sound like it, in
the accents and timbres of `tiny_keywords.py`; those of the tested stream are not heard in training. Network,
features and quantisation are those of the field: a one-dimensional DS-CNN on 30 frames of 40 log filter-bank
energies, int8 after training. Windows are trained on as a device meets them, cut from a stream wherever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_keywords import (
    KEYWORDS,
    OTHERS,
    in_a_room,
    noise,
    repeatable,
    run_int8,
    some_voice,
    spanning,
    speak_all,
    timbres,
    to_int8,
    train,
    write,
)

from gnomon.tasks.tiny.audio import (
    FULL_SCALE,
    LFBE_BANDS,
    LFBE_HOP,
    LFBE_SCALE,
    LFBE_WINDOW,
    LFBE_ZERO_POINT,
    RATE_HZ,
    lfbe,
    quantise,
)
from gnomon.tasks.tiny.streaming import (
    THRESHOLD,
    TOLERANCE_S,
    WINDOW_FRAMES,
    Detections,
    heard_at_s,
    match,
)

Floats = NDArray[np.float64]

SEED = 13
WAKE_WORD = "marvin"
ALIKE = (
    *(
        "marvel",
        "martin",
        "carving",
        "starving",
        "margin",
        "Mervin",
        "marble",
        "market",
        "Arvid",
        "marching",
    ),
    *(
        "harvest",
        "Calvin",
        "Kevin",
        "Melvin",
        "mar",
        "in",
        "marina",
        "Martian",
        "mastering",
        "my van",
    ),
)
SENTENCES = (
    "the kettle is on and the bread is in the oven",
    "did anyone see where I left my keys this morning",
    "she said the train would be late again",
    "it will rain until the end of the week",
    "put the green box on the upper shelf please",
    "three of them came over the bridge at night",
    "what a strange thing to say to a neighbour",
    "the garden needs water and the dog needs a walk",
    "nobody answers the telephone after six",
    "they are moving the market to the other square",
)
MARVIN, SILENCE, OTHER = 0, 1, 2
TRAINED, CALIBRATED, TESTED = 1000, 40, 50
"""Wake words in the streams."""
EPOCHS = 10
FEWEST_BETWEEN_S = TOLERANCE_S + 0.2
"""From the end of one wake word to the start of the next, so that no detection could be of two."""
NOISE_DB = (-30.0, -8.0)
"""Of the noise, relative to a loud word; it changes along the stream."""


@dataclass(frozen=True)
class Talk:
    """A stream and what is said in it.

    Attributes:
        samples: At 16 kHz, int16, (n,).
        words_s: Start and end of each wake word.
        speech_s: Start and end of everything said.
    """

    samples: NDArray[np.int16]
    words_s: Floats
    speech_s: Floats


def said(rng: np.random.Generator, count: int) -> list[str]:
    """What is said in turn: the wake word `count` times, and one to three other things after each."""
    words: list[str] = []
    for _ in range(count):
        words.append(WAKE_WORD)
        for _ in range(rng.integers(1, 4)):
            kind = rng.random()
            among: Sequence[str] = (*KEYWORDS, *(word for word in OTHERS if word != WAKE_WORD))
            if kind < 0.35:
                among = ALIKE
            elif kind < 0.5:
                among = SENTENCES
            words.append(among[rng.integers(len(among))])
    return words


def talk(rng: np.random.Generator, count: int, among: Sequence[str]) -> Talk:
    words = said(rng, count)
    spoken = speak_all([(word, some_voice(rng, among)) for word in words])
    parts: list[Floats] = []
    words_s, speech_s = [], []
    place, free_from = 0, 0
    for word, sound in zip(words, spoken, strict=True):
        gap = int(rng.uniform(0.15, 0.9) * RATE_HZ)
        if word == WAKE_WORD:
            gap = max(gap, free_from - place)
        heard = in_a_room(rng, sound) * rng.uniform(0.3, 0.8)
        start = place + gap
        end = start + len(sound)
        parts += [np.zeros(gap), heard]
        place = start + len(heard)
        speech_s.append((start / RATE_HZ, end / RATE_HZ))
        if word == WAKE_WORD:
            words_s.append(speech_s[-1])
            free_from = end + int(FEWEST_BETWEEN_S * RATE_HZ)
    quiet = np.zeros(int((TOLERANCE_S + 1) * RATE_HZ))
    clean = np.concatenate([*parts, quiet])
    samples = np.clip(clean + surroundings(rng, len(clean)), -1, 1) * (FULL_SCALE - 1)
    return Talk(samples.astype(np.int16), np.array(words_s), np.array(speech_s))


def surroundings(rng: np.random.Generator, samples: int) -> Floats:
    """Noise in sections of five to fifteen seconds, each of another kind and loudness."""
    sections: list[Floats] = []
    while (made := sum(map(len, sections))) < samples:
        length = min(samples - made, int(rng.uniform(5, 15) * RATE_HZ))
        sections.append(noise(rng, length) * 0.2 * 10 ** (rng.uniform(*NOISE_DB) / 20))
    return np.concatenate(sections)


def labels_of(of: Talk, windows: int) -> NDArray[np.int64]:
    """The class of every window; -1 where it is anybody's guess, which is not trained on.

    A window is "marvin" if it holds all but 50 ms of the word, and a guess if it holds more than half of it.
    """
    ends = heard_at_s(np.arange(windows))
    begins = ends - ((WINDOW_FRAMES - 1) * LFBE_HOP + LFBE_WINDOW) / RATE_HZ

    def held(spans_s: Floats) -> tuple[Floats, Floats]:
        """Of the span that a window holds most of: the seconds that it holds, and the share."""
        seconds, share = np.zeros(windows), np.zeros(windows)
        for start_s, end_s in spans_s:
            overlap = np.minimum(ends, end_s) - np.maximum(begins, start_s)
            seconds = np.maximum(seconds, overlap)
            share = np.maximum(share, overlap / (end_s - start_s))
        return seconds, share

    speech, _ = held(of.speech_s)
    _, share = held(of.words_s)
    all_but = np.zeros(windows, dtype=bool)
    for start_s, end_s in of.words_s:
        all_but |= (begins <= start_s + 0.05) & (ends >= end_s - 0.05)
    labels = np.where(speech > 0.05, OTHER, SILENCE)
    labels[share > 0.5] = -1
    labels[all_but] = MARVIN
    return labels


def windows_of(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every window, shape (windows, 30, 1, 40)."""
    seen = np.lib.stride_tricks.sliding_window_view(frames, WINDOW_FRAMES, axis=0)
    return seen.transpose(0, 2, 1)[:, :, None]


def network() -> Any:
    """Four depthwise-separable convolutions along time, after Jasper (Li et al., 2019, arXiv:1904.03288)."""
    from tensorflow.keras import Input, Sequential, layers, regularizers

    small = regularizers.l2(1e-4)
    stages: list[Any] = []
    for length, filters in ((3, 128), (5, 128), (10, 128), (15, 32)):
        stages += [
            layers.DepthwiseConv2D((length, 1), use_bias=False, depthwise_regularizer=small),
            layers.Conv2D(filters, 1, use_bias=False, kernel_regularizer=small),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.2),
        ]
    ending = [layers.Flatten(), layers.Dense(3, activation="softmax")]
    return Sequential([Input((WINDOW_FRAMES, 1, LFBE_BANDS)), *stages, *ending])


def found_by(probabilities: NDArray[Any], words_s: Floats) -> Detections:
    return match(heard_at_s(np.flatnonzero(probabilities[:, MARVIN] > THRESHOLD)), words_s)


def counted(of: Detections) -> dict[str, float]:
    return {
        "true_positives": len(of.true_positives_s),
        "false_negatives": len(of.false_negatives_s),
        "false_positives": len(of.false_positives_s),
        "f1": of.f1,
    }


def main() -> None:
    rng = np.random.default_rng(SEED)
    heard, unheard = timbres()
    inputs, targets = [], []
    for _ in range(TRAINED // 100):
        some = talk(rng, 100, heard)
        windows = windows_of(lfbe(some.samples / FULL_SCALE))
        labels = labels_of(some, len(windows))
        # Neighbouring windows are nearly the same: of the many that are not the word, one in three will do.
        kept = (labels == MARVIN) | ((labels >= 0) & (rng.random(len(labels)) < 0.33))
        inputs.append(windows[kept])
        targets.append(labels[kept])
    shown = windows_of(lfbe(talk(rng, CALIBRATED, heard).samples / FULL_SCALE))[::12]
    tested = talk(rng, TESTED, unheard)
    energies = lfbe(tested.samples / FULL_SCALE)
    frames = quantise(energies, LFBE_SCALE, LFBE_ZERO_POINT)
    trained, classes = np.concatenate(inputs), np.concatenate(targets)
    print(
        f"{np.bincount(classes)} windows to train on; stream of {len(tested.samples) / RATE_HZ:.0f} s"
    )

    version = repeatable(SEED)
    model = network()
    train(model, trained, classes, EPOCHS, "sparse_categorical_crossentropy")
    quantised = to_int8(model, spanning(shown, LFBE_SCALE, LFBE_ZERO_POINT))

    of_float = model.predict(windows_of(energies), verbose=0)
    of_int8 = (run_int8(quantised, windows_of(frames)).astype(np.float32) + 128) / 256
    write(
        "sww01",
        quantised,
        {"frames": frames, "words_s": tested.words_s},
        {
            "what": "stand-in for the field's long recording: a stream spoken by espeak-ng, unheard voices",
            "made_by": f"tools/tiny_streaming.py, TensorFlow {version}, seed {SEED}",
            "duration_s": len(tested.samples) / RATE_HZ,
            "wake_words": len(tested.words_s),
            "trained_on_windows": len(trained),
            "float": counted(found_by(of_float, tested.words_s)),
            "int8": counted(found_by(of_int8, tested.words_s)),
        },
    )


if __name__ == "__main__":
    main()
