"""Streaming wake word, sww01 of MLPerf Tiny: how often "marvin" is heard in a stream, and how often wrongly.

The stream that ships is a stand-in, spoken by a synthesiser (`tools/tiny_streaming.py`); the field's long
recordings are read as well. The field plays them to the device; here the device is handed what it would
compute from the sound, window after window, so that one without a microphone interface can be measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.device.task import Results, TinyTask
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
    read_wav,
)
from gnomon.tasks.tiny.shipped import read_arrays

DATA = Path(__file__).parents[2] / "data" / "tiny"
LABELS = ("marvin", "silence", "other")
"""The classes, in the order of the model's outputs."""
WINDOW_FRAMES = 30
THRESHOLD = 0.95
"""A probability above it is a detection: the reference device's int8 output must exceed 115, or 0.949."""
TOLERANCE_S = 2.0
"""How long after the end of a word it may still be detected.

The field's rules say 1 s. The field's runner adds that second twice, and published results are counted by it,
so that its reading is taken here.
"""
DEBOUNCE_S = 1.0
OFFICIAL_WORDS, OFFICIAL_DURATION_S = 50, 1200.0


@dataclass(frozen=True)
class Stream:
    """A recording as the model sees it.

    Attributes:
        name: Of the data set, for people.
        official: Whether it is as long as the recording that the field measures on, with as many words.
        frames: Quantised energies, int8, shape (frames, 40); one every 32 ms.
        words_s: Start and end of each wake word, shape (words, 2).
    """

    name: str
    official: bool
    frames: NDArray[np.int8]
    words_s: NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """What was heard and what was not, in seconds from the start of the stream.

    Attributes:
        true_positives_s: Starts of the wake words that were detected.
        false_negatives_s: Starts of those that were not.
        false_positives_s: Detections that no wake word explains.
    """

    true_positives_s: NDArray[np.float64]
    false_negatives_s: NDArray[np.float64]
    false_positives_s: NDArray[np.float64]

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 where nothing was said and nothing heard."""
        twice = 2 * len(self.true_positives_s)
        wrong = len(self.false_positives_s) + len(self.false_negatives_s)
        return twice / (twice + wrong) if twice else 0.0


class WakeWord(TinyTask):
    """Hear "marvin" in a stream.

    A sample is one window of 30 frames (one second), int8 (30, 1, 40) with scale 0.003701 and zero point
    -128; the next begins one frame (32 ms) later. An output is the probabilities of the three `LABELS`,
    float32 (3,).

    Args:
        path: None for the stand-in; else a file in the manner of the field's `sww_long_test.json`, or the
            folder that holds it, with the `wav_file` that it names beside it. Official if that has 1,200 s
            and 50 words.
    """

    name = "tiny-wake-word"
    metric = "F1"
    model_id = "sww01"
    payload_size = WINDOW_FRAMES * LFBE_BANDS

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @cached_property
    def _data(self) -> Stream:
        return read_stream(self._path) if self._path else _stand_in()

    @property
    def words_s(self) -> NDArray[np.float64]:
        """Start and end of each wake word, shape (words, 2)."""
        return self._data.words_s

    def __len__(self) -> int:
        return len(self._data.frames) - WINDOW_FRAMES + 1

    def source(self) -> DataSource:
        """Official only for a recording of the field's length with as many wake words."""
        data = self._data
        digest = hashlib.sha256(data.frames.tobytes() + data.words_s.tobytes()).hexdigest()
        return DataSource(data.name, data.official, digest)

    def inputs(self, samples: IndexArray) -> NDArray[np.int8]:
        """Windows, int8 (n, 30, 1, 40)."""
        frames = np.asarray(samples)[:, None] + np.arange(WINDOW_FRAMES)
        windows: NDArray[np.int8] = self._data.frames[frames][:, :, None]
        return windows

    def payloads(self, sample: int) -> Sequence[bytes]:
        """One, of 1,200 bytes."""
        return [self._data.frames[sample : sample + WINDOW_FRAMES].tobytes()]

    def answer(self, results: Sequence[Results]) -> NDArray[np.float32]:
        """The probabilities as printed.

        Raises:
            SystemFault: There are not as many as there are classes.
        """
        (printed,) = results
        if printed.shape != (len(LABELS),):
            raise SystemFault(
                f"the board printed {printed.size} results and {self.model_id} has {len(LABELS)} classes: "
                f"flash the firmware of {self.model_id}"
            )
        return printed.astype(np.float32)

    def file_name(self, sample: int) -> str:
        """By the frame that a window starts with; the field has no files here."""
        return f"stream_{sample:06d}.bin"

    def counts(self, samples: IndexArray, outputs: Outputs) -> Detections:
        """What these windows detect.

        Wake words that none of these windows could have detected are left out, so that a part of the stream
        can be measured; with all windows all words count.

        Raises:
            DataError: Outputs that are not three probabilities a window.
        """
        probabilities = np.asarray(outputs, dtype=np.float32)
        if probabilities.shape != (len(samples), len(LABELS)):
            raise DataError(
                f"wake words are found from {len(LABELS)} probabilities a window, got outputs of shape "
                f"{probabilities.shape} for {len(samples)} windows"
            )
        times_s = heard_at_s(samples)
        order = np.argsort(times_s, kind="stable")
        times_s, detected = times_s[order], probabilities[order, 0] > THRESHOLD
        words_s = self._data.words_s
        first = np.searchsorted(times_s, words_s[:, 0])
        last = np.searchsorted(times_s, words_s[:, 1] + TOLERANCE_S, side="right")
        return match(times_s[detected], words_s[first < last])

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """F1 of `counts`."""
        return self.counts(samples, outputs).f1

    def decode(self, data: bytes) -> Any:
        """Probabilities, float32 (3,)."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The stand-in's own model, as int8 TFLite."""
        return DATA / "sww01.tflite" if format == "tflite" else super().model(format)


def heard_at_s(samples: ArrayLike) -> NDArray[np.float64]:
    """When the last sample of each window has sounded, in seconds from the start of the stream."""
    last_frame = np.asarray(samples, dtype=np.float64) + WINDOW_FRAMES - 1
    return (last_frame * LFBE_HOP + LFBE_WINDOW) / RATE_HZ


def match(
    detections_s: ArrayLike, words_s: ArrayLike, tolerance_s: float = TOLERANCE_S
) -> Detections:
    """Hold detections to what was said.

    A word is detected by anything between its start and `tolerance_s` after its end; all that falls there
    is used up by it, words taking turns in their order. Of the rest, one is a false positive if the false
    positive before it is more than 1 s earlier.

    Source: mlcommons/tiny, benchmark/runner, streaming_ww_utils.py, whose times count from the device's first
    pulse; these count from the start of the stream.

    Args:
        detections_s: In rising order, (n,).
        words_s: Start and end of each wake word, (words, 2).
        tolerance_s: 2 as the field's runner counts, 1 as its rules are written.
    """
    left = np.asarray(detections_s, dtype=np.float64)
    found: list[float] = []
    missed: list[float] = []
    for start_s, end_s in np.asarray(words_s, dtype=np.float64).reshape(-1, 2):
        explained = (left >= start_s) & (left <= end_s + tolerance_s)
        (found if explained.any() else missed).append(start_s)
        left = left[~explained]
    false: list[float] = []
    for time_s in left:
        if not false or time_s > false[-1] + DEBOUNCE_S:
            false.append(time_s)
    return Detections(np.array(found), np.array(missed), np.array(false))


def read_stream(path: Path) -> Stream:
    """The user's recording.

    Args:
        path: A JSON file, `[{"wav_file": ..., "detection_windows": [[start_s, end_s], ...]}]`, of which the
            first entry counts, or a folder with one such file. The recording is beside it.

    Raises:
        DataError: A file is missing, or does not say this.
    """
    listing = _listing(path)
    try:
        entry = json.loads(listing.read_text(encoding="utf-8"))[0]
        wav = listing.parent / entry["wav_file"]
        words_s = np.array(entry["detection_windows"], dtype=np.float64).reshape(-1, 2)
    except (OSError, ValueError, LookupError, TypeError):
        raise DataError(
            f'{listing} is no list of recordings: it must be [{{"wav_file": "NAME.wav", '
            f'"detection_windows": [[START_S, END_S], ...]}}]'
        ) from None
    samples, rate_hz = read_wav(wav)
    duration_s = len(samples) / rate_hz
    if rate_hz != RATE_HZ:
        raise DataError(f"{wav} was sampled at {rate_hz} Hz: wake words need {RATE_HZ} Hz")
    if duration_s < WINDOW_FRAMES * LFBE_HOP / RATE_HZ + (LFBE_WINDOW - LFBE_HOP) / RATE_HZ:
        raise DataError(f"{wav} is too short ({duration_s:.2f} s): a window takes a second")
    ordered = bool((np.diff(words_s.reshape(-1)) > 0).all())
    if not len(words_s) or not ordered or words_s[0, 0] < 0 or words_s[-1, 0] > duration_s:
        raise DataError(
            f"{listing} has detection windows that are none, not in order, or not within the "
            f"{duration_s:.1f} s of {wav.name}: take both from one data set"
        )
    frames = quantise(lfbe(samples / FULL_SCALE), LFBE_SCALE, LFBE_ZERO_POINT)
    official = len(words_s) == OFFICIAL_WORDS and duration_s == OFFICIAL_DURATION_S
    return Stream(f"recording {wav.name}", official, frames, words_s)


def _listing(path: Path) -> Path:
    if not path.is_dir():
        return path
    named = sorted(path.glob("*long*.json")) or sorted(path.glob("*.json"))
    if len(named) != 1:
        raise DataError(
            f"{path} holds {len(named) or 'no'} .json files that could say where the wake words are: pass "
            f"the one, such as {path / 'sww_long_test.json'}"
        )
    return named[0]


def _stand_in() -> Stream:
    shapes = {"frames": ("frames", LFBE_BANDS), "words_s": ("words", 2)}
    frames, words_s = read_arrays(DATA / "sww01.npz", shapes)
    return Stream("stand-in: a stream by a speech synthesiser", False, frames, words_s)
