"""What a client did wrong, in the words of the protocol: the ``error`` event."""

from __future__ import annotations

from runtime.errors import UserError


class Refusal(Exception):  # noqa: N818 (the protocol's noun is "error event"; this one is an answer, not a failure)
    """A client event that can't be done; the session goes on.

    Args:
        message: what is wrong and how to mend it.
        code: the protocol's short name of it, e.g. "invalid_value".
        param: the field at fault, e.g. "session.audio.input.format".
        kind: whose fault it is, "invalid_request_error" or "server_error".
        event_id: the client's own id of the event at fault.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        param: str | None = None,
        kind: str = "invalid_request_error",
        event_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.kind, self.event_id = message, code, param, kind, event_id

    @classmethod
    def of(cls, error: UserError, *, code: str = "invalid_value", param: str | None = None) -> Refusal:
        """A `UserError` as a refusal."""
        return cls(str(error), code=code, param=param)

    def to_json(self) -> dict[str, object]:
        """The ``error`` field of an ``error`` event."""
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": self.event_id,
        }
