"""Runs a command for as long as its own standard input stays open: it cannot outlive who started it.

Started as a script, in an interpreter of its own. The kernel closes the other end of the pipe when the
starting process ends, however it ends; on Linux it also ends the command if this guard is killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def end_with_guard() -> None:
    """In the command's process before it begins: ask Linux to end it with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Run the command given as arguments; leave with what it left with."""
    passed = [int(number) for number in sys.argv[1].split(",") if number]
    child = subprocess.Popen(
        sys.argv[2:], stdin=subprocess.DEVNULL, pass_fds=passed, preexec_fn=end_with_guard
    )
    for number in passed:
        os.close(number)

    def watch() -> None:
        while os.read(0, 1):
            pass
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
