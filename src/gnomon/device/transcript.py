"""From the conversation that a measurement keeps (`log.txt` of its folder) to a session as the field logs it.

A line of it is seconds, `>` for what was sent or `<` for what came, and the text; the bytes of payloads are
not in it. Trials that find out how many inferences fill a window are left out here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.device.logs import BoardLine, Inference, Lines
from gnomon.device.record import Window

_LINE = re.compile(r"\s*(\d+\.\d+) ([<>]) ?(.*)")
_LOAD = re.compile(r"db load (\d+)")
_INFER = re.compile(r"infer (\d+) (\d+)")


@dataclass(frozen=True)
class Transcript:
    """What was said.

    Attributes:
        greeting: What came from the board before the first input was loaded.
        inferences: Every one, in order; their files are not known here, so they have no names.
        end_s: When the last line was said.
    """

    greeting: tuple[BoardLine, ...]
    inferences: tuple[Inference, ...]
    end_s: float


def read_transcript(path: Path) -> Transcript:
    """The conversation in this file.

    An inference that did not end, because the measurement was broken off, is left out. Where it was gone on
    with later, times go on too.

    Raises:
        DataError: It cannot be read, or a line is none of a conversation.
    """
    lines = Lines(path)
    greeting, inferences = list[BoardLine](), list[Inference]()
    loading: Inference | None = None
    answer: list[BoardLine] | None = None
    now_s = later_s = 0.0
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            lines.wrong(f"{line[:40]!r} is not seconds, > or <, and text", "the file was changed")
        told_s, direction, text = float(found[1]), found[2], found[3]
        if told_s + later_s < now_s:
            later_s = now_s - told_s  # a measurement that is gone on with counts from 0 again
        now_s = told_s + later_s
        if direction == ">":
            answer = None
            if load := _LOAD.fullmatch(text.rstrip("%")):
                size = int(load[1])
                loading = Inference("", size, size, 0, now_s, now_s, now_s, 0, 0, ())
            elif (infer := _INFER.fullmatch(text.rstrip("%"))) and loading is not None:
                answer = []
                loading = replace(
                    loading,
                    load_end_s=now_s if not loading.iterations else loading.load_end_s,
                    command_s=now_s,
                    iterations=int(infer[1]),
                    warmups=int(infer[2]),
                )
        elif answer is not None and loading is not None:
            answer.append(BoardLine(now_s, text))
            if text.endswith("m-ready"):
                inferences.append(replace(loading, lines=tuple(answer)))
                answer = None
        elif loading is None:
            greeting.append(BoardLine(now_s, text))
    return Transcript(tuple(greeting), tuple(inferences), now_s)


def inferences_of_windows(
    transcript: Transcript, windows: Sequence[Window]
) -> tuple[Inference, ...]:
    """The inferences that the windows are made of, with the names of their files.

    They are found by the board's timestamps; in energy mode, in which a board sends none, by their order
    among those with as many iterations and warm-ups.

    Raises:
        DataError: A window is not in the conversation.
    """
    found, place = [], 0
    for number, window in enumerate(windows, 1):
        for at in range(place, len(transcript.inferences)):
            if _is_window(transcript.inferences[at], window):
                found.append(replace(transcript.inferences[at], file=window.file))
                place = at + 1
                break
        else:
            raise DataError(
                f"window {number} of {window.iterations} inferences is not in the conversation with the "
                "board: log and windows are not of one measurement"
            )
    return tuple(found)


def _is_window(inference: Inference, window: Window) -> bool:
    if (inference.iterations, inference.warmups) != (window.iterations, window.warmups):
        return False
    if len(inference.lap_us) < 2:
        return True
    laps = [lap % 2**32 for lap in inference.lap_us[-2:]]
    return laps == [window.start_us % 2**32, window.end_us % 2**32]


def inferences_of_files(
    transcript: Transcript, files: Sequence[tuple[str, int]]
) -> tuple[Inference, ...]:
    """The inferences of an accuracy test, with names.

    Args:
        transcript: Of the test. One that was gone on with may have some inputs twice; the later ones count.
        files: Name and byte offset of each input that was inferred, in order.

    Raises:
        DataError: There are fewer inferences than inputs.
    """
    single = [each for each in transcript.inferences if each.iterations == 1]
    if len(single) < len(files):
        raise DataError(
            f"{len(files)} inputs were inferred, the conversation with the board has {len(single)}: log and "
            "answers are not of one measurement"
        )
    return tuple(
        replace(each, file=name, offset=offset, file_size=offset + each.payload_size)
        for each, (name, offset) in zip(single[len(single) - len(files) :], files, strict=True)
    )
