"""Keyword spotting, kws01 of MLPerf Tiny: which of ten words was said, or another, or none.

The data that ships is a stand-in, spoken by a synthesiser (`tools/tiny_keywords.py`); Speech Commands and the
field's binary files are read as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SystemFault
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.device.task import Results, TinyTask
from gnomon.tasks.tiny.audio import (
    MFCC_SCALE,
    MFCC_SHAPE,
    MFCC_ZERO_POINT,
    RATE_HZ,
    mfcc,
    quantise,
    read_wav,
)
from gnomon.tasks.tiny.sets import LABELS as LABEL_FILE
from gnomon.tasks.tiny.sets import is_official, read_binary_set
from gnomon.tasks.tiny.shipped import read_arrays

DATA = Path(__file__).parents[2] / "data" / "tiny"
LABELS = (
    *("Down", "Go", "Left", "No", "Off", "On", "Right", "Stop", "Up", "Yes"),
    *("Silence", "Unknown"),
)
"""The classes, in the order of the model's outputs."""
SILENCE, UNKNOWN = 10, 11
SIZE = MFCC_SHAPE[0] * MFCC_SHAPE[1]
SPEECH_COMMANDS_LIST = "testing_list.txt"
NOISE = "_background_noise_"


@dataclass(frozen=True)
class Utterances:
    """Clips as the model takes them.

    Attributes:
        name: Of the data set, for people.
        official: Whether they are the set that the field measures on.
        inputs: Quantised MFCCs, int8, shape (n, 490).
        labels: Indices into `LABELS`, shape (n,).
        files: Their names.
    """

    name: str
    official: bool
    inputs: NDArray[np.int8]
    labels: NDArray[np.uint8]
    files: tuple[str, ...]


class Keywords(TinyTask):
    """Tell which word a clip of one second holds.

    An input is int8 (49, 10, 1): MFCCs with scale 0.584703 and zero point 83; an output is the probabilities
    of the twelve `LABELS`, float32 (12,).

    Args:
        path: None for the stand-in; else one of

            - a folder of the field's binary files with their `y_labels.csv`: official if its list of names
              and labels is the field's;
            - Speech Commands v2 unpacked (it has a `testing_list.txt`): the clips on that list, other words
              than the ten being "Unknown". None is silent and most are unknown, so that the accuracy on them
              compares with nothing published;
            - its separate test archive, or clips sorted like it: a folder a word, `_silence_`, `_unknown_`.
              These are not the 1,000 that the field measures on either.
    """

    name = "tiny-keywords"
    metric = "top-1 accuracy"
    model_id = "kws01"
    payload_size = SIZE

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @cached_property
    def _data(self) -> Utterances:
        return read_utterances(self._path) if self._path else _stand_in()

    def __len__(self) -> int:
        return len(self._data.labels)

    def source(self) -> DataSource:
        """Official only for the field's own binary files, all of them."""
        data = self._data
        digest = hashlib.sha256(data.inputs.tobytes() + data.labels.tobytes()).hexdigest()
        return DataSource(data.name, data.official, digest)

    def inputs(self, samples: IndexArray) -> NDArray[np.int8]:
        """Quantised MFCCs, int8 (n, 49, 10, 1)."""
        return self._data.inputs[samples].reshape(-1, *MFCC_SHAPE, 1)

    def payloads(self, sample: int) -> Sequence[bytes]:
        """One, of 490 bytes."""
        return [self._data.inputs[sample].tobytes()]

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
        """`tst_000000_Stop_7.bin` and the like."""
        return self._data.files[sample]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Share of clips whose highest probability is the label's; an answer with NaN is wrong."""
        probabilities = np.asarray(outputs, dtype=np.float32)
        if probabilities.shape != (len(samples), len(LABELS)):
            raise DataError(
                f"keywords are scored from {len(LABELS)} probabilities a clip, got outputs of shape "
                f"{probabilities.shape} for {len(samples)} clips"
            )
        finite = ~np.isnan(probabilities).any(axis=1)
        right = (probabilities.argmax(axis=1) == self._data.labels[samples]) & finite
        return float(right.mean())

    def decode(self, data: bytes) -> Any:
        """Probabilities, float32 (12,)."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The stand-in's own model, as int8 TFLite."""
        return DATA / "kws01.tflite" if format == "tflite" else super().model(format)


def read_utterances(folder: Path) -> Utterances:
    """The user's data, in whichever of the formats that `Keywords` names.

    Raises:
        DataError: It is none of them, or a file of it is missing or not what it should be.
    """
    if (folder / LABEL_FILE).is_file():
        return _from_binary(folder)
    listing = folder / SPEECH_COMMANDS_LIST
    if listing.is_file():
        clips = [folder / line for line in listing.read_text(encoding="utf-8").split()]
        if not clips:
            raise DataError(f"{listing} is empty: unpack Speech Commands again")
        return _from_wav(folder, clips, "Speech Commands, testing list")
    clips = [clip for clip in sorted(folder.glob("*/*.wav")) if clip.parent.name != NOISE]
    if clips:
        return _from_wav(folder, clips, f"keyword clips in {folder.name}")
    raise DataError(
        f"{folder} holds no keywords: it must be a folder with {LABEL_FILE} and its .bin files, with "
        f"{SPEECH_COMMANDS_LIST} (Speech Commands v2), or with a folder of .wav clips for each word"
    )


def _stand_in() -> Utterances:
    inputs, labels = read_arrays(DATA / "kws01.npz", {"inputs": ("n", SIZE), "labels": ("n",)})
    files = tuple(
        f"tst_{index:06d}_{LABELS[label]}_{label}.bin" for index, label in enumerate(labels)
    )
    return Utterances("stand-in: keywords by a speech synthesiser", False, inputs, labels, files)


def _from_binary(folder: Path) -> Utterances:
    found = read_binary_set(folder, len(LABELS), SIZE)
    data = b"".join(found.payloads(sample)[0] for sample in range(len(found.files)))
    return Utterances(
        f"binary keyword files in {folder.name}",
        is_official(Keywords.model_id, found.files),
        np.frombuffer(data, dtype=np.int8).reshape(-1, SIZE),
        found.labels.astype(np.uint8),
        tuple(file.name for file in found.files),
    )


def _from_wav(folder: Path, clips: Sequence[Path], name: str) -> Utterances:
    inputs = []
    for clip in clips:
        samples, rate_hz = read_wav(clip)
        if rate_hz != RATE_HZ:
            raise DataError(f"{clip} was sampled at {rate_hz} Hz: keywords need {RATE_HZ} Hz")
        inputs.append(quantise(mfcc(samples), MFCC_SCALE, MFCC_ZERO_POINT).reshape(SIZE))
    labels = np.array([_label_of(clip.parent.name) for clip in clips], dtype=np.uint8)
    files = tuple(str(clip.relative_to(folder)) for clip in clips)
    return Utterances(name, False, np.stack(inputs), labels, files)


def _label_of(word: str) -> int:
    spoken = word.strip("_").capitalize()
    return LABELS.index(spoken) if spoken in LABELS else UNKNOWN
