"""What the page's server keeps beside the runs, in `RUNS/.mobile/`: token, certificate, sessions.

    token                the secret part of the address, so that an installed page survives a restart
    certificate.pem      and key.pem, for https; authority.pem and authority-key.pem, who vouches for it
    sessions/ID.json     how each session of a page stands
    lock                 held while a server serves these runs

Files are for the owner's eyes only.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from gnomon.core.errors import RunFolderError
from gnomon.core.files import held_alone, write_atomically
from gnomon.results.mobile_history import STATE_FOLDER

TOKEN_BYTES = 16
TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


def open_state(out: Path) -> Path:
    """The state folder of these runs, made if missing.

    Raises:
        RunFolderError: It cannot be made.
    """
    folder = out / STATE_FOLDER
    try:
        (folder / "sessions").mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise RunFolderError(
            f"cannot write to {out}: {error.strerror}; choose another folder with --out"
        ) from None
    return folder


@contextlib.contextmanager
def served_alone(folder: Path) -> Iterator[None]:
    """Hold the state folder: two servers that write the same sessions would undo each other's work.

    Raises:
        RunFolderError: Another server holds it.
    """
    refusal = (
        f"another gnomon mobile serve is using the folder {folder.parent}: stop it, or choose another folder "
        f"with --out"
    )
    with held_alone(folder / "lock", refusal):
        yield


def token_of(folder: Path, *, new: bool = False) -> str:
    """The token of these runs, 128 random bits; made if there is none, or if a new one is wanted."""
    file = folder / "token"
    if not new:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            kept = file.read_text(encoding="ascii").strip()
            if TOKEN.fullmatch(kept):
                return kept
    token = secrets.token_urlsafe(TOKEN_BYTES)
    write_privately(file, f"{token}\n".encode())
    return token


def write_privately(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read: the old content or the new, never a mixture.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    try:
        write_atomically(path, data, mode=0o600)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; make room or choose another folder with --out"
        ) from None
