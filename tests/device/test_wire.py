"""The protocol's lines: every reply and error, both dialects, and any bytes at all."""

import itertools

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.device.wire import (
    MOST_LINE_CHARACTERS,
    LineReader,
    ProtocolError,
    Reply,
    chunk_commands,
    command,
    parse,
)

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=150)

BOOT = b"\0\xffm-timestamp-mode-performance\r\nm-lap-us-12\r\nm-init-done\r\nm-ready\r\n"


@pytest.mark.parametrize(
    ("line", "kind", "name", "values"),
    [
        ("m-ready", "ready", "", ()),
        ("m-init-done", "init-done", "", ()),
        ("m-timestamp-mode-performance", "timestamp-mode", "performance", ()),
        ("m-timestamp-mode-energy", "timestamp-mode", "energy", ()),
        ("m-name-dut-[unspecified]", "name", "unspecified", ()),
        ("m-name-dut-[Some Board, rev. B]", "name", "Some Board, rev. B", ()),
        ("m-profile-[ULPMark for tinyML Firmware V0.0.1]", "profile", None, ()),
        ("m-model-[kws01]", "model", "kws01", ()),
        ("m-lap-us-29371950", "lap", "", (29371950,)),
        ("m-[Expecting 27648 bytes]", "expecting", "", (27648,)),
        ("m-load-done", "load-done", "", ()),
        ("m-buffer-00-7f-FF", "buffer", "", (0, 127, 255)),
        ("m-warmup-start-10", "warmup-start", "", (10,)),
        ("m-warmup-done", "warmup-done", "", ()),
        ("m-infer-start-3000", "infer-start", "", (3000,)),
        ("m-infer-done", "infer-done", "", ()),
        ("m-results-[0.996,0.004]", "results", "", (0.996, 0.004)),
        ("m-results-[15.023]", "results", "", (15.023,)),
        ("m-layer-[3,depthwise_2,81920]", "layer", "depthwise_2", (3, 81920)),
        ("e-[Unknown command: bd]", "error", "Unknown command: bd", ()),
        ("e-[Insufficent number of hex digits]", "error", "Insufficent number of hex digits", ()),
        ("e-[Invalid hex digit 'zz']", "error", "Invalid hex digit 'zz'", ()),
        ("e-[Command 'db' requires a subcommand]", "error", None, ()),
        ("e-[Inference iterations must be >0]", "error", None, ()),
        ("Supplied buffer size 30000 exceeds maximum of 27648", "error", None, ()),
        ("Input db has 3 elemented, expected 490", "error", None, ()),
        ("Initialized", "text", "Initialized", ()),
        ("help         : Print this information", "text", None, ()),
    ],
)
def test_every_line_of_the_protocol_is_understood(line, kind, name, values):
    reply = parse(line)
    assert (reply.kind, reply.values, reply.text) == (kind, values, line)
    if name is not None:
        assert reply.name == name


@pytest.mark.parametrize(
    ("line", "kind", "values"),
    [
        ("m-results-[0.1,0.9,]", "results", (0.1, 0.9)),
        ("m-results-[0.1,0.9", "results", (0.1, 0.9)),
        ("m-results-0.1,0.9", "results", (0.1, 0.9)),
        ("m-results-[ 0.1, 0.9 ]", "results", (0.1, 0.9)),
        ("m-results-[.5,1.,-0.000]", "results", (0.5, 1.0, -0.0)),
        ("m-results-[1e-3,2E2]", "results", (0.001, 200.0)),
        ("m-lap-us-[17]", "lap", (17,)),
        ("m-lap-us-17.5", "lap", (17.5,)),
        ("e-[cut short", "error", ()),
        ("name%m-ready", "ready", ()),
        ("\\xff\\xfem-init-done", "init-done", ()),
    ],
)
def test_other_dialects_and_garbage_before_a_line_are_understood(line, kind, values):
    reply = parse(line)
    assert (reply.kind, reply.values) == (kind, values)


@pytest.mark.parametrize(
    "line",
    [
        "m-results-[]",
        "m-results-[0.1;x]",
        "m-results-[0..1]",
        "m-results-[1_0]",
        "m-lap-us-",
        "m-lap-us-12 13",
        "m-lap-us-inf",
        "m-lap-us-" + "9" * 5000,
        "m-buffer-0g",
        "m-buffer-123",
        "m-infer-start-ten",
        "m-layer-[1,2]",
    ],
)
def test_a_line_that_begins_well_and_means_nothing_is_a_protocol_error(line):
    with pytest.raises(ProtocolError, match="means nothing"):
        parse(line)


def test_what_an_io_manager_passes_on_is_told_from_what_it_says_itself():
    assert parse("[dut]: m-ready") == Reply("ready", text="[dut]: m-ready", forwarded=True)
    assert parse("[dut]: m-model-[ic01]").name == "ic01"
    assert not parse("m-ready").forwarded


@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b"\r", b"\n\r\n"])
def test_lines_may_end_in_any_manner(ending):
    assert LineReader().feed(ending.join([b"m-load-done", b"m-ready", b""])) == [
        "m-load-done",
        "m-ready",
    ]


def test_a_boot_banner_after_noise_is_read():
    lines = LineReader().feed(BOOT)
    assert [parse(line).kind for line in lines] == ["timestamp-mode", "lap", "init-done", "ready"]


pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            BOOT,
            b"m-results-[0.1,",
            b"m-lap-us-",
            b"m-buffer-",
            b"m-layer-[",
            b"e-[",
            b"[dut]: ",
            b"9" * 400,
            b"]\r\n",
            "m-lap-us-٣\n".encode(),
        ]
    ),
)


@quick
@given(data=st.lists(pieces, max_size=12).map(b"".join), cuts=st.lists(st.integers(0, 400)))
def test_any_bytes_in_any_pieces_give_the_same_lines_and_raise_nothing_but_protocol_errors(
    data, cuts
):
    whole = LineReader()
    expected = whole.feed(data)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader, lines = LineReader(), []
    for start, stop in itertools.pairwise(places):
        lines += reader.feed(data[start:stop])
    assert lines == expected
    assert reader.rest() == whole.rest()
    for line in lines:
        assert line.isascii()
        try:
            assert isinstance(parse(line), Reply)
        except ProtocolError:
            assert "m-" in line


def test_a_line_without_end_is_cut():
    reader = LineReader()
    lines = [line for _ in range(20) for line in reader.feed(b"x" * 4096)]
    assert lines
    assert {len(line) for line in lines} == {MOST_LINE_CHARACTERS}
    assert len(reader.rest()) <= MOST_LINE_CHARACTERS


@quick
@given(payload=st.binary(max_size=200), size=st.integers(1, 38))
def test_chunks_carry_the_payload_in_order(payload, size):
    commands = chunk_commands(payload, size)
    assert b"".join(bytes.fromhex(each.removeprefix("db ")) for each in commands) == payload
    assert all(command(each).endswith(b"%") and len(command(each)) <= 81 for each in commands)


def test_the_fields_chunk_is_31_bytes():
    assert len(chunk_commands(bytes(490))) == 16
    assert len(chunk_commands(bytes(27_648))) == 892


@pytest.mark.parametrize("text", ["", " ", "infer 1% 0", "näme", "db " + "0" * 78])
def test_a_command_that_a_board_could_not_take_is_refused(text):
    with pytest.raises(SettingsError):
        command(text)


def test_a_command_ends_with_a_percent_sign_and_nothing_more():
    assert command("infer 10 0") == b"infer 10 0%"
