"""What is asked of the interpreter and of the operating system so that threads run when they should."""

from __future__ import annotations

import ctypes
import sys

SHARED_SWITCH_INTERVAL_S = 20e-6


class shared_interpreter:  # noqa: N801 - used as a context manager, read as a phrase
    """While several threads of ours run, let a waiting thread have the interpreter soon.

    A completion that arrives while the issuer watches the clock would otherwise wait up to 5 ms.
    """

    def __enter__(self) -> None:
        self._before_s = sys.getswitchinterval()
        sys.setswitchinterval(SHARED_SWITCH_INTERVAL_S)

    def __exit__(self, *_: object) -> None:
        sys.setswitchinterval(self._before_s)


class fine_sleep:  # noqa: N801 - as above
    """Ask Linux to wake this thread when it asked, not up to 50 µs later (`PR_SET_TIMERSLACK`)."""

    _SET_TIMER_SLACK = 29

    def _set(self, slack_ns: int) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(self._SET_TIMER_SLACK, slack_ns, 0, 0, 0)

    def __enter__(self) -> None:
        self._set(1)

    def __exit__(self, *_: object) -> None:
        self._set(0)  # 0: back to the thread's default
