"""The layer-by-layer profile of one inference, from boards whose firmware knows the command `layers`.

The command is Gnomon's own addition to the field's protocol; other firmware answers that it does not know it.
"""

from __future__ import annotations

import re
from typing import Any

from gnomon.core.errors import SystemFault
from gnomon.device.dut import Dut

_RATE = re.compile(r"m-layer-ticks-per-us-\[(\d+)\]")
_LAYER = re.compile(r"m-layer-\[(\d+),([^,\]]*),(\d+)\]")


def layer_profile(dut: Dut) -> list[dict[str, Any]]:
    """What each layer of one inference took, in order; empty if the board cannot tell.

    Returns:
        `index`, `name` and `duration_us` (by the board's clock) of each layer.
    """
    try:
        texts = [reply.text for reply in dut.ask("layers")]
    except SystemFault:
        return []
    rates = [int(match[1]) for text in texts if (match := _RATE.search(text))]
    if len(rates) != 1 or rates[0] < 1:
        return []
    return [
        {"index": int(match[1]), "name": match[2], "duration_us": int(match[3]) / rates[0]}
        for text in texts
        if (match := _LAYER.search(text))
    ]
