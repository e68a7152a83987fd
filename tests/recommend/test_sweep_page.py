"""The page of a sweep in a real browser, made of records alone: no PyTorch."""

from __future__ import annotations

import shutil

import pytest

from gnomon.recommend.recipe import Variant
from gnomon.recommend.record import Evaluation, TrainRecord
from gnomon.recommend.sweep_folder import FinishedRun, SweepState
from gnomon.results.sweep_report import write_sweep_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PHONE = {"width": 375, "height": 812}
DESK = {"width": 1200, "height": 900}
LOSS = {"full": 0.0, "robe": 0.004, "hash-shared": 0.01, "hash-capped": 0.02}


def finished(variant, seed):
    """A made-up training: the greater the compression the worse, as if its seeds differed a little."""
    weights = 4_734_384 / variant.compression
    level = 0.83 - LOSS[variant.kind] * len(str(int(variant.compression))) + 0.0003 * seed
    evaluations = tuple(
        Evaluation(
            epoch, True, 10 * epoch, 100, level + 0.001 * epoch, 0.4, 3.0 * epoch, 4.0 * epoch
        )
        for epoch in (1, 2, 3)
    )
    record = TrainRecord(evaluations, int(weights), 4_734_384, int(4 * weights), 57_361)
    data = {"name": "synthetic click log, not comparable with published results", "bayes_auc": 0.86}
    machine = {"host_hash": "abc", "cpu": {"model": "a processor"}}
    return FinishedRun(variant, seed, record, data, machine, 1, "2026-11-24T19:00:00+00:00")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    variants = [Variant("full")] + [
        Variant(kind, factor)
        for kind in ("robe", "hash-shared", "hash-capped")
        for factor in (10.0, 100.0, 1000.0)
    ]
    runs = tuple(finished(variant, seed) for variant in variants for seed in range(3))
    settings = {"epochs": 3, "target": None, "data": {"train_rows": 1_000_000}}
    folder = tmp_path_factory.mktemp("page")
    return write_sweep_report(SweepState(folder, settings, tuple(variants), (0, 1, 2), runs))


@pytest.mark.browser
@pytest.mark.parametrize(("viewport", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_both_charts_are_drawn_offline_and_nothing_is_wider_than_the_screen(page, viewport, scheme):
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, offline=True)
        opened, troubles = context.new_page(), []
        opened.on(
            "console",
            lambda message: troubles.append(message.text) if message.type == "error" else None,
        )
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        opened.goto(page.as_uri())
        opened.wait_for_function(
            "[...document.querySelectorAll('.chart')].every(c => c.dataset.drawn)"
        )
        assert troubles == []
        assert opened.locator(".chart").count() == 2
        # three methods and the band of the full tables; ten variants
        assert opened.locator(".chart").nth(0).locator(".scatterlayer path.js-line").count() == 4
        assert opened.locator(".chart").nth(1).locator(".scatterlayer path.js-line").count() == 10
        assert opened.locator(".chart").nth(0).locator(".errorbar").count() == 9
        marks = " ".join(opened.locator(".annotation-text").all_text_contents())
        assert "full tables 0.8333" in marks
        assert "best possible (Bayes) 0.8600" in marks
        assert opened.locator("tbody tr").count() == 10
        assert opened.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        chromium.close()
