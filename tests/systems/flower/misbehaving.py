"""A Flower ClientApp that misbehaves as GNOMON_TEST_MISBEHAVIOUR says: {"client": {"round": "how"}}."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from gnomon.systems.flower.client_app import introduction, trained
from gnomon.systems.flower.wire import introduction_content, report_content

LATE_S = 14.0
POISON = 1000.0

app = ClientApp()


@app.query()
def introduce(message: Message, context: Context) -> Message:
    return Message(introduction_content(introduction(context.node_config)), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    me = introduction(context.node_config)
    told = json.loads(os.environ.get("GNOMON_TEST_MISBEHAVIOUR", "{}"))
    how = told.get(str(me.client), {}).get(message.metadata.group_id, "")
    update, account = trained(message, me)
    if how == "die":
        os.killpg(os.getpgrp(), signal.SIGKILL)  # node, executor and app at once
    if how == "crash":
        raise MemoryError("no room for the model")
    if how == "late":
        time.sleep(LATE_S)
    if how == "nan":
        update[0] = np.nan
    if how == "shape":
        update = update[1:]
    if how == "poison":
        update = -POISON * update
    content = RecordDict() if how == "empty" else report_content(update, account)
    return Message(content, reply_to=message)
