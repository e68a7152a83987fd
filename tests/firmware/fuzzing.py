"""Compiles the fuzzer of the protocol and runs it."""

from __future__ import annotations

import subprocess

from gnomon.firmware.build import C_SOURCES
from tests.firmware.compiled import SANITIZERS, TEST_SOURCES, WARNINGS

FUZZER = TEST_SOURCES / "fuzz_protocol.c"


def compile_fuzzer(program, protocol=C_SOURCES / "protocol.c", *, energy=False):
    """The fuzzer of a protocol's source, which alone is compiled with traces of where it goes."""
    common = ("gcc", "-std=gnu11", *WARNINGS, *SANITIZERS, f"-I{C_SOURCES}")
    part = program.with_suffix(".o")
    traced = ("-fsanitize-coverage=trace-pc", f"-DGNOMON_ENERGY={int(energy)}")
    subprocess.run([*common, *traced, "-c", "-o", part, protocol], check=True, timeout=100)
    subprocess.run([*common, "-o", program, part, FUZZER], check=True, timeout=100)


def run_fuzzer(program, seconds, seed, crash_file):
    """Run it; what it said, and the stream that broke the protocol or None."""
    done = subprocess.run(
        [program, str(seconds), str(seed), crash_file],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout.strip(), None
    return done.stderr, crash_file.read_bytes() if crash_file.exists() else b""
