"""Limits and access rules of the HTTP server, and the options of ``speechweave serve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chatbot.engine.options import EngineOptions
from runtime.config import Options, option
from runtime.errors import check_option

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(kw_only=True)
class ServerOptions(Options):
    """Options of the HTTP server.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        api_keys: callers of /v1 and /metrics must present one of them; without any, everybody may call.
        cors_origins: web origins (``https://example.org``) whose pages may call the server; the server's own page
            always may.
        allowed_hosts: values of the Host header that are answered; none given means the loopback's names when ``host``
            is one of them (a page of another site cannot pass itself off as ours by DNS then), and any name otherwise.
        aliases: other names that the model answers to, for clients with a fixed model name.
        max_body_bytes: larger requests get 413.
        max_header_bytes: larger headers get 431.
        max_audio_seconds: longer audio in a request gets 413; the model's own limit for one question is lower.
        max_text_characters: longer texts (of all messages together) get 400.
        max_messages: longer dialogues get 400.
        max_requests: requests and WebSockets under /v1 at once; more get 503.
        max_connections: of TCP; more get 503.
        header_seconds: a connection whose request's headers are not whole by then is closed.
        requests_per_minute: for each key (or address, without keys); more get 429. 0 sets no limit.
        burst: requests that may come at once before the rate counts.
        request_seconds: a reply that takes longer is ended.
        body_seconds: a body that comes slower than this is given up (408).
        remembered_seconds: time for which a spoken reply can be named by its id in later messages.
        max_remembered: replies remembered for that.
        grace_seconds: time for replies under way after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = option(8000, at_least=0, below=65536)
    api_keys: list[str] = field(default_factory=list, repr=False)
    cors_origins: list[str] = field(default_factory=list)
    allowed_hosts: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    max_body_bytes: int = option(25_000_000, at_least=1)
    max_header_bytes: int = option(32_768, at_least=1)
    max_audio_seconds: float = option(300.0, above=0)
    max_text_characters: int = option(4096, at_least=1)
    max_messages: int = option(128, at_least=1)
    max_requests: int = option(64, at_least=1)
    max_connections: int = option(512, at_least=1)
    header_seconds: float = option(10.0, above=0)
    requests_per_minute: float = option(0.0, at_least=0)
    burst: int = option(20, at_least=1)
    request_seconds: float = option(120.0, above=0)
    body_seconds: float = option(30.0, above=0)
    remembered_seconds: float = option(3600.0, above=0)
    max_remembered: int = option(1000, at_least=0)
    grace_seconds: float = option(20.0, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in self.api_keys:
            is_sound = len(key) >= 8 and key.isascii() and key.isprintable() and " " not in key
            check_option(is_sound, "api_keys", f"a key of {len(key)} characters", "give 8 or more visible ASCII ones")
        for origin in self.cors_origins:
            is_origin = origin.startswith(("http://", "https://")) and origin.count("/") == 2
            check_option(is_origin, "cors_origins", origin, "give scheme and host, as https://example.org")

    @property
    def needs_key(self) -> bool:
        """Whether ``/v1`` answers only to those who send a key."""
        return bool(self.api_keys)


@dataclass(kw_only=True)
class ServeConfig(EngineOptions, ServerOptions):
    """Options of ``speechweave serve``: those of the server, of its models, and of the command.

    Attributes:
        bundle: folder of the chatbot.
        api_key_file: text file with one key a line, besides ``api_keys`` (which others on this machine can see).
        certificate: TLS certificate file (PEM).
        certificate_key: its key file, where it is another.
        open: show the page in the browser, where there is a screen.
        quiet: log warnings and errors only.
    """

    bundle: str = "runs/quickstart/bundle"
    api_key_file: str | None = None
    certificate: str | None = None
    certificate_key: str | None = None
    open: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("certificate", "certificate_key"):
            file = getattr(self, name)
            check_option(file is None or Path(file).is_file(), name, file, "give a PEM file that exists")
        has_both = self.certificate_key is None or self.certificate is not None
        check_option(has_both, "certificate_key", self.certificate_key, "give certificate, too")
