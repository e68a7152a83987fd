"""MLCommons' `log.txt`, written and read; `results_mlcommons.py` has the results beside it.

Shapes are those of `benchmark/runner` in github.com/mlcommons/tiny (v1.3 and v1.4). Its log is what it
printed; with `echo` on, as here, commands (`infer 70 10%`) and the board's lines (`RX:m-ready`) are too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.device.logs import BoardLine, Inference, Lines, Mode, SessionLog
from gnomon.device.results_mlcommons import STAMP

_MODES: dict[str, Mode] = {"p": "performance", "a": "accuracy", "e": "energy"}
_SEGMENT_BYTES = 512
"""Between the windows of anomaly detection's recordings, which alone have more than one segment."""

_LOADING = re.compile(r"(\d{4}\.\d{6}) +ulp-mlperf: Loading file (.+) segment (\d+)")
_LOADED = re.compile(r"(\d{4}\.\d{6}) +ulp-mlperf: Load complete\.")
_RUNNING = re.compile(r"Running inference with (\d+)/(\d+) \(warmup/measured\) iterations \.\.\.")
_PAYLOAD = re.compile(r"db load (\d+)%")
_OPENING = re.compile(
    r"(Session of|Device (?:name|model|profile) retrieved:|Data sets in|Mode) (.*)"
)


def write_log(session: SessionLog) -> str:
    """The text of `log.txt`. Times have whole seconds in it, and no year."""
    return "\n".join(_log_lines(session)) + "\n"


def _log_lines(session: SessionLog) -> Iterator[str]:
    def stamp(time_s: float) -> str:
        return (session.started_at + timedelta(seconds=time_s)).strftime(STAMP)

    yield f"Session of {session.started_at:%Y%m%d_%H%M%S} by {session.runner}"
    yield f"Mode {session.mode[0]}"
    yield f"Data sets in {session.folder}"
    if session.board:
        yield f"Device name retrieved: {session.board}"
    yield f"Device profile retrieved: {session.profile}"
    yield f"Device model retrieved: {session.model_id}"
    yield from (f"RX:{line.text}" for line in session.greeting)
    for each in session.inferences:
        segment = each.offset // _SEGMENT_BYTES
        yield f"{stamp(each.load_start_s)} ulp-mlperf: Loading file {each.file} segment {segment}"
        yield f"db load {each.payload_size}%"
        yield f"{stamp(each.load_end_s)} ulp-mlperf: Load complete."
        yield f"infer {each.iterations} {each.warmups}%"
        yield from (f"RX:{line.text}" for line in each.lines)
        yield (
            f"Running inference with {each.warmups}/{each.iterations} (warmup/measured) iterations ..."
        )
        yield "done"
    yield f"{stamp(session.end_s)} ulp-mlperf: Session ended."


def read_log(path: Path) -> SessionLog:
    """A `log.txt` of MLCommons' runner with `echo` on, or of Gnomon in its manner.

    Times are whole seconds from the first that is in the log. A log without `echo` has no answers of the
    board in it, so its inferences have no timestamps and no results.

    Raises:
        DataError: It cannot be read, or is no such log.
    """
    lines, told = Lines(path), dict[str, str]()
    greeting, inferences = list[BoardLine](), list[Inference]()
    loading: dict[str, Any] | None = None
    answer: list[BoardLine] = []
    first: datetime | None = None
    now_s = 0.0

    def seconds(stamp: str) -> float:
        nonlocal first
        try:
            # A leap year, so that the 29th of February is a date.
            at = datetime.strptime(f"2000{stamp}", f"%Y{STAMP}")
        except ValueError:
            lines.wrong(f"{stamp!r} is no month, day and time", "copy the file again")
        first = first or at
        return (at - first).total_seconds()

    for line in lines:
        if line.startswith("RX:"):
            said = BoardLine(now_s, line.removeprefix("RX:"))
            (greeting if loading is None else answer).append(said)
        elif found := _OPENING.fullmatch(line):
            told[found[1].rstrip(":")] = found[2]
        elif found := _LOADING.fullmatch(line):
            now_s = seconds(found[1])
            loading = {
                "file": found[2],
                "offset": _SEGMENT_BYTES * int(found[3]),
                "load_start_s": now_s,
            }
            answer = []
        elif (found := _PAYLOAD.fullmatch(line)) and loading is not None:
            loading["payload_size"] = int(found[1])
        elif (found := _LOADED.fullmatch(line)) and loading is not None:
            now_s = seconds(found[1])
            answer = []  # what came so far are answers to the loading
        elif found := _RUNNING.fullmatch(line):
            if loading is None:
                lines.wrong(
                    "it infers before anything was loaded", "the log's beginning is missing"
                )
            size = loading.get("payload_size", 0)
            inferences.append(
                Inference(
                    loading["file"],
                    loading["offset"] + size,
                    size,
                    loading["offset"],
                    loading["load_start_s"],
                    now_s,
                    now_s,
                    int(found[2]),
                    int(found[1]),
                    tuple(answer),
                )
            )
            answer = []
        elif found := re.fullmatch(r"(\d{4}\.\d{6}) +ulp-mlperf: Session ended\.", line):
            now_s = seconds(found[1])
    if not told and not inferences:
        raise DataError(f"{path} has no session of a board in it: is it the log of another runner?")
    opening = re.match(r"(\d{8}_\d{6}) by (.*)", told.get("Session of", ""))
    started_at = datetime.strptime(opening[1], "%Y%m%d_%H%M%S") if opening else first
    return SessionLog(
        started_at=started_at or datetime(1970, 1, 1),
        runner=opening[2] if opening else "",
        mode=_MODES.get(told.get("Mode", ""), _guessed_mode(inferences)),
        model_id=told.get("Device model retrieved", ""),
        profile=told.get("Device profile retrieved", ""),
        board=told.get("Device name retrieved", ""),
        folder=told.get("Data sets in", ""),
        greeting=tuple(greeting),
        inferences=tuple(inferences),
        end_s=now_s,
    )


def _guessed_mode(inferences: list[Inference]) -> Mode:
    if all(each.iterations == 1 for each in inferences):
        return "accuracy"
    return "performance" if any(each.lap_us for each in inferences) else "energy"
