"""A board on a PTY that misbehaves as told: `python misbehaving.py '{"drop": 0.001}'` prints its path.

It is the host board's firmware with a stand-in for a model, whose answer is the CRC of its input in two
halves; what it does wrong is done to the bytes on their way.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import threading
import time
import zlib
from dataclasses import dataclass

from gnomon.device.host.firmware import Firmware
from gnomon.device.host.serve import leave, leave_with_parent, pty_endpoint, serve


@dataclass(frozen=True)
class Script:
    """What it does.

    `never_ready`, `die`, `hang_up`, `chatter` and `reset` are beginnings of commands at which it happens
    (to die and to hang up takes `delay_s`); the first `clean_bytes` arrive as they are;
    `laps` are what its clock says at `infer`, in turn; `mishear` maps a command to what it takes it for.
    """

    model_id: str = "kws01"
    energy: bool = False
    boot_s: float = 0.0
    inference_s: float = 0.0
    never_ready: str = ""
    die: str = ""
    delay_s: float = 0.1
    hang_up: str = ""
    chatter: str = ""
    reset: str = ""
    drop: float = 0.0
    double: float = 0.0
    flip: float = 0.0
    baud: int = 0
    seed: int = 0
    clean_bytes: int = 0
    laps: tuple[int, ...] = ()
    mishear: tuple[tuple[str, str], ...] = ()
    dialect: bool = False
    io_manager: bool = False
    stray_percent_after: str = ""


class Answers:
    """The stand-in for a model."""

    def __init__(self, inference_s):
        self._inference_s = inference_s
        self._payload = b""

    def load(self, payload):
        self._payload = payload
        return ""

    def infer(self, count):
        time.sleep(self._inference_s * count)

    def results(self):
        return halves(self._payload)


def halves(payload):
    """What the board answers to a payload."""
    digest = zlib.crc32(payload)
    return [float(digest >> 16), float(digest & 0xFFFF)]


class Misbehaving:
    """The firmware, and what is done to its bytes."""

    def __init__(self, script, endpoint):
        self._script, self._endpoint = script, endpoint
        self._random = random.Random(script.seed)
        self._laps = []
        self._start_ns = time.monotonic_ns()
        self._heard = b""
        self._muted, self._count = False, 0
        self._firmware = Firmware(
            Answers(script.inference_s),
            script.model_id,
            self._say,
            self._clock_us,
            energy=script.energy,
            vendor="misbehaving",
        )

    def boot(self):
        time.sleep(self._script.boot_s)
        self._firmware.boot()

    def receive(self, data):
        if self._script.baud:
            time.sleep(len(data) * 10 / self._script.baud)
        self._heard += self._spoilt(data)
        *commands, self._heard = self._heard.split(b"%")
        for command in commands:
            self._take(command.decode("latin-1"))

    def _take(self, command):
        script = self._script
        if script.io_manager:
            command = command.removeprefix("dut ")
            self._put(f"{command}\r\nm-ready\r\n".encode("latin-1"))

        def at(beginning):
            return beginning and command.startswith(beginning)

        if at(script.die):
            self._later(script.delay_s, leave)
        if at(script.hang_up):
            self._later(script.delay_s, lambda: os.close(self._endpoint.write))
        if at(script.reset):
            self._put(b"m-warmup-st")
            time.sleep(0.05)
            self._put(b"\r\n\0\xff")
            self._firmware.boot()
            return
        while at(script.chatter):
            self._put(b"watchdog fed\r\n")
            time.sleep(0.01)
        if command.startswith("infer"):
            self._laps = list(script.laps)
        self._muted = bool(at(script.never_ready))
        command = dict(script.mishear).get(command, command)
        self._firmware.receive(command.encode("latin-1") + b"%")
        if at(script.stray_percent_after):
            self._firmware.receive(b"%")

    def _spoilt(self, data):
        script, kept = self._script, bytearray()
        for byte in data:
            self._count += 1
            if self._count <= script.clean_bytes:
                kept.append(byte)
                continue
            draw = self._random.random()
            if draw < script.drop:
                continue
            kept.append(byte)
            if draw > 1 - script.double:
                kept.append(byte)
            elif draw > 1 - script.double - script.flip and chr(byte) in "0123456789":
                kept[-1] ^= 1
        return bytes(kept)

    def _say(self, data):
        if self._muted:
            data = data.replace(b"m-ready\r\n", b"")
        if self._script.dialect:
            data = in_dialect(data)
        if self._script.io_manager:
            data = re.sub(rb"(?m)^(?=.)", b"[dut]: ", data)
        self._put(data)

    def _put(self, data):
        self._endpoint.send(data)

    def _clock_us(self):
        if self._laps:
            return self._laps.pop(0)
        return (time.monotonic_ns() - self._start_ns) // 1000

    def _later(self, delay_s, act):
        threading.Timer(delay_s, act).start()


def in_dialect(data):
    """As other boards print: LF alone, NULs, a comma or no bracket at the end, decimals cut, one added."""
    text = data.decode("ascii").replace("\r\n", "\n")
    text = re.sub(r"m-results-\[([^\]]*)\]", r"m-results-[ \1,", text)
    text = text.replace(".000", ".0").replace("m-timestamp", "\0m-timestamp")
    text = re.sub(r"m-lap-us-(\d+)", r"m-lap-us-[\1.25]", text)
    text = re.sub(r"m-(name-dut|model)-\[([^\]]*)\]", r"m-\1-\2", text)
    return text.encode("ascii")


def main():
    told = json.loads(sys.argv[1])
    script = Script(**{name: freeze(value) for name, value in told.items()})
    leave_with_parent()
    endpoint, path = pty_endpoint()
    print(path, flush=True)
    board = Misbehaving(script, endpoint)
    board.boot()
    serve(endpoint, board.receive)


def freeze(value):
    return tuple(map(freeze, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
