"""The page as a person meets it in a real browser: first look, interruptions, reloads, a lost server."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from gnomon.core.run import Run, find_runs
from gnomon.results.check import check
from gnomon.web import runtime_package
from gnomon.web.runtime_package import cache_folder
from gnomon.web.serve import Asked, made_ready
from tests.ports import free_port
from tests.web.page import CHROMIUM, answering, served, small_runtime

PHONE = {"width": 360, "height": 740}
# No page can be put behind another in a headless browser, so the page is told that it was.
HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
# What a tab that measures has: a session in the store, and the lock.
UNFINISHED = """async () => {
  const { openStore } = await import(new URL('static/store.js', location));
  const { startSession } = await import(new URL('static/session.js', location));
  const catalogue = await (await fetch('api/catalogue')).json();
  const tasks = [catalogue.tasks[0].benchmark];
  const choice = { mode: 'quick', provider: 'wasm', precision: 'fp32', tasks };
  const named = { id: "the first tab's", key: 'k'.repeat(32), now_ms: Date.now() };
  await (await openStore()).save(startSession(catalogue, choice, named));
}"""
MEASURE = """async () => {
  await new Promise((held) => navigator.locks.request('gnomon-measuring', () => {
    held();
    return new Promise(() => {});
  }));
}"""
KEPT = """async () => {
  const { openStore } = await import(new URL('static/store.js', location));
  return await (await openStore()).session() ?? null;
}"""
# What a browser has whose session has ended: the last request still waits.
END = """async () => {
  const { openStore } = await import(new URL('static/store.js', location));
  const { startSession } = await import(new URL('static/session.js', location));
  const catalogue = await (await fetch('api/catalogue')).json();
  const tasks = [catalogue.tasks[0].benchmark];
  const choice = { mode: 'quick', provider: 'wasm', precision: 'fp32', tasks };
  const named = { id: 'ended', key: 'k'.repeat(32), now_ms: Date.now() };
  const begun = startSession(catalogue, choice, named);
  const steps = begun.steps.map((step) => ({ ...step, status: 'done' }));
  const path = `api/sessions/ended/runs/${tasks[0]}/end`;
  const asked = { method: 'POST', path, key: begun.key, content_type: 'application/json', body: '{}' };
  const parcel = { id: `POST ${path}`, order: 1, ...asked };
  await (await openStore()).save({ ...begun, steps, finished: true }, [parcel]);
}"""
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
OTHER_HOST = "--host-resolver-rules=MAP phone.test 127.0.0.1"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", OTHER_HOST, *SOFTWARE_GPU]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory):
    """A server whose runtime is a few bytes: enough to look at the page."""
    cache = small_runtime(tmp_path_factory.mktemp("cache"))
    with served(tmp_path_factory.mktemp("runs"), cache=cache) as found:
        yield found


@contextmanager
def real_server(out: Path, port: int = 0):
    """A server with the whole runtime, at this port; gives the page's address."""
    with made_ready(Asked(port=port, out=out)) as ready, answering(ready):
        yield ready.addresses[0]


def opened(browser, address: str, **context):
    """The page at this address, in a window as wide as a small phone."""
    page = browser.new_context(viewport=PHONE, **context).new_page()
    page.goto(address)
    page.get_by_role("heading", name="This device", exact=True).wait_for()
    page.get_by_text("WebGPU: looking").wait_for(state="detached")
    return page


@pytest.mark.browser
def test_the_page_fits_a_small_phone_and_paints_within_a_second(browser, address):
    last_paints_ms = []
    for _ in range(3):  # each in a browser that keeps nothing of the one before
        page = opened(browser, address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        paints = "performance.getEntriesByType('paint').map((entry) => entry.startTime)"
        last_paints_ms.append(max(page.evaluate(paints)))
        page.context.close()
    assert min(last_paints_ms) < 1000


@pytest.mark.browser
def test_each_provider_has_its_verdict_and_automatic_takes_no_gpu_in_software(browser, address):
    page = opened(browser, address)
    providers = page.locator(".providers").inner_text()
    assert "WebGPU: google swiftshader, in software" in providers
    assert "SIMD" in providers
    assert "WebNN: not in this browser" in providers
    assert page.get_by_role("radio", name="Automatic now WebAssembly").is_checked()
    assert page.get_by_role("radio", name="WebNN not here").is_disabled()


@pytest.mark.browser
def test_plain_http_from_another_machine_runs_one_thread_and_says_what_to_open(browser, address):
    page = opened(browser, address.replace("127.0.0.1", "phone.test"))
    providers = page.locator(".providers").inner_text()
    assert "1 thread, SIMD: this page is not isolated (plain HTTP)" in providers
    assert "open the https address for threads" in providers


@pytest.mark.browser
def test_everything_is_reached_by_keyboard_in_the_order_of_the_page(browser, address):
    page = opened(browser, address)
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.name || document.activeElement.textContent")
        )
        if reached[-1] == "Start":
            break
    order = list(dict.fromkeys(reached))
    assert order[:5] == ["All results", "mode", "task", "provider", "precision"]


@pytest.mark.browser
def test_every_control_has_a_name(browser, address):
    page = opened(browser, address)
    for role in ("radio", "checkbox", "button"):
        for control in page.get_by_role(role).all():
            snapshot = control.evaluate(
                "(one) => one.labels?.[0]?.textContent.trim() || one.textContent.trim()"
            )
            assert snapshot, control


@pytest.mark.browser
def test_an_address_that_asks_for_what_is_not_there_says_what_is(browser, address):
    page = browser.new_context().new_page()
    page.goto(f"{address}?mode=eternal")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "there is no mode eternal" in alert.inner_text()
    assert "quick, normal, submission" in alert.inner_text()
    heading = page.get_by_role("heading", level=1).inner_text()
    assert heading == "This address asks for something else than there is"
    page.get_by_role("button", name="Choose on the page").click()
    page.get_by_role("heading", name="This device", exact=True).wait_for()
    assert page.url == address


@pytest.mark.browser
def test_a_browser_that_never_measured_has_a_link_to_all_results(browser, address):
    page = opened(browser, address)
    page.get_by_role("link", name="All results").click()
    page.get_by_role("heading", name="Results", exact=True).wait_for()
    assert page.url == f"{address}results"


@pytest.mark.browser
def test_all_tests_are_done_only_when_the_server_has_the_last_result(browser, address):
    page = opened(browser, address, service_workers="block")
    page.evaluate(END)
    held = []
    page.route("**/api/sessions/**", lambda route: held.append(route))
    page.reload()
    page.get_by_role("button", name="Show its results").click()
    line = page.get_by_test_id("waiting")
    line.filter(has_text="Sending: 1 result to go. Keep this page open.").wait_for()
    assert page.get_by_text("All tests are done").count() == 0
    held.pop().abort()
    line.filter(has_text="The server cannot be reached: 1 result waits in this browser").wait_for()
    assert page.get_by_text("All tests are done").count() == 0
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_timeout(200)
    assert "The server cannot be reached" in line.inner_text()  # another try is no answer yet
    while not held:
        page.wait_for_timeout(50)
    verdict = {"verdict": "VALID", "remark": "", "grade": "valid", "checks": [], "run": "a-run"}
    held.pop().fulfill(json=verdict)
    page.get_by_test_id("ended").wait_for()
    assert page.get_by_test_id("ended").inner_text() == (
        "All tests are done. The server has the results."
    )
    assert page.get_by_role("status").inner_text().startswith("All tests are done")
    assert line.count() == 0


@pytest.mark.browser
def test_a_session_that_began_by_itself_does_not_begin_again_once_it_has_ended(browser, address):
    page = browser.new_context(viewport=PHONE).new_page()
    page.goto(f"{address}?autostart=1&tasks=mobile-super-resolution&provider=wasm")
    # The runtime of this server is none: the session ends at once, without a result.
    page.get_by_role("heading", name="Results", exact=True).wait_for(timeout=60_000)
    assert page.url == f"{address}?tasks=mobile-super-resolution&provider=wasm"
    ended = page.evaluate(KEPT)["id"]
    page.reload()
    page.get_by_text("The last session on this device is finished").wait_for()
    page.get_by_text("WebGPU: looking").wait_for(state="detached")
    assert page.evaluate(KEPT)["id"] == ended


@pytest.mark.browser
@pytest.mark.parametrize(("precision", "goes_on"), [("fp32", True), ("int8", False)])
def test_a_page_that_starts_by_itself_goes_on_with_the_session_it_was_in(
    browser, address, precision, goes_on
):
    page = opened(browser, address)
    page.evaluate(UNFINISHED)
    task = page.evaluate(KEPT)["choice"]["tasks"][0]
    page.goto(f"{address}?autostart=1&tasks={task}&provider=wasm&precision={precision}")
    page.get_by_role("heading", name="Results", exact=True).wait_for(timeout=60_000)
    kept = page.evaluate(KEPT)
    assert (kept["id"] == "the first tab's") is goes_on
    assert kept["finished"]


@pytest.mark.browser
@pytest.mark.parametrize("button", ["Discard", "Start"])
def test_a_second_tab_cannot_end_what_the_first_one_measures(browser, address, button):
    measuring = opened(browser, address)
    measuring.evaluate(UNFINISHED)
    measuring.evaluate(MEASURE)
    second = measuring.context.new_page()
    second.goto(address)
    second.get_by_text("WebGPU: looking").wait_for(state="detached")
    second.get_by_role("button", name=button, exact=True).click()
    alert = second.get_by_role("alert")
    alert.wait_for()
    assert "already measuring in another tab" in alert.inner_text()
    kept = second.evaluate(KEPT)
    assert kept["id"] == "the first tab's"
    assert {step["status"] for step in kept["steps"]} == {"waiting"}
    if button == "Start":
        return
    measuring.close()
    second.get_by_role("button", name="Try again").click()
    second.get_by_role("button", name=button, exact=True).click()
    second.get_by_role("button", name=button, exact=True).wait_for(state="detached")
    assert second.evaluate(KEPT) is None
    # Whoever has discarded it measures nothing, and is in nobody's way.
    assert second.evaluate("navigator.locks.query().then(({ held }) => held.length)") == 0


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_session_survives_a_hidden_page_a_reload_and_a_server_that_goes_away(
    browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runtime_package, "cache_folder", cache_folder)  # the whole runtime
    with real_server(tmp_path, free_port()) as address:
        page = opened(browser, f"{address}?tasks=mobile-super-resolution&provider=wasm")
        page.get_by_text("Ready to run offline").wait_for(timeout=60_000)
        page.get_by_role("button", name="Start").click()
        measuring = page.get_by_text("so far; at least 128 queries")
        measuring.wait_for(timeout=60_000)
        page.evaluate(HIDE, True)
        page.evaluate(HIDE, False)
        again = page.get_by_role("button", name="Measure it again")
        again.wait_for()
        again.click()
        page.get_by_text("Cooling down: a warm device").wait_for()
        measuring.wait_for(timeout=60_000)
        page.reload()
        page.get_by_role("button", name="Continue (0 of 2 tests done)").wait_for()
    # The server is gone: the page opens all the same, and the session goes on.
    page.reload()
    page.get_by_role("button", name="Continue").click()
    lost = page.get_by_test_id("unreachable")
    lost.wait_for(timeout=60_000)
    assert lost.inner_text().startswith("The server cannot be reached: results wait here")
    waiting = page.get_by_test_id("waiting")
    waiting.wait_for(timeout=120_000)
    page.get_by_text("Not judged yet").wait_for()
    assert "results wait in this browser" in waiting.inner_text()
    assert page.get_by_text("All tests are done").count() == 0
    port = int(address.split(":")[2].split("/")[0])
    with real_server(tmp_path, port) as same:
        assert same == address
        page.evaluate("dispatchEvent(new Event('online'))")
        page.get_by_role("link", name="Full report").wait_for(timeout=60_000)
        page.get_by_text("All tests are done").first.wait_for()
    (folder,) = find_runs(tmp_path)
    assert check(folder).disagreements == ()
    conditions = Run.open(folder).record["measurements"]["single-stream"]["conditions"]
    assert conditions["visibility_changes"] == 1
    assert conditions["cooldown_s"] >= 5
