"""The whole of what is served: the page, the runtime, the catalogue and its bytes, sessions, results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import (
    DataError,
    GnomonError,
    MissingExtraError,
    RunFolderError,
    UnknownNameError,
    UsageError,
    described,
)
from gnomon.core.version import __version__
from gnomon.results.mobile_history import History
from gnomon.web.campaign import Campaign
from gnomon.web.catalogue import Catalogue, schedule_of
from gnomon.web.content import Content, answer, answer_file, media_type_of
from gnomon.web.gate import Gate, Headers
from gnomon.web.refusal import Refused
from gnomon.web.results_routes import routes as results_routes
from gnomon.web.runtime_package import FILES, RuntimePackage
from gnomon.web.session_routes import SessionRoutes

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import BaseRoute, Route
    from starlette.types import ASGIApp
except ImportError:
    raise MissingExtraError("starlette", "mobile", "serving the page") from None

STATIC = Path(__file__).parent / "static"
AT_THE_ROOT = {
    "/": "index.html",
    "/sw.js": "sw.js",
    "/manifest.webmanifest": "manifest.webmanifest",
}
"""By address: files that have to lie beside the page, where a service worker reaches all of it."""
STATUS: dict[type[GnomonError], int] = {
    UnknownNameError: 404,
    UsageError: 422,
    DataError: 422,
    RunFolderError: 503,
}


@dataclass(frozen=True)
class Parts:
    """What is served."""

    runtime: RuntimePackage
    catalogue: Catalogue
    campaign: Campaign
    history: History
    static: Path = STATIC
    authority: bytes | None = None
    """Who vouches for https, DER: for phones that are to trust it."""


def make_app(parts: Parts, token: str) -> ASGIApp:
    """The application, behind its token."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        parts.campaign.close()

    inner = Starlette(
        routes=[
            *_page(parts.static),
            *_runtime(parts.runtime),
            *_authority(parts.authority),
            *_catalogue(parts.catalogue),
            *SessionRoutes(parts.campaign).routes(),
            *results_routes(parts.history),
        ],
        exception_handlers={
            Refused: _on_refused,
            GnomonError: _on_error,
            OSError: _on_system_error,
            HTTPException: _on_http,
            Exception: _on_failure,
        },
        lifespan=lifespan,
    )
    return Headers(Gate(inner, token))


def _page(folder: Path) -> list[BaseRoute]:
    """The page's own files. Only those that are there when the server starts are ever opened."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    kept: dict[str, tuple[tuple[int, int], Content]] = {}

    def send(request: Request, name: str) -> Response:
        path = files.get(name)
        if path is None:
            raise HTTPException(404)
        state = path.stat()
        mark = state.st_mtime_ns, state.st_size
        if name not in kept or kept[name][0] != mark:
            kept[name] = mark, Content(path.read_bytes(), media_type_of(name))
        return answer(request, kept[name][1])

    def at_the_root(name: str) -> Callable[[Request], Response]:
        return lambda request: send(request, name)

    def static(request: Request) -> Response:
        return send(request, str(request.path_params["name"]))

    return [
        *(Route(address, at_the_root(name)) for address, name in AT_THE_ROOT.items()),
        Route("/static/{name:path}", static),
    ]


def _runtime(runtime: RuntimePackage) -> list[BaseRoute]:
    def ort(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in FILES:
            raise HTTPException(404)
        plain, zipped = runtime.path(name), runtime.path(name, zipped=True)
        return answer_file(request, plain, zipped, runtime.sha256[name])

    return [Route("/ort/{name}", ort)]


def _authority(certificate: bytes | None) -> list[BaseRoute]:
    """What a phone installs so that it trusts the server; nothing where there is no https."""
    if certificate is None:
        return []
    sent = Response(certificate, media_type="application/x-x509-ca-cert")
    return [Route("/authority.crt", lambda _: sent)]


def _catalogue(catalogue: Catalogue) -> list[BaseRoute]:
    def health(_: Request) -> Response:
        return JSONResponse({"gnomon_version": __version__, "benchmarks": list(catalogue.offered)})

    def whole(request: Request) -> Response:
        return answer(request, catalogue.content)

    def model(request: Request) -> Response:
        offered = catalogue.of(request.path_params["benchmark"])
        precision = request.path_params["precision"]
        if precision not in offered.models:
            raise UnknownNameError("precision", precision, offered.models)
        return answer(request, offered.models[precision][1])

    def inputs(request: Request) -> Response:
        return answer(request, catalogue.of(request.path_params["benchmark"]).inputs)

    def schedule(request: Request) -> Response:
        asked = request.path_params
        settings = catalogue.of(asked["benchmark"]).settings(asked["mode"], asked["test"])
        rows = request.query_params.get("rows")
        if rows is not None and not (rows.isascii() and rows.isdecimal() and len(rows) < 10):
            raise UsageError(f"rows must be a whole number, got {rows[:20]!r}")
        return answer(request, Content(schedule_of(settings, None if rows is None else int(rows))))

    return [
        Route("/api/health", health),
        Route("/api/catalogue", whole),
        Route("/api/models/{benchmark}/{precision}.onnx", model),
        Route("/api/inputs/{benchmark}", inputs),
        Route("/api/schedules/{benchmark}/{mode}/{test}", schedule),
    ]


def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _told(request, error.status, str(error))


def _on_error(request: Request, error: Exception) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    return _told(request, status, str(error))


def _on_system_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return _told(request, 503, f"the server cannot read or write: {error.strerror or error}")


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told(request, error.status_code, f"{error.detail}: nothing like that is served here")


def _on_failure(request: Request, error: Exception) -> Response:
    """A mistake of ours: the terminal of the server has the traceback."""
    return _told(request, 500, f"the server failed: {described(error)}")


def _told(request: Request, status: int, message: str) -> Response:
    words = " ".join(message.split())
    if "/api/" in request.url.path:
        return JSONResponse({"error": words}, status)
    return PlainTextResponse(f"{words}\n", status)
