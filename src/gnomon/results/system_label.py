"""What a run's system is called where people read it: in titles, legends and the sides of a comparison.

Takes `run.json` alone. Most systems go by their name; of a mobile benchmark, and of a model that is not in
full precision, the framework and the precision are what tells two runs apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.loadgen.judge import OWN_PRECISION
from gnomon.results.mobile_device import browser_told, clean, device_of_browser

FULL_PRECISION = "fp32"
MOBILE = "mobile"


def system_label(record: Mapping[str, Any]) -> str:
    """`onnx`, `LiteRT int8`, `ONNX Runtime Web fp32 on Pixel 8 (Android 14)`.

    Args:
        record: Of a run, as it is in `run.json`.
    """
    if not says_precision(record):
        return str(record["system"]["name"])
    told = record["system"]["description"]
    precision = "own model" if told["precision"] == OWN_PRECISION else clean(told["precision"], 20)
    label = f"{clean(told['framework'])} {precision}"
    browser = browser_told(record)
    return label if browser is None else f"{label} on {device_of_browser(browser).name}"


def run_title(record: Mapping[str, Any]) -> str:
    """The benchmark and what was measured: `Image classification with LiteRT int8`."""
    word = "with" if says_precision(record) else "on"
    return f"{record['benchmark']['title']} {word} {system_label(record)}"


def says_precision(record: Mapping[str, Any]) -> bool:
    """Whether the label of this run's system is its framework and precision rather than its name."""
    told = record["system"].get("description") or {}
    if not (told.get("framework") and told.get("precision")):
        return False
    mobile = record["benchmark"].get("suite") == MOBILE
    return mobile or told["precision"] not in (FULL_PRECISION, OWN_PRECISION)
