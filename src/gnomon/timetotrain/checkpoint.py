"""The trained model, kept after the clock and evaluated once more from its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import described
from gnomon.core.files import sha256_of
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.answers import kept_as_array
from gnomon.timetotrain.journal import Journal

if TYPE_CHECKING:
    from gnomon.timetotrain.session import Answer, TrainingSession

CHECKPOINT_FILE = "checkpoint"


def keep_checkpoint(
    session: TrainingSession,
    journal: Journal,
    save: Callable[[Path], None],
    restore: Callable[[Path], Answer],
) -> None:
    """Save, read back and evaluate once more, in the first process alone; the others wait.

    A disk that is full is a fault of the run, not its end: time and quality stand, unproven.
    """
    if session.group.leads:
        _keep(session, journal, save, restore)
    session.group.gather(None)


def _keep(
    session: TrainingSession,
    journal: Journal,
    save: Callable[[Path], None],
    restore: Callable[[Path], Answer],
) -> None:
    path = session.folder / CHECKPOINT_FILE
    try:
        save(path)
    except Exception as error:  # a library's, for a disk that is full
        path.unlink(missing_ok=True)
        journal.write(
            events.FAULT,
            why=f"the checkpoint cannot be written ({described(error)}): make room and train again",
        )
        return
    journal.write(events.CHECKPOINT, sha256=sha256_of(path), bytes=path.stat().st_size)
    asked = session.held_out
    outputs: Any = kept_as_array(restore(path)(asked))
    journal.write(events.REEVALUATION, quality=float(session.task.score(asked, outputs)))
