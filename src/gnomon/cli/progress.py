"""A live line for a run in a terminal: what is measured, how far, the figures of the moment.

One short write twice a second, and nothing more: a display that redraws itself from a thread of this
process would hold the interpreter and show up in the tail of the latencies it displays.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

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

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.write(CLEAR)
        self._stream.flush()

    def __call__(self, progress: Progress) -> None:
        """Show how the run stands, if it is time."""
        now_s = time.monotonic()
        changed = progress.measurement != self._measurement
        if now_s - self._shown_at_s < INTERVAL_S and not changed:
            return
        self._shown_at_s, self._measurement = now_s, progress.measurement
        full = round(BAR * progress.share_done)
        bar = "━" * full + "╌" * (BAR - full)
        self._stream.write(
            f"{CLEAR}{progress.measurement}  {bar}  {progress.elapsed_s:.0f} s  {progress.text}"
        )
        self._stream.flush()


def progress_line() -> ProgressLine | None:
    """A line on standard error, or None if that is no terminal."""
    return ProgressLine(sys.stderr) if sys.stderr.isatty() else None
