"""The runtime: verified, unpacked by name, kept whole; refused in one line where it is another."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.web import runtime_package
from gnomon.web.runtime_package import (
    FILES,
    INTEGRITY,
    INVENTORY_FILE,
    TARBALL,
    cache_folder,
    ensure_runtime,
    package_address,
)


def tarball_of(files, path):
    """A package with these files, and its integrity."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    digest = hashlib.sha512(path.read_bytes()).digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of the real one."""
    files = {f"package/dist/{name}": name.encode() * 50 for name in FILES}
    files |= {"package/package.json": b'{"license":"MIT"}', "package/../../outside": b"never"}
    path = tmp_path / TARBALL
    monkeypatch.setattr(runtime_package, "INTEGRITY", tarball_of(files, path))
    return path


def test_a_tarball_is_unpacked_with_gzip_copies_and_the_licence(package, tmp_path):
    cache = tmp_path / "cache"
    found = ensure_runtime(package, cache=cache)
    for name in FILES:
        data = name.encode() * 50
        assert found.path(name).read_bytes() == data
        assert gzip.decompress(found.path(name, zipped=True).read_bytes()) == data
        assert found.sha256[name] == hashlib.sha256(data).hexdigest()
    assert b"MIT" in found.path("package.json").read_bytes()
    assert [path.name for path in cache.iterdir()] == [
        found.folder.name
    ]  # nothing beside, none outside
    told = found.describe()
    assert told["providers"]["wasm"]["module"] == "ort/ort.wasm.min.mjs"
    assert set(told["providers"]) == {"wasm", "webgpu", "webnn"}


def test_what_is_kept_is_used_again_and_what_is_damaged_is_not(package, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    found = ensure_runtime(package, cache=cache)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1/")
    assert ensure_runtime(cache=cache) == found
    found.path(FILES[2]).write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be downloaded"):
        ensure_runtime(cache=cache)
    assert ensure_runtime(package, cache=cache) == found
    found.path(FILES[2], zipped=True).write_bytes(b"cut short")
    assert ensure_runtime(package, cache=cache) == found
    assert gzip.decompress(found.path(FILES[2], zipped=True).read_bytes())


def test_what_another_process_put_in_place_meanwhile_is_left_where_it_is(
    package, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    others = []

    def slower_than_another(address, path, observer):
        path.write_bytes(package.read_bytes())
        others.append(ensure_runtime(package, cache=cache).path(FILES[0]).stat().st_ino)

    monkeypatch.setattr(runtime_package, "_download", slower_than_another)
    assert ensure_runtime(cache=cache).path(FILES[0]).stat().st_ino == others[0]


def test_a_tarball_that_is_given_counts_whatever_is_kept(package, tmp_path):
    cache = tmp_path / "cache"
    found = ensure_runtime(package, cache=cache)
    with pytest.raises(DataError, match=r"no-such-file does not exist \(--runtime\)"):
        ensure_runtime(Path("no-such-file"), cache=cache)
    other = tmp_path / "other.tgz"
    other.write_bytes(b"another package")
    with pytest.raises(DataError, match=r"other\.tgz is not onnxruntime-web"):
        ensure_runtime(other, cache=cache)
    assert ensure_runtime(cache=cache) == found  # what was kept is left alone
    inventory = found.path(INVENTORY_FILE)
    tampered = b"// not what the registry has"
    told = json.loads(inventory.read_text())
    told[FILES[0]] = {"sha256": hashlib.sha256(tampered).hexdigest(), "bytes": len(tampered)}
    inventory.write_text(json.dumps(told))
    found.path(FILES[0]).write_bytes(tampered)
    found.path(FILES[0], zipped=True).write_bytes(gzip.compress(tampered))
    assert ensure_runtime(cache=cache) != found
    assert ensure_runtime(package, cache=cache) == found
    assert found.path(FILES[0]).read_bytes() == FILES[0].encode() * 50


def test_another_tarball_is_refused(package, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime_package, "INTEGRITY", INTEGRITY)
    with pytest.raises(DataError, match=r"is not onnxruntime-web 1\.30\.0 as published"):
        ensure_runtime(package, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_tarball_that_lacks_a_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / TARBALL
    monkeypatch.setattr(runtime_package, "INTEGRITY", tarball_of({"package/x": b""}, path))
    with pytest.raises(DataError, match="cannot be unpacked"):
        ensure_runtime(path, cache=tmp_path / "cache")


def test_it_is_downloaded_from_the_registry_that_npm_is_set_to(package, tmp_path, monkeypatch):
    asked = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            data = package.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/npm/")
        told = []
        ensure_runtime(
            cache=tmp_path / "cache", observer=lambda done, total: told.append((done, total))
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    size = package.stat().st_size
    assert asked == [f"/npm/onnxruntime-web/-/{TARBALL}"]
    assert told[-1] == (size, size)


def test_a_registry_that_cannot_be_reached_is_a_line_with_the_way_round(tmp_path, monkeypatch):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1/")
    with pytest.raises(DataError, match=r"cannot be downloaded .* --runtime"):
        ensure_runtime(cache=tmp_path / "cache")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "file:///etc/")
    with pytest.raises(DataError, match="http address"):
        ensure_runtime(cache=tmp_path / "cache")


def test_the_registry_comes_from_the_environment_then_from_npmrc(tmp_path, monkeypatch):
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert package_address() == f"https://registry.npmjs.org/onnxruntime-web/-/{TARBALL}"
    (tmp_path / ".npmrc").write_text("fund=false\nregistry = https://mirror.example/npm/\n")
    assert package_address() == f"https://mirror.example/npm/onnxruntime-web/-/{TARBALL}"
    monkeypatch.setenv("npm_config_registry", "https://other.example")
    assert package_address() == f"https://other.example/onnxruntime-web/-/{TARBALL}"


def test_the_cache_is_where_the_user_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gnomon"
