"""From a benchmark and options to a federation: data dealt out, learner, devices, settings, faults.

A `Blueprint` is plain values and goes anywhere as JSON; whoever has it and the data builds the same
federation, bit for bit: the run, the grid around it, `gnomon check`, a client in another process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.spec import Benchmark, Declared, first_of
from gnomon.core.task import Task, make_task
from gnomon.fleet.availability import read_trace
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.control import parse_controller
from gnomon.fleet.data import FederatedData
from gnomon.fleet.device_files import (
    DISTRIBUTIONS,
    fedscale_devices,
    read_devices,
    simulated_devices,
)
from gnomon.fleet.devices import Devices
from gnomon.fleet.learner import Learner
from gnomon.fleet.logistic import LogisticLearner
from gnomon.fleet.options import PAPER, FleetOptions, Model, is_named, layered
from gnomon.fleet.partition import parse_partition
from gnomon.fleet.server import Server
from gnomon.fleet.settings import FederatedSettings
from gnomon.fleet.state import Controller
from gnomon.fleet.task import FederatedTask

FLOAT_BYTES = 4


class Blueprint(Declared):
    """A federation in plain values; the same blueprint and the same data give the same federation."""

    task: str = Field(description="registered name")
    data: Path | None = Field(default=None, description="the user's own data, for the task")
    fingerprint: str = Field(description="sha256 of the raw data it was drawn for")
    clients: int = Field(ge=1)
    partition: str
    data_seed: int = Field(ge=0, description="of data, partition and simulated devices")
    model: Model
    regularisation: float = Field(ge=0)
    devices: str = Field(description="a name, or an absolute path")
    settings: FederatedSettings
    behaviour: Behaviour
    availability_trace: str | None = Field(
        default=None, description="an absolute path: when clients are there, besides"
    )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Any) -> Blueprint:
        """The inverse of `to_json`.

        Raises:
            DataError: These are not the values of a blueprint.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise DataError(f"this is no blueprint of a federation: {first_of(error)}") from None

    def learner(self) -> Learner:
        """Data and model alone: what a client needs.

        Raises:
            DataError: The data is not in place, or is other data.
        """
        return Federation(self, _task_of(self)).learner


@dataclass(frozen=True)
class Federation:
    """A federation whose parts are made when they are first asked for.

    Attributes:
        blueprint: What it is made from.
        task: Where its data comes from.
        given_devices: Devices to use in place of the blueprint's (those on record, those measured).
    """

    blueprint: Blueprint
    task: FederatedTask
    given_devices: Devices | None = None

    @classmethod
    def of(cls, blueprint: Blueprint, devices: Devices | None = None) -> Federation:
        """The federation of a blueprint; the task is looked up by its name.

        Raises:
            DataError: The data is not in place, or is other data than it was drawn for.
        """
        return cls(blueprint, _task_of(blueprint), devices)

    @cached_property
    def data(self) -> FederatedData:
        """Dealt out to the clients."""
        blueprint = self.blueprint
        return self.task.deal(
            blueprint.clients, parse_partition(blueprint.partition), blueprint.data_seed
        )

    @cached_property
    def learner(self) -> Learner:
        """The model on that data."""
        blueprint = self.blueprint
        if blueprint.model == "cnn":
            from gnomon.fleet.cnn import CnnLearner

            return CnnLearner(self.data, blueprint.regularisation)
        return LogisticLearner(self.data, blueprint.regularisation)

    @cached_property
    def devices(self) -> Devices:
        """What each client costs.

        Raises:
            SettingsError: There are other numbers of devices and of clients.
        """
        devices = self.given_devices or self._named_devices()
        if len(devices) != self.blueprint.clients:
            raise SettingsError(
                f"{len(devices)} devices ({devices.source}) for {self.blueprint.clients} clients: use "
                f"--clients {len(devices)}, or other devices"
            )
        return devices

    @property
    def samples(self) -> NDArray[np.int64]:
        """n_k of every client, shape (N,)."""
        return np.diff(self.data.offsets)

    @property
    def settings(self) -> FederatedSettings:
        """How it is trained."""
        return self.blueprint.settings

    @cached_property
    def behaviour(self) -> Behaviour:
        """Faults of simulated clients.

        Raises:
            DataError: The file that says when they are there is missing or damaged.
        """
        blueprint = self.blueprint
        if blueprint.availability_trace is None:
            return blueprint.behaviour
        trace = read_trace(Path(blueprint.availability_trace), blueprint.clients)
        return replace(blueprint.behaviour, trace=trace)

    def server(self, controller: Controller | str) -> Server:
        """A server at the start of this federation.

        Args:
            controller: Who chooses K and E, or its name and parameters (`fixed:10,20`).

        Raises:
            SettingsError: There is no such controller.
        """
        chosen = parse_controller(controller) if isinstance(controller, str) else controller
        return Server(self.settings, self.learner, self.devices, self.samples, chosen)

    def _named_devices(self) -> Devices:
        blueprint = self.blueprint
        distribution = "normal" if blueprint.devices == PAPER else blueprint.devices
        if distribution in DISTRIBUTIONS:
            return simulated_devices(distribution, blueprint.clients, blueprint.data_seed)
        path = Path(blueprint.devices)
        if is_table_of_costs(path):
            return read_devices(path)
        parameters = self.learner.initial(blueprint.settings.seed).size
        return fedscale_devices(
            path,
            blueprint.clients,
            blueprint.data_seed,
            batch_size=blueprint.settings.batch_size,
            model_bytes=float(FLOAT_BYTES * parameters),
        )


def blueprint_of(benchmark: Benchmark, task: Task, options: FleetOptions) -> Blueprint:
    """The blueprint of the federation that these options ask for.

    Raises:
        SettingsError: Options contradict each other, or the task cannot be dealt out to clients.
        DataError: The data, or a file of devices, is not in place.
    """
    if not isinstance(task, FederatedTask):
        raise SettingsError(
            f"task {task.name!r} cannot be dealt out to clients: a federated benchmark needs a "
            f"FederatedTask"
        )
    chosen = layered(benchmark, options)
    own = {name: getattr(chosen, name) for name in FederatedSettings.model_fields}
    devices, clients = chosen.devices, chosen.clients
    if not is_named(devices):
        path = _file_of_devices(devices)
        devices = str(path)
        if options.clients is None and is_table_of_costs(path):
            clients = len(read_devices(path))  # one client a device, unless asked otherwise
    partition = chosen.partition or str(task.default_partition)
    parse_partition(partition)
    settings = FederatedSettings(**own)
    settings.require_clients(clients)
    trace = options.availability_trace
    return Blueprint(
        task=task.name,
        data=getattr(task, "path", None),
        fingerprint=task.source().sha256,
        clients=clients,
        partition=partition,
        data_seed=chosen.data_seed,
        model=chosen.model,
        regularisation=chosen.regularisation,
        devices=devices,
        settings=settings,
        behaviour=Behaviour(
            options.availability,
            options.availability_block_s,
            options.dropout,
            options.slowdown_sigma,
        ),
        availability_trace=str(trace.absolute()) if trace else None,
    )


def assemble(benchmark: Benchmark, task: Task, options: FleetOptions) -> Federation:
    """The federation that these options ask for; see `blueprint_of`."""
    blueprint = blueprint_of(benchmark, task, options)
    assert isinstance(task, FederatedTask)
    return Federation(blueprint, task)


def learner_of(**blueprint: Any) -> Learner:
    """The learner of a blueprint given as its JSON's members: how a client in another process makes it."""
    return Blueprint.from_json(blueprint).learner()


def is_table_of_costs(path: Path) -> bool:
    """Whether this is a CSV file that names our columns; else it is taken for FedScale's profile."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        header = next((line for line in lines if line.strip()), "")
    return "computation" not in header.split(",")


def _file_of_devices(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        raise SettingsError(
            f"devices {text!r} is neither a file nor one of {PAPER}, {', '.join(DISTRIBUTIONS)}"
        )
    return path


def _task_of(blueprint: Blueprint) -> FederatedTask:
    """The blueprint's task on its data."""
    task = make_task(blueprint.task, blueprint.data)
    assert isinstance(task, FederatedTask)
    source = task.source()
    if source.sha256 != blueprint.fingerprint:
        raise DataError(
            f"{source.name} is other data (sha256 {source.sha256[:12]}) than the federation was made "
            f"for ({blueprint.fingerprint[:12]})"
        )
    return task
