"""Reports for the server out of what came of one round on the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from gnomon.fleet.orders import Order, Outcome, Report, Reports
from gnomon.systems.flower.exchange import Gathered
from gnomon.systems.flower.wire import Account, Introduction, Unusable, read_report


def understood(
    reply: Message, client: int, order: Order
) -> tuple[NDArray[np.float32], Account] | str:
    """Update and account of a reply; or in words why it is of no use."""
    if reply.has_error():
        return f"failed: {reply.error.reason}"
    try:
        update, account = read_report(reply.content)
    except Unusable as error:
        return str(error)
    if account.client != client:
        return f"calls itself client {account.client}"
    if update.shape != order.parameters.shape:
        return f"update has shape {update.shape}, the model {order.parameters.shape}"
    if not np.isfinite(update).all():
        return "update is not finite"
    return update, account


def reports_of(
    order: Order,
    gathered: Gathered,
    samples: NDArray[np.int64],
    introductions: Mapping[int, Introduction],
) -> Reports:
    """One report for each client asked; the round lasts until the last one that it needed."""
    read = {
        client: understood(arrival.reply, client, order)
        for client, arrival in gathered.arrivals.items()
    }
    deadline_s = math.inf if order.deadline_s is None else order.deadline_s
    in_time = [client for client, came in gathered.arrivals.items() if came.after_s <= deadline_s]
    usable = [client for client in in_time if not isinstance(read[client], str)]
    used = set(usable[: order.wanted])
    complete = len(used) >= order.wanted
    end_s = gathered.ended_s
    if complete or (not gathered.late and not gathered.pending):
        heard = [gathered.arrivals[client].after_s for client in (used if complete else in_time)]
        lost = [] if complete else [after_s for after_s, _ in gathered.lost.values()]
        end_s = max([*heard, *lost], default=end_s)
    elif order.deadline_s is not None:
        end_s = order.deadline_s

    def report(client: int) -> Report:
        introduction = introductions[client]
        count = int(samples[client])
        arrival = gathered.arrivals.get(client)
        if arrival is None:
            after_s, why = gathered.lost.get(client, (end_s, ""))
            outcome = Outcome.DROPPED if why else Outcome.SPARE if complete else Outcome.LATE
            return _given_up(client, outcome, count, min(after_s, end_s), introduction, why)
        content = read[client]
        if isinstance(content, str):
            outcome = Outcome.DROPPED if arrival.reply.has_error() else Outcome.REJECTED
            return _given_up(
                client, outcome, count, min(arrival.after_s, end_s), introduction, content
            )
        update, account = content
        unused = Outcome.SPARE if complete else Outcome.LATE
        outcome = Outcome.USED if client in used else unused
        duration_s = min(arrival.after_s, end_s)
        compute_s = min(account.compute_s, duration_s)
        radio_j = introduction.watts_radio * (duration_s - compute_s)
        return Report(
            client=client,
            outcome=outcome,
            update=update,
            samples=count,
            loss=account.loss,
            duration_s=duration_s,
            compute_s=compute_s,
            energy_j=account.compute_j + radio_j,
            compute_j=account.compute_j,
        )

    return Reports(tuple(report(int(client)) for client in order.clients), duration_s=end_s)


def _given_up(
    client: int,
    outcome: Outcome,
    samples: int,
    after_s: float,
    introduction: Introduction,
    why: str,
) -> Report:
    """A report on a client without one: assumed to have computed all the time."""
    joules = introduction.watts_compute * after_s
    return Report(
        client=client,
        outcome=outcome,
        update=None,
        samples=samples,
        loss=math.nan,
        duration_s=after_s,
        compute_s=after_s,
        energy_j=joules,
        compute_j=joules,
        note=f"{why + '; ' if why else ''}energy assumed",
    )
