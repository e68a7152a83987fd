"""Entries as v0.5 and v0.6 wrote them, one at a time, in the words of the later dialect.

Source: MLPerf's mlp_log (v0.5), mlcommons/logging, mlp_parser, ruleset_060.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

from gnomon.timetotrain.logs.entries import Dialect

TOKEN = ":::ML"
DECODER = json.JSONDecoder()
LINE_END = re.compile(r"[\n\r]|$")

Parsed: TypeAlias = tuple[str, Any, float, dict[str, Any], Dialect, str, str]
"""Key, value, seconds, metadata, dialect, key as logged, benchmark that the line names."""

_MLL_HEAD = re.compile(r":::MLL +(\d+(?:\.\d*)?|\.\d+) +([A-Za-z0-9_]+) *: *")
_V05_LINE = re.compile(
    r":::MLPv0\.5\.0 +(\S+) +(\d+(?:\.\d+)?) +\((.*?):(\d+)\) +([A-Za-z0-9_]+) *(?:: *(.*))?$"
)

# Tags of v0.5 and the keys that mean the same since v0.6.
_V05_KEYS = {
    "run_clear_caches": "cache_clear",
    "run_set_random_seed": "seed",
    "input_batch_size": "global_batch_size",
    "opt_learning_rate": "opt_base_learning_rate",
    "preproc_num_train_examples": "train_samples",
    "preproc_num_eval_examples": "eval_samples",
    "train_epoch": "epoch_start",
}


def v06_entry(text: str, at: int) -> tuple[Parsed | None, int]:
    """The v0.6 entry at `at`, or None, and where it ends."""
    head = _MLL_HEAD.match(text, at)
    if head is None:
        return None, at
    try:
        body, end = DECODER.raw_decode(text, head.end())
        value, metadata = body["value"], body["metadata"]
        whole = ends_at(text, end) and "\n" not in text[at:end]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, at
    if not whole:
        return None, at
    metadata = metadata if isinstance(metadata, dict) else {}
    key = head[2]
    if key == "eval_accuracy" and isinstance(value, str):
        value = _json_or_text(value)  # one submitter logged numbers as text
    return (key, value, float(head[1]), metadata, Dialect.V06, key, ""), end


def v05_entry(text: str, at: int) -> tuple[Parsed | None, int]:
    """The v0.5 entry at `at`, or None, and where it ends."""
    end = LINE_END.search(text, at)
    stop = end.start() if end else len(text)
    found = _V05_LINE.match(text[at:stop])
    if found is None:
        return None, at
    named, time_s, file, lineno, tag, rest = found.groups()
    value = _json_or_text(rest)
    metadata: dict[str, Any] = {"file": file, "lineno": int(lineno)}
    key = _V05_KEYS.get(tag, tag)
    if isinstance(value, dict) and "value" in value:
        if "epoch" in value:
            metadata["epoch_num"] = value["epoch"]
        value = value["value"]
    elif key == "run_stop" and isinstance(value, dict):
        # One submitter logged the text "true".
        converged = str(value.get("success")).lower() == "true"
        metadata["status"] = "success" if converged else "aborted"
        value = None
    elif key in ("epoch_start", "eval_start", "eval_stop") and isinstance(value, int | float):
        metadata["epoch_num"] = value
        value = None
    return (key, value, float(time_s), metadata, Dialect.V05, tag, named), stop


def _json_or_text(rest: str | None) -> Any:
    if rest is None or not rest.strip():
        return None
    try:
        return json.loads(rest)
    except (ValueError, RecursionError):
        return rest.strip()


def ends_at(text: str, end: int) -> bool:
    """Whether nothing but blanks or another entry follows in the line."""
    stop = len(text)
    while end < stop and text[end] in " \t":
        end += 1
    return end == stop or text[end] in "\n\r" or text.startswith(TOKEN, end)
