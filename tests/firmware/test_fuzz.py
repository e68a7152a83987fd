"""Streams of any characters, changed at random and led by coverage, leave the protocol whole."""

from __future__ import annotations

import re

import pytest

from gnomon.firmware.build import C_SOURCES
from tests.firmware.compiled import needs_host_compiler
from tests.firmware.fuzzing import compile_fuzzer, run_fuzzer

pytestmark = needs_host_compiler

SECONDS = 1.5


@pytest.mark.parametrize("energy", [False, True])
def test_no_stream_of_characters_breaks_the_protocol(energy, tmp_path):
    compile_fuzzer(tmp_path / "fuzz", energy=energy)
    said, crash = run_fuzzer(tmp_path / "fuzz", SECONDS, 1, tmp_path / "crash")
    assert crash is None, said
    streams, ways, kept = map(int, re.findall(r"\d+", said))
    assert streams > 1000
    assert ways > 150  # less, and most commands were not even reached
    assert kept > 20


def test_the_fuzzer_finds_an_overflow_of_the_input_buffer(tmp_path):
    """The reference firmware goes on writing when more bytes come than were announced."""
    source = (C_SOURCES / "protocol.c").read_text()
    check = "if (received >= expected) {"
    assert check in source
    (tmp_path / "protocol.c").write_text(source.replace(check, "if (0) {"))
    compile_fuzzer(tmp_path / "fuzz", tmp_path / "protocol.c")
    said, crash = run_fuzzer(tmp_path / "fuzz", 20, 1, tmp_path / "crash")
    assert crash is not None
    assert "global-buffer-overflow" in said
    assert b"db " in crash
