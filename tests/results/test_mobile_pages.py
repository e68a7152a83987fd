"""The pages of results: history, comparison, reports, JSON and CSV, with names that mean harm."""

import asyncio
import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from gnomon.core.errors import GnomonError
from gnomon.results.mobile_history import History
from gnomon.results.mobile_share import import_file, share
from gnomon.web.results_routes import routes
from tests.loadgen.small_mobile import SMALL
from tests.results.mobile_sessions import ANDROID, IPHONE, browser_run

PUBLISHED = Path(__file__).parent / "published_mobile" / "extended_result_unittest.json"
SESSION = "7b6c9f1e-6f0b-4f0e-9d63-0d4a3c1e2b5a"
SLOW_SESSION = "0f0e9d63-6f0b-4f0e-9d63-0d4a3c1e2b5a"
HOSTILE = {
    **ANDROID,
    "model": '=1+1"><script>alert(1)</script>',
    "user_agent": "Android <img src=x onerror=alert(1)> Chrome/130",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    browser_run(out)
    browser_run(out, SLOW_SESSION, IPHONE, latency_ns=2_000_000)
    import_file(PUBLISHED, out)
    return out


class Client:
    """Asks an application in this process; errors of the package come through."""

    def __init__(self, out: Path) -> None:
        inner = Starlette(routes=routes(History(out)))
        self._app = Starlette(routes=[Mount("/token", inner)])

    def get(self, path: str, params: dict | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://device/token/"
            ) as client:
                return await client.get(path, params=params)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client(out) -> Client:
    return Client(out)


def runs_of(client: Client, **filters: str) -> list[str]:
    rows = client.get("api/results", params=filters).json()["results"]
    return list(dict.fromkeys(row["run"] for row in rows))


def test_the_history_shows_devices_grades_and_where_the_figures_come_from(client):
    page = client.get("results")
    assert page.status_code == 200
    for words in (
        "Pixel 8 (Android 14.0.0)",
        "iPhone (iOS 17.4.1)",
        "iPad Pro",
        "imported, claimed only",
        "stand-in data",
    ):
        assert words in page.text
    assert 'class="chip valid"' in page.text
    assert "script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_links_are_relative_so_that_the_secret_part_of_the_address_is_not_in_the_page(client):
    page = client.get("results").text
    assert "/token" not in page
    assert 'href="/' not in page


def test_filters_are_kept_in_the_form_and_in_the_links(client):
    page = client.get("results", params={"device": "pixel", "sort": "p90_ns"}).text
    assert "iPhone (iOS 17.4.1)</span>" not in page
    assert 'value="pixel"' in page
    assert "api/results?device=pixel&amp;sort=p90_ns&amp;format=csv" in page
    nothing = client.get("results", params={"task": "no such task"}).text
    assert "Nothing matches" in nothing


def test_a_filter_that_makes_no_sense_is_said_on_the_page(client):
    page = client.get("results", params={"since": "yesterday"})
    assert page.status_code == 422
    assert "yesterday" in page.text


def test_an_empty_history_says_what_to_do(tmp_path):
    page = Client(tmp_path).get("results").text
    assert "There are no results yet" in page


def test_two_ticked_results_are_compared_with_claims_from_raw_samples(client):
    (pixel,), (iphone,) = runs_of(client, device="pixel"), runs_of(client, device="iphone")
    page = client.get("results/compare", params={"pick": [pixel, iphone]})
    assert page.status_code == 200
    assert "Pixel 8 (Android 14.0.0) against iPhone (iOS 17.4.1)" in page.text
    assert "slower" in page.text
    assert "2.0" in page.text
    assert "no difference seen" in page.text  # of quality: the answers are the same
    assert "browser: A Chrome 130; B Safari 17" in page.text


def test_devices_and_sessions_are_compared_by_name(client):
    names = {"a": "Pixel 8 (Android 14.0.0)", "b": SLOW_SESSION}
    assert "slower" in client.get("results/compare", params=names).text


def test_a_claim_is_never_more_than_a_ratio(out, client, tmp_path):
    from gnomon.core.run import Run
    from gnomon.results.mobile_file import result_file_of, write_result_file

    (pixel,), (iphone,) = runs_of(client, device="pixel"), runs_of(client, device="iphone")
    claim = write_result_file(result_file_of([Run.open(out / pixel)]), tmp_path)
    shutil.copytree(out / iphone, tmp_path / "runs" / iphone)
    import_file(claim, tmp_path / "runs")
    page = Client(tmp_path / "runs").get(
        "results/compare", params={"a": "Pixel 8 (Android 14.0.0)", "b": "iPhone (iOS 17.4.1)"}
    )
    assert "claimed: there are no raw samples" in page.text
    assert "slower" not in page.text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "0 are chosen: tick two"),
        ({"pick": ["one"]}, "1 is chosen: tick two"),
        ({"pick": ["one", "two", "three"]}, "3 are chosen: tick two"),
        ({"pick": ["one", "one"]}, "both ticked results are of one run"),
        ({"a": "x", "b": "y"}, "nothing in the history is called &#39;x&#39;"),
    ],
)
def test_a_comparison_that_cannot_be_shows_the_results_again_and_says_why(client, asked, words):
    page = client.get("results/compare", params={**asked, "device": "pixel"})
    assert page.status_code == 422
    alert = re.search('role="alert">(.*?)</p>', page.text)[1]
    assert words in alert
    assert "Pixel 8 (Android 14.0.0)<small>" in page.text
    assert "iPhone (iOS 17.4.1)<small>" not in page.text  # the filters are kept
    addresses = set(re.findall('(?:href|action)="([^"]*)"', page.text)) - {"../."}
    assert addresses
    for address in addresses:
        assert address.startswith("../"), address  # the page is shown one folder below its own
        if address.endswith("/report"):  # asking would make it
            continue
        found = client.get(f"results/{address.replace('&amp;', '&')}")
        assert found.status_code in (200, 422), address


def test_what_was_ticked_stays_ticked_when_it_cannot_be_compared(client):
    (pixel,) = runs_of(client, device="pixel")
    page = client.get("results/compare", params={"pick": [pixel]}).text
    assert page.count(" checked") == 2  # both scenarios of the run
    assert f'value="{pixel}" checked' in page


@pytest.fixture(scope="module")
def of_two_tasks(tmp_path_factory) -> Client:
    """Two sessions, each of two tasks."""
    out = tmp_path_factory.mktemp("two-tasks")
    for session, device in ((SESSION, ANDROID), (SLOW_SESSION, IPHONE)):
        browser_run(out, session, device)
        other = browser_run(out, session, device).path / "run.json"
        record = json.loads(other.read_text())
        record["benchmark"] |= {"name": "small-other", "title": "Another task"}
        other.write_text(json.dumps(record))
    return Client(out)


def run_of(client: Client, device: str, task: str) -> str:
    (found,) = runs_of(client, device=device, task=task)
    return found


def test_two_results_of_one_task_stand_for_their_runs_and_the_page_says_so(of_two_tasks):
    picks = [run_of(of_two_tasks, device, "small-other") for device in ("pixel", "iphone")]
    page = of_two_tasks.get("results/compare", params={"pick": picks}).text
    assert "Compared are the two runs that the ticked results are of" in page
    assert page.count("<h2>") == 2  # its two scenarios
    assert "Digits by the rules of a phone" not in page
    whole = re.search('href="(compare[^"]*)"', page)[1].replace("&amp;", "&")
    page = of_two_tasks.get(f"results/{whole}").text
    assert page.count("<h2>") == 4


def test_results_of_different_tasks_stand_for_their_sessions_and_the_page_says_so(of_two_tasks):
    assert "two of different tasks for the whole sessions" in of_two_tasks.get("results").text
    picks = [
        run_of(of_two_tasks, "pixel", "small-other"),
        run_of(of_two_tasks, "iphone", SMALL.title),
    ]
    page = of_two_tasks.get("results/compare", params={"pick": picks}).text
    assert "compared are the two sessions that they belong to" in page
    assert page.count("<h2>") == 4


def test_two_tasks_of_one_session_cannot_be_compared(of_two_tasks):
    picks = [run_of(of_two_tasks, "pixel", task) for task in ("small-other", SMALL.title)]
    page = of_two_tasks.get("results/compare", params={"pick": picks})
    assert page.status_code == 422
    assert "two tasks of one session: tick two of one task" in page.text


def test_a_report_is_made_when_it_is_first_asked_for_and_made_again_when_the_run_changed(
    out, client
):
    (run,) = runs_of(client, device="pixel")
    path = out / run / "report.html"
    assert not path.exists()
    page = client.get(f"results/{run}/report")
    assert page.status_code == 200
    assert "Digits by the rules of a phone" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert path.exists()
    path.write_text("another page")
    assert client.get(f"results/{run}/report").text == "another page"
    later_ns = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(out / run / "run.json", ns=(later_ns, later_ns))
    assert client.get(f"results/{run}/report").text != "another page"


@pytest.mark.parametrize("name", ["no-such-run", "..", "%2e%2e", ".mobile"])
def test_only_runs_of_the_history_have_reports(client, name):
    assert client.get(f"results/{name}/report").status_code == 404


def test_hostile_names_are_escaped_everywhere(tmp_path):
    browser_run(tmp_path, device=HOSTILE)
    browser_run(tmp_path, SLOW_SESSION, {**HOSTILE, "model": "${7*7}{{7*7}}"})
    client = Client(tmp_path)
    first, second = runs_of(client)
    for page in (
        client.get("results", params={"device": '"><script>alert(2)</script>', "task": "'\"<i>"}),
        client.get("results"),
        client.get("results/compare", params={"pick": [first, second]}),
    ):
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert "<i>" not in page.text
    assert "<img src=x" not in client.get(f"results/{first}/report").text


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path):
    browser_run(tmp_path, device=HOSTILE)
    answer = Client(tmp_path).get("api/results", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 2
    assert rows[0]["device"].startswith("'=1+1")
    assert float(rows[0]["p90_ns"]) > 0
    assert rows[1]["p90_ns"] == ""
    assert rows[0]["official"] == "false"


def test_json_has_the_rows_and_what_could_not_be_read(out, client):
    told = client.get("api/results", params={"task": "digits"}).json()
    assert {row["platform"] for row in told["results"]} == {"android", "ios"}
    assert told["notes"] == []
    with pytest.raises(GnomonError, match="xml"):
        client.get("api/results", params={"format": "xml"})


def test_an_imported_run_has_a_report_of_its_own(out, client, tmp_path):
    from gnomon.core.run import Run

    (run,) = runs_of(client, device="iphone")
    packed = share([Run.open(out / run)], tmp_path / "share.zip")
    import_file(packed, tmp_path / "runs")
    page = Client(tmp_path / "runs").get(f"results/{run}/report")
    assert page.status_code == 200
    assert "plotly" in page.text.lower()
