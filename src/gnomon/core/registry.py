"""Benchmarks, tasks, systems and protocols by name, from entry points.

Built-in parts are listed in this package's own `pyproject.toml`; a plug-in package lists its parts the
same way under the same groups. Nothing is imported until it is asked for, so listing names is cheap and
a broken plug-in hurts only whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from gnomon.core.errors import GnomonError, UnknownNameError, described


@dataclass(frozen=True)
class Entry:
    """One registered name and the package it comes from; a rival is another package that claims it."""

    name: str
    origin: str
    point: EntryPoint
    rival: str = ""


class Registry:
    """The parts of one kind. A name that two packages register is refused to whoever asks for it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"gnomon.{kind}s"

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else "unknown"
            known = entries.get(point.name)
            if known and (known.origin, known.point.value) != (origin, point.value):
                entries[point.name] = replace(known, rival=origin)
                continue
            entries[point.name] = Entry(point.name, origin, point)
        return dict(sorted(entries.items()))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return list(self._entries)

    def load(self, name: str) -> Any:
        """Import what is registered under this name.

        Raises:
            UnknownNameError: Nothing is; the message offers the nearest name.
            GnomonError: Two packages register it, or the one that does cannot be imported.
        """
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        entry = self._entries[name]
        if entry.rival:
            raise GnomonError(
                f"{self.kind} {name!r} is registered by both {entry.origin} and {entry.rival}: "
                f"uninstall one of them"
            )
        try:
            return entry.point.load()
        except GnomonError:
            raise
        except (Exception, SystemExit) as error:
            raise GnomonError(
                f"{self.kind} {name!r} from package {entry.origin} cannot be loaded: "
                f"{described(error)}"
            ) from error


BENCHMARKS = Registry("benchmark")
TASKS = Registry("task")
SYSTEMS = Registry("system")
PROTOCOLS = Registry("protocol")


def is_registered(benchmark: Any) -> bool:
    """Whether this is the benchmark that is registered under its name, word for word."""
    try:
        return bool(BENCHMARKS.load(benchmark.name) == benchmark)
    except GnomonError:
        return False
