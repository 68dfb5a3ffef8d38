"""Routes of the web page: its files and settings, mounted by the server's application.

Files are read once and served from memory under fixed names, so that no path of a request reaches the disk. The page
needs no key, its requests to ``/v1/realtime`` do. Its Content-Security-Policy confines it to the server it came from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from chatbot.engine.engine import Engine

FOLDER = Path(__file__).parent
PREFIX = "/page"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",  # fetch and, by CSP level 3, WebSockets of the same host and port
        "media-src 'self' blob:",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, answered 304 while it is the same
}


class Asset:
    """One file of the page in memory."""

    def __init__(self, file: Path) -> None:
        self.content = file.read_bytes()
        self.media_type = MEDIA_TYPES[file.suffix]
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    def response(self, request: Request) -> Response:
        """The file, or 304 where the browser has it already."""
        headers = HEADERS | {"ETag": self.etag}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """All files of the page by name."""
    return {file.name: Asset(file) for file in sorted(folder.iterdir()) if file.suffix in MEDIA_TYPES}


def make_router(engine: Engine, *, needs_key: bool) -> APIRouter:
    """The routes ``/`` and ``/page/...``.

    Args:
        engine: that the page talks to.
        needs_key: whether the server wants an API key; the page then asks its user for one.
    """
    assets = load_assets()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return assets["index.html"].response(request)

    @router.get(f"{PREFIX}/settings.json")
    async def settings() -> dict[str, Any]:
        return {
            "model": engine.model_name,
            "voices": list(engine.voices),
            "needs_key": needs_key,
            "has_transcripts": engine.has_transcripts,
        }

    @router.api_route(f"{PREFIX}/{{name}}", methods=["GET", "HEAD"])
    async def asset(name: str, request: Request) -> Response:
        if name not in assets:
            return Response("no such file\n", status_code=404, media_type="text/plain", headers=HEADERS)
        return assets[name].response(request)

    return router
