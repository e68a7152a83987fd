"""One process of a training run: `python -m gnomon.timetotrain.worker FOLDER`, perhaps under torchrun.

It makes task and system again by name, so that every run begins in the same state: that of a fresh process.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from gnomon.core.clocks import read_clocks

_BEGAN = read_clocks()  # before anything heavy is imported: that is initialisation


def main(folder: Path | None) -> int:
    """Carry out the plan in this folder; None for a process on another machine, which is told its plan."""
    from gnomon.core.errors import GnomonError
    from gnomon.timetotrain.group import join_group

    _end_with_the_parent()
    try:
        group = join_group()
        try:
            return _train(folder, group)
        finally:
            group.leave()
    except (GnomonError, OSError) as error:
        print(f"gnomon: {error}", file=sys.stderr)
        return 1


def _train(folder: Path | None, group: object) -> int:
    from gnomon.core.under_test import closed_at_the_end, make_system
    from gnomon.timetotrain.group import Group
    from gnomon.timetotrain.plan import Plan, read_plan
    from gnomon.timetotrain.protocol import PROTOCOL
    from gnomon.timetotrain.train_once import train_once

    members: Group = group  # type: ignore[assignment]
    members.choose_leader(has_folder=folder is not None)
    told = members.from_leader(asdict(read_plan(folder)) if folder else None)
    plan = Plan(**told)
    assert plan.system is not None
    with TemporaryDirectory() as elsewhere:
        task = plan.task()
        system = make_system(PROTOCOL, plan.declared, plan.system["name"], plan.system["options"])
        with closed_at_the_end(system):
            came_through = train_once(
                plan, task, system, folder or Path(elsewhere), members, began=_BEGAN
            )
    return 0 if came_through else 1


def _end_with_the_parent() -> None:
    """Whoever started this process holds the other end of its standard input: no run outlives it."""
    if not sys.stdin or sys.stdin.isatty():
        return

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    code = main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(
        code
    )  # threads of a communication library outlive its process group and would hang here
