"""One training of a grid: a federation with a fixed K and E, to its target or to the most rounds allowed.

There is no earlier giving up: with few clients a round the loss falls as the learning rate does, because the
noise falls with it, and points that looked hopeless at half of the rounds were at the target in the end.
"""

from __future__ import annotations

from multiprocessing.synchronize import Event

import numpy as np

from gnomon.fleet.assembly import Federation
from gnomon.fleet.control import Fixed
from gnomon.fleet.grid_file import Trial
from gnomon.fleet.grid_folder import Place
from gnomon.fleet.server import Server
from gnomon.fleet.simulated import simulate


def train(federation: Federation, place: Place, stop: Event | None = None) -> Trial:
    """One federation with a fixed K and E and this seed.

    Args:
        federation: Data, model, devices and settings; its own seed is of no matter.
        place: K, E and seed.
        stop: Set to break it off.

    Raises:
        KeyboardInterrupt: It was broken off.
    """
    settings = federation.settings.model_copy(update={"seed": place.seed})
    server = Server(
        settings,
        federation.learner,
        federation.devices,
        federation.samples,
        Fixed(place.clients_per_round, place.local_iterations),
    )

    def watch(_: Server) -> None:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt

    with np.errstate(over="ignore", invalid="ignore"):  # a federation that diverges is a result
        simulate(server, federation.behaviour, watch)
    ended, rounds = server.ended, server.ledger.rounds
    assert ended is not None
    known = rounds["loss"][~np.isnan(rounds["loss"])]
    return Trial(
        seed=place.seed,
        reached=ended.reason == "target",
        rounds=len(rounds),
        duration_s=server.ledger.duration_s,
        energy_j=server.ledger.energy_j,
        loss=float(known[-1]) if len(known) else server.initial_loss,
        ended=ended.why,
    )
