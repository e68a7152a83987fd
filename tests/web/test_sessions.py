"""Sessions through a real server: recorded, judged, refused where need be, gone on with after a restart."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from gnomon.core.errors import GnomonError
from gnomon.core.registry import BENCHMARKS
from gnomon.core.run import Run
from gnomon.loadgen.options import LoadOptions, accuracy_settings
from gnomon.loadgen.remote import scheduled_samples
from gnomon.results.check import check
from gnomon.tasks.mobile.classification import MobileClassification
from gnomon.web import campaign, session_routes
from gnomon.web.upload import read_upload
from tests.web.page import (
    BENCHMARK,
    Page,
    accuracy,
    body_of_test,
    offline,
    served,
    single_stream,
    small_runtime,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return small_runtime(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def address(out, cache):
    with served(out, cache=cache) as found:
        yield found


def whole_run(page):
    """Every test of a run, and its end."""
    begun = page.begin()
    assert begun.status_code == 201, begun.text
    for test, body in (
        ("single-stream", single_stream()),
        ("offline", offline()),
        ("accuracy", accuracy()),
    ):
        sent = page.send(test, body)
        assert sent.status_code == 200, sent.text
    ended = page.end()
    assert ended.status_code == 200, ended.text
    return begun.json()["run"], ended.json()


def test_a_session_gives_a_valid_run_that_agrees_with_its_own_raw_samples(address, out):
    name, told = whole_run(Page(address))
    assert told["verdict"] == "VALID under quick rules", told
    assert told["grade"] == "valid"
    found = check(out / name)
    assert found.fine, (found.disagreements, found.verdict.failures)
    run = Run.open(out / name)
    assert run.status == "complete"
    assert run.result["single-stream"]["query_count"] == 1200
    assert run.record["environment"]["device"]["model"] == "Pixel 8"
    assert run.record["system"]["name"] == "onnxruntime-web"
    assert run.record["system"]["description"]["accelerator"] == "CPU"


def rewritten(body, change):
    """The accuracy test with other outputs: `change` is given the model's, (797, 10), and the samples."""
    task = MobileClassification()
    settings = accuracy_settings(BENCHMARKS.load(BENCHMARK), task, LoadOptions(rules="quick"))
    samples = scheduled_samples(settings, len(task))
    upload = read_upload(body)
    outputs = upload.outputs[0].copy()
    change(outputs, samples)
    return body_of_test("accuracy", upload.issued_ns, upload.completed_ns, outputs=[outputs])


def every_label(outputs, samples):
    outputs[:] = np.eye(10, dtype=np.float32)[MobileClassification()._data[1][samples]]


def one_label_that_the_model_misses(outputs, samples):
    labels = MobileClassification()._data[1][samples]
    (first, *_) = np.flatnonzero(outputs.argmax(1) != labels)
    outputs[first, labels[first]] = outputs[first].max() + 1


@pytest.mark.parametrize(
    ("change", "apart"), [(every_label, 797), (one_label_that_the_model_misses, 1)]
)
def test_answers_from_the_labels_are_not_those_of_the_model(address, out, change, apart):
    page = Page(address)
    run = page.begin().json()["run"]
    honest = Page(address)
    honest.begin()
    before = honest.send("accuracy", accuracy()).json()
    told = page.send("accuracy", rewritten(accuracy(), change)).json()
    assert told["result"]["quality"] > before["result"]["quality"]
    assert told["grade"] == "invalid"
    failed = {check["name"]: check["found"] for check in told["checks"] if not check["passed"]}
    assert failed.keys() - {"no_better_than_the_model"} == {"answers_of_the_model"}
    assert failed["answers_of_the_model"].startswith(f"{797 - apart} of 797 answers as the model's")
    assert before["grade"] == "valid"
    stored = json.loads((out / run / "run.json").read_text())["measurements"]["accuracy"]
    assert stored["agreement"]["apart"] == apart


@dataclass(frozen=True)
class Mended:
    """A run whose record is edited: what `check` then finds."""

    folder: Path
    untouched: str

    def found(self, edit):
        record = json.loads(self.untouched)
        edit(record, record["measurements"]["accuracy"]["agreement"])
        (self.folder / "run.json").write_text(json.dumps(record))
        return check(self.folder).disagreements


@pytest.fixture(scope="module")
def mended(address, out):
    """A run with one answer from the labels."""
    page = Page(address)
    folder = out / page.begin().json()["run"]
    page.send("single-stream", single_stream())
    page.send("accuracy", rewritten(accuracy(), one_label_that_the_model_misses))
    page.end()
    return Mended(folder, (folder / "run.json").read_text())


def without_what_a_page_has(record, _):
    del record["session"], record["measurements"]["accuracy"]["agreement"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda _, held: held.update(apart=0, farthest=0.0),
            "0 of 797 answers off by more than 0.02",
        ),
        (
            lambda _, held: held.update(apart=0, limit=1e9),
            "give 1 of 797 answers off by more than 0.02",
        ),
        (lambda _, held: held.update(farthest=0.0), "the worst by 0,"),
        (lambda _, held: held.update(model_quality=1.0), "a model's quality of 1;"),
        (
            lambda record, _: record["measurements"]["accuracy"].pop("agreement"),
            "never held against",
        ),
        (without_what_a_page_has, "never held against a model"),
        (lambda record, _: record["system"].update(description=None), "never held against a model"),
        (
            lambda record, _: record["system"]["description"].update(precision=["fp32"]),
            "never held",
        ),
    ],
    ids=range(8),
)
def test_a_record_that_was_edited_is_found_out(mended, edit, words):
    assert any(words in line for line in mended.found(edit)), mended.found(edit)


def test_a_record_that_names_another_model_is_found_out(mended):
    def edit(record, _):
        record["system"]["description"]["model_sha256"] = "0123456789abcdef"

    with pytest.raises(
        GnomonError, match=r"another fp32 model \(sha256 0123456789ab or [0-9a-f]{12}\)"
    ):
        mended.found(edit)


def test_an_accuracy_log_that_was_emptied_is_found_out(mended):
    log = mended.folder / "accuracy" / "mlperf_log_accuracy.json"
    kept = log.read_text()
    log.write_text("[\n]\n")
    found = mended.found(lambda *_: None)
    log.write_text(kept)
    assert found


def test_answers_that_are_no_numbers_are_on_record_as_a_fault(address):
    def one_is_none(outputs, samples):
        outputs[5] = np.nan

    page = Page(address)
    page.begin()
    told = page.send("accuracy", rewritten(accuracy(), one_is_none)).json()
    failed = {check["name"]: check for check in told["checks"] if not check["passed"]}
    assert failed.keys() >= {"not_finite", "answers_of_the_model"}
    assert "try another" in failed["not_finite"]["why"]


def test_a_page_that_is_closed_after_its_last_test_has_a_run_with_a_verdict(address, out):
    page = Page(address)
    run = page.begin().json()["run"]
    page.send("single-stream", single_stream())
    page.send("offline", offline())
    assert Run.open(out / run).status == "running"
    last = page.send("accuracy", accuracy())
    ended = Run.open(out / run)
    assert (ended.status, ended.verdict.valid) == ("complete", True)
    assert check(out / run).fine
    assert page.send("accuracy", accuracy()).json() == last.json()
    assert page.end().json()["verdict"] == str(ended.verdict)
    assert page.end("the person ended it").json() == page.end().json()


def test_the_same_request_gives_the_same_answer_and_other_bytes_are_refused(address):
    page = Page(address)
    begun = page.begin()
    assert page.begin().json() == begun.json()
    first = page.send("single-stream", single_stream())
    assert page.begin().status_code == 200
    assert page.begin().json()["tests"] == {"single-stream": "recorded"}
    assert page.send("single-stream", single_stream()).json() == first.json()
    other = page.send("single-stream", single_stream(warm_up_calls=4))
    assert other.status_code == 409
    assert "on record with other results" in other.json()["error"]
    ended = page.end()
    assert page.end("another reason").json() == ended.json()


def test_a_run_that_ended_takes_no_further_test(address):
    page = Page(address)
    page.begin()
    page.send("single-stream", single_stream())
    assert page.end("the phone rang").json()["grade"] == "invalid"
    late = page.send("offline", offline())
    assert (late.status_code, "has ended" in late.json()["error"]) == (409, True)
    standing = page.ask("GET", f"api/sessions/{page.session}").json()
    assert standing["runs"][BENCHMARK]["tests"] == {"single-stream": "recorded"}
    assert standing["runs"][BENCHMARK]["ended"] is True


def test_another_page_cannot_touch_a_session(address):
    page = Page(address)
    page.begin()
    other = "another-key-of-enough-length"
    path = f"api/sessions/{page.session}"
    for answer in (
        page.begin(key=other),
        page.send("single-stream", single_stream(), key=other),
        page.ask("GET", path, key=other),
        page.ask("POST", f"{page.run_path}/end", key=other, json={}),
        page.ask("GET", f"{path}/result.json", key=other),
        httpx.get(page.address + path),
    ):
        assert answer.status_code == 403, answer.text
    assert page.ask("GET", path).status_code == 200


def test_what_does_not_exist_is_refused_by_name(address):
    page = Page(address)
    assert page.send("single-stream", single_stream()).status_code == 404  # never begun
    unknown_mode = page.begin(mode="quik")
    assert unknown_mode.status_code == 404
    assert "did you mean 'quick'?" in unknown_mode.json()["error"]
    assert page.begin(precision="fp64").status_code == 422
    page.begin()
    assert page.begin(mode="normal").status_code == 409
    wrong_test = page.send("server", body_of_test("server", [0.0], [1.0]))
    assert (wrong_test.status_code, "unknown test" in wrong_test.json()["error"]) == (404, True)
    assert page.send("offline", single_stream()).status_code == 422  # the body says another test
    path = page.run_path.replace(BENCHMARK, "mobile-clasification")
    answer = page.ask(
        "PUT", path, json=json.loads(httpx.Request("PUT", "http://x", json={}).content)
    )
    assert answer.status_code == 422
    for session in ("..", "1", page.session.upper()):
        assert page.ask("GET", f"api/sessions/{session}").status_code == 404


def test_a_test_that_does_not_fit_is_refused_and_can_be_sent_again(address):
    page = Page(address)
    page.begin()
    scores = np.zeros((797, 10), dtype=np.float32)
    few = body_of_test("accuracy", np.arange(5.0), np.arange(5.0) + 1, [scores[:5]])
    assert page.send("accuracy", few).status_code == 422
    times = np.arange(797.0)
    wide = body_of_test("accuracy", times, times + 1, [np.zeros((797, 11), dtype=np.float32)])
    refused = page.send("accuracy", wide)
    assert (refused.status_code, "float32 (797, 11)" in refused.json()["error"]) == (422, True)
    assert page.send("accuracy", accuracy()).status_code == 200


def failed(answer):
    """The names of the rules that a test breaks, as the page is told."""
    return [found["name"] for found in answer.json()["checks"] if not found["passed"]]


def short(test, started_at_ms, **conditions):
    """A performance test of 0.3 s."""
    more = {"started_at_ms": started_at_ms, "conditions": {"online": True, **conditions}}
    return body_of_test(test, [0.0, 2e8], [1e8, 3e8], **more)


def test_a_test_that_lasted_longer_than_there_was_time_is_refused(address, out):
    page = Page(address)
    name = page.begin().json()["run"]
    refused = page.send("single-stream", single_stream(conditions={"online": True}))
    assert (refused.status_code, "that cannot be" in refused.json()["error"]) == (422, True)
    taken = page.send("single-stream", short("single-stream", 0, cooldown_s=None))
    assert taken.status_code == 200
    conditions = Run.open(out / name).measurements["single-stream"]["conditions"]
    assert conditions["witness"]["claimed_s"] == 0.3
    assert 0 <= conditions["witness"]["passed_s"] < 60
    assert conditions["warm_up_calls"] == 3


def test_rest_that_there_was_no_time_for_is_refused_of_what_the_server_saw(address):
    page = Page(address)
    page.begin()
    assert page.send("single-stream", short("single-stream", 0)).status_code == 200
    refused = page.send("offline", short("offline", 60_000, cooldown_s=50.0))
    assert (refused.status_code, "rest between them" in refused.json()["error"]) == (422, True)


def test_rest_is_never_more_than_the_times_of_the_tests_leave(address, out):
    page = Page(address)
    name = page.begin().json()["run"]
    page.send("single-stream", short("single-stream", 1000, online=False))
    answer = page.send("offline", short("offline", 3300, online=False, cooldown_s=300.0))
    assert "cooldown" in failed(answer)
    conditions = Run.open(out / name).measurements["offline"]["conditions"]
    assert conditions["cooldown_s"] == pytest.approx(2.0)


def test_only_the_first_test_of_a_session_has_no_rest_before_it(address):
    page = Page(address)
    page.begin()
    page.send("single-stream", single_stream())
    assert "cooldown" in failed(page.send("offline", offline(conditions={"cooldown_s": None})))


def test_what_was_measured_before_the_server_was_told_takes_none_of_its_time(address):
    page = Page(address)
    page.begin()  # as it arrives once the server is back
    assert page.send("single-stream", single_stream()).status_code == 200
    assert page.send("offline", short("offline", 1_764_000_020_000)).status_code == 200


def test_a_submission_shows_its_power_and_is_measured_in_the_servers_sight(address):
    page = Page(address)
    page.begin(mode="submission")
    answer = page.send("single-stream", single_stream(conditions={"battery": None}))
    assert {"external_power", "in_sight"} <= set(failed(answer))


def test_nothing_more_is_taken_when_the_disk_is_almost_full(address, monkeypatch):
    page, other = Page(address), Page(address)
    page.begin()
    monkeypatch.setattr(campaign, "LEAST_FREE_BYTES", 1 << 60)
    for answer in (page.send("single-stream", single_stream()), other.begin()):
        assert (answer.status_code, "make room" in answer.json()["error"]) == (507, True)
    assert page.end("no room").status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(address, monkeypatch):
    monkeypatch.setattr(session_routes, "BODY_LIMIT_S", 0.1)
    page = Page(address)
    page.begin()

    def slow():
        yield b" "
        time.sleep(0.5)
        yield b" "

    assert page.ask("PUT", f"{page.run_path}/tests/offline", content=slow()).status_code == 408


def test_a_page_that_was_hidden_is_judged_so(address):
    page = Page(address)
    page.begin()
    answer = page.send("single-stream", single_stream(conditions={"hidden_ms": 800}))
    assert failed(answer) == ["uninterrupted"]
    assert answer.json()["grade"] == "invalid"


def test_answers_that_are_not_finite_are_a_fault_on_record(address):
    page = Page(address)
    page.begin()
    times = np.arange(797.0)
    scores = np.full((797, 10), np.nan, dtype=np.float32)
    answer = page.send("accuracy", body_of_test("accuracy", times, times + 1, [scores]))
    assert "not_finite" in failed(answer)


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\0", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{}", b"\x05\0\0\0[1,2]", b"<html>" * 100],
)
def test_garbage_is_refused_in_one_line(address, body):
    page = Page(address)
    page.begin()
    for answer in (
        page.send("single-stream", body),
        page.ask("PUT", page.run_path, content=body),
        page.ask("POST", f"{page.run_path}/end", content=body or b"["),
    ):
        assert 400 <= answer.status_code < 500, answer.text
        assert "\n" not in answer.json()["error"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(address):
    page = Page(address)
    page.begin()
    path = f"{page.run_path}/tests/single-stream"
    said = page.ask("PUT", page.run_path, content=b" " * (1 << 16) + b"{}")
    assert said.status_code == 413

    def endless():
        for _ in range(80):
            yield b" " * (1 << 20)

    try:
        streamed = page.ask("PUT", path, content=endless())
    except httpx.HTTPError:
        return  # the connection was closed while we were still sending
    assert streamed.status_code == 413


def test_two_pages_are_served_at_once(address, out):
    names = []

    def measure():
        names.append(whole_run(Page(address))[0])

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 2
    assert all(check(out / name).fine for name in names)


def test_a_run_goes_on_after_the_server_was_restarted(tmp_path, cache):
    with served(tmp_path, cache=cache) as address:
        page = Page(address)
        name = page.begin().json()["run"]
        first = page.send("single-stream", single_stream()).json()
    assert Run.open(tmp_path / name).status == "aborted"  # nobody holds it
    with served(tmp_path, cache=cache) as address:
        assert address.split("/")[3] == page.address.split("/")[3]  # the installed page still works
        page.address = address
        assert page.begin().json()["tests"] == {"single-stream": "recorded"}
        assert page.send("single-stream", single_stream()).json() == first
        page.send("offline", offline())
        page.send("accuracy", accuracy())
        ended = page.end().json()
    assert ended["verdict"] == "VALID under quick rules"
    assert check(tmp_path / name).fine
    with served(tmp_path, cache=cache) as address:
        page.address = address
        assert page.end().json() == ended


def test_a_session_gives_the_file_of_the_fields_app(address):
    page = Page(address)
    page.begin()
    path = f"api/sessions/{page.session}/result.json"
    assert page.ask("GET", path).status_code == 409
    page.send("single-stream", single_stream())
    page.send("offline", offline())
    page.send("accuracy", accuracy())
    page.end()
    found = page.ask("GET", path).json()
    assert {entry["loadgen_scenario"] for entry in found["results"]} == {"SingleStream", "Offline"}


def test_an_end_that_the_server_could_not_write_down_is_read_from_the_run(tmp_path, cache):
    with served(tmp_path, cache=cache) as address:
        page = Page(address)
        page.begin()
        page.send("single-stream", single_stream())
        ended = page.end("the battery was low").json()
    file = tmp_path / ".mobile" / "sessions" / f"{page.session}.json"
    state = json.loads(file.read_text())
    state["runs"][BENCHMARK]["ending"] = None  # as if it was killed just before
    file.write_text(json.dumps(state))
    with served(tmp_path, cache=cache) as address:
        page.address = address
        assert page.send("offline", offline()).status_code == 409
        again = page.end().json()
    assert again["grade"] == ended["grade"] == "invalid"
    assert "the battery was low" in again["checks"][0]["why"]


def test_a_test_that_arrived_when_the_server_was_killed_can_be_sent_again(tmp_path, cache):
    with served(tmp_path, cache=cache) as address:
        page = Page(address)
        page.begin()
    file = tmp_path / ".mobile" / "sessions" / f"{page.session}.json"
    state = json.loads(file.read_text())
    arrived = {"sha256": "0" * 64, "ended_at": 0.0, "in_sight_s": None}
    state["runs"][BENCHMARK]["tests"]["single-stream"] = arrived  # known, and not on record
    file.write_text(json.dumps(state))
    with served(tmp_path, cache=cache) as address:
        page.address = address
        assert page.begin().json()["tests"] == {}
        assert page.send("single-stream", single_stream()).status_code == 200


def test_runs_that_were_left_alone_are_let_go_and_gone_on_with(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(campaign, "MOST_OPEN", 1)
    with served(tmp_path, cache=cache) as address:
        left, other = Page(address), Page(address)
        name = left.begin().json()["run"]
        other.begin()
        assert Run.open(tmp_path / name).status == "aborted"  # nobody holds it now
        assert left.send("single-stream", single_stream()).status_code == 200
        assert Run.open(tmp_path / name).status == "running"


def test_a_damaged_session_is_refused_and_others_go_on(tmp_path, cache):
    with served(tmp_path, cache=cache) as address:
        page, other = Page(address), Page(address)
        page.begin()
        (tmp_path / ".mobile" / "sessions" / f"{page.session}.json").write_text("{")
        answer = page.begin()
        assert (answer.status_code, "is damaged" in answer.json()["error"]) == (503, True)
        assert other.begin().status_code == 201
