"""The addresses that a page sends its session to: bodies are read within bounds, work is done in threads."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from gnomon.core.errors import MissingExtraError
from gnomon.results.mobile_file import result_bytes, result_file_of
from gnomon.web.asked import LARGEST_REQUEST, AskedEnd, AskedRun, read_request
from gnomon.web.campaign import Campaign
from gnomon.web.refusal import Refused
from gnomon.web.session_state import is_session_id
from gnomon.web.upload import LARGEST_BODY, Upload, read_upload

try:
    import anyio
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError:
    raise MissingExtraError("starlette", "mobile", "serving the page") from None

KEY_HEADER = "X-Gnomon-Key"
KEY = re.compile(r"[\x21-\x7e]{16,200}")
AT_ONCE = 2
"""Requests that are read, scored and judged at the same time: NumPy keeps a processor busy with each."""
BODIES_AT_ONCE = 8
BODY_LIMIT_S = 120
"""So many tests are taken in at the same time, and each for so long: a body is in memory while it comes."""

Found = TypeVar("Found")


class SessionRoutes:
    """Handlers of the session's addresses, with one lock a session."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._workers = anyio.CapacityLimiter(AT_ONCE)
        self._bodies = anyio.CapacityLimiter(BODIES_AT_ONCE)

    def routes(self) -> list[Route]:
        """What to mount."""
        run = "/api/sessions/{session}/runs/{benchmark}"
        return [
            Route(run, self.begin, methods=["PUT"]),
            Route(f"{run}/tests/{{test}}", self.record, methods=["PUT"]),
            Route(f"{run}/end", self.end, methods=["POST"]),
            Route("/api/sessions/{session}", self.standing, methods=["GET"]),
            Route("/api/sessions/{session}/result.json", self.result, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """`PUT runs/BENCHMARK`."""
        asked = read_request(AskedRun, await read_body(request, LARGEST_REQUEST))
        told = await self._locked(request, self._campaign.begin, _benchmark(request), asked)
        return JSONResponse(told, 200 if told["tests"] else 201)

    async def record(self, request: Request) -> Response:
        """`PUT runs/BENCHMARK/tests/TEST`."""
        _key(request)  # whoever has none need not send 64 MB
        async with self._bodies:
            body = await read_body(request, LARGEST_BODY)
            upload, sha256 = await self._worked(_read_test, body)
            if upload.test != request.path_params["test"]:
                raise Refused(
                    422, f"the body is of test {upload.test!r}: send it to that test's address"
                )
            told = await self._locked(
                request, self._campaign.record, _benchmark(request), upload, sha256
            )
        return JSONResponse(told)

    async def end(self, request: Request) -> Response:
        """`POST runs/BENCHMARK/end`."""
        asked = read_request(AskedEnd, await read_body(request, LARGEST_REQUEST) or b"{}")
        told = await self._locked(
            request, self._campaign.end, _benchmark(request), asked.interrupted_because
        )
        return JSONResponse(told)

    async def standing(self, request: Request) -> Response:
        """`GET` the session."""
        return JSONResponse(await self._locked(request, self._campaign.standing))

    async def result(self, request: Request) -> Response:
        """`GET result.json`: the runs that have ended, as the file of the field's app."""
        runs = await self._locked(request, self._campaign.finished_runs)
        if not runs:
            raise Refused(409, "no run of this session has ended: end one first")
        data = await self._worked(lambda: result_bytes(result_file_of(runs)))
        return Response(data, media_type="application/json")

    async def _worked(self, function: Callable[..., Found], *arguments: Any) -> Found:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._workers)

    async def _locked(
        self, request: Request, function: Callable[..., Found], *arguments: Any
    ) -> Found:
        """Call a function of the campaign with the session and its key; one at a time for each session."""
        session, key = _session(request), _key(request)
        async with self._lock_of(session):
            found = await self._worked(function, session, key, *arguments)
        idlest = self._campaign.idlest()
        if idlest is not None and idlest not in self._locks:
            async with self._lock_of(idlest):
                await self._worked(self._campaign.let_go, idlest)
        return found

    @asynccontextmanager
    async def _lock_of(self, session: str) -> AsyncIterator[None]:
        lock = self._locks.get(session)
        if lock is None:
            lock = self._locks[session] = asyncio.Lock()
        async with lock:
            yield


def _read_test(body: bytes) -> tuple[Upload, str]:
    return read_upload(body), hashlib.sha256(body).hexdigest()


async def read_body(request: Request, largest: int) -> bytes:
    """The body of a request, refused before it is read where it says that it is too large.

    Raises:
        Refused: It is larger than `largest`, was cut short, or came too slowly.
    """
    refusal = Refused(413, f"a body here has at most {largest} bytes: send less")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > largest:
        raise refusal
    parts, size = [], 0
    try:
        with anyio.fail_after(BODY_LIMIT_S):
            async for part in request.stream():
                size += len(part)
                if size > largest:
                    raise refusal
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the body took more than {BODY_LIMIT_S} s: send it again") from None
    except ClientDisconnect:
        raise Refused(400, "the connection ended before the body did: send it again") from None
    return b"".join(parts)


def _session(request: Request) -> str:
    session = str(request.path_params["session"])
    if not is_session_id(session):
        raise Refused(404, "a session is named by a UUID of version 4, in small letters")
    return session


def _benchmark(request: Request) -> str:
    return str(request.path_params["benchmark"])


def _key(request: Request) -> str:
    key = request.headers.get(KEY_HEADER, "")
    if not KEY.fullmatch(key):
        raise Refused(
            403, f"send the session's key, 16 to 200 characters, in the header {KEY_HEADER}"
        )
    return key
