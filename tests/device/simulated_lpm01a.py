"""An LPM01A in a process of its own, on a PTY: `python simulated_lpm01a.py '{"samples": 3000, ...}'`.

It prints the PTY's path, answers commands, and after `start` sends a stated number of samples as fast as they
are taken, with time stamps every thousand and events at stated places. Faults are asked for by name.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tty
from pathlib import Path

PROMPT = "PowerShield > "


def energy_j(index: int) -> float:
    """The energy of sample `index`."""
    return (1000 + index % 9000) * 1e-9


class Instrument:
    def __init__(self, wanted: dict) -> None:
        self.wanted = wanted
        self.controller, device = os.openpty()
        tty.setraw(device)
        tty.setraw(self.controller)
        print(os.ttyname(device), flush=True)
        self.device = device  # kept open, so that a reader that comes and goes ends nothing
        self.log: list[str] = []
        self.running = bool(wanted.get("already_running"))

    def send(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self.controller, data) :]

    def commands(self):
        pending = b""
        while True:
            if self.running and not select.select([self.controller], [], [], 0.001)[0]:
                self.send("1234-09\r\n")
                continue
            pending += os.read(self.controller, 4096)
            while b"\r\n" in pending:
                command, pending = pending.split(b"\r\n", 1)
                yield command.decode()

    def run(self) -> None:
        for command in self.commands():
            self.log.append(command)
            if "log" in self.wanted:  # before the answer, so that it is there when the answer is
                Path(self.wanted["log"]).write_text(json.dumps(self.log))
            self.answer(command)

    def answer(self, command: str) -> None:
        if self.wanted.get("silent") or command == self.wanted.get("deaf_to"):
            return
        if command == self.wanted.get("refuses"):
            self.send(f"\r\n{PROMPT}error {command}\r\nError detail: out of range\r\n")
        elif command == "stop":
            if not self.wanted.get("never_stops"):
                self.running = False
                self.send(f"\r\nend\r\n\r\n{PROMPT}Acquisition completed\r\n")
        elif command == "version":
            self.send(f"\r\n{PROMPT}ack version 1.0.6\r\n\r\n")
        else:
            wrong = self.wanted.get("wrong_ack") == command
            self.send(f"\r\n{PROMPT}ack {'something else' if wrong else command}\r\n\r\n")
            if command == "start":
                self.acquire()

    def acquire(self) -> None:
        wanted = self.wanted
        events = wanted.get("events", [])
        for index in range(wanted.get("samples", 0)):
            for number, place in enumerate(events):
                if place == index and number != wanted.get("loses_event"):
                    self.send(f"event {number:02d} ris\r\n")
            if index % 1000 == 0:
                percent = wanted.get("buffer_percent", 5)
                self.send(f"TimeStamp: {index // 1000:03d}s 000ms, buff {percent:02d}%\r\n\0")
            if index == wanted.get("overruns_at"):
                self.send(f"\r\n{PROMPT}error: buffer overflow\r\nend\r\n")
                return
            if index in wanted.get("loses_samples", []):
                continue
            text = f"{1000 + index % 9000}-09\r\n"
            if index in wanted.get("truncates", []):
                text = text[:4] + "\r\n"
            if index in wanted.get("runs_together", []):
                text = text.strip()
            self.send(text)


if __name__ == "__main__":
    Instrument(json.loads(sys.argv[1])).run()
