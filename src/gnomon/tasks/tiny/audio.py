"""Sound as the audio benchmarks of MLPerf Tiny see it: read from files, turned into what a model takes.

The three features are those of the field's training scripts (mlcommons/tiny, benchmark/training), which lean
on defaults of TensorFlow and librosa; here they are spelled out in NumPy.
"""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct

from gnomon.core.errors import DataError

Floats = NDArray[np.float64]

RATE_HZ = 16_000
FULL_SCALE = 32_768.0
"""Of 16-bit samples."""

CLIP_SAMPLES = 16_000
MFCC_SHAPE = (49, 10)
"""Frames, coefficients."""
MFCC_SCALE, MFCC_ZERO_POINT = 0.584703, 83
"""Input quantisation of the keyword model; the field's files are stored in it."""

LFBE_BANDS = 40
LFBE_SCALE, LFBE_ZERO_POINT = 0.0037010, -128
"""Input quantisation of the wake-word model."""
LFBE_WINDOW, LFBE_HOP = 1024, 512
"""64 ms and 32 ms, in samples."""
BLOCK = 1024
"""Frames at a time."""

LOG_MEL_BANDS = 128
LOG_MEL_WINDOW, LOG_MEL_HOP = 1024, 512
LOG_MEL_KEPT = slice(50, 250)
"""The frames of a recording that the anomaly benchmark uses: the middle six of ten seconds."""


def mfcc(samples: ArrayLike) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients of a one-second clip, shape (49, 10).

    The clip is divided by its largest sample (not by its largest magnitude), padded with zeros or cut to
    16,000 samples; frames of 30 ms every 20 ms under a periodic Hann window; magnitudes of a 512-point FFT;
    40 mel bands from 20 to 4000 Hz; natural logarithm; DCT-II divided by sqrt(2 x 40), the first ten.

    Args:
        samples: At 16 kHz, (n,).
    """
    clip = np.asarray(samples, dtype=np.float64)
    loudest = clip.max(initial=0.0)
    clip = clip / loudest if loudest > 0 else clip
    clip = np.pad(clip[:CLIP_SAMPLES], (0, max(0, CLIP_SAMPLES - len(clip))))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    magnitudes = np.abs(np.fft.rfft(_frames(clip, 480, 320) * window, 512))
    bands = magnitudes @ _mel_bands(40, 257, RATE_HZ, 20.0, 4000.0)
    coefficients: Floats = dct(np.log(bands + 1e-6), type=2, axis=-1) / np.sqrt(2 * 40)
    return coefficients[:, : MFCC_SHAPE[1]].astype(np.float32)


def lfbe(samples: ArrayLike) -> NDArray[np.float32]:
    """Log filter-bank energies of a stream, shape (frames, 40), in 0 to 1.

    Pre-emphasis by 1 - 2^-5; frames of 64 ms every 32 ms under a symmetric Hamming window; power divided by
    the window's length; 40 mel bands up to 8 kHz; decibels, 52 added, divided by 64, clipped to 0 to 1. A
    frame needs no other sample than its own and the one before it: a device computes it as sound arrives.

    Args:
        samples: At 16 kHz, -1 to 1, (n,); shorter than a window gives no frame.
    """
    stream = np.asarray(samples, dtype=np.float64)
    emphasised = stream - (1 - 2**-5) * np.concatenate([[0.0], stream])[: len(stream)]
    frames = _frames(emphasised, LFBE_WINDOW, LFBE_HOP)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(LFBE_WINDOW) / (LFBE_WINDOW - 1))
    triangles = _mel_bands(LFBE_BANDS, 513, RATE_HZ, 0.0, RATE_HZ / 2)
    energies = np.empty((len(frames), LFBE_BANDS), dtype=np.float32)
    for start in range(0, len(frames), BLOCK):  # twenty minutes at once would take a gigabyte
        block = slice(start, start + BLOCK)
        power = np.abs(np.fft.rfft(frames[block] * window)) ** 2 / LFBE_WINDOW
        decibels = 10 * np.log10(np.maximum(power @ triangles, 1e-30))
        energies[block] = np.clip((decibels + 52) / 64, 0.0, 1.0)
    return energies


def log_mel(samples: ArrayLike, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Mel spectrogram of a recording in decibels, shape (1 + n // 512, 128).

    Frames of 1024 samples centred on every 512th, under a periodic Hann window, the ends padded with zeros;
    power; 128 mel bands of equal area up to half the rate; 10 log10(power + 2.2e-16).

    Args:
        samples: -1 to 1, (n,).
        rate_hz: Of the samples.
    """
    signal = np.pad(np.asarray(samples, dtype=np.float64), LOG_MEL_WINDOW // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LOG_MEL_WINDOW) / LOG_MEL_WINDOW)
    power = np.abs(np.fft.rfft(_frames(signal, LOG_MEL_WINDOW, LOG_MEL_HOP) * window)) ** 2
    bands = power @ _equal_area_bands(LOG_MEL_BANDS, LOG_MEL_WINDOW, rate_hz)
    return (10 * np.log10(bands + np.finfo(np.float64).eps)).astype(np.float32)


def quantise(values: ArrayLike, scale: float, zero_point: int) -> NDArray[np.int8]:
    """Numbers as int8: value / scale + zero point, cut toward zero as the field's scripts do, clipped.

    In single precision, in which what is zero but for rounding becomes the zero point.
    """
    scaled = np.trunc(np.asarray(values, dtype=np.float32) / np.float32(scale) + zero_point)
    quantised: NDArray[np.int8] = np.clip(scaled, -128, 127).astype(np.int8)
    return quantised


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """The first channel of a 16-bit WAV file, shape (n,), and its rate in Hz.

    Raises:
        DataError: It is missing, cut short, or of another kind.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            announced, data = file.getnframes(), file.readframes(file.getnframes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"{path} is no PCM WAV file ({error or 'it ends early'}): convert it"
        ) from None
    if width != 2:
        raise DataError(f"{path} has samples of {8 * width} bits: convert it to 16-bit PCM")
    if len(data) != announced * channels * width:
        raise DataError(
            f"{path} was cut short: {len(data)} bytes of {announced * channels * width}"
        )
    return np.frombuffer(data, dtype="<i2").reshape(-1, channels)[:, 0].astype(np.int16), rate_hz


def _frames(signal: Floats, length: int, hop: int) -> Floats:
    """Overlapping frames, shape (frames, length); what is left at the end is dropped."""
    if len(signal) < length:
        return np.empty((0, length))
    return np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]


@cache
def _mel_bands(bands: int, bins: int, rate_hz: int, low_hz: float, high_hz: float) -> Floats:
    """Triangles that are straight in mel, shape (bins, bands); mel = 1127 ln(1 + f / 700); no weight at 0 Hz.

    As `tf.signal.linear_to_mel_weight_matrix`.
    """

    def mel(frequency_hz: ArrayLike) -> Floats:
        return 1127.0 * np.log1p(np.asarray(frequency_hz, dtype=np.float64) / 700.0)

    places = mel(np.linspace(0.0, rate_hz / 2, bins)[1:])[:, None]
    edges = np.linspace(mel(low_hz), mel(high_hz), bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (places - lower) / (centre - lower), (upper - places) / (upper - centre)
    return np.pad(np.maximum(0.0, np.minimum(rising, falling)), ((1, 0), (0, 0)))


@cache
def _equal_area_bands(bands: int, window: int, rate_hz: int) -> Floats:
    """Triangles that are straight in Hz and of equal area, shape (window // 2 + 1, bands).

    Edges are equally spaced in Slaney's mel: linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 mel
    per factor 6.4). As `librosa.filters.mel`.
    """
    knee_hz, knee_mel, step = 1000.0, 15.0, np.log(6.4) / 27.0
    top_hz = rate_hz / 2
    top_mel = knee_mel + np.log(top_hz / knee_hz) / step if top_hz >= knee_hz else top_hz * 3 / 200
    mels = np.linspace(0.0, top_mel, bands + 2)
    edges_hz = np.where(mels < knee_mel, mels * 200 / 3, knee_hz * np.exp(step * (mels - knee_mel)))
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    places = np.linspace(0.0, top_hz, window // 2 + 1)[:, None]
    rising, falling = (places - lower) / (centre - lower), (upper - places) / (upper - centre)
    triangles: Floats = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))
    return triangles
