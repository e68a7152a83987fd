"""How v0.6 asked epochs, blocks and evaluations to be numbered and to lie within each other.

Source: mlcommons/logging, compliance_checker, training_0.6.0. Later rounds let go of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gnomon.timetotrain.logs.constraints import is_number
from gnomon.timetotrain.logs.entries import LogEntry


@dataclass(frozen=True)
class NestingFault:
    """An entry that stands where it must not.

    Attributes:
        entry: Which.
        required: What would have to be the case.
    """

    entry: LogEntry
    required: str


@dataclass
class _Place:
    """Where in the run the reader is."""

    started: bool = False
    stopped: bool = False
    in_epoch: bool = False
    in_evaluation: bool = False
    in_block: bool = False
    quality_logged: bool = True
    last_epoch: float = 0
    last_evaluation: float = 0
    block_first: float = -1


def nesting_faults(entries: Iterable[LogEntry], *, blocks: bool = True) -> list[NestingFault]:
    """Every entry that breaks the nesting, in order.

    Args:
        entries: Of the whole log, in its order.
        blocks: Whether blocks of epochs are logged; MiniGo has none and evaluates every epoch.
    """
    place = _Place()
    faults = []
    for entry in entries:
        required = _required(entry, place, blocks)
        if required:
            faults.append(NestingFault(entry, required))
    return faults


def _required(entry: LogEntry, at: _Place, blocks: bool) -> str:
    """What the entry lacks, in words; empty if nothing. Moves the place on, also past a fault."""
    epoch = entry.metadata.get("epoch_num")
    number = epoch if is_number(epoch) else None
    match entry.key:
        case "run_start":
            at.started = True
        case "run_stop":
            at.stopped = True
            return "" if not at.in_evaluation else "after eval_stop"
        case "epoch_start":
            expected = at.last_epoch + 1
            right = at.started and not at.in_epoch and not at.stopped and number == expected
            at.in_epoch, at.last_epoch = True, number if number is not None else expected
            return (
                ""
                if right
                else f"epoch_num {expected:g}, within the run, after the last epoch_stop"
            )
        case "epoch_stop":
            right = at.in_epoch and number == at.last_epoch
            at.in_epoch = False
            return "" if right else f"epoch_num {at.last_epoch:g}, that of the open epoch"
        case "eval_start":
            return _evaluation_starts(number, at, blocks)
        case "eval_stop":
            right = at.in_evaluation and number == at.last_evaluation
            at.in_evaluation = False
            return "" if right else f"epoch_num {at.last_evaluation:g}, that of the open evaluation"
        case "eval_accuracy":
            at.quality_logged = True
            right = number == at.last_evaluation
            return "" if right else f"epoch_num {at.last_evaluation:g}, that of the evaluation"
        case "block_start" if blocks:
            return _block_starts(entry, at)
        case "block_stop" if blocks:
            first = entry.metadata.get("first_epoch_num")
            right = at.in_block and at.quality_logged and first == at.block_first
            at.in_block = False
            return (
                "" if right else f"first_epoch_num {at.block_first:g}, and eval_accuracy before it"
            )
    return ""


def _evaluation_starts(number: float | None, at: _Place, blocks: bool) -> str:
    later = number is not None and (
        number > at.last_evaluation if blocks else number == at.last_evaluation + 1
    )
    reached = number is not None and number <= at.last_epoch
    free = at.started and not at.in_evaluation and at.quality_logged
    right = later and reached and free and (not blocks or not at.stopped)
    at.in_evaluation, at.quality_logged = True, False
    if number is not None:
        at.last_evaluation = number
    return (
        ""
        if right
        else (
            f"epoch_num above {at.last_evaluation:g} and at most that of the last epoch_start, within "
            "the run, after the last evaluation's eval_accuracy and eval_stop"
        )
    )


def _block_starts(entry: LogEntry, at: _Place) -> str:
    first, count = entry.metadata.get("first_epoch_num"), entry.metadata.get("epoch_count")
    expected = at.last_evaluation if at.in_epoch else at.last_epoch + 1
    right = (
        at.started
        and not at.in_block
        and not at.stopped
        and first == expected
        and is_number(count)
        and count > 0
    )
    at.in_block, at.quality_logged = True, True
    if is_number(first):
        at.block_first = first
    return (
        "" if right else f"first_epoch_num {expected:g} and epoch_count, after the last block_stop"
    )
