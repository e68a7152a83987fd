"""Every failure a user can cause or must hear about, as one family of exceptions.

    GnomonError
    ├── UsageError            what was asked for cannot be done as asked
    │   ├── UnknownNameError  no benchmark, system, scenario or option of that name
    │   ├── SettingsError     settings out of range, or contradicting each other
    │   └── ConfigError       a configuration file with a line that means nothing
    ├── MissingExtraError     an optional package is not installed
    ├── MissingToolError      a program is not installed
    ├── BuildError            a compiler refuses a board's firmware
    ├── DataError             a data set or model that is missing, empty, cut short or not what it says
    │   └── UnsupportedOperatorError   a model has an operator that the firmware has no kernel for
    ├── RunFolderError        a run folder that cannot be written or read
    └── SystemFault           the system under test raised, hung or answered wrongly
        ├── ProtocolError     a board's line means nothing
        └── BoardSilentError  a board does not answer in time

A message says what was wrong, where, and what to do about it, in one line. The command line prints
it without a traceback and exits with 2; a `SystemFault` inside a run makes that run INVALID.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GnomonError(Exception):
    """Base of the family."""


class UsageError(GnomonError):
    """What was asked for cannot be done as asked."""


class UnknownNameError(UsageError):
    """No such name; the message offers the nearest one that exists."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        nearest = nearest_name(name, known)
        if nearest:
            mend = f"did you mean {nearest!r}?"
        else:
            mend = f"known: {', '.join(known)}" if known else "none is registered"
        super().__init__(f"unknown {kind} {name!r}: {mend}{' ' + hint if hint else ''}")
        self.kind, self.name, self.nearest = kind, name, nearest


class SettingsError(UsageError):
    """Settings that are out of range or contradict each other."""


class ConfigError(UsageError):
    """A configuration file with a line that means nothing; the message has its number."""


class MissingExtraError(GnomonError):
    """An optional package is missing."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'gnomon[{extra}]'")


class MissingToolError(GnomonError):
    """A program that Python's package manager cannot install is missing."""

    def __init__(self, tool: str, packages: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {tool}: on Debian, apt-get install {packages}")


class BuildError(GnomonError):
    """The compiler refuses the sources of an image."""


class DataError(GnomonError):
    """A data set or model that is missing, empty, cut short or not what it says it is."""


class RunFolderError(GnomonError):
    """A run folder that cannot be written or read."""


class SystemFault(GnomonError):  # noqa: N818 - a fault of the system, not ours
    """The system under test raised, hung or answered wrongly."""


class GnomonWarning(UserWarning):
    """Something the user should know, and that does not stop the run."""


def described(error: BaseException) -> str:
    """Somebody else's exception in one line: its class and what it says."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None if nothing is close."""
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None
