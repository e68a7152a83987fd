"""Features against the reference implementations, and files that are not what they should be.

`audio_reference.npz` holds what TensorFlow 2.21 (`tf.signal`) and librosa 0.11 make of `sound`, in the
field's settings (mlcommons/tiny, benchmark/training).
"""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gnomon.core.errors import DataError
from gnomon.tasks.tiny.audio import (
    FULL_SCALE,
    LFBE_HOP,
    LFBE_WINDOW,
    MFCC_SCALE,
    MFCC_ZERO_POINT,
    lfbe,
    log_mel,
    mfcc,
    quantise,
    read_wav,
)
from gnomon.tasks.tiny.shipped import read_arrays


def sound(samples):
    """Eleven rising tones that swell and fade, and a little dither, at 16 kHz, int16."""
    time_s = np.arange(samples) / 16000
    total = np.zeros(samples)
    for order in range(1, 12):
        frequency_hz = 97.0 * order**1.6
        total += np.sin(2 * np.pi * frequency_hz * time_s * (1 + 0.2 * time_s) + order) / order
    total *= np.exp(-(((time_s - 0.4) / 0.25) ** 2))
    dither = (np.arange(samples) * 7919 % 1009) / 1009 - 0.5
    return np.rint(9000 * total + 30 * dither).astype(np.int16)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).parent / "audio_reference.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.parametrize(("samples", "name"), [(16000, "mfcc"), (9000, "mfcc_short")])
def test_mfccs_are_tensorflows(reference, samples, name):
    found = mfcc(sound(samples))
    np.testing.assert_allclose(found, reference[name], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(
        quantise(found, MFCC_SCALE, MFCC_ZERO_POINT),
        quantise(reference[name], MFCC_SCALE, MFCC_ZERO_POINT),
    )


def test_log_filter_bank_energies_are_tensorflows(reference):
    found = lfbe(sound(16000) / FULL_SCALE)
    np.testing.assert_allclose(found, reference["lfbe"], rtol=0, atol=1e-4)


def test_log_mels_are_librosas(reference):
    found = log_mel(sound(16000) / FULL_SCALE)
    assert found.shape == (32, 128)
    np.testing.assert_allclose(found[::4], reference["log_mel"], rtol=0, atol=1e-3)


def test_mfccs_do_not_depend_on_how_loud_a_clip_is_and_cut_what_is_too_long():
    loud = sound(16000).astype(np.float64)
    np.testing.assert_allclose(mfcc(loud / 7), mfcc(loud), atol=1e-5)
    np.testing.assert_array_equal(mfcc(np.append(loud, [1.0, -2.0])), mfcc(loud))


def test_a_silent_clip_is_as_low_as_features_go():
    still = quantise(mfcc(np.zeros(16000)), MFCC_SCALE, MFCC_ZERO_POINT)
    assert (still[:, 0] == -128).all()
    assert (still[:, 1:] == MFCC_ZERO_POINT).all()
    assert (lfbe(np.zeros(4096)) == 0).all()


def test_a_frame_of_energies_needs_the_sound_of_its_window_and_one_sample_before():
    stream = np.tile(sound(16000) / FULL_SCALE, 2)
    frames = lfbe(stream)
    assert len(frames) == 1 + (len(stream) - LFBE_WINDOW) // LFBE_HOP
    for frame in (1, 13, 40):
        start = frame * LFBE_HOP
        # The sample before becomes the first of two windows; the second has a window's hop of its own.
        alone = lfbe(stream[start - LFBE_HOP : start + LFBE_WINDOW])[1]
        np.testing.assert_allclose(alone, frames[frame], atol=1e-6)


def test_a_long_stream_gives_the_same_energies_as_its_parts():
    stream = np.random.default_rng(3).normal(0, 0.1, 1030 * LFBE_HOP)
    frames = lfbe(stream)
    np.testing.assert_allclose(frames[1020:], lfbe(stream[1019 * LFBE_HOP :])[1:], atol=1e-6)


def test_what_is_shorter_than_a_window_has_no_frame():
    assert lfbe(np.zeros(LFBE_WINDOW - 1)).shape == (0, 40)
    assert lfbe([]).shape == (0, 40)


@settings(max_examples=50, deadline=None)
@given(
    values=arrays(np.float64, 8, elements=st.floats(-300, 300)),
    scale=st.floats(0.001, 2),
    zero_point=st.integers(-128, 127),
)
def test_quantised_values_are_within_a_step_and_in_order(values, scale, zero_point):
    stored = quantise(np.sort(values), scale, zero_point)
    assert (np.diff(stored.astype(int)) >= 0).all()
    within = (stored > -128) & (stored < 127)
    real = (stored.astype(np.float64) - zero_point) * scale
    assert (np.abs(real - np.sort(values))[within] <= scale * 1.001).all()


def test_quantising_cuts_toward_zero_and_saturates():
    np.testing.assert_array_equal(
        quantise([0.9, 1.9, -0.9, -1.9, 1e9, -1e9], 1.0, 0), [0, 1, 0, -1, 127, -128]
    )


def write_wav(path, samples, channels=1, width=2, rate_hz=16000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples).tobytes())


def test_the_first_channel_of_a_recording_is_read(tmp_path):
    samples = np.array([[1, -1], [300, 5], [-32768, 7]], dtype="<i2")
    write_wav(tmp_path / "two.wav", samples, channels=2, rate_hz=44100)
    found, rate_hz = read_wav(tmp_path / "two.wav")
    assert rate_hz == 44100
    np.testing.assert_array_equal(found, [1, 300, -32768])


def test_a_recording_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(DataError, match=r"none\.wav cannot be read: No such file"):
        read_wav(tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("hello, hello, hello")
    with pytest.raises(DataError, match=r"text\.wav is no PCM WAV file"):
        read_wav(tmp_path / "text.wav")
    write_wav(tmp_path / "eight.wav", np.zeros(9, dtype=np.uint8), width=1)
    with pytest.raises(DataError, match=r"eight\.wav has samples of 8 bits"):
        read_wav(tmp_path / "eight.wav")
    write_wav(tmp_path / "cut.wav", np.zeros(900, dtype="<i2"))
    whole = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"cut\.wav was cut short: 1700 bytes of 1800"):
        read_wav(tmp_path / "cut.wav")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"a": np.zeros((3, 2))}, "has no array"),
        ({"a": np.zeros((3, 3)), "b": np.zeros(3)}, r"holds a of shape \(3, 3\)"),
        ({"a": np.zeros((3, 2)), "b": np.zeros(4)}, r"holds b of shape \(4,\)"),
        ({"a": np.zeros((0, 2)), "b": np.zeros(0)}, r"holds a of shape \(0, 2\)"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, r"holds a of shape \(3,\)"),
    ],
)
def test_a_shipped_file_with_other_arrays_is_refused(tmp_path, stored, message):
    np.savez(tmp_path / "data.npz", **stored)
    with pytest.raises(DataError, match=message):
        read_arrays(tmp_path / "data.npz", {"a": ("n", 2), "b": ("n",)})


def test_a_shipped_file_that_is_missing_or_cut_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.npz is missing: reinstall"):
        read_arrays(tmp_path / "data.npz", {"a": ("n",)})
    np.savez(tmp_path / "data.npz", a=np.arange(1000))
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        read_arrays(tmp_path / "data.npz", {"a": ("n",)})
