"""Records and examples against bytes that TensorFlow 2.21 wrote, and against damage."""

import base64

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.examples import parse_example
from gnomon.tasks.mobile.tfrecord import masked_crc32c, read_records

WRITTEN_BY_TENSORFLOW = {
    "": "bwAAAAAAAABsMYHeCm0KCwoHbm90aGluZxIAChYKBXdvcmRzEg0KCwoDb25lCgAKAsOkChcKB251bWJlcnMSDBIKCggAAMA/AAAA"
    "wAotCgV3aG9sZRIkGiIKIP///////////wGAgICAgICAgECsAgCAgICAgICAgIABqCH6EAAAAAAAAAAAKQOYB9jqgqIJAAAAAAAAADf5"
    "cTkxMjM0NTY3ODnlsIrH",
    "zlib": "eJzLZ4CAHMPGe1y5XNxc7Hn5JRmZeelCDFxiXKzl+UUpxUK8QHHm/LxULgYupsNLuMSBikpzk1KLioV4hLi4OBgYDtgDjTjA"
    "pQvUkJGfkyqkIqXEpfAfBhgboMBhDRMDjN3AuELxlwDUdgZN5hnsN141LeKE8s1/FloaGhmbmJqZW1g+3dB1HAANAzI7",
    "gzip": "H4sIAAAAAAAAA8tngIAcw8Z7XLlc3FzsefklGZl56UIMXGJcrOX5RSnFQrxAceb8vFQuBi6mw0u4xIGKSnOTUouKhXiEuLg4"
    "GBgO2AONOMClC9SQkZ+TKqQipcSl8B8GGBugwGENEwOM3cC4QvGXANR2Bk3mGew3XjUt4oTyzX8WWhoaGZuYmplbWD7d0HUcAGKU2eSo"
    "AAAA",
}
"""The same three records, by compression: an example, nothing, and the digits 1 to 9."""


@pytest.fixture
def plain(tmp_path):
    file = tmp_path / "some.tfrecord"
    file.write_bytes(base64.b64decode(WRITTEN_BY_TENSORFLOW[""]))
    return file


@pytest.mark.parametrize("compression", WRITTEN_BY_TENSORFLOW)
def test_what_tensorflow_wrote_is_read(tmp_path, compression):
    file = tmp_path / "some.tfrecord"
    file.write_bytes(base64.b64decode(WRITTEN_BY_TENSORFLOW[compression]))
    example, nothing, digits = read_records(file)
    assert (nothing, digits) == (b"", b"123456789")
    features = parse_example(example)
    assert features["words"] == [b"one", b"", "ä".encode()]
    assert features["nothing"] == []
    np.testing.assert_array_equal(features["numbers"], [1.5, -2])
    np.testing.assert_array_equal(features["whole"], [-1, 2**62, 300, 0, -(2**63)])


def test_the_checksum_is_that_of_the_published_example():
    # CRC-32C of the digits 1 to 9 is 0xE3069283 (the check value of the algorithm's catalogue entry).
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    digits, _ = masked_crc32c([b"123456789", b""])
    assert digits == (rotated + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("place", [12, 40, -5])
def test_a_byte_that_changed_names_the_record(plain, place):
    stored = bytearray(plain.read_bytes())
    stored[place] ^= 4
    plain.write_bytes(stored)
    record = 2 if place < 0 else 0
    with pytest.raises(DataError, match=rf"damaged in record {record}, counted from 0"):
        read_records(plain)


@pytest.mark.parametrize("lost", [1, 10, 20])
def test_a_file_that_was_cut_short_is_refused(plain, lost):
    plain.write_bytes(plain.read_bytes()[:-lost])
    with pytest.raises(DataError, match="cut short in record 2"):
        read_records(plain)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        (b"", "no file of TensorFlow's records"),
        (b"no records at all", "no file of TensorFlow's records"),
        (base64.b64decode(WRITTEN_BY_TENSORFLOW["zlib"])[:-9], "cut short"),
    ],
)
def test_another_file_is_refused(tmp_path, stored, complaint):
    (tmp_path / "other.tfrecord").write_bytes(stored)
    with pytest.raises(DataError, match=complaint):
        read_records(tmp_path / "other.tfrecord")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.tfrecord cannot be read: No such file"):
        read_records(tmp_path / "none.tfrecord")


def test_an_example_cut_anywhere_is_either_refused_or_has_less_in_it(plain):
    example = read_records(plain)[0]
    whole = len(parse_example(example))
    refused = 0
    for end in range(len(example)):
        try:
            assert len(parse_example(example[:end])) < whole
        except ValueError:
            refused += 1
    assert refused > len(example) / 2


def test_numbers_that_are_not_packed_are_read_too():
    # Field 3 of the feature, in it twice field 1 as a varint: 5 and -1.
    list_ = b"\x08\x05\x08" + b"\xff" * 9 + b"\x01"
    feature = b"\x1a" + bytes([len(list_)]) + list_
    entry = b"\x0a\x01x\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    example = b"\x0a" + bytes([len(features)]) + features
    np.testing.assert_array_equal(parse_example(example)["x"], [5, -1])
