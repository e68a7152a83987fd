"""`gnomon mobile serve` as a process: what it prints, https on the network, Ctrl-C, refusals in one line."""

import hashlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from gnomon.web.serve import PATIENCE_S
from tests.ports import free_port
from tests.web.page import small_runtime

COMMAND = [sys.executable, "-m", "gnomon.cli.main", "mobile", "serve"]
AUTHORITY = "runs/.mobile/authority.pem"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    small_runtime(folder / "gnomon")
    return folder


@contextmanager
def serving(folder, cache, *arguments):
    """The command on any free port; gives the process, which is stopped with Ctrl-C at the end."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.out, process.err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()


def fetched(address, **more):
    """The status and text of an address."""
    with urllib.request.urlopen(address, timeout=30, **more) as answer:
        return answer.status, answer.read()


def test_on_this_machine_it_serves_http_prints_the_address_and_ends_cleanly(tmp_path, cache):
    with serving(tmp_path, cache) as process:
        line = process.stdout.readline()
        address = re.fullmatch(r"page +(http://127\.0\.0\.1:\d+/[\w-]{22}/)\n", line)[1]
        assert fetched(f"{address}api/health")[0] == 200
    assert process.returncode == 0
    assert process.err == ""
    assert process.out.endswith("stopped: the same command goes on with the sessions in progress\n")
    assert "█" not in process.out  # a QR code is for terminals


def test_on_the_network_it_serves_https_with_the_certificate_it_says(tmp_path, cache):
    with serving(tmp_path, cache, "--lan", "--json") as process:
        told = json.loads(process.stdout.readline())
        assert told["secure_context"] is True
        address = told["addresses"][0]
        host, port = address.split("/")[2].rsplit(":", 1)
        certificate = ssl.get_server_certificate((host, int(port)))
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest().upper()
        assert told["fingerprint"].replace(":", "") == digest
        trusting = ssl.create_default_context(cadata=(tmp_path / AUTHORITY).read_text())
        assert fetched(f"{address}api/health", context=trusting)[0] == 200
        status, authority = fetched(f"{address}authority.crt", context=trusting)
        assert status == 200
        digest = hashlib.sha256(authority).hexdigest().upper()
        assert told["authority_fingerprint"].replace(":", "") == digest
        assert (
            ssl.DER_cert_to_PEM_cert(authority).split()
            == (tmp_path / AUTHORITY).read_text().split()
        )
    assert process.returncode == 0
    assert process.out == ""


def test_the_fingerprint_of_what_a_phone_is_to_trust_is_printed_too(tmp_path, cache):
    with serving(tmp_path, cache, "--lan") as process:
        printed = ""
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
    authority = ssl.PEM_cert_to_DER_cert((tmp_path / AUTHORITY).read_text())
    digest = hashlib.sha256(authority).hexdigest().upper()
    page, trusted = printed.split("fingerprint ")[-2:]
    assert "(SHA-256, the page)" in page
    assert "(SHA-256, authority.crt)" in trusted
    assert digest in trusted.replace(":", "").replace(" ", "").replace("\n", "")


@pytest.mark.parametrize("network", [[], ["--lan"]])
def test_without_a_reader_and_with_a_connection_kept_open_it_ends_at_once_when_it_is_asked_to(
    tmp_path, cache, network
):
    with serving(tmp_path, cache, "--json", *network) as process:
        address = json.loads(process.stdout.readline())["addresses"][0]
        process.stdout.close()
        scheme, _, place, token, _ = address.split("/")
        host, port = place.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=30)
        if scheme == "https:":
            context = ssl.create_default_context(cadata=(tmp_path / AUTHORITY).read_text())
            connection = context.wrap_socket(connection, server_hostname=host)
        with connection:
            connection.sendall(f"GET /{token}/api/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S / 2) == -signal.SIGTERM
        process.stdout = None
    assert process.err == ""


def test_a_reader_that_goes_before_anything_is_said_does_not_stop_it(tmp_path, cache):
    port = free_port()
    with serving(tmp_path, cache, "--port", str(port)) as process:
        process.stdout.close()
        answered = False
        while not answered and process.poll() is None:
            time.sleep(0.1)
            try:
                fetched(f"http://127.0.0.1:{port}/")
            except urllib.error.HTTPError:
                answered = True  # the gate: the token was told to nobody
            except urllib.error.URLError:
                continue
        assert answered
        process.stdout = None
    assert process.returncode == 0
    assert process.err == ""


def test_a_second_server_of_one_folder_says_what_to_do(tmp_path, cache):
    with serving(tmp_path, cache, "--json") as process:
        process.stdout.readline()
        found = subprocess.run(
            [*COMMAND, "--port", "0"],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert found.returncode == 2
    assert found.stderr.endswith(
        "another gnomon mobile serve is using the folder runs: stop it, or choose another folder with --out\n"
    )


def test_plain_http_on_the_network_says_what_it_costs(tmp_path, cache):
    with serving(tmp_path, cache, "--lan", "--http", "--qr") as process:
        printed = ""
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
    assert printed.split()[1].startswith("http://")
    assert "one thread" in printed
    assert "fingerprint" not in printed
    assert "▀" in printed or "█" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lan", "--host", "127.0.0.1"], "give one"),
        (["--host", "192.0.2.77"], "--host"),
        (["--runtime", "missing.tgz", "--out", "other"], "missing.tgz does not exist (--runtime)"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, cache, arguments, words):
    empty = tmp_path / "cache"
    found = subprocess.run(
        [*COMMAND, "--port", "0", *arguments],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(empty)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert words in found.stderr
