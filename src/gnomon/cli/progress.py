"""A live line for a run in a terminal: what is measured, how far, the figures of the moment.

One short write twice a second, and nothing more: a display that redraws itself from a thread of this
process would hold the interpreter and show up in the tail of the latencies it displays.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

import typer

from gnomon.core.protocol import Progress

BAR = 24
INTERVAL_S = 0.5
CLEAR = "\r\x1b[2K"


class ProgressLine:
    """Writes to a terminal; use as a context manager, which clears the line at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_at_s = 0.0
        self._measurement = ""
        self._heading = ""

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.write(CLEAR)
        self._stream.flush()

    def head(self, heading: str) -> None:
        """Say which of several runs begins: it stands before what is measured from now on."""
        self._heading, self._measurement = heading, ""
        self._stream.write(f"{CLEAR}{heading}"[: len(CLEAR) + _room()])
        self._stream.flush()

    def __call__(self, progress: Progress) -> None:
        """Show how the run stands, if it is time."""
        now_s = time.monotonic()
        changed = progress.measurement != self._measurement
        if now_s - self._shown_at_s < INTERVAL_S and not changed:
            return
        self._shown_at_s, self._measurement = now_s, progress.measurement
        name = f"{self._heading}  {progress.measurement}".strip()
        figures = f"{progress.elapsed_s:.0f} s  {progress.text}"
        # A line that wraps could not be cleared: the bar gives way first, then the figures.
        room = _room()
        width = max(0, min(BAR, room - len(name) - len(figures) - 4))
        full = round(width * progress.share_done)
        bar = "━" * full + "╌" * (width - full)
        self._stream.write(CLEAR + "  ".join(filter(None, (name, bar, figures)))[:room])
        self._stream.flush()


def announce(line: ProgressLine | None, heading: str) -> None:
    """Say which of several runs begins: in the live line, or in a line of its own where there is none."""
    if line is None:
        typer.echo(heading, err=True)
    else:
        line.head(heading)


def _room() -> int:
    """Columns that can be written without the cursor going to the next line."""
    return shutil.get_terminal_size().columns - 1


def progress_line() -> ProgressLine | None:
    """A line on standard error, or None if that is no terminal."""
    return ProgressLine(sys.stderr) if sys.stderr.isatty() else None
