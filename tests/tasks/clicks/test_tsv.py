"""Criteo's text files: every value as Python reads it, every line read or accounted for."""

import gzip
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SettingsError
from gnomon.tasks.clicks import ClickSchema, CriteoTsv, tsv
from gnomon.tasks.clicks.tsv_block import MARGIN, parse_block, what_is_wrong

patiently = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SCHEMA = ClickSchema(tuple(range(1000, 1026)))
GOOD = b"\t".join([b"1", *[b"%d" % i for i in range(13)], *[b"%08x" % i for i in range(26)]])


def reader(path, content, **options):
    path.write_bytes(content)
    return CriteoTsv(path, SCHEMA, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "day_0"


numbers = st.one_of(st.just(""), st.integers(-(1 << 31), (1 << 31) - 1).map(str))
small = st.integers(-3, 2000).map(str)
digits = st.one_of(
    st.just(""),
    st.integers(0, (1 << 32) - 1).map("{:08x}".format),
    st.integers(0, (1 << 32) - 1).map("{:X}".format),
)
lines = st.tuples(
    st.sampled_from("01"),
    st.lists(st.one_of(numbers, small), min_size=13, max_size=13),
    st.lists(digits, min_size=26, max_size=26),
)


@patiently(max_examples=50)
@given(st.lists(lines, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_is_read_back(tmp_path_factory, rows, line_end, ended):
    text = line_end.join("\t".join([label, *ints, *ids]) for label, ints, ids in rows)
    path = tmp_path_factory.mktemp("tsv") / "day"
    log = reader(path, (text + line_end * ended).encode(), transform="raw")
    (batch,) = log.batches(100)
    assert batch.labels.tolist() == [float(label) for label, _, _ in rows]
    expected = np.array([[int(x or "0") for x in ints] for _, ints, _ in rows], np.float32)
    np.testing.assert_array_equal(batch.dense, expected)
    expected = [
        [int(x or "0", 16) % size for x, size in zip(ids, SCHEMA.rows, strict=True)]
        for _, _, ids in rows
    ]
    assert batch.ids.tolist() == expected
    assert (batch.dense.dtype, batch.ids.dtype) == (np.float32, np.int64)
    assert (log.report.lines, log.report.malformed) == (len(rows), 0)


@st.composite
def doubtful(draw):
    """A line with a byte or two changed, taken out or put in."""
    label, ints, ids = draw(lines)
    line = bytearray("\t".join([label, *ints, *ids]).encode())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 1))] = draw(st.sampled_from(STRANGE))
    return bytes(line)


STRANGE = [bytes([byte]) for byte in b"\t09afgAFG-+x/:@`\r\x80 "]


@patiently(max_examples=100)
@given(st.lists(st.one_of(doubtful(), st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")))))
def test_a_line_is_refused_exactly_when_a_reason_can_be_named(rows):
    rows.append(GOOD)
    block = parse_block(MARGIN + b"\n".join(rows) + b"\n" + MARGIN)
    assert block.lines == len(rows)
    assert len(block.labels) + len(block.malformed) == block.lines
    for position, line in enumerate(rows):
        if position in block.malformed:
            assert what_is_wrong(line)
        else:
            with pytest.raises(AssertionError):
                what_is_wrong(line)


def changed(column, value):
    fields = GOOD.split(b"\t")
    fields[column - 1] = value
    return b"\t".join(fields)


MALFORMED = [
    (GOOD.rsplit(b"\t", 1)[0], "39 columns, not 40"),
    (GOOD + b"\t0", "41 columns, not 40"),
    (b"", "an empty line"),
    (b"\x00\xff\x89PNG", "1 column, not 40"),
    (changed(1, b""), "label '', not 0 or 1"),
    (changed(1, b"2"), "label '2'"),
    (changed(1, b"x"), "label 'x'"),
    (changed(1, b"01"), "label '01'"),
    (changed(2, b"-"), "column 2: '-' is not an integer"),
    (changed(3, b"1.5"), "column 3: '1.5' is not an integer"),
    (changed(3, b"+5"), "column 3: '\\+5' is not an integer"),
    (changed(3, b"1_000"), "column 3: '1_000' is not an integer"),
    (changed(4, b"12345678x0"), "column 4: '12345678x0' is not an integer"),
    (changed(14, b"--123456789"), "column 14: '--123456789' is not"),
    (changed(14, b"2147483648"), "column 14: '2147483648' does not fit 32 bits"),
    (changed(14, b"-2147483649"), "column 14: '-2147483649' does not fit 32 bits"),
    (changed(14, b"1" + b"0" * 40), "column 14: '10{23}'… does not fit 32 bits"),
    (changed(15, b"0000000g"), "column 15: '0000000g' is not a hexadecimal id"),
    (changed(15, b"@"), "column 15: '@'"),
    (changed(40, b"123456789"), "column 40: '123456789' is not a hexadecimal id"),
    (changed(40, b"\xb1\xb2"), r"column 40: '\\xb1\\xb2' is not a hexadecimal id"),
    (changed(40, b"0x1f"), "column 40: '0x1f'"),
]


@pytest.mark.parametrize(("line", "words"), MALFORMED)
def test_a_malformed_line_stops_the_reader_with_its_number(path, line, words):
    log = reader(path, b"\n".join([GOOD, GOOD, line, GOOD]))
    with pytest.raises(DataError, match=f"line 3: {words}"):
        list(log.batches(1))


def test_malformed_lines_can_be_counted_and_none_is_lost(path):
    content = b"\n".join([GOOD, *(line for bad, _ in MALFORMED for line in (bad, GOOD))])
    log = reader(path, content, malformed="count")
    for _ in range(2):  # each pass counts anew
        assert sum(len(batch) for batch in log.batches(5)) == len(MALFORMED) + 1
        assert log.report.malformed == len(MALFORMED)
        assert log.report.lines == 2 * len(MALFORMED) + 1
        assert [line.number for line in log.report.first] == list(range(2, 42, 2))
        assert str(log.report).startswith("22 of 45 lines malformed: line 2: 39 columns")


def test_numbers_of_malformed_lines_hold_across_blocks(path, monkeypatch):
    monkeypatch.setattr(tsv, "BLOCK_BYTES", 1000)
    log = reader(path, (GOOD + b"\n") * 40 + b"oops\n" + (GOOD + b"\n") * 40, malformed="count")
    assert [len(batch) for batch in log.batches(32)] == [32, 32, 16]
    assert log.report.first == [tsv.MalformedLine(41, log.report.first[0].reason)]
    assert log.report.lines == 81


def test_a_last_line_without_an_end_is_read_if_it_is_whole_and_told_if_it_is_cut(path):
    (batch,) = reader(path, GOOD + b"\n" + GOOD).batches(9)
    assert len(batch) == 2
    log = reader(path, GOOD + b"\n" + GOOD[:-20])
    with pytest.raises(
        DataError, match=r"line 2: .* columns, not 40.*the file ends inside this line"
    ):
        list(log.batches(9))


def test_gzip_is_recognised_by_its_content_and_a_cut_stream_is_told(path):
    whole = gzip.compress((GOOD + b"\n") * 3000)
    assert sum(len(batch) for batch in reader(path, whole).batches(256)) == 3000
    for malformed in ("error", "count"):
        log = reader(path, whole[: len(whole) * 2 // 3], malformed=malformed)
        with pytest.raises(
            DataError, match=r"gzip stream ends early, after line .* download it again"
        ):
            list(log.batches(256))
    damaged = bytearray(whole)
    damaged[-8] ^= 1
    with pytest.raises(DataError, match="cannot be read on after line"):
        list(reader(path, bytes(damaged)).batches(256))


def test_a_file_that_is_no_click_log_is_told(path, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is empty"):
        list(reader(path, b"").batches(1))
    with pytest.raises(DataError, match="is empty"):
        list(reader(path, gzip.compress(b"")).batches(1))
    with pytest.raises(DataError, match="does not exist"):
        list(CriteoTsv(tmp_path / "none", SCHEMA).batches(1))
    with pytest.raises(DataError, match="cannot be read"):
        list(CriteoTsv(tmp_path, SCHEMA).batches(1))
    with pytest.raises(DataError, match="is no Criteo click log: 2 of 2 lines malformed"):
        list(reader(path, b"a\nb\n", malformed="count").batches(1))
    monkeypatch.setattr(tsv, "BLOCK_BYTES", 1000)
    with pytest.raises(DataError, match=r"no line ends within 1,000 bytes after line 0"):
        list(reader(path, bytes(5000), malformed="count").batches(1))


def test_dense_features_are_transformed_as_named(path):
    values = [-2, 0, 5, *range(10)]
    line = GOOD.split(b"\t")
    line[1:14] = [b"%d" % value for value in values]
    content = b"\t".join(line) + b"\n"
    (batch,) = reader(path, content).batches(1)
    expected = np.log(np.maximum(values, 0).astype(np.float32) + 1)
    np.testing.assert_allclose(batch.dense[0], expected, rtol=1e-6)
    log = reader(path, content, transform="log_shift", minimum=-2)
    assert log.smallest_integer() == -2
    (batch,) = log.batches(1)
    np.testing.assert_allclose(batch.dense[0], np.log(np.array(values) + 4.0), rtol=1e-6)
    with pytest.raises(DataError, match="value -2 is below minimum -1"):
        list(reader(path, content, transform="log_shift", minimum=-1).batches(1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transform": "log2"}, "transform must be one of raw, log1p, log_shift, got 'log2'"),
        ({"transform": "log_shift"}, "needs minimum="),
        ({"malformed": "ignore"}, "malformed must be 'error' or 'count'"),
        ({"schema": ClickSchema((5,))}, "26 tables with one lookup each, got 1"),
        ({"schema": ClickSchema((5,) * 26, (2,) * 26)}, "expand it with MultiHot"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        CriteoTsv(**({"path": "day_0", "schema": SCHEMA} | options))


def test_memory_does_not_grow_with_the_file(path):
    def peak(lines):
        log = reader(path, (GOOD + b"\n") * lines)
        tracemalloc.start()
        assert sum(len(batch) for batch in log.batches(512)) == lines
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small, large = peak(4_000), peak(40_000)
    assert large < small * 1.5
