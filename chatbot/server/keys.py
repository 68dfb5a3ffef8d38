"""API keys and allowed web origins."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from runtime.errors import UserError

from .options import LOOPBACK, ServerOptions

SOCKET_KEY = "openai-insecure-api-key."  # how a browser, which cannot set headers, gives the key of a WebSocket


def read_keys(file: Path) -> list[str]:
    """The keys in ``file``: one a line; empty lines and lines that begin with # are left out.

    Raises:
        UserError: no such file, or no key in it.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        remedy = "give a text file with one key a line"
        raise UserError(str(file), found=f"not readable ({type(error).__name__})", remedy=remedy) from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UserError(str(file), found="no key in it", remedy="write one key a line")
    return keys


class ApiKeys:
    """The keys that open the server; without any, everybody may enter.

    Args:
        keys: as the callers give them; only their digests are kept.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [digest(key) for key in keys]

    @property
    def is_open(self) -> bool:
        """Whether no key is wanted."""
        return not self._digests

    def name_of(self, given: str | None) -> str | None:
        """A short name of the key ``given`` (for logs and limits); None if it is none of ours.

        Digests are compared in constant time and all of them are, so that the time tells nothing.
        """
        if given is None:
            return None
        wanted = digest(given)
        matches = [hmac.compare_digest(wanted, each) for each in self._digests]
        return wanted.hex()[:8] if any(matches) else None


def digest(key: str) -> bytes:
    """The digest that stands for a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def given_key(headers: Headers) -> str | None:
    """The key that a request or a WebSocket's handshake brings."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(SOCKET_KEY):
            return offered.strip().removeprefix(SOCKET_KEY)
    return None


class Origins:
    """Web origins that may call, and host names that the server answers to."""

    def __init__(self, options: ServerOptions) -> None:
        self.origins = set(options.cors_origins)
        self.hosts = {host.lower() for host in options.allowed_hosts}
        if not self.hosts and options.host in LOOPBACK:
            self.hosts = set(LOOPBACK)

    def is_our_host(self, headers: Headers) -> bool:
        """Whether the Host header names this server."""
        return not self.hosts or hostname(f"//{headers.get('host', '')}") in self.hosts

    def may_call(self, headers: Headers) -> bool:
        """Whether the page that calls, if any, is ours or one of the named origins.

        Programs send no Origin. Browsers always do for what could do harm: other sites' POSTs and WebSockets.
        """
        origin = headers.get("origin")
        if origin is None or origin in self.origins:
            return True
        scheme, separator, host = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and host.lower() == headers.get("host", "").lower()


def hostname(url: str) -> str:
    """The host of ``url`` without its port, "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
