"""The processes that train one model together, as far as a run has to do with them: they share evaluations.

`torchrun` starts them and says through the environment which is which.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from gnomon.core.errors import MissingExtraError


class Group(Protocol):
    """Some processes, of which this is one.

    Attributes:
        rank: Of this process, from 0.
        world_size: How many there are.
    """

    rank: int
    world_size: int

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes to the run's folder."""

    def choose_leader(self, *, has_folder: bool) -> None:
        """The first of those that can write to the run's folder leads; all have to call it."""

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks; all of them have to call it."""

    def from_leader(self, value: Any) -> Any:
        """The value that the leader has; all have to call it."""

    def leave(self) -> None:
        """Called at the end."""


class Alone:
    """One process by itself."""

    rank = 0
    world_size = 1
    leads = True

    def choose_leader(self, *, has_folder: bool) -> None:
        """There is no choice."""

    def gather(self, value: Any) -> list[Any]:
        """The one value."""
        return [value]

    def from_leader(self, value: Any) -> Any:
        """The value itself."""
        return value

    def leave(self) -> None:
        """Nothing to leave."""


class Together:
    """The process group of PyTorch: Gloo between processors, NCCL where there is CUDA."""

    def __init__(self) -> None:
        try:
            import torch
            from torch import distributed
        except ImportError as error:
            raise MissingExtraError("torch", "train", "training in several processes") from error
        self._distributed = distributed
        if not distributed.is_initialized():
            cuda = torch.cuda.is_available()
            distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        self.rank, self.world_size = distributed.get_rank(), distributed.get_world_size()
        self._leader = 0

    @property
    def leads(self) -> bool:
        """Whether this process leads."""
        return self.rank == self._leader

    def choose_leader(self, *, has_folder: bool) -> None:
        """The first of those that can write to the run's folder."""
        self._leader = self.gather(has_folder).index(True)

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks."""
        values: list[Any] = [None] * self.world_size
        self._distributed.all_gather_object(values, value)
        return values

    def from_leader(self, value: Any) -> Any:
        """The value that the leader has."""
        values = [value]
        self._distributed.broadcast_object_list(values, src=self._leader)
        return values[0]

    def leave(self) -> None:
        """End the process group."""
        if self._distributed.is_initialized():
            self._distributed.destroy_process_group()


def join_group() -> Group:
    """The group that this process was started in."""
    return Together() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
