"""How a page's session stands, as one small file each, so that a restarted server goes on where it was.

What was measured is in the run folders; this is what they cannot say: whose session, which bytes, when.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gnomon.core.errors import RunFolderError
from gnomon.core.spec import first_of
from gnomon.web.state import write_privately

SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""A UUID of version 4, as browsers write it. Nothing else becomes a file name."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TestState(_Kept):
    """A test that came.

    Attributes:
        sha256: Of its body.
        ended_at: By the page's clock, seconds of the epoch.
        in_sight_s: What it says of the time that it and the rest before it took, where the server had been
            told before it began; else None.
    """

    sha256: str
    ended_at: float
    in_sight_s: float | None


class RunState(_Kept):
    """A run of the session.

    Attributes:
        run: The run folder's name.
        asked: What was asked for, to tell the same request from another.
        began_at: When it began, by this machine's clock, seconds of the epoch.
        tests: By name.
        ending: The answer to its end; None while it goes on.
    """

    run: str
    asked: dict[str, str]
    began_at: float
    tests: dict[str, TestState] = {}
    ending: dict[str, Any] | None = None


class SessionState(_Kept):
    """A session: the sha256 of its page's key, and its runs by benchmark."""

    key_sha256: str
    runs: dict[str, RunState] = {}


def is_session_id(text: str) -> bool:
    """Whether this names a session."""
    return SESSION_ID.fullmatch(text) is not None


def load_session(folder: Path, session: str) -> SessionState | None:
    """The session's state; None if there is no such session.

    Raises:
        RunFolderError: Its file cannot be read.
    """
    path = _path(folder, session)
    try:
        return SessionState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise RunFolderError(
            f"{path} is damaged ({first_of(error)}): start a new session"
        ) from None


def save_session(folder: Path, session: str, state: SessionState) -> None:
    """Write the session's state whole.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    write_privately(_path(folder, session), state.model_dump_json(indent=2).encode())


def _path(folder: Path, session: str) -> Path:
    return folder / "sessions" / f"{session}.json"
