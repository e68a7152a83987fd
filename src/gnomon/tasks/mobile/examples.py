"""TensorFlow's examples from their bytes: named lists of whole numbers, numbers or strings of bytes.

The message `tf.train.Example` in the wire format of protocol buffers
(protobuf.dev/programming-guides/encoding; tensorflow/core/example/example.proto and feature.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Feature: TypeAlias = list[bytes] | NDArray[np.int64] | NDArray[np.float32]

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
"""Kinds of values on the wire."""
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
"""Fields of a feature, of which one is there."""
LONGEST_VARINT = 10


def parse_example(data: bytes) -> dict[str, Feature]:
    """The features of an example by name; a feature without a list has no bytes in it.

    Raises:
        ValueError: The bytes are no example, or were cut short.
    """
    features: dict[str, Feature] = {}
    for number, whole in _fields(data):
        if number != 1:
            continue
        for entry_number, entry in _fields(_counted(whole)):
            if entry_number != 1:
                continue
            parts = dict(_fields(_counted(entry)))
            name, feature = _counted(parts.get(1, b"")), _counted(parts.get(2, b""))
            features[name.decode()] = _feature(feature)
    return features


def _feature(data: bytes) -> Feature:
    for number, list_ in _fields(data):
        values = [value for place, value in _fields(_counted(list_)) if place == 1]
        if number == BYTES_LIST:
            return [_counted(value) for value in values]
        if number == FLOAT_LIST:
            raw = b"".join(_counted(value) for value in values)
            if len(raw) % 4:
                raise ValueError("a list of numbers was cut short")
            return np.frombuffer(raw, dtype="<f4")
        if number == INT64_LIST:
            parts = [
                _varints(value) if isinstance(value, bytes) else np.array([_signed(value)])
                for value in values
            ]
            return np.concatenate([np.empty(0, dtype=np.int64), *parts])
    return []


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: a varint as int, anything else as its bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == COUNTED:
            length, place = _varint(data, place)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"no field is of kind {kind}")
        if place + length > len(data):
            raise ValueError("a field was cut short")
        yield number, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    if place < len(data) and data[place] < 0x80:  # nearly all are one byte
        return data[place], place + 1
    value = 0
    for length, byte in enumerate(data[place : place + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * length)
        if byte < 0x80:
            return value, place + length + 1
    raise ValueError("a number was cut short")


def _varints(data: bytes) -> NDArray[np.int64]:
    """All numbers of a packed list."""
    stored = np.frombuffer(data, dtype=np.uint8)
    last = stored < 0x80
    if last.all():
        return stored.astype(np.int64)
    if not last[-1]:
        raise ValueError("a packed list was cut short")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > LONGEST_VARINT:
        raise ValueError("a number of a packed list is too long")
    within = np.arange(len(stored)) - np.repeat(starts, lengths)
    bits = (stored & 0x7F).astype(np.uint64) << (7 * within).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)


def _counted(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes must be")
    return value


def _signed(value: int) -> int:
    """A varint as a signed number of 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value
