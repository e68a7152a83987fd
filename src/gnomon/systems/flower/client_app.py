"""Gnomon's client on Flower: trains as it is told, and measures its own seconds and joules.

Its number is the node's `partition-id`. Other keys of the node's configuration: `energy` (auto, rapl, model),
`watts-compute`, `watts-radio`. What it takes to get here and back (Flower's polling included) it does not
see: the server counts it, as the rest of the round trip.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.systems.flower.energy import PowerModel, chosen_method, read_rapl
from gnomon.systems.flower.wire import (
    Account,
    Introduction,
    introduction_content,
    read_order,
    report_content,
)


def client_app(usual: Mapping[str, Any]) -> ClientApp:
    """The app; `usual` holds where a node's configuration says nothing."""
    app = ClientApp()

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        return Message(
            introduction_content(introduction({**usual, **context.node_config})), reply_to=message
        )

    @app.train()
    def train(message: Message, context: Context) -> Message:
        update, account = trained(message, introduction({**usual, **context.node_config}))
        return Message(report_content(update, account), reply_to=message)

    return app


def trained(message: Message, me: Introduction) -> tuple[NDArray[np.float32], Account]:
    """The update, and what it took; making the data is not counted."""
    parameters, training, work = read_order(message.content)
    learner = work.learner()
    before, started_s = read_rapl(), time.monotonic()
    updates, losses = learner.train(parameters, np.array([me.client]), training)
    compute_s, after = time.monotonic() - started_s, read_rapl()
    compute_j = me.watts_compute * compute_s
    if me.energy_method == "rapl" and before is not None and after is not None:
        compute_j = after.since(before)
    return updates[0], Account(me.client, float(losses[0]), compute_s, compute_j)


def introduction(config: Mapping[str, Any]) -> Introduction:
    """From the node's configuration.

    Raises:
        SettingsError: It has no `partition-id`, or a value out of range.
    """
    if "partition-id" not in config:
        raise SettingsError(
            "this node has no client number: start it with --node-config 'partition-id=NUMBER'"
        )
    power = PowerModel(
        float(config.get("watts-compute", PowerModel.watts_compute)),
        float(config.get("watts-radio", PowerModel.watts_radio)),
    )
    method = chosen_method(str(config.get("energy", "auto")))
    return Introduction(int(config["partition-id"]), method, power.watts_compute, power.watts_radio)


app = client_app({})
