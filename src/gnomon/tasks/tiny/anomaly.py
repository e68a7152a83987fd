"""Anomaly detection, ad01 of MLPerf Tiny: does a machine sound broken to a model that heard only sound ones.

The data that ships is a stand-in, made-up machines (`tools/tiny_anomaly.py`); DCASE 2020's recordings of toy
cars and the field's binary files are read as well.
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
from gnomon.tasks.clicks.auc import roc_auc
from gnomon.tasks.tiny.audio import (
    FULL_SCALE,
    LOG_MEL_BANDS,
    LOG_MEL_KEPT,
    log_mel,
    read_wav,
)
from gnomon.tasks.tiny.sets import LABELS as LABEL_FILE
from gnomon.tasks.tiny.sets import is_official, read_binary_set
from gnomon.tasks.tiny.shipped import read_arrays

DATA = Path(__file__).parents[2] / "data" / "tiny"
WINDOW_FRAMES = 5
WIDTH = WINDOW_FRAMES * LOG_MEL_BANDS
"""Numbers in a window; the next begins one frame later."""
WIDTH_BYTES, STRIDE_BYTES = 4 * WIDTH, 4 * LOG_MEL_BANDS
DECIBELS_PER_STEP, STEPS_AT_0_DB = 0.5, 30
"""How the stand-in's log-mels are stored in int8."""
FRAMES = LOG_MEL_KEPT.stop - LOG_MEL_KEPT.start
"""In a recording of the field's set."""
KINDS = ("normal", "anomaly")
"""By label; the field's files are named so."""


@dataclass(frozen=True)
class Recordings:
    """Recordings as log-mels.

    Attributes:
        name: Of the data set, for people.
        official: Whether they are the set that the field measures on.
        frames: A recording each: decibels, float32, shape (its frames, 128).
        labels: 1 for a broken machine, else 0, shape (n,).
        files: Their names.
    """

    name: str
    official: bool
    frames: Sequence[NDArray[np.float32]]
    labels: NDArray[np.uint8]
    files: tuple[str, ...]


class MachineSounds(TinyTask):
    """Tell broken machines from sound ones by how badly an autoencoder reproduces them.

    An input is a recording's windows of five frames of 128 log-mels, float32 (windows, 640), each inferred on
    its own; an output is the recording's score, one number: the mean over its windows of the mean squared
    error, which a board computes itself, against the numbers it was sent.

    Args:
        path: None for the stand-in; else one of

            - a folder of the field's binary files with their `y_labels.csv`: official if its list of names
              and labels is the field's, long or short, and all files have 200 frames;
            - a folder of DCASE 2020 task 2 recordings, `normal_id_01_00000000.wav` and `anomaly_id_...`, or
              one with such a folder `test`. The field measures on some of them, so that all are not official.
    """

    name = "tiny-machine-sounds"
    metric = "AUC"
    model_id = "ad01"
    payload_size = WIDTH_BYTES
    payload_stride = STRIDE_BYTES

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @cached_property
    def _data(self) -> Recordings:
        return read_recordings(self._path) if self._path else _stand_in()

    def __len__(self) -> int:
        return len(self._data.labels)

    def source(self) -> DataSource:
        """Official only for the field's own binary files, all of them."""
        return self._source

    @cached_property
    def _source(self) -> DataSource:
        data = self._data
        digest = hashlib.sha256(data.labels.tobytes())
        for frames in data.frames:
            digest.update(frames.tobytes())
        return DataSource(data.name, data.official, digest.hexdigest())

    def inputs(self, samples: IndexArray) -> list[NDArray[np.float32]]:
        """The windows of each recording, float32 (windows, 640), in decibels."""
        return [windows_of(self._data.frames[sample]) for sample in samples]

    def payloads(self, sample: int) -> Sequence[bytes]:
        """A window each: 640 float32, little-endian."""
        windows = windows_of(self._data.frames[sample]).astype("<f4")
        return [window.tobytes() for window in windows]

    def answer(self, results: Sequence[Results]) -> np.float32:
        """The mean of the windows' errors.

        Raises:
            SystemFault: The board did not print one number a window.
        """
        if any(printed.shape != (1,) for printed in results):
            raise SystemFault(
                f"the board printed {max(printed.size for printed in results)} results for a window, not its "
                f"one mean squared error: flash the firmware of {self.model_id}"
            )
        return np.float32(np.mean(results))

    def file_name(self, sample: int) -> str:
        """`normal_id_01_00000003_hist_librosa.bin` and the like."""
        return self._data.files[sample]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Area under the ROC curve over recordings; one whose score is NaN is ranked wrong.

        Raises:
            DataError: Outputs that are not one number a recording, or recordings of one kind only.
        """
        scores = np.asarray(outputs, dtype=np.float64)
        if scores.size != len(samples):
            raise DataError(
                f"machine sounds are scored from one number a recording, got outputs of shape "
                f"{scores.shape} for {len(samples)} recordings"
            )
        labels = self._data.labels[samples]
        if len(np.unique(labels)) < 2:
            raise DataError(
                f"AUC needs recordings of sound and of broken machines, and all {len(labels)} measured are "
                f"{KINDS[labels[0]] if len(labels) else 'missing'}: measure more files"
            )
        wrong = np.where(labels == 1, -np.inf, np.inf)
        scores = scores.reshape(-1)
        return roc_auc(np.where(np.isnan(scores), wrong, scores), labels)

    def decode(self, data: bytes) -> Any:
        """The score of a recording, float32 (1,)."""
        return np.frombuffer(data, dtype=np.float32)

    def model(self, format: str) -> Path:  # noqa: A002 - the field's word
        """The stand-in's own model, as int8 TFLite."""
        return DATA / "ad01.tflite" if format == "tflite" else super().model(format)


def windows_of(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Five frames after each other, from every frame that has four behind it, shape (frames - 4, 640)."""
    seen = np.lib.stride_tricks.sliding_window_view(frames, WINDOW_FRAMES, axis=0)
    return np.ascontiguousarray(seen.transpose(0, 2, 1)).reshape(len(seen), WIDTH)


def read_recordings(folder: Path) -> Recordings:
    """The user's data, in whichever of the formats that `MachineSounds` names.

    Raises:
        DataError: It is none of them, or a file of it is missing or not what it should be.
    """
    if (folder / LABEL_FILE).is_file():
        return _from_binary(folder)
    place = folder / "test" if (folder / "test").is_dir() else folder
    clips = [clip for clip in sorted(place.glob("*.wav")) if _kind(clip) in KINDS]
    if not clips:
        raise DataError(
            f"{folder} holds no machine sounds: it must be a folder with {LABEL_FILE} and its .bin files, or "
            f"with normal_*.wav and anomaly_*.wav (DCASE 2020 task 2, ToyCar/test)"
        )
    return Recordings(
        f"recordings in {place.parent.name}/{place.name}",
        False,
        [_kept(clip) for clip in clips],
        np.array([KINDS.index(_kind(clip)) for clip in clips], dtype=np.uint8),
        tuple(clip.name for clip in clips),
    )


def _stand_in() -> Recordings:
    shapes = {"frames": ("n", "frames", LOG_MEL_BANDS), "labels": ("n",)}
    coded, labels = read_arrays(DATA / "ad01.npz", shapes)
    frames = (coded.astype(np.float32) - STEPS_AT_0_DB) * np.float32(DECIBELS_PER_STEP)
    files = tuple(f"{KINDS[label]}_id_01_{index:08d}.bin" for index, label in enumerate(labels))
    return Recordings("stand-in: synthetic machines", False, list(frames), labels, files)


def _from_binary(folder: Path) -> Recordings:
    found = read_binary_set(folder, len(KINDS), WIDTH_BYTES)
    frames = []
    for sample, file in enumerate(found.files):
        if file.stride_bytes not in (0, STRIDE_BYTES):
            raise DataError(
                f"{folder / LABEL_FILE}, line {file.line}: stride {file.stride_bytes}, and a frame of "
                f"machine sounds has {STRIDE_BYTES} bytes: pass the set of this benchmark"
            )
        first, *later = found.payloads(sample)
        content = first + b"".join(window[-STRIDE_BYTES:] for window in later)
        frames.append(np.frombuffer(content, dtype="<f4").reshape(-1, LOG_MEL_BANDS))
    return Recordings(
        f"binary machine sounds in {folder.name}",
        is_official(MachineSounds.model_id, found.files)
        and all(len(recording) == FRAMES for recording in frames),
        frames,
        found.labels.astype(np.uint8),
        tuple(file.name for file in found.files),
    )


def _kept(clip: Path) -> NDArray[np.float32]:
    """The frames of a recording that are measured."""
    samples, rate_hz = read_wav(clip)
    frames = log_mel(samples / FULL_SCALE, rate_hz)[LOG_MEL_KEPT]
    if len(frames) < WINDOW_FRAMES:
        raise DataError(
            f"{clip} is too short ({len(samples) / rate_hz:.1f} s): the benchmark uses frames from 1.6 s on"
        )
    return frames


def _kind(clip: Path) -> str:
    return clip.name.split("_")[0]
