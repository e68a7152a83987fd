"""What every answer of the server is like: token, headers, caching, compression, one-line refusals."""

import contextlib
import hashlib
import socket
import subprocess
import sys

import httpx
import numpy as np
import onnxruntime
import pytest

from gnomon.core.errors import RunFolderError, SettingsError
from gnomon.web.gate import HEADERS
from gnomon.web.runtime_package import FILES
from gnomon.web.serve import Asked, made_ready
from gnomon.web.state import open_state, token_of
from tests.web.page import BENCHMARK, served, small_runtime


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return small_runtime(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def address(tmp_path_factory, cache):
    with served(tmp_path_factory.mktemp("runs"), cache=cache) as found:
        yield found


@pytest.fixture(scope="module")
def catalogue(address):
    return httpx.get(f"{address}api/catalogue").json()


def test_without_the_token_there_is_nothing_but_a_line(address):
    root, token = address.rstrip("/").rsplit("/", 1)
    wrong = "A" * len(token)
    for path in ("", "/", "/x", f"/{wrong}/", f"/{token}x/", f"/{token[:-1]}/api/health", "/%ff/"):
        answer = httpx.get(f"{root}{path}")
        assert answer.status_code == 404
        assert (
            answer.text == "Nothing is here: open the address that gnomon mobile serve printed.\n"
        )
        assert HEADERS.items() <= dict(answer.headers.multi_items()).items() or all(
            answer.headers[name] == value for name, value in HEADERS.items()
        )
    assert httpx.get(f"{root}/{token}").headers["location"] == f"/{token}/"


def test_every_answer_isolates_the_page_and_says_what_it_may_do(address):
    for path, status in (
        ("api/health", 200),
        ("api/catalogue", 200),
        (f"ort/{FILES[0]}", 200),
        ("api/no", 404),
        ("static/no.js", 404),
        ("api/sessions/x", 404),
    ):
        answer = httpx.get(address + path)
        assert answer.status_code == status
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_only_scripts_that_may_be_workers_may_make_functions_of_text(address):
    script = httpx.get(f"{address}ort/{FILES[0]}").headers
    assert "'unsafe-eval'" in script["content-security-policy"]
    assert script["content-type"].startswith("text/javascript")
    other = httpx.get(f"{address}api/health").headers["content-security-policy"]
    assert "'unsafe-eval'" not in other


def test_what_has_not_changed_is_not_sent_again(address, catalogue):
    model = catalogue["tasks"][0]["models"][0]["path"]
    for path in ("api/catalogue", f"ort/{FILES[2]}", model):
        first = httpx.get(address + path)
        assert first.status_code == 200
        again = httpx.get(address + path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "immutable" in httpx.get(address + model).headers["cache-control"]
    assert httpx.get(address + model.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert "immutable" not in httpx.get(address + "api/catalogue").headers["cache-control"]


def test_gzip_is_sent_to_who_takes_it_and_is_the_same_content(address):
    for path in ("api/catalogue", f"ort/{FILES[2]}", "sw.js"):
        plain = httpx.get(address + path, headers={"Accept-Encoding": "identity"})
        small = httpx.get(address + path, headers={"Accept-Encoding": "gzip, br"})
        refused = httpx.get(address + path, headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in plain.headers
        assert "content-encoding" not in refused.headers
        assert small.headers["content-encoding"] == "gzip"
        assert int(small.headers["content-length"]) < int(plain.headers["content-length"])
        assert small.content == plain.content
        assert small.headers["vary"] == "Accept-Encoding"


def test_the_catalogue_describes_bytes_that_a_model_can_be_run_with(address, catalogue):
    task = next(task for task in catalogue["tasks"] if task["benchmark"] == BENCHMARK)
    inputs = httpx.get(address + task["inputs"]["path"]).content
    assert hashlib.sha256(inputs).hexdigest() == task["inputs"]["sha256"]
    assert len(inputs) == task["inputs"]["bytes"]
    stored = np.frombuffer(inputs, task["inputs"]["dtype"]).reshape(task["inputs"]["shape"])
    assert len(stored) == task["samples"]
    for model in task["models"]:
        data = httpx.get(address + model["path"]).content
        assert hashlib.sha256(data).hexdigest() == model["sha256"]
        session = onnxruntime.InferenceSession(data)
        given = session.get_inputs()
        assert len(given) == len(task["inputs"]["feeds"])
        feed = {given[0].name: stored[:2].astype(task["inputs"]["feeds"][0])}
        assert len(session.run(None, feed)[0]) == 2
    assert [mode["name"] for mode in catalogue["modes"]] == ["quick", "normal", "submission"]
    assert [test["name"] for test in task["tests"]["quick"]] == [
        "single-stream",
        "offline",
        "accuracy",
    ]


def test_a_schedule_is_the_one_that_the_seeds_give(address, catalogue):
    task = next(task for task in catalogue["tasks"] if task["benchmark"] == BENCHMARK)
    single, _, accuracy = task["tests"]["quick"]
    few = np.frombuffer(httpx.get(f"{address}{single['schedule']}?rows=10").content, "<i4")
    many = np.frombuffer(httpx.get(f"{address}{single['schedule']}?rows=5000").content, "<i4")
    assert len(few) == 10
    assert np.array_equal(few, many[:10])
    every = np.frombuffer(httpx.get(address + accuracy["schedule"]).content, "<i4")
    assert sorted(every) == list(range(task["samples"]))
    for rows in ("0", "-1", "x", "1.5", "1048577", "9" * 30, "%C2%B2"):
        answer = httpx.get(f"{address}{single['schedule']}?rows={rows}")
        assert (answer.status_code, "rows must be" in answer.json()["error"]) == (422, True)


def test_names_that_do_not_exist_are_refused_with_the_nearest(address):
    for path, words in (
        ("api/models/mobile-classification/fp64.onnx", "unknown precision 'fp64'"),
        ("api/inputs/mobile-clasification", "did you mean 'mobile-classification'?"),
        (f"api/schedules/{BENCHMARK}/slow/offline", "unknown run mode 'slow'"),
        (f"api/schedules/{BENCHMARK}/quick/server", "unknown test 'server'"),
    ):
        answer = httpx.get(address + path)
        assert (answer.status_code, words in answer.json()["error"]) == (404, True)


def test_no_file_outside_the_page_is_ever_sent(address):
    host, port = address.split("/")[2].split(":")
    token = address.rstrip("/").rsplit("/", 1)[1]
    for path in (
        "static/../app.py",
        "static/%2e%2e/app.py",
        "static/..%2fapp.py",
        "static//etc/passwd",
        "ort/../files.json",
        "ort/files.json",
        "ort/%2e%2e%2fx",
    ):
        with socket.create_connection((host, int(port))) as line:
            line.sendall(
                f"GET /{token}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert line.makefile("rb").readline().split()[1] == b"404", path


def test_the_head_of_a_request_is_bounded_for_whoever_has_no_token(address):
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        taken = 0
        with contextlib.suppress(ConnectionError):  # it hangs up
            for number in range(1000):
                taken += line.send(b"X-%d: " % number + b"a" * 50_000 + b"\r\n")
    assert taken < 20_000_000  # most of it is what lies in the sockets' own buffers


def test_the_same_token_comes_back_until_a_new_one_is_asked_for(tmp_path):
    folder = open_state(tmp_path)
    first = token_of(folder)
    assert token_of(folder) == first
    assert len(first) == 22
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    second = token_of(folder, new=True)
    assert second != first
    (folder / "token").write_bytes(b"\xff short")
    assert token_of(folder) not in (first, second)


def test_a_second_server_on_the_same_runs_is_refused(tmp_path, cache):
    with (
        served(tmp_path, cache=cache),
        pytest.raises(RunFolderError, match="another gnomon mobile serve"),
        served(tmp_path, cache=cache),
    ):
        pass


def test_an_address_that_cannot_be_listened_on_is_a_line(tmp_path, cache):
    for host in ("192.0.2.77", "no such host", "a" * 70):
        with pytest.raises(SettingsError, match="--host"), served(tmp_path, cache=cache, host=host):
            pass


def test_a_port_that_is_taken_is_a_line(tmp_path, cache):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=f"port {port} .* choose another --port"),
            made_ready(Asked(port=port, out=tmp_path)),
        ):
            pass


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "cryptography"])
def test_without_an_optional_package_the_extra_is_named(package):
    code = f"import sys; sys.modules[{package!r}] = None; import gnomon.web.serve"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "MissingExtraError" in found.stderr.splitlines()[-1]
    assert "pip install 'gnomon[mobile]'" in found.stderr
