"""Packages that only an extra of Gnomon installs, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from gnomon.core.errors import MissingExtraError


def optional_module(module: str, package: str, extra: str, purpose: str) -> ModuleType:
    """A module of a package that may be missing; type checkers take its members for anything.

    Args:
        module: To import (`PIL.Image`).
        package: What it is installed as (`pillow`).
        extra: Of Gnomon, that installs it.
        purpose: What needs it, to begin the message with.

    Raises:
        MissingExtraError: It cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(package, extra, purpose) from None
