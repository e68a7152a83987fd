"""A machine that joins a campaign of another: run after run it offers its processes, until none calls.

Runs meet by their number, which the first machine counts up; a machine that joins knows no more than that.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from gnomon.core.errors import SystemFault
from gnomon.timetotrain.launch import environment_of, meeting, torchrun


def join_campaign(
    address: str,
    nodes: int,
    processes: int,
    patience_s: float,
    say: Callable[[str], None],
    first: int = 1,
) -> int:
    """Take part in every run of a campaign; returns in how many.

    Args:
        address: HOST:PORT where the machines meet.
        nodes: Machines in all.
        processes: Of this one.
        patience_s: How long to wait for a further run.
        say: Told of every run.
        first: Number of the run to begin with.

    Raises:
        SystemFault: Nobody called at all.
    """
    number = first
    while True:
        began_s = time.monotonic()
        wait = f"--rdzv-conf=join_timeout={patience_s:.0f},is_host=false"
        meet = [*meeting(nodes, address, number), wait]
        exit_code, said = _take_part(torchrun(processes, meet), processes)
        took_s = time.monotonic() - began_s
        if exit_code and "Rendezvous" in said:
            break
        say(f"run {number}: {took_s:.1f} s" + (", failed" if exit_code else ""))
        number += 1
    if number == first:
        raise SystemFault(
            f"nobody called at {address} within {patience_s:g} s: start gnomon run ... --nodes {nodes} "
            f"--rendezvous {address} on the first machine"
        )
    return number - first


def _take_part(arguments: list[str], processes: int) -> tuple[int, str]:
    """Run this machine's processes; returns their exit code and what they said."""
    held, holder = os.pipe()  # the processes end when this one does, and lets go of the pipe
    try:
        finished = subprocess.run(
            arguments,
            env=environment_of(processes),
            stdin=held,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(held)
        os.close(holder)
    return finished.returncode, finished.stderr
