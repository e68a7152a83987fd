"""What goes over the wire: orders and reports as Flower messages, and back.

An order carries the parameters and how to train; a report carries an update, the mean
loss, and the client's own account of its seconds and joules. How many samples a client has the server knows
itself, so that no report can give itself more weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from gnomon.fleet.learner import LocalTraining
from gnomon.fleet.orders import Parameters
from gnomon.systems.flower.work import Work

TRAIN = "train"
HELLO = "query"
PARAMETERS = "parameters"
Kind = TypeVar("Kind")


class Unusable(ValueError):  # noqa: N818 - what came, not what went wrong here
    """A reply that is no report; the message says why."""


@dataclass(frozen=True)
class Introduction:
    """What a client says of itself.

    Attributes:
        client: Its number.
        energy_method: `rapl` or `model`.
        watts_compute: What the server assumes while it hears nothing.
        watts_radio: Charged for the seconds of the exchange.
    """

    client: int
    energy_method: str
    watts_compute: float
    watts_radio: float


@dataclass(frozen=True)
class Account:
    """What a client reports beside its update.

    Attributes:
        client: Its number.
        loss: Mean training loss of its iterations.
        compute_s: Seconds of local training, by its own monotonic clock.
        compute_j: Joules of local training.
    """

    client: int
    loss: float
    compute_s: float
    compute_j: float


def arrays_of(parameters: Parameters) -> ArrayRecord:
    """One vector as Flower's record of arrays."""
    return ArrayRecord({PARAMETERS: Array(np.ascontiguousarray(parameters))})


def vector_of(content: RecordDict) -> NDArray[np.float32]:
    """The vector of a message.

    Raises:
        Unusable: There is none, or it is not float32.
    """
    arrays = content.array_records.get("arrays")
    if arrays is None or PARAMETERS not in arrays:
        raise Unusable("sent no update")
    try:
        vector = arrays[PARAMETERS].numpy()
    except Exception as error:  # whatever a stranger's bytes make NumPy raise
        raise Unusable(f"sent an update that cannot be decoded ({type(error).__name__})") from None
    if vector.dtype != np.float32:
        raise Unusable(f"sent an update of {vector.dtype}, not float32")
    return vector


def order_content(parameters: ArrayRecord, training: LocalTraining, work: Work) -> RecordDict:
    """An order for one client."""
    return RecordDict(
        {"arrays": parameters, "config": ConfigRecord(asdict(training) | asdict(work))}
    )


def read_order(content: RecordDict) -> tuple[Parameters, LocalTraining, Work]:
    """What `order_content` wrote."""
    config = dict(content.config_records["config"])
    training = LocalTraining(**{field.name: config[field.name] for field in fields(LocalTraining)})  # type: ignore[arg-type]
    work = Work(str(config["maker"]), str(config["arguments"]))
    return vector_of(content), training, work


def report_content(update: NDArray[np.float32], account: Account) -> RecordDict:
    """A client's answer to an order."""
    return RecordDict({"arrays": arrays_of(update), "metrics": MetricRecord(asdict(account))})


def read_report(content: RecordDict) -> tuple[NDArray[np.float32], Account]:
    """What `report_content` wrote.

    Raises:
        Unusable: It is something else.
    """
    account = _values(content.metric_records.get("metrics"), Account)
    if not (0 <= account.compute_s < np.inf and 0 <= account.compute_j < np.inf):
        raise Unusable(f"claims {account.compute_s} s and {account.compute_j} J of local training")
    return vector_of(content), account


def introduction_content(introduction: Introduction) -> RecordDict:
    """A client's answer to a query."""
    return RecordDict({"introduction": ConfigRecord(asdict(introduction))})


def read_introduction(content: RecordDict) -> Introduction:
    """What `introduction_content` wrote.

    Raises:
        Unusable: It is something else.
    """
    return _values(content.config_records.get("introduction"), Introduction)


def _values(record: Mapping[str, Any] | None, kind: type[Kind]) -> Kind:
    if record is None:
        raise Unusable(f"sent no {kind.__name__.lower()}")
    try:
        types = {"int": int, "float": float, "str": str}
        values = {field.name: types[str(field.type)](record[field.name]) for field in fields(kind)}  # type: ignore[arg-type]
        return kind(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"sent a broken {kind.__name__.lower()} ({error})") from None
