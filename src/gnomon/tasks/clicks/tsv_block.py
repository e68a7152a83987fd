"""Whole lines of a Criteo file, parsed many at a time with NumPy.

A line is label, 13 decimal integers and 26 hexadecimal ids of up to 8 digits, separated by tabs; an
integer or id may be empty and is 0 then. No field is looked at by itself: the 8 characters that end at a
field's end are one 64-bit word, and digits are checked and joined within the word, all fields at once
(the "SIMD within a register" of L. Lamport, CACM 18, 1975).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.tasks.clicks.batch import COLUMNS, DENSE_FEATURES, TABLES

MARGIN = b"0" * 16
"""What must stand before and after the lines, so that every field has its words."""

_ZEROS, _ONES = 0x3030303030303030, 0x0101010101010101
_HIGH = np.uint64(0x80 * _ONES)
_KEEP = np.array(
    [(0xFFFFFFFFFFFFFFFF << (64 - 8 * n)) & 0xFFFFFFFFFFFFFFFF for n in range(9)], np.uint64
)
"""By a field's length: which bytes of its word are its own."""
_FILL = ~_KEEP & np.uint64(_ZEROS)

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Block:
    """The well-formed lines of a block, and which were not.

    Attributes:
        labels: 0 or 1, float32 (n,).
        integers: int32 (n, 13).
        ids: uint64 (n, 26), below 2^32.
        lines: Lines in the block, well-formed or not.
        malformed: Their positions among all lines, ascending.
        bounds: Where each line's text starts and ends in the buffer, (lines, 2), line end excluded.
    """

    labels: NDArray[np.float32]
    integers: NDArray[np.int32]
    ids: Words
    lines: int
    malformed: NDArray[np.intp]
    bounds: NDArray[np.intp]


def parse_block(text: bytes) -> Block:
    """Parse `MARGIN`, whole lines, `MARGIN`. Lines end with LF or CR LF."""
    characters = np.frombuffer(text, np.uint8)
    last = len(text) - len(MARGIN)
    inside = characters[len(MARGIN) : last]
    ends = np.flatnonzero((inside - np.uint8(9)) < 2) + len(MARGIN)  # tab is 9, LF is 10
    starts = np.empty_like(ends)
    starts[:1] = len(MARGIN)
    np.add(ends[:-1], 1, out=starts[1:])

    newlines = np.flatnonzero(characters[ends] == 10)  # a line's last field, among all fields
    columns = np.diff(newlines, prepend=-1)
    bounds = np.stack([starts[newlines - columns + 1], ends[newlines]], axis=1)
    ends[newlines] -= characters[ends[newlines] - 1] == 13
    right = np.flatnonzero(columns == COLUMNS)
    if len(right) < len(newlines):
        fields = (newlines[right, None] - np.arange(COLUMNS)[::-1]).ravel()
        starts, ends = starts[fields], ends[fields]
    first, end = starts.reshape(-1, COLUMNS), ends.reshape(-1, COLUMNS)

    labels = characters[first[:, 0]] - np.uint8(48)
    good = (labels <= 1) & (end[:, 0] - first[:, 0] == 1)
    cut = 1 + DENSE_FEATURES
    integers, fine = _integers(text, characters, first[:, 1:cut], end[:, 1:cut])
    good &= fine.all(axis=1)
    ids, fine = _ids(text, first[:, cut:], end[:, cut:])
    good &= fine.all(axis=1)
    malformed = np.ones(len(newlines), bool)
    malformed[right[good]] = False
    if not good.all():
        labels, integers, ids = labels[good], integers[good], ids[good]
    return Block(
        labels.astype(np.float32),
        integers.astype(np.int32),
        ids,
        len(newlines),
        np.flatnonzero(malformed),
        bounds,
    )


def _words(text: bytes, ends: NDArray[np.intp], lengths: NDArray[np.intp]) -> Words:
    """The last 8 characters of each field, first character lowest, padded with the character 0."""
    windows = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    lengths = np.minimum(lengths, 8)
    words: Words = windows[ends - 8]
    words &= _KEEP.take(lengths)
    words |= _FILL.take(lengths)
    return words


def _above(words: Words, byte: int) -> Words:
    """Bit 7 of each byte is set where that byte, below 128, is above `byte`."""
    return words + np.uint64((0x7F - byte) * _ONES)


def _decimal(words: Words) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The number in each word, and whether it is one."""
    outside = (words | _above(words, ord("9")) | ~_above(words, ord("0") - 1)) & _HIGH
    value = words & np.uint64(0x0F * _ONES)
    value = (value * np.uint64(10 * 256 + 1)) >> np.uint64(8) & np.uint64(0x00FF00FF00FF00FF)
    value = (value * np.uint64(100 * 65536 + 1)) >> np.uint64(16) & np.uint64(0x0000FFFF0000FFFF)
    value = (value * np.uint64((10000 << 32) + 1)) >> np.uint64(32)
    return value.astype(np.int64), outside == 0


def _integers(
    text: bytes, characters: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Decimal integers that fit 32 bits, and which fields are that; empty is 0."""
    lengths = ends - starts
    negative = (characters[starts] == ord("-")) & (lengths > 0)
    lengths = lengths - negative
    values, good = _decimal(_words(text, ends, lengths))
    good &= ~negative | (lengths > 0)
    long = np.nonzero(lengths > 8)
    if len(long[0]):
        upper, fine = _decimal(_words(text, ends[long] - 8, lengths[long] - 8))
        values[long] += upper * 100_000_000
        good[long] &= fine & (lengths[long] <= 16)
    np.negative(values, out=values, where=negative)
    good &= (values >= -(1 << 31)) & (values < 1 << 31)
    return values, good


def _ids(
    text: bytes, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[Words, NDArray[np.bool_]]:
    """Hexadecimal numbers of up to 8 digits, and which fields are that; empty is 0."""
    lengths = ends - starts
    words = _words(text, ends, lengths)
    lower = words | np.uint64(0x20 * _ONES)
    digit = _above(words, ord("0") - 1) & ~_above(words, ord("9"))
    letter = _above(lower, ord("a") - 1) & ~_above(lower, ord("f"))
    good = ((digit | letter) & ~words & _HIGH == _HIGH) & (lengths <= 8)
    value = (words & np.uint64(0x0F * _ONES)) + (
        (words >> np.uint64(6)) & np.uint64(_ONES)
    ) * np.uint64(9)
    value = (value << np.uint64(4) | value >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    value = (value << np.uint64(8) | value >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    value = (value << np.uint64(16) | value >> np.uint64(32)) & np.uint64(0xFFFFFFFF)
    return value, good


def what_is_wrong(line: bytes) -> str:
    """Why a line is not a Criteo line, in words; for a line that `parse_block` refused."""
    fields = line.removesuffix(b"\n").removesuffix(b"\r").split(b"\t")
    if fields == [b""]:
        return "an empty line"
    if len(fields) != COLUMNS:
        columns = "1 column" if len(fields) == 1 else f"{len(fields)} columns"
        return f"{columns}, not {COLUMNS} (label, {DENSE_FEATURES} integers, {TABLES} ids)"
    if fields[0] not in (b"0", b"1"):
        return f"label {_shown(fields[0])}, not 0 or 1"
    for column, field in enumerate(fields[1 : 1 + DENSE_FEATURES], start=2):
        if not re.fullmatch(rb"(-?[0-9]+)?", field):
            return f"column {column}: {_shown(field)} is not an integer"
        if len(field) > 16 or not -(1 << 31) <= int(field or b"0") < 1 << 31:
            return f"column {column}: {_shown(field)} does not fit 32 bits"
    for column, field in enumerate(fields[1 + DENSE_FEATURES :], start=2 + DENSE_FEATURES):
        if not re.fullmatch(rb"[0-9a-fA-F]{0,8}", field):
            return f"column {column}: {_shown(field)} is not a hexadecimal id of up to 8 digits"
    raise AssertionError(f"this is a Criteo line: {line!r}")


def _shown(field: bytes) -> str:
    return repr(field[:24])[1:] + ("…" if len(field) > 24 else "")
