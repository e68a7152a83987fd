"""Which device a run was measured on and what ran the model there, read from the run's own record.

A browser tells its user agent, which is whatever the other side cares to send: it is cut and cleaned
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.core.run import Run

LONGEST = 80
"""Characters of a name: what is longer was not made by a browser."""
_NOT_PRINTED = re.compile(r"[^\x20-\x7e\u00a0-\u02af\u0370-\u1fff\u3040-\ud7af]+")
"""Control characters, and those that turn the direction of writing round."""

_SYSTEMS = (
    ("android", re.compile(r"Android(?: (\d[\d.]*))?")),
    ("ios", re.compile(r"(?:iPhone|iPad|iPod).*?OS (\d+[\d_]*)")),
    ("chromeos", re.compile(r"CrOS \S+ (\d[\d.]*)")),
    ("windows", re.compile(r"Windows NT (\d[\d.]*)")),
    ("macos", re.compile(r"Mac OS X (\d+[\d_.]*)")),
    ("linux", re.compile(r"Linux()")),
)
"""By platform: how a user agent names it, and its version. Android and ChromeOS name Linux too."""
_BROWSERS = (
    ("Edge", re.compile(r"Edg(?:A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"OPR/(\d+)")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d+).*Safari")),
)
"""Browsers by the mark that the ones after them carry as well."""
_TITLES = {
    "android": "Android",
    "ios": "iOS",
    "chromeos": "ChromeOS",
    "windows": "Windows",
    "macos": "macOS",
    "linux": "Linux",
}
_FROZEN = {"android": ("10",), "windows": ("10", "10.0"), "macos": ("10.15.7",)}
"""Versions that browsers write whatever the system is, so that they say nothing."""


@dataclass(frozen=True)
class Device:
    """What was measured.

    Attributes:
        name: As a person would call it: `Pixel 8 (Android 14)`, `AMD EPYC`.
        platform: `android`, `ios`, `windows`, `macos`, `linux`, `chromeos` or `unknown`.
        os_version: Empty where nobody told.
        manufacturer: The same.
        model: The same.
        browser: With its major version; empty of a native run.
        cpu: The processor's name; empty of a browser.
    """

    name: str
    platform: str
    os_version: str = ""
    manufacturer: str = ""
    model: str = ""
    browser: str = ""
    cpu: str = ""


@dataclass(frozen=True)
class Backend:
    """What ran the model.

    Attributes:
        system: Gnomon's name of the system.
        framework: The runtime, `ONNX Runtime`.
        version: Its version.
        accelerator: What it ran on, `CPU`.
        provider: The part of the runtime that reached it: an execution provider or delegate.
        precision: `fp32`, `fp16`, `int8`; empty where nobody told.
        threads: None where nobody told.
        model: The model's file name.
        model_sha256: Of that file.
        batch_size: Most samples in one call.
        isolated: Of a browser: whether the page had threads and a fine clock.
    """

    system: str
    framework: str
    version: str = ""
    accelerator: str = ""
    provider: str = ""
    precision: str = ""
    threads: int | None = None
    model: str = ""
    model_sha256: str = ""
    batch_size: int = 1
    isolated: bool | None = None


def clean(text: object, longest: int = LONGEST) -> str:
    """What another machine sent, as one short line of printable characters."""
    if not isinstance(text, str | int | float):
        return ""
    words = " ".join(_NOT_PRINTED.sub(" ", str(text)[: 8 * longest]).split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def device_of(run: Run) -> Device:
    """The device of a run: from the user agent of a browser, or from the environment of this package."""
    told = browser_told(run.record)
    if told is not None:
        return device_of_browser(told)
    environment = run.record["environment"]
    system = _mapping(environment.get("os"))
    name = str(system.get("name") or "")
    cpu = clean(_mapping(environment.get("cpu")).get("model"))
    return Device(
        name=cpu or "unknown processor",
        platform={"Darwin": "macos"}.get(name, name.lower()) or "unknown",
        os_version=clean(system.get("distribution") or system.get("kernel")),
        cpu=cpu,
    )


def browser_told(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the page said of its device; None of a native run.

    Args:
        record: Of a run; the rest of its `environment` is then the server's.
    """
    told = record["environment"].get("device")
    return told if isinstance(told, Mapping) and "user_agent" in told else None


def device_of_browser(told: Mapping[str, Any]) -> Device:
    """The device of a page.

    Args:
        told: What the page says of itself: `user_agent`, and where the browser tells `model`, `os_version`.
            Its `brand` is the browser's name, not the maker's.
    """
    agent = clean(told.get("user_agent"), 400)
    platform, version = "unknown", ""
    for name, mark in _SYSTEMS:
        if found := mark.search(agent):
            platform, version = name, (found[1] or "").replace("_", ".")
            break
    if version in _FROZEN.get(platform, ()):
        version = ""
    version = clean(told.get("os_version"), 20) or version
    if platform == "windows":
        version = _windows_version(version)
    model = clean(told.get("model"), 40)
    if not model and platform == "ios":
        model = "iPad" if "iPad" in agent else "iPhone"
    maker = "Apple" if platform in ("ios", "macos") else ""  # of others no browser tells
    title = f"{_TITLES.get(platform, 'Unknown system')} {version}".strip()
    return Device(
        name=f"{model} ({title})" if model else title,
        platform=platform,
        os_version=version,
        manufacturer=maker,
        model=model,
        browser=_browser_name(agent),
    )


def backend_of(run: Run) -> Backend:
    """What ran the model, from the system's description of itself."""
    record = run.record["system"]
    told = _mapping(record.get("description"))
    name = clean(record.get("name"))
    provider = told.get("provider") or told.get("delegate") or told.get("device")
    if isinstance(provider, Mapping):
        provider = provider.get("name")
    if provider is None and isinstance(told.get("providers"), list) and told["providers"]:
        provider = told["providers"][0]
    isolated = told.get("isolated")
    return Backend(
        system=name,
        framework=clean(told.get("framework")) or name,
        version=clean(told.get("version") or told.get("onnxruntime"), 40),
        accelerator=clean(told.get("accelerator")) or "unknown",
        provider=clean(provider),
        precision=clean(told.get("precision"), 20),
        threads=_count(told.get("threads")),
        model=clean(told.get("model")),
        model_sha256=clean(told.get("model_sha256")),
        batch_size=_count(told.get("batch_size")) or 1,
        isolated=isolated if isinstance(isolated, bool) else None,
    )


def session_of(run: Run) -> str:
    """The session that a run belongs to; a native run is one by itself."""
    return clean(run.record.get("session")) or run.id


def _browser_name(agent: str) -> str:
    for name, mark in _BROWSERS:
        if found := mark.search(agent):
            return f"{name} {found[1]}"
    return "another browser"


def _windows_version(told: str) -> str:
    """Client hints number Windows 11 from 13 on, and Windows 10 below (Microsoft Edge's documentation)."""
    major = told.split(".")[0]
    if not major.isdigit() or int(major) < 1:
        return ""
    return "11" if int(major) >= 13 or told == "11" else "10"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
