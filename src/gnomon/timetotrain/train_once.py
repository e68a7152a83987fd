"""One training run in this process: the session around a system, and what is kept of it."""

from __future__ import annotations

import traceback
from pathlib import Path

from gnomon.core.errors import GnomonError, described
from gnomon.timetotrain.answers import write_answers
from gnomon.timetotrain.group import Group
from gnomon.timetotrain.journal import EventObserver, Journal
from gnomon.timetotrain.plan import Plan
from gnomon.timetotrain.session import TrainingSession
from gnomon.timetotrain.system import TrainingSystem
from gnomon.timetotrain.task import TrainingTask

TRACEBACK_FILE = "traceback.txt"


def train_once(
    plan: Plan,
    task: TrainingTask,
    system: TrainingSystem,
    folder: Path,
    group: Group,
    *,
    began: tuple[int, int] | None = None,
    observer: EventObserver | None = None,
) -> bool:
    """Carry out a run; returns whether its loop came through. What it raises is taken down, not raised.

    Args:
        plan: What is to be done.
        task: Data and metric.
        system: What trains.
        folder: Of the run; only the first process writes there.
        group: The processes that train together.
        began: Monotonic and wall time at which initialisation began.
        observer: Told of every event.

    Raises:
        OSError: The folder cannot be written.
    """
    journal = Journal(folder if group.leads else None, observer)
    try:
        session = TrainingSession(plan, task, journal, group, folder, began)
        try:
            task.prepare()
            system.train(session)
            session.end()
            came_through = True
        except Exception as error:
            session.fail(str(error) if isinstance(error, GnomonError) else described(error))
            if not isinstance(error, GnomonError):
                (folder / TRACEBACK_FILE).write_text(traceback.format_exc())
            came_through = False
        if group.leads:
            write_answers(folder, session.kept)
    finally:
        journal.close()
    return came_through
