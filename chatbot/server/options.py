"""What the server allows: where it listens, who may call it, and how much a caller may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import check_option

POSITIVE = (
    *("max_body_bytes", "max_header_bytes", "max_audio_seconds", "max_text_characters", "max_messages", "max_requests"),
    *("max_connections", "header_seconds", "burst", "request_seconds", "body_seconds", "remembered_seconds"),
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(kw_only=True)
class ServerOptions:
    """Options of the HTTP server.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        api_keys: whoever calls /v1 or /metrics must show one of them; none given lets everybody in.
        cors_origins: web origins (``https://example.org``) whose pages may call the server; the server's own page
            always may.
        allowed_hosts: values of the Host header that are answered; none given means the loopback's names when ``host``
            is one of them (a page of another site cannot pass itself off as ours by DNS then), and any name otherwise.
        aliases: other names that the model answers to, e.g. of a client that cannot be told ours.
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
        remembered_seconds: how long a spoken reply can be named by its id in later messages.
        max_remembered: how many replies are remembered for that.
        grace_seconds: how long replies under way may take after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: list[str] = field(default_factory=list, repr=False)
    cors_origins: list[str] = field(default_factory=list)
    allowed_hosts: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    max_body_bytes: int = 25_000_000
    max_header_bytes: int = 32_768
    max_audio_seconds: float = 300.0
    max_text_characters: int = 4096
    max_messages: int = 128
    max_requests: int = 64
    max_connections: int = 512
    header_seconds: float = 10.0
    requests_per_minute: float = 0.0
    burst: int = 20
    request_seconds: float = 120.0
    body_seconds: float = 30.0
    remembered_seconds: float = 3600.0
    max_remembered: int = 1000
    grace_seconds: float = 20.0

    def __post_init__(self) -> None:
        check_option(0 <= self.port < 65536, "port", self.port, "give 0 (any free one) to 65535")
        check_option(self.requests_per_minute >= 0, "requests_per_minute", self.requests_per_minute, "give 0 or more")
        check_option(self.grace_seconds >= 0, "grace_seconds", self.grace_seconds, "give 0 or more")
        for name in POSITIVE:
            check_option(getattr(self, name) > 0, name, getattr(self, name), "give a positive number")
        check_option(self.max_remembered >= 0, "max_remembered", self.max_remembered, "give 0 or more")
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
