"""The system `flower`: every client a real process (a Flower SuperNode and its ClientApp) on this machine."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.core.errors import SettingsError
from gnomon.fleet.server import Server
from gnomon.fleet.system import FleetSystem, RoundObserver
from gnomon.systems.flower.drive import attend, listening, private_folder
from gnomon.systems.flower.energy import METHODS, PowerModel
from gnomon.systems.flower.handover import Briefing
from gnomon.systems.flower.launch import Launch, Place, require_flower
from gnomon.systems.flower.namespaces import Shape, prototype
from gnomon.systems.flower.work import Work, stored, work_of

if TYPE_CHECKING:
    from gnomon.fleet.assembly import Federation

CLIENT_APP = "gnomon.systems.flower.client_app:app"
LOOK_EVERY_S = 0.05


class FlowerFleet(FleetSystem):
    """A federation on Flower's deployment runtime.

    Attributes:
        work: Recipe by which clients make the learner; None to hand them the server's learner in a file.
        folder: Where logs go; None for a temporary one.
    """

    name = "flower"

    def __init__(
        self,
        *,
        shaped: bool = False,
        bandwidth_mbit_s: str | float = "2,5,10,20",
        cpu_share: str | float = "0.25,0.5",
        port: int = 0,
        poll_s: float = 0.5,
        watts_compute: float = PowerModel.watts_compute,
        watts_radio: float = PowerModel.watts_radio,
        energy: str = "model",
        node_timeout_s: float = 60.0,
        folder: Path | str | None = None,
        client_app: str = CLIENT_APP,
        work: Work | None = None,
    ) -> None:
        """Describe the federation's processes; they are started by `drive`.

        Args:
            shaped: Give each client a network namespace, a bandwidth and a CPU share (needs root).
            bandwidth_mbit_s: Each way, when shaped; several, separated by commas, go round.
            cpu_share: Of one core, when shaped; several go round; empty for no limits.
            port: Of the SuperLink; 0 for a free one.
            poll_s: How often idle parts of Flower ask for work (Flower's own: 3 s). Half of it is added to
                each exchange, on average; at 0.5 s ten idle nodes ask the SuperLink 20 times a second.
            watts_compute: Above idle, while a client trains.
            watts_radio: Above idle, for the rest of a client's round trip.
            energy: `model` (these watts), `rapl` (right for one client a machine) or `auto`.
            node_timeout_s: How long clients have to connect.
            folder: For logs.
            client_app: Flower's ClientApp, `package.module:attribute`.
            work: See the class.

        Raises:
            MissingExtraError: Flower is not installed.
            SettingsError: A value is out of range.
        """
        self.version = require_flower()
        for name, value, least, most in (
            ("port", port, 0, 65535),
            ("poll_s", poll_s, 0.01, 60),
            ("node_timeout_s", node_timeout_s, 1, 3600),
        ):
            if not (isinstance(value, int | float) and least <= value <= most):
                raise SettingsError(f"{name} must be from {least} to {most}, got {value!r}")
        if energy not in METHODS:
            raise SettingsError(f"energy must be one of {', '.join(METHODS)}, got {energy!r}")
        if not isinstance(shaped, bool):
            raise SettingsError(f"shaped must be true or false, got {shaped!r}")
        self.shapes = _shapes(bandwidth_mbit_s, cpu_share) if shaped else ()
        self.without = ""
        self.power = PowerModel(watts_compute, watts_radio)
        self.energy = energy
        self.port, self.poll_s, self.node_timeout_s = port, float(poll_s), float(node_timeout_s)
        self.client_app = client_app
        self.work = work
        self.folder = Path(folder) if folder is not None else None

    def describe(self) -> dict[str, Any]:
        """Flower's version and what the processes are told."""
        described: dict[str, Any] = {
            "flwr": self.version,
            "clients": "one SuperNode process each, on this machine",
            "poll_s": self.poll_s,
            "energy": self.energy,
            "watts_compute": self.power.watts_compute,
            "watts_radio": self.power.watts_radio,
        }
        if self.shapes:
            described["bandwidth_mbit_s"] = [shape.bandwidth_mbit_s for shape in self.shapes]
            described["cpu_share"] = self.without or [shape.cpu_share for shape in self.shapes]
        return described

    def load(self, federation: Federation, folder: Path) -> None:
        """Have clients make the data and the learner from the federation's blueprint."""
        self.work = work_of(federation)
        if self.folder is None:
            self.folder = folder

    def drive(self, server: Server, observer: RoundObserver | None = None) -> None:
        """Run the federation to its end; returns with the ledger filled.

        Args:
            server: The federation, new or restored.
            observer: Called after every round.

        Raises:
            SystemFault: A part of Flower ended, or clients did not connect; the message has its last words.
        """
        with ExitStack() as stack:
            private = stack.enter_context(private_folder())
            folder = self.folder or private / "run"
            folder.mkdir(parents=True, exist_ok=True)
            work = self.work or stored(server.learner, private)
            listener = stack.enter_context(listening(private))
            host, places = self._places(len(server.samples), stack)
            launch = stack.enter_context(
                Launch(
                    folder=folder.resolve(),
                    scratch=private,
                    work=work,
                    client_app=self.client_app,
                    places=places,
                    host=host,
                    port=self.port,
                    poll_s=self.poll_s,
                    node_config={
                        "energy": self.energy,
                        "watts-compute": self.power.watts_compute,
                        "watts-radio": self.power.watts_radio,
                    },
                )
            )
            briefing = Briefing(
                server.samples, work, LOOK_EVERY_S, self.node_timeout_s, launch.gone_folder
            )
            attend(server, briefing, launch, listener, observer)

    def close(self) -> None:
        """Nothing: `drive` ends what it starts."""

    def _places(self, clients: int, stack: ExitStack) -> tuple[str, list[Place]]:
        """The SuperLink's address, and where each client's processes run."""
        if not self.shapes:
            return "127.0.0.1", [Place()] * clients
        given = [self.shapes[client % len(self.shapes)] for client in range(clients)]
        made = stack.enter_context(prototype(given))
        self.without = made.without
        return made.address, list(made.places)


def _shapes(bandwidths: str | float, shares: str | float) -> tuple[Shape, ...]:
    """As many as it takes for both lists to go round."""
    speeds, parts = _numbers("bandwidth_mbit_s", bandwidths), _numbers("cpu_share", shares)
    if not speeds:
        raise SettingsError("bandwidth_mbit_s is empty: give Mbit/s, e.g. 2,5,10")
    count = math.lcm(len(speeds), max(len(parts), 1))
    return tuple(
        Shape(speeds[place % len(speeds)], parts[place % len(parts)] if parts else None)
        for place in range(count)
    )


def _numbers(name: str, text: str | float) -> list[float]:
    try:
        return [float(part) for part in str(text).split(",") if part.strip()]
    except ValueError:
        raise SettingsError(f"{name} takes numbers separated by commas, got {text!r}") from None
