"""The server and its page in a real browser: isolation, what scripts may do, and a whole measurement."""

from __future__ import annotations

from functools import partial

import pytest

from gnomon.core.run import find_runs
from gnomon.results.check import check
from gnomon.web import serve
from gnomon.web.app import Parts
from gnomon.web.runtime_package import cache_folder
from tests.web.page import CHROMIUM, served, small_runtime

HERE = "new Function('return 42')()"
TRYING_PAGE = "<!doctype html><script type=module src=static/try.js></script>"
TRYING_SCRIPT = f"""
const tell = (key, value) => {{ document.body.dataset[key] = value; }};
try {{ {HERE}; tell('page', 'may'); }} catch {{ tell('page', 'may not'); }}
const worker = new Worker('static/worker.js', {{ type: 'module' }});
worker.onmessage = ({{ data }}) => tell('worker', data);
fetch('https://example.org/').catch(() => tell('elsewhere', 'may not'));
"""
TRYING_WORKER = f"""
let found = 'may';
try {{ {HERE}; }} catch {{ found = 'may not'; }}
postMessage(`${{found}}, ${{crossOriginIsolated}}, ${{typeof SharedArrayBuffer}}`);
"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.browser
def test_a_worker_may_make_functions_of_text_and_a_page_may_not(browser, tmp_path, monkeypatch):
    static = tmp_path / "static"
    static.mkdir()
    for name, text in (
        ("index.html", TRYING_PAGE),
        ("try.js", TRYING_SCRIPT),
        ("worker.js", TRYING_WORKER),
    ):
        (static / name).write_text(text)
    monkeypatch.setattr(serve, "Parts", partial(Parts, static=static))
    with served(tmp_path / "runs", cache=small_runtime(tmp_path / "cache")) as address:
        page = browser.new_context().new_page()
        page.goto(address)
        page.wait_for_selector("body[data-worker][data-elsewhere]", state="attached")
        found = page.evaluate("({...document.body.dataset})")
    assert found == {
        "page": "may not",
        "worker": "may, true, function",
        "elsewhere": "may not",
    }


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_page_measures_a_benchmark_and_the_run_agrees_with_itself(browser, tmp_path):
    with served(tmp_path, cache=cache_folder()) as address:
        page = browser.new_context().new_page()
        refused = []
        page.on("response", lambda answer: answer.status >= 400 and refused.append(answer.url))
        page.on("pageerror", lambda error: refused.append(str(error)))
        page.goto(address)
        start = page.get_by_role("button", name="Start")
        start.wait_for(timeout=30_000)
        for box in page.get_by_role("checkbox").all():
            if box.is_checked() and box.get_attribute("value") != "mobile-classification":
                box.uncheck(force=True)
        start.click()
        page.get_by_text("All tests are done").first.wait_for(timeout=300_000)
    (run,) = find_runs(tmp_path)
    found = check(run)
    assert refused == []
    assert found.disagreements == ()
    assert set(found.results) == {"single-stream", "offline", "accuracy"}
    assert found.results["accuracy"]["quality"] > 0.9
