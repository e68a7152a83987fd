"""What a client works on, as a recipe: each client makes the learner and its data itself, none travel.

The recipe goes out with every order. A process that has followed it once keeps the learner; the host
(`host.py`) follows it before it forks clients, so that they share one copy of the data.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import DataError, SettingsError, described
from gnomon.fleet.learner import Learner

if TYPE_CHECKING:
    from gnomon.fleet.assembly import Federation


@dataclass(frozen=True)
class Work:
    """How to make the learner.

    Attributes:
        maker: `package.module:function`; the function returns a `Learner`.
        arguments: Its keyword arguments, as JSON, keys in order: the same recipe is the same text.
    """

    maker: str
    arguments: str

    @classmethod
    def of(cls, maker: str, arguments: Mapping[str, Any]) -> Work:
        """A recipe from plain values."""
        return cls(maker, json.dumps(dict(arguments), sort_keys=True))

    def learner(self) -> Learner:
        """The learner; made once in a process.

        Raises:
            SettingsError: There is no such maker, or it refused its arguments.
            DataError: The data are not in place here.
        """
        return _made(self.maker, self.arguments)


@lru_cache(maxsize=2)
def _made(maker: str, arguments: str) -> Learner:
    module, _, name = maker.partition(":")
    try:
        function: Callable[..., Learner] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"work {maker!r} is no package.module:function that can be imported here "
            f"({described(error)}): install its package on every client"
        ) from error
    return function(**json.loads(arguments))


def work_of(federation: Federation) -> Work:
    """The recipe of a federation that was assembled from a blueprint."""
    return Work.of("gnomon.fleet.assembly:learner_of", federation.blueprint.to_json())


def stored(learner: Learner, folder: Path) -> Work:
    """A recipe for clients on this machine: the learner itself, data included, in a file they read."""
    try:
        data = pickle.dumps(learner, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise SettingsError(
            f"{type(learner).__name__} cannot be handed to client processes ({described(error)}): "
            f"give its recipe (work=Work.of(...))"
        ) from error
    path = folder / "learner.pickle"
    path.write_bytes(data)
    return Work.of(
        f"{__name__}:read_stored",
        {"path": str(path), "sha256": hashlib.sha256(data).hexdigest()},
    )


def read_stored(path: str, sha256: str) -> Learner:
    """What `stored` wrote."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): start the federation anew"
        ) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path} is not the learner that was stored: start the federation anew")
    learner: Learner = pickle.loads(data)
    return learner
