"""The HTML report in a real browser, and what it says of runs in every state."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import gnomon
from gnomon.core.errors import RunFolderError, UsageError
from gnomon.core.run import Run
from gnomon.results.report import render, write_report
from tests.results.mobile_sessions import ANDROID, browser_run

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PHONE = {"width": 375, "height": 812}
DESK = {"width": 1200, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def _open(browser, path: Path, viewport: dict[str, int], scheme: str = "light"):
    """The page with all charts drawn, and everything that went wrong or was asked of a network."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
    page = context.new_page()
    troubles: list[str] = []
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith("file:") else troubles.append(request.url),
    )
    page.goto(path.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.chart')].every(c => c.dataset.drawn)")
    return page, troubles


@pytest.fixture(scope="module")
def page_of_digits(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([digits_run], tmp_path_factory.mktemp("report") / "report.html")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_every_chart_is_drawn_offline_and_nothing_is_wider_than_the_screen(
    browser, page_of_digits: Path, viewport, scheme
):
    page, troubles = _open(browser, page_of_digits, viewport, scheme)
    assert troubles == []
    # 4 charts each for the two streams and server, 1 for offline
    assert page.locator(".chart svg.main-svg").count() >= 13
    drawn = page.evaluate(
        "[...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('path.js-line').length)"
    )
    assert len(drawn) == 13
    assert all(drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.browser
def test_the_verdict_comes_first_with_its_rules_and_why_it_is_not_comparable(
    browser, page_of_digits: Path, digits_run: Run
):
    page, _ = _open(browser, page_of_digits, PHONE)
    first = page.locator(".verdict")
    text = first.inner_text()
    assert digits_run.verdict.word in text
    assert "under quick rules" in text
    assert "Not comparable with published results" in text
    assert first.bounding_box()["y"] < PHONE["height"] / 2


@pytest.mark.browser
def test_percentile_marks_and_the_latency_bound_are_in_the_histogram(browser, page_of_digits: Path):
    page, _ = _open(browser, page_of_digits, DESK)
    server = page.locator("section.measurement", has=page.get_by_role("heading", name="server"))
    marks = " ".join(server.locator(".annotation-text").all_text_contents())
    for mark in ("p50", "p90", "p99", "bound 10.0 ms"):
        assert mark in marks


@pytest.mark.browser
def test_the_time_axis_can_be_switched_to_a_linear_scale(browser, page_of_digits: Path):
    page, troubles = _open(browser, page_of_digits, DESK)
    button = page.locator("button.scale").first
    figure = "document.querySelector('button.scale').closest('figure')"
    kind = f"{figure}.querySelector('.chart').layout.yaxis.type"
    assert page.evaluate(kind) == "log"
    button.click()
    page.wait_for_function(f"{kind} === 'linear'")
    assert button.get_attribute("aria-pressed") == "true"
    assert troubles == []


def test_the_figures_in_the_page_are_those_of_the_run(page_of_digits: Path, digits_run: Run):
    text = re.sub(r"\s+", " ", page_of_digits.read_text(encoding="utf-8"))
    quality = digits_run.result["accuracy"]["quality"]
    assert f"<dd>{quality:.4f}</dd>" in text
    for name in ("single-stream", "server"):
        count = digits_run.result[name]["query_count"]
        assert f"<dt>queries</dt><dd>{count:,}</dd>" in text
    assert f"gnomon check {digits_run.path.name}" in text


def test_the_page_asks_for_nothing_from_anywhere(page_of_digits: Path):
    text = page_of_digits.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!#)""", markup)


def test_histogram_and_distribution_hold_every_query(page_of_digits: Path, digits_run: Run):
    figures = [
        json.loads(text)
        for text in re.findall(
            r'<script type="application/json">(.*?)</script>',
            page_of_digits.read_text(encoding="utf-8"),
        )
    ]
    histogram = figures[0]["data"][0]
    assert sum(histogram["y"]) == pytest.approx(100, abs=0.05)
    distribution = figures[1]["data"][0]
    slowest_s = digits_run.result["single-stream"]["latency"]["max_ns"] / 1e9
    assert distribution["x"][-1] == pytest.approx(slowest_s, rel=1e-5)


def test_several_runs_share_a_page_with_their_latencies_in_one_picture(
    digits_run: Run, tmp_path: Path
):
    other = gnomon.run("digits", scenario="single-stream", quick=True, accuracy=False, out=tmp_path)
    text = render([digits_run, other])
    assert "2 runs" in text
    assert "1: onnx" in text
    assert "2: onnx" in text
    assert "gnomon compare" in text


def test_a_killed_run_is_shown_as_far_as_it_came(digits_run: Run, tmp_path: Path):
    folder = tmp_path / digits_run.path.name
    shutil.copytree(digits_run.path, folder)
    record = json.loads((folder / "run.json").read_text())
    record["status"] = "running"
    del record["verdict"]
    record["measurements"]["offline"]["result"] = None
    (folder / "offline" / "samples.parquet").unlink()
    (folder / "run.json").write_text(json.dumps(record))
    text = render([Run.open(folder)])
    assert "INVALID" in text
    assert "The process was killed" in text
    assert "did not come to its end" in text
    assert "samples.parquet is missing" in text


def test_words_from_a_run_cannot_become_markup(digits_run: Run):
    record = json.loads(json.dumps(digits_run.record))
    record["system"]["name"] = "<script>alert(1)</script>"
    text = render([Run(digits_run.path, record, "complete")])
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_report_of_nothing_or_to_nowhere_is_one_clear_line(digits_run: Run, tmp_path: Path):
    with pytest.raises(UsageError, match="at least one run"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(RunFolderError, match="choose another file with --output"):
        write_report([digits_run], tmp_path / "nowhere" / "report.html")


PROBES = [
    {"name": "webgpu", "usable": False, "why": "no adapter here", "took_ms": 12.0},
    {"name": "wasm", "usable": True, "why": "", "took_ms": 1.0},
]


def described(run: Run, **said: object) -> Run:
    """The same run, its system saying something else of itself."""
    record = json.loads(json.dumps(run.record))
    record["system"]["description"] |= said
    return Run(run.path, record, run.status)


@pytest.fixture(scope="module")
def phone_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return browser_run(tmp_path_factory.mktemp("phone"))


def _words(run: Run) -> str:
    return re.sub(r"\s+", " ", render([run]))


def test_a_browsers_run_names_precision_and_device_in_head_and_title(phone_run: Run):
    text = _words(phone_run)
    title = "Digits by the rules of a phone with ONNX Runtime Web fp32 on Pixel 8 (Android 14.0.0)"
    assert f": {title}</title>" in text
    assert f"<h1>{title}</h1>" in text


def test_the_device_of_a_browser_comes_first_and_the_server_is_called_that(phone_run: Run):
    text = _words(phone_run)
    behind = text.index("What stands behind it")
    device, server = text.index("The device it ran on"), text.index("The server that kept")
    assert text.index("<dt>device</dt><dd>Pixel 8 (Android 14.0.0), Chrome 130</dd>") < device
    assert behind < device < text.index(f"<dd>{ANDROID['user_agent']}</dd>") < server
    assert server < text.index("<dt>cpu.architecture</dt>")
    assert "The machine it ran on" not in text
    assert "<dt>device." not in text


def test_what_a_browser_offered_is_a_row_each_in_words(phone_run: Run):
    text = _words(described(phone_run, probes=PROBES))
    assert "<dt>browser: WebGPU</dt><dd>no adapter here</dd>" in text
    assert "<dt>browser: WebAssembly</dt><dd>usable</dd>" in text
    assert "took_ms" not in text


def test_runs_of_two_precisions_are_told_apart_in_list_and_legend(phone_run: Run):
    text = render([phone_run, described(phone_run, precision="int8")])
    for words in ("fp32 on Pixel 8", "int8 on Pixel 8"):
        assert f"with ONNX Runtime Web {words} (Android 14.0.0)</a>" in text
    for words in ("1: ONNX Runtime Web fp32 on Pixel", "2: ONNX Runtime Web int8 on Pixel"):
        assert f'"name":"{words}' in text


def test_a_devices_name_is_no_markup_in_a_charts_legend(tmp_path: Path):
    run = browser_run(tmp_path, device={**ANDROID, "model": '<a href="//x">win</a>'})
    text = render([run, described(run, precision="int8")])
    names = re.findall(r'"name":"(1: (?:[^"\\]|\\.)*)"', text)
    assert names
    assert not any("<a" in name for name in names)


def test_other_suites_keep_the_name_of_their_system_and_the_machine(digits_run: Run):
    text = _words(digits_run)
    assert "<h1>Handwritten digits on onnx</h1>" in text
    assert "The machine it ran on" in text
    assert "The server that kept" not in text
    own = _words(described(digits_run, precision="own"))
    assert "<h1>Handwritten digits on onnx</h1>" in own
    small = _words(described(digits_run, precision="int8"))
    assert "<h1>Handwritten digits with ONNX Runtime int8</h1>" in small
