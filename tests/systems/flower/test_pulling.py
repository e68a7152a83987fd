from __future__ import annotations

import threading
import time

from flwr.app import Error, Message, RecordDict

from gnomon.systems.flower.pulling import MESSAGE_UNAVAILABLE, Puller


def message(content=None) -> Message:
    asked = Message(RecordDict(), dst_node_id=2, message_type="train")
    asked.metadata.__dict__["_message_id"] = "order"
    return Message(content or RecordDict(), reply_to=asked)


def landed_within(puller: Puller, seconds: float) -> list[str]:
    """Whether each reply that lands within this time is an error or a report."""
    found, until_s = [], time.monotonic() + seconds
    while time.monotonic() < until_s and not found:
        found += ["error" if reply.message.has_error() else "report" for reply in puller.landed()]
        time.sleep(0.005)
    return found


class OneSlowUpload:
    """The first to ask waits for the reply to be whole; the others are told that there is none."""

    def __init__(self):
        self.whole = threading.Event()
        self.asked = 0

    def pull_messages(self, numbers):
        self.asked += 1
        if self.asked == 1:
            self.whole.wait()
            return [message()]
        return [message(Error(MESSAGE_UNAVAILABLE, "no such message"))]


def test_a_reply_said_to_be_missing_is_not_believed_to_be_while_another_pull_waits_for_it():
    grid = OneSlowUpload()
    puller = Puller(grid)
    puller.ask(["order"])
    while not grid.asked:
        time.sleep(0.001)
    puller.ask(["order"])
    assert landed_within(puller, 0.1) == []
    grid.whole.set()
    assert landed_within(puller, 2) == ["report", "error"]


def test_a_reply_said_to_be_missing_is_believed_when_nobody_waits_for_it():
    grid = OneSlowUpload()
    grid.asked = 1
    puller = Puller(grid)
    puller.ask(["order"])
    assert landed_within(puller, 2) == ["error"]


def test_a_slow_upload_holds_up_nobody_else():
    class Grid(OneSlowUpload):
        def pull_messages(self, numbers):
            self.asked += 1
            if self.asked == 1:
                self.whole.wait()
                return []
            return [message()]

    grid = Grid()
    puller = Puller(grid)
    puller.ask(["slow"])
    while not grid.asked:
        time.sleep(0.001)
    puller.ask(["fast"])
    assert landed_within(puller, 2) == ["report"]
    grid.whole.set()
