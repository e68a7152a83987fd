"""The page of two results side by side: what tells A from B, and how far its conclusions go."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from gnomon.core.run import find_runs
from gnomon.results.compare import compare
from gnomon.results.mobile_history import History
from gnomon.web.results_routes import routes
from tests.results.mobile_sessions import ANDROID, IPHONE, browser_run

SESSIONS = tuple(f"7b6c9f1e-6f0b-4f0e-9d63-0d4a3c1e2b5{end}" for end in "abc")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions of one device, the second slower, and one of another."""
    out = tmp_path_factory.mktemp("runs")
    browser_run(out, SESSIONS[0], ANDROID)
    browser_run(out, SESSIONS[1], ANDROID, latency_ns=2_000_000)
    browser_run(out, SESSIONS[2], IPHONE, latency_ns=2_000_000)
    return out


def compared(out: Path, first: str, second: str) -> str:
    """The page of two sides by name."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes(History(out))))
        async with httpx.AsyncClient(transport=transport, base_url="http://device/") as client:
            return await client.get("results/compare", params={"a": first, "b": second})

    page = asyncio.run(ask())
    assert page.status_code == 200
    return page.text


def test_the_conclusions_carry_the_caveats_of_the_command_line(out: Path):
    page = compared(out, SESSIONS[0], SESSIONS[2])
    first, _, third = find_runs(out)
    notes = compare([first, third]).notes
    assert any("do not hold the variation from run to run" in note for note in notes)
    for note in notes:
        assert page.count(note.replace("<", "&lt;").replace("'", "&#39;")) == 1, note
    assert page.count("What B is comes from one run a side.") == page.count("<h2>") == 2


def test_two_sessions_of_one_device_are_said_to_be_and_can_be_told_apart(out: Path):
    page = compared(out, SESSIONS[0], SESSIONS[1])
    assert "<h1>Pixel 8 (Android 14.0.0), same device: A against B</h1>" in page
    assert "same device, by the name that A and B have" in page
    cards = re.findall('<div class="card"><span class="quiet">[AB]</span>.*?</div>', page, re.S)
    assert len(cards) == 2
    for card, run in zip(cards, find_runs(out)[:2], strict=True):
        assert f"run {run.name}" in card
        assert re.search(r"measured \d{4}-\d\d-\d\d \d\d:\d\d UTC", card)


def test_two_devices_are_not_called_the_same(out: Path):
    page = compared(out, SESSIONS[0], SESSIONS[2])
    assert "Pixel 8 (Android 14.0.0) against iPhone (iOS 17.4.1)" in page
    assert "same device" not in page


def test_where_nothing_is_concluded_no_caveat_is_needed(out: Path):
    page = compared(out, SESSIONS[0], SESSIONS[0])
    assert "the same run on both sides" in page
    assert "How far the conclusions go" not in page
    assert "comes from one run a side" not in page
