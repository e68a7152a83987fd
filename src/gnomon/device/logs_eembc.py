"""EEMBC's `log.txt` and `script.async`, written and read; `results_eembc.py` has the results beside them.

Shapes are those of the results published with MLPerf Tiny v1.0 to v1.2. A line of a log is the seconds since
the runner started, who speaks (`dut`, `parser`, ...), and what. Where an interface board stands between, its
lines are `io`, and the board's in them begin with `[dut]: `.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.device.logs import BoardLine, Inference, Lines, Mode, SessionLog
from gnomon.device.results_eembc import code_of

_STEP_MS = 5000
_LOAD_MS_PER_BYTE = 16
_NO_LIMIT_MS = -1
_PATH_SEPARATORS = re.compile(r"[\\/]")
_STAMPED = re.compile(r"(\d+\.\d{3}) ([\w-]+): ?(.*)")
_SESSION = re.compile(r"m-session-start-id\[(\d{14})\]")
_BRACKETED = re.compile(
    r"m-(version|profile|model|name-dut|bmark-run-name)-?\[([^\]]*)\](?:-code\[([^\]]*)\])?"
)
_SETTING = re.compile(r"m-bm-cfg-name\[[^\]]*\]-key\[([^\]]*)\]-val\[([^\]]*)\]")
_LOAD = re.compile(r'Command "bloadp? (?:dut )?"?([^"]+)"?.*"')
_INFER = re.compile(r'Command "(?:io )?dut infer (\d+)(?: (\d+))?"')


def write_log(session: SessionLog) -> str:
    """The text of `log.txt`."""
    return "\n".join(_log_lines(session))


def _log_lines(session: SessionLog) -> Iterator[str]:
    code = code_of(session.mode)
    session_id = f"{session.started_at:%Y%m%d%H%M%S}"
    steps = _steps(session)
    total_ms = sum(max(0, limit_ms) for _, _, limit_ms in steps)
    start_s = session.greeting[0].time_s if session.greeting else 0.0
    number, spent_ms = 0, 0

    def says(time_s: float, text: str) -> str:
        return f"{time_s:09.3f} {text}"

    def step(time_s: float) -> Iterator[str]:
        nonlocal number, spent_ms
        command, acknowledgement, limit_ms = steps[number]
        number += 1
        yield says(
            time_s,
            f"sequencer: m-sequencing-i[{number}]-command[{command}]-ack[/{acknowledgement}/]-ms[{limit_ms}]"
            f"-acc[{spent_ms}]-total_ms[{total_ms}]",
        )
        yield says(time_s, f'parser: Command "{command}"')
        spent_ms += limit_ms

    def finished(time_s: float, what: str) -> str:
        return says(time_s, f"parser: m-ready-finished[{what}]")

    yield says(start_s, f"session: m-session-start-id[{session_id}]")
    name = "ML Energy 1.0.1" if session.mode == "energy" else "ML Performance 1.0.1"
    yield says(start_s, f"parser: m-bmark-run-name[{name}]-code[{code}]")
    yield says(start_s, "sequencer: m-sequencer-start")
    yield from step(start_s)
    yield says(start_s, f"parser: m-version[{session.runner}]")
    yield finished(start_s, "version")
    yield from step(start_s)
    for key, value in _configuration(session):
        yield says(start_s, f"parser: m-bm-cfg-name[{code}]-key[{key}]-val[{value}]")
    yield finished(start_s, "bm")
    said = iter(session.greeting)
    for _ in range(len(steps) - 2 * len(session.inferences) - 2):
        yield from step(start_s)
        yield finished(start_s, "dut")
        for line in said:
            yield says(line.time_s, f"dut: {line.text}")
            if line.text == "m-ready":
                break
    for each in session.inferences:
        yield from step(each.load_start_s)
        yield from (says(each.load_start_s, f"parser: {text}") for text in _load_begins(each))
        yield from (says(each.load_end_s, f"parser: {text}") for text in _load_ends(each))
        yield from step(each.command_s)
        yield finished(each.command_s, "dut")
        yield from (says(line.time_s, f"dut: {line.text}") for line in each.lines)
    yield says(session.end_s, "sequencer: m-sequencer-stop")
    yield says(session.end_s, f"session: m-session-stop-id[{session_id}]")
    yield says(session.end_s, f"session: Saved this run to session ID {session_id}")


def _configuration(session: SessionLog) -> Iterator[tuple[str, object]]:
    first = session.inferences[0] if session.inferences else None
    yield "iterWarmup", first.warmups if first else 0
    yield "iterInfer", first.iterations if first else 0
    yield "runMode", "multi" if session.mode == "accuracy" else "bmark"
    yield "model", session.model_id
    yield "sourceDir", session.folder
    yield "singleInputFn", first.file if first else ""


def _steps(session: SessionLog) -> list[tuple[str, str, int]]:
    """Every command with the acknowledgement that is waited for and the time it has."""
    parser_ready, dut_ready = "parser: m-ready", "dut: m-ready"
    steps = [
        ("version", parser_ready, _STEP_MS),
        (f"bm cfg {code_of(session.mode)}", parser_ready, _STEP_MS),
        *([("dut name", dut_ready, _STEP_MS)] if session.board else []),
        ("dut profile", dut_ready, _STEP_MS),
        ("dut timestamp", dut_ready, _STEP_MS),
    ]
    for each in session.inferences:
        part = f" {each.offset} {each.payload_size}" if session.model_id.startswith("ad") else ""
        load = f'bload dut "{_joined(session, each.file)}"{part}'
        steps.append((load, parser_ready, _LOAD_MS_PER_BYTE * each.file_size))
        steps.append(
            (f"dut infer {each.iterations} {each.warmups}", "dut.?: m-ready", _NO_LIMIT_MS)
        )
    return steps


def _joined(session: SessionLog, file: str) -> str:
    separator = "\\" if "\\" in session.folder else "/"
    return separator.join([session.folder or ".", session.model_id, file])


def _load_begins(each: Inference) -> Iterator[str]:
    yield f"File size is {each.file_size}, loading..."
    yield f"Starting at byte offset {each.offset}"
    yield f"Sending {each.payload_size} bytes"
    yield "m-mute-target[dut]"


def _load_ends(each: Inference) -> Iterator[str]:
    took_s = each.load_end_s - each.load_start_s
    rate = each.file_size / 1000 / took_s if took_s > 0 else 0.0
    yield "m-unmute-target[dut]"
    yield f"Binary load took {took_s:.3f} sec, or {rate:.3f} kB/sec"
    yield "m-bload-done"
    yield "m-ready-finished[bload]"


def write_script(session: SessionLog) -> str:
    """The text of `script.async`: the commands of the session, for EEMBC's runner to do again."""
    opening = ["umount", "mountc dut dut", "dut profile"]
    entries = [f"        cmd: '{command}'" for command in opening]
    for command, _, limit_ms in _steps(session):
        entry = "        cmd: '{}'".format(command.replace("\\", "\\\\").replace("'", "\\'"))
        if limit_ms == _NO_LIMIT_MS:
            entry += f",\n        ms: {limit_ms},\n        ack: /dut.?: m-ready/"
        elif limit_ms != _STEP_MS:
            entry += f",\n        ms: {limit_ms}"
        entries.append(entry)
    return "[\n" + ",\n".join(f"    {{\n{entry}\n    }}" for entry in entries) + "\n]\n"


@dataclass
class _Loaded:
    """An input on its way to the board, and the inference that follows, as far as the log has come."""

    file: str
    file_size: int = 0
    size: int = 0
    offset: int = 0
    start_s: float = 0.0
    end_s: float = 0.0
    command_s: float | None = None
    iterations: int = 0
    warmups: int = 0
    lines: list[BoardLine] = field(default_factory=list)

    def take(self, time_s: float, text: str) -> bool:
        """Whether the line is about the loading, and was understood."""
        if found := re.fullmatch(r"File size is (\d+), loading\.\.\.", text):
            self.file_size = self.size = int(found[1])
        elif found := re.fullmatch(r"Starting at byte offset (\d+)", text):
            self.offset = int(found[1])
        elif found := re.fullmatch(r"Sending (\d+) bytes", text):
            self.size = int(found[1])
        elif text == "m-unmute-target[dut]":
            self.end_s = time_s
        else:
            return False
        return True

    def inference(self) -> Inference:
        assert self.command_s is not None
        return Inference(
            self.file,
            self.file_size,
            self.size,
            self.offset,
            self.start_s,
            self.end_s,
            self.command_s,
            self.iterations,
            self.warmups,
            tuple(self.lines),
        )


class _Reader:
    """A log as far as it has been read."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.told: dict[str, str] = {}
        self.greeting: list[BoardLine] = []
        self.inferences: list[Inference] = []
        self.loaded: _Loaded | None = None
        self.time_s = 0.0

    def take(self, speaker: str, text: str) -> None:
        if speaker == "dut":
            self._board_says(text)
        elif speaker == "io" and text.startswith("[dut]: "):
            self._board_says(text.removeprefix("[dut]: "))
        elif speaker == "parser":
            self._parser_says(text)
        elif speaker == "session" and (found := _SESSION.match(text)):
            self.told["session"] = found[1]

    def _board_says(self, text: str) -> None:
        line = BoardLine(self.time_s, text)
        loaded = self.loaded
        if loaded is None or loaded.command_s is None:
            self._note(text)
            if not self.inferences and loaded is None:
                self.greeting.append(line)
            return
        loaded.lines.append(line)
        if text.endswith("m-ready"):
            self.inferences.append(loaded.inference())
            # The same input may be inferred again without loading it.
            self.loaded = replace(loaded, command_s=None, lines=[])

    def _note(self, text: str) -> None:
        if found := _BRACKETED.search(text):
            self.told[found[1]] = found[2]
            if found[3]:
                self.told["code"] = found[3]

    def _parser_says(self, text: str) -> None:
        if found := _LOAD.fullmatch(text):
            self.loaded = _Loaded(_PATH_SEPARATORS.split(found[1].strip())[-1], start_s=self.time_s)
        elif found := _INFER.fullmatch(text):
            if self.loaded is None:
                self.lines.wrong(
                    "it infers before anything was loaded", "the log's beginning is missing"
                )
            self.loaded.command_s = self.time_s
            self.loaded.iterations, self.loaded.warmups = int(found[1]), int(found[2] or 10)
        elif found := _SETTING.fullmatch(text):
            self.told[f"setting {found[1]}"] = found[2]
        elif self.loaded is None or not self.loaded.take(self.time_s, text):
            self._note(text)

    def session(self) -> SessionLog:
        if self.loaded is not None and self.loaded.command_s is not None:
            self.lines.wrong(
                f"the log ends while {self.loaded.file} is inferred",
                "it was cut short, copy it again",
            )
        told = self.told
        if "session" not in told:
            raise DataError(
                f"{self.lines.path} has no m-session-start-id[...] in it: is it the log of another runner?"
            )
        energy = told.get("code") == "ulp-ml"
        several = told.get("setting runMode") == "multi"
        mode: Mode = "energy" if energy else "accuracy" if several else "performance"
        return SessionLog(
            started_at=datetime.strptime(told["session"], "%Y%m%d%H%M%S"),
            runner=told.get("version", ""),
            mode=mode,
            model_id=told.get("model", ""),
            profile=told.get("profile", ""),
            board=told.get("name-dut", ""),
            folder=told.get("setting sourceDir", ""),
            greeting=tuple(self.greeting),
            inferences=tuple(self.inferences),
            end_s=self.time_s,
        )


def read_log(path: Path) -> SessionLog:
    """A `log.txt` of EEMBC's runner.

    A line without a time goes on with what was said before it: boards print line ends of their own.

    Raises:
        DataError: It cannot be read, is no such log, or ends in the middle of an inference.
    """
    lines = Lines(path)
    reader, speaker, first = _Reader(lines), "", True
    for line in lines:
        if stamped := _STAMPED.fullmatch(line):
            reader.time_s, speaker, text = float(stamped[1]), stamped[2], stamped[3]
        elif first:
            lines.wrong(
                f"{line[:40]!r} is not seconds, who speaks, and what",
                "is it the log of another runner?",
            )
        else:
            text = line
        reader.take(speaker, text)
        first = False
    return reader.session()
