"""Bytes that the page fetches, with their fingerprint and a gzip copy, and the responses made of them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gnomon.core.errors import MissingExtraError

try:
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
except ImportError:
    raise MissingExtraError("starlette", "mobile", "serving the page") from None

REVALIDATE = "no-cache"
"""Kept by the browser, and asked about each time: the tag answers in a few bytes."""
IMMUTABLE = "public, max-age=31536000, immutable"
"""Of an address that holds the content's own fingerprint."""
FINGERPRINT = "sha256"
"""The query that names it: `?sha256=…`."""
WORTH_ZIPPING = 0.95

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Content:
    """Something to send."""

    data: bytes
    media_type: str = OCTETS

    @cached_property
    def sha256(self) -> str:
        """Its fingerprint, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def zipped(self) -> bytes | None:
        """A gzip copy, if that is worth while."""
        small = gzip.compress(self.data, 6, mtime=0)
        return small if len(small) < WORTH_ZIPPING * len(self.data) else None

    def addressed(self, path: str) -> str:
        """A path that names this content, so that a browser never asks for it twice."""
        return f"{path}?{FINGERPRINT}={self.sha256}"


def media_type_of(name: str) -> str:
    """The media type by a file name's ending."""
    return MEDIA_TYPES.get(Path(name).suffix, OCTETS)


def answer(request: Request, content: Content) -> Response:
    """The content, or that it has not changed."""
    headers = headers_of(request, content.sha256)
    if is_known(request, content.sha256):
        return Response(status_code=304, headers=headers)
    if accepts_gzip(request) and content.zipped is not None:
        headers["Content-Encoding"] = "gzip"
        return Response(content.zipped, headers=headers, media_type=content.media_type)
    return Response(content.data, headers=headers, media_type=content.media_type)


def answer_file(request: Request, plain: Path, zipped: Path, sha256: str) -> Response:
    """As `answer`, of a large file with a gzip copy beside it, which is sent as it is read."""
    headers = headers_of(request, sha256)
    if is_known(request, sha256):
        return Response(status_code=304, headers=headers)
    media_type = media_type_of(plain.name)
    if accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return FileResponse(zipped, headers=headers, media_type=media_type)
    return FileResponse(plain, headers=headers, media_type=media_type)


def headers_of(request: Request, sha256: str) -> dict[str, str]:
    """Tag and caching. A tag is weak, since plain and gzip bytes share it."""
    named = request.query_params.get(FINGERPRINT) == sha256
    return {
        "ETag": f'W/"{sha256}"',
        "Cache-Control": IMMUTABLE if named else REVALIDATE,
        "Vary": "Accept-Encoding",
    }


def is_known(request: Request, sha256: str) -> bool:
    """Whether the browser says that it has this content."""
    tags = request.headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/").strip('"') == sha256 for tag in tags)


def accepts_gzip(request: Request) -> bool:
    """Whether the browser takes gzip; `gzip;q=0` refuses it."""
    offered: Mapping[str, str] = {
        name.strip(): weight.replace(" ", "")
        for name, _, weight in (
            part.partition(";") for part in request.headers.get("accept-encoding", "").split(",")
        )
    }
    return "gzip" in offered and offered["gzip"] not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
