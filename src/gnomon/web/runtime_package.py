"""ONNX Runtime Web, which the page measures with: downloaded once from the npm registry, verified, kept.

Only the files that the page loads are unpacked, into the user's cache folder, each with a gzip copy beside.
Licence of the package: MIT; its `package.json`, which says so, is kept with them, and every script names it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import ssl
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gnomon.core.errors import DataError, described
from gnomon.core.files import sha256_of

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the tarball, as the registry publishes it (`dist.integrity`)."""
REGISTRY = "https://registry.npmjs.org/"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"

_PLAIN = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_GPU = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
PROVIDERS: dict[str, tuple[str, ...]] = {"wasm": _PLAIN, "webgpu": _GPU, "webnn": _GPU}
"""By execution provider: the module that the page imports, then what that loads. That of WebGPU has WebNN
too."""
FILES = tuple(dict.fromkeys((*_PLAIN, *_GPU)))
LICENCE_FILE = "package.json"
INVENTORY_FILE = "files.json"
LARGEST_FILE = 64 << 20
PIECE = 1 << 18
TIMEOUT_S = 60.0

Observer = Callable[[int, int], None]
"""Told bytes so far and in all (0: not known)."""


@dataclass(frozen=True)
class RuntimePackage:
    """The unpacked runtime.

    Attributes:
        folder: Where the files lie.
        sha256: By file name.
        bytes: By file name, before compression.
    """

    folder: Path
    sha256: Mapping[str, str]
    bytes: Mapping[str, int]

    def path(self, name: str, *, zipped: bool = False) -> Path:
        """Where a file lies, or its gzip copy."""
        return self.folder / (f"{name}.gz" if zipped else name)

    def describe(self) -> dict[str, Any]:
        """What the page is told: name, version, and for each provider its module and what it transfers."""
        return {
            "name": PACKAGE,
            "version": VERSION,
            "providers": {
                provider: {
                    "module": f"ort/{names[0]}",
                    "bytes": sum(self.bytes[name] for name in names),
                    "transfer_bytes": sum(
                        self.path(name, zipped=True).stat().st_size for name in names
                    ),
                }
                for provider, names in PROVIDERS.items()
            },
        }


def cache_folder() -> Path:
    """Where what can be downloaded again is kept: `$XDG_CACHE_HOME/gnomon`, or the system's own place."""
    if configured := os.environ.get("XDG_CACHE_HOME"):
        return Path(configured) / "gnomon"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gnomon"
    return Path.home() / ".cache" / "gnomon"


def ensure_runtime(
    tarball: Path | None = None,
    *,
    cache: Path | None = None,
    observer: Observer | None = None,
) -> RuntimePackage:
    """The runtime: from a tarball if one is given, else from the cache if whole, else from the registry.

    Args:
        tarball: `onnxruntime-web-1.30.0.tgz`, already downloaded; takes the place of what is in the cache.
        cache: In place of the user's cache folder.
        observer: Told how the download goes on.

    Raises:
        DataError: It cannot be had, or is not what its hash says.
    """
    folder = (cache or cache_folder()) / f"{PACKAGE}-{VERSION}"
    downloaded = tarball is None
    kept = _kept(folder) if downloaded else None
    if kept is not None:
        return kept
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as workplace:
            if tarball is None:
                tarball = Path(workplace) / TARBALL
                _download(package_address(), tarball, observer)
            _require_integrity(tarball)
            made = Path(workplace) / "unpacked"
            made.mkdir()
            _unpack(tarball, made)
            # Another process may have been faster, and its server has these files open by now.
            if _kept(folder) is None or not downloaded:
                _put_in_place(made, folder)
    except OSError as error:
        raise DataError(
            f"{PACKAGE} cannot be kept in {folder}: {error.strerror or error}; make room, or set "
            f"XDG_CACHE_HOME to a folder that can be written"
        ) from None
    found = _kept(folder)
    if found is None:
        raise DataError(f"{folder} does not hold what was just written to it: check the disk")
    return found


def package_address() -> str:
    """Where the tarball is downloaded from: npm's own settings decide on the registry."""
    variables = {name.upper(): value for name, value in os.environ.items()}  # npm takes either case
    registry = (
        variables.get("NPM_CONFIG_REGISTRY") or _registry_of(Path.home() / ".npmrc") or REGISTRY
    )
    return f"{registry.rstrip('/')}/{PACKAGE}/-/{TARBALL}"


def _registry_of(settings: Path) -> str | None:
    try:
        lines = settings.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and name.strip() == "registry":
            return value.strip().strip("\"'")
    return None


def _download(address: str, path: Path, observer: Observer | None) -> None:
    mend = f"check the network, or download it elsewhere and give it with --runtime {TARBALL}"
    if not address.startswith(("https://", "http://")):
        raise DataError(
            f"the npm registry has to be an http address, got {address!r}: mend ~/.npmrc"
        )
    try:
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT_S, context=_trust()) as answer,
            path.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while piece := answer.read(PIECE):
                done += len(piece)
                if done > LARGEST_FILE:
                    raise DataError(f"{address} sends more than {PACKAGE} has: {mend}")
                file.write(piece)
                if observer is not None:
                    observer(done, total)
    except (urllib.error.URLError, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{address} cannot be downloaded ({reason}): {mend}") from None


def _trust() -> ssl.SSLContext:
    """The system's certificates, and certifi's where it is installed: some Pythons come without any."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        return context
    context.load_verify_locations(certifi.where())
    return context


def _require_integrity(tarball: Path) -> None:
    try:
        with tarball.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512")
    except FileNotFoundError:
        raise DataError(f"{tarball} does not exist (--runtime)") from None
    except OSError as error:
        raise DataError(f"{tarball} cannot be read: {error.strerror} (--runtime)") from None
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    if found != INTEGRITY:
        raise DataError(
            f"{tarball.name} is not {PACKAGE} {VERSION} as published (its hash is {found[:19]}…, not "
            f"{INTEGRITY[:19]}…): download it again, from another registry if need be"
        )


def _unpack(tarball: Path, folder: Path) -> None:
    """Write the files that are needed, by name, and what they are: nothing else of the archive is used."""
    inventory = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member, name in [
                (f"package/{LICENCE_FILE}", LICENCE_FILE),
                *((f"package/dist/{name}", name) for name in FILES),
            ]:
                stored = archive.getmember(member)
                source = archive.extractfile(stored) if stored.size <= LARGEST_FILE else None
                if source is None:
                    raise DataError(f"{tarball.name} holds no {member} that can be used")
                data = source.read()
                (folder / name).write_bytes(data)
                _zip(data, folder / f"{name}.gz")
                inventory[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    except (tarfile.TarError, EOFError, KeyError, gzip.BadGzipFile) as error:
        raise DataError(f"{tarball.name} cannot be unpacked: {described(error)}") from None
    (folder / INVENTORY_FILE).write_text(json.dumps(inventory, indent=2) + "\n", encoding="utf-8")


def _zip(data: bytes, path: Path) -> None:
    file: IO[bytes]
    with path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as zipped:
        zipped.write(data)


def _put_in_place(made: Path, folder: Path) -> None:
    """Move the finished folder to its name; a damaged one that stands there goes."""
    if folder.exists():
        aside = made.with_name("replaced")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        made.rename(folder)
    except OSError:
        if _kept(folder) is None:  # unless another process was faster
            raise


def _kept(folder: Path) -> RuntimePackage | None:
    """The runtime that lies in this folder, or None if it does not, or is damaged."""
    try:
        inventory = json.loads((folder / INVENTORY_FILE).read_text(encoding="utf-8"))
        sha256 = {name: str(inventory[name]["sha256"]) for name in FILES}
        sizes = {name: int(inventory[name]["bytes"]) for name in FILES}
        for name in FILES:
            if sha256_of(folder / name) != sha256[name]:
                return None
            with gzip.open(folder / f"{name}.gz") as zipped:
                if len(zipped.read()) != sizes[name]:  # reading to the end also checks its sum
                    return None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    return RuntimePackage(folder, sha256, sizes)
