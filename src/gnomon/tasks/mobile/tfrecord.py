"""Files of records as TensorFlow writes them, and the examples in them, without TensorFlow.

A record is its length (uint64), a checksum of that, its bytes, and a checksum of those, all little-endian; a
checksum is CRC-32C, rotated and offset (tensorflow/core/lib/io/record_writer.h,
tensorflow/core/lib/hash/crc32c.h in github.com/tensorflow/tensorflow). The whole file may be compressed with
zlib or gzip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

POLYNOMIAL = 0x82F63B78
"""Of CRC-32C (Castagnoli), with its bits reversed."""
MASK = np.uint32(0xA282EAD8)
HEAD, FOOT = 12, 4
"""Bytes before and after the data of a record."""
EITHER_COMPRESSION = 47
"""zlib's window size that lets it find out by itself whether a stream is its own or gzip's."""


def _table() -> NDArray[np.uint32]:
    """By byte, what the checksum changes by."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


TABLE = _table()


def read_records(file: Path) -> list[bytes]:
    """The data of each record, in order.

    Raises:
        DataError: The file is missing, was cut short, or a checksum is not that of its data.
    """
    try:
        stored = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    if not _begins_with_a_record(stored):
        try:
            stored = zlib.decompress(stored, EITHER_COMPRESSION)
        except zlib.error:
            raise DataError(
                f"{file} is no file of TensorFlow's records, or was cut short: download it again"
            ) from None
    records: list[bytes] = []
    lengths: list[bytes] = []
    sums: list[int] = []
    place = 0
    while place < len(stored):
        length = int.from_bytes(stored[place : place + 8], "little")
        end = place + HEAD + length
        if len(stored) < end + FOOT:
            raise DataError(
                f"{file} was cut short in record {len(records)}, counted from 0: download it again"
            )
        lengths.append(stored[place : place + 8])
        records.append(stored[place + HEAD : end])
        sums += struct.unpack("<I", stored[place + 8 : place + HEAD])
        sums += struct.unpack("<I", stored[end : end + FOOT])
        place = end + FOOT
    if not records:
        raise DataError(f"{file} has no records: download it again")
    expected = np.array(sums, dtype=np.uint32).reshape(-1, 2)
    wrong = (masked_crc32c(lengths) != expected[:, 0]) | (masked_crc32c(records) != expected[:, 1])
    if wrong.any():
        raise DataError(
            f"{file} is damaged in record {int(wrong.argmax())}, counted from 0: download it again"
        )
    return records


def masked_crc32c(blocks: Sequence[bytes]) -> NDArray[np.uint32]:
    """The checksum of each block, as records carry it.

    All blocks are gone through at once, a byte of each at a time: one by one, Python would take a minute for
    SQuAD's 10,833.
    """
    lengths = np.array([len(block) for block in blocks], dtype=np.int64)
    longest_first = np.argsort(-lengths, kind="stable")
    data = np.frombuffer(b"".join(blocks), dtype=np.uint8)
    starts = (np.cumsum(lengths) - lengths)[longest_first]
    # How many blocks have a byte at this place.
    counts = np.searchsorted(-lengths[longest_first], -np.arange(lengths.max(initial=0)))
    sums = np.full(len(blocks), 0xFFFFFFFF, dtype=np.uint32)
    for place, count in enumerate(counts.tolist()):
        here = sums[:count]
        sums[:count] = TABLE[(here ^ data[starts[:count] + place]) & 0xFF] ^ (here >> 8)
    result = np.empty_like(sums)
    result[longest_first] = ~sums
    return (((result >> 15) | (result << 17)) + MASK).astype(np.uint32, copy=False)


def _begins_with_a_record(stored: bytes) -> bool:
    if len(stored) < HEAD:
        return False
    return int(masked_crc32c([stored[:8]])[0]) == int.from_bytes(stored[8:HEAD], "little")
