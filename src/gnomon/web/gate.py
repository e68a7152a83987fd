"""What every answer passes: the secret part of the address, and headers that keep the page to itself."""

from __future__ import annotations

import hmac

from gnomon.core.errors import MissingExtraError

try:
    from starlette.datastructures import MutableHeaders
    from starlette.responses import PlainTextResponse, RedirectResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError:
    raise MissingExtraError("starlette", "mobile", "serving the page") from None

ASK_FOR_THE_ADDRESS = "Nothing is here: open the address that gnomon mobile serve printed.\n"

_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:{more}; worker-src 'self' blob:; "
    "connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_POLICY = _POLICY.format(more="")
WORKER_POLICY = _POLICY.format(more=" 'unsafe-eval'")
"""Of scripts, where it counts for one that was started as a worker: the runtime's WebNN part makes functions
of text. A page itself may not."""
HEADERS = {
    # These two make a page cross-origin isolated: threads, and a clock in steps of microseconds.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise itself."""


class Headers:
    """Adds what every answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with its headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                script = headers.get("content-type", "").startswith("text/javascript")
                headers.setdefault(
                    "Content-Security-Policy", WORKER_POLICY if script else PAGE_POLICY
                )
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Gate:
    """Lets through what knows the token, which is the first part of the path."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with a line."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        first, slash, _ = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(first.encode("utf-8", "surrogateescape"), self._token):
            await PlainTextResponse(ASK_FOR_THE_ADDRESS, 404)(scope, receive, send)
        elif not slash:  # paths within the page are relative to its folder
            await RedirectResponse(f"/{first}/", 308)(scope, receive, send)
        else:
            await self._app({**scope, "root_path": f"/{first}"}, receive, send)
