"""Flower is imported once, here: its own imports warn, which is not our tests' business."""

from __future__ import annotations

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("flwr.serverapp")


@pytest.fixture(autouse=True)
def in_a_run(monkeypatch: pytest.MonkeyPatch):
    """Messages can only be made by a process that Flower gave a run and a node."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
