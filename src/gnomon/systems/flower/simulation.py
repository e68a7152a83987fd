"""The system `flower-simulation`: the same strategy and client app on Flower's simulation engine (Ray).

Clients are calls to Ray actors that share this machine's cores, so that a client's seconds depend on who else
is computing. For virtual seconds use the `simulated` fleet.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.fleet.learner import LocalTraining
from gnomon.fleet.orders import Order, Reports
from gnomon.fleet.server import Server
from gnomon.fleet.system import FleetSystem, RoundObserver
from gnomon.systems.flower.drive import private_folder
from gnomon.systems.flower.energy import PowerModel
from gnomon.systems.flower.launch import require_flower
from gnomon.systems.flower.work import Work, stored, work_of

if TYPE_CHECKING:
    from gnomon.fleet.assembly import Federation

LOOK_EVERY_S = 0.01


class FlowerSimulation(FleetSystem):
    """A federation on Flower's simulation engine.

    Attributes:
        work: Recipe by which clients make the learner; None to hand them the server's learner in a file.
    """

    name = "flower-simulation"

    def __init__(
        self,
        *,
        cpus_per_client: float = 1.0,
        watts_compute: float = PowerModel.watts_compute,
        watts_radio: float = PowerModel.watts_radio,
        work: Work | None = None,
    ) -> None:
        """Describe the simulation; Ray is started by `drive`.

        Args:
            cpus_per_client: Cores that Ray sets aside for one client at a time.
            watts_compute: While a client trains.
            watts_radio: For the rest of a client's round trip.
            work: See the class.

        Raises:
            MissingExtraError: Flower or Ray is not installed.
            SettingsError: A value is out of range.
        """
        self.version = require_flower()
        if find_spec("ray") is None:
            raise MissingExtraError("ray", "fed", "Flower's simulation engine")
        cores = os.cpu_count() or 1
        if not (isinstance(cpus_per_client, int | float) and 0 < cpus_per_client <= cores):
            raise SettingsError(
                f"cpus_per_client must be above 0 and at most {cores}, got {cpus_per_client!r}"
            )
        self.cpus_per_client = float(cpus_per_client)
        self.power = PowerModel(watts_compute, watts_radio)
        self.work = work

    def describe(self) -> dict[str, Any]:
        """Flower's version and the engine's settings."""
        return {
            "flwr": self.version,
            "clients": "calls to Ray actors on this machine",
            "cpus_per_client": self.cpus_per_client,
            "energy": "model",
            "watts_compute": self.power.watts_compute,
            "watts_radio": self.power.watts_radio,
        }

    def load(self, federation: Federation, folder: Path) -> None:
        """Have clients make the data and the learner from the federation's blueprint."""
        self.work = work_of(federation)

    def drive(self, server: Server, observer: RoundObserver | None = None) -> None:
        """Run the federation to its end; returns with the ledger filled."""
        # Read when Flower and Ray are imported: nothing leaves this machine.
        os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from flwr.app import Context
        from flwr.serverapp import Grid, ServerApp
        from flwr.simulation import run_simulation

        from gnomon.systems.flower.client_app import client_app
        from gnomon.systems.flower.strategy import GnomonStrategy

        logging.getLogger("flwr").setLevel(logging.ERROR)
        with private_folder() as folder:
            work = self.work or stored(server.learner, folder)
            strategy = GnomonStrategy(_Observed(server, observer), work, look_every_s=LOOK_EVERY_S)
            server_app = ServerApp()

            @server_app.main()
            def main(grid: Grid, context: Context) -> None:
                strategy.start(grid)

            run_simulation(
                server_app=server_app,
                client_app=client_app(
                    {
                        "energy": "model",
                        "watts-compute": self.power.watts_compute,
                        "watts-radio": self.power.watts_radio,
                    }
                ),
                num_supernodes=len(server.samples),
                backend_config={
                    "client_resources": {"num_cpus": self.cpus_per_client, "num_gpus": 0.0},
                    # "local": else Ray joins whatever cluster it finds, and ends with that.
                    "init_args": {
                        "address": "local",
                        "include_dashboard": False,
                        "log_to_driver": False,
                    },
                },
            )


class _Observed:
    """The server, with word of every round to an observer."""

    def __init__(self, server: Server, observer: RoundObserver | None) -> None:
        self.samples: NDArray[np.int64] = server.samples
        self.next_order = server.next_order
        self._server, self._observer = server, observer

    def local_training(self, order: Order) -> LocalTraining:
        return self._server.local_training(order)

    def receive(self, order: Order, reports: Reports) -> None:
        self._server.receive(order, reports)
        if self._observer:
            self._observer(self._server)
