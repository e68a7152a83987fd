"""A quick run of all five tasks in a real browser: valid, checked again, and in the official app's format."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from gnomon.core.run import Run, find_runs
from gnomon.results.check import check
from gnomon.web.serve import Asked, made_ready
from tests.web.page import CHROMIUM, answering

SCHEMA = Path(__file__).parents[1] / "results" / "published_mobile" / "extended_result_schema.json"
TASKS = (
    "Image classification",
    "Object detection",
    "Question answering",
    "Semantic segmentation",
    "Super-resolution",
)
MOST_BYTES_BEFORE_THE_FIRST_TEST = 16e6


class Counting:
    """An application, and how many bytes of bodies it has sent."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.sent = 0

    async def __call__(self, scope, receive, send):
        async def counted(message):
            self.sent += len(message.get("body", b""))
            await send(message)

        await self.inner(scope, receive, counted)


@contextmanager
def counting_server(out: Path):
    """A server with the whole runtime; gives the page's address and what it sends."""
    with made_ready(Asked(port=0, out=out)) as ready:
        counting = Counting(ready.app)
        with answering(replace(ready, app=counting)):
            yield ready.addresses[0], counting


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_quick_run_of_all_tasks_is_valid_and_its_file_fits_the_official_schema(tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, counting_server(tmp_path / "runs") as (address, counting):
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 390, "height": 844})
        page.goto(f"{address}?mode=quick&autostart=1")
        page.get_by_text("so far; at least 128 queries").wait_for(timeout=60_000)
        before_the_first_test = counting.sent
        page.get_by_text("All tests are done").first.wait_for(timeout=800_000)
        shown = {title: page.get_by_role("region", name=title).inner_text() for title in TASKS}
        with page.expect_download() as download:
            page.get_by_role("button", name="Download result file").click()
        file = json.loads(Path(download.value.path()).read_text())
        chromium.close()
    assert before_the_first_test < MOST_BYTES_BEFORE_THE_FIRST_TEST
    assert all("Valid" in text and "WebAssembly" in text for text in shown.values()), shown
    kind = jsonschema.Draft6Validator
    kind(json.loads(SCHEMA.read_text()), format_checker=kind.FORMAT_CHECKER).validate(file)
    assert {result["benchmark_id"] for result in file["results"]} >= {"mobile-classification"}
    assert all("stand-in" in str(result["performance_run"]) for result in file["results"])
    folders = find_runs(tmp_path / "runs")
    assert len(folders) == len(TASKS)
    for folder in folders:
        report = check(folder)
        assert report.fine, (folder, report.verdict.failures, report.disagreements)
        assert not Run.open(folder).verdict.comparable
