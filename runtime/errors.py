"""The error for what a user did: one paragraph that names the file or option, what was found, and the remedy."""

from __future__ import annotations

from collections.abc import Callable


class UserError(ValueError):
    """A mistake the user can mend. Commands print it as one paragraph and exit with status 2.

    Args:
        subject: the file or option at fault, e.g. ``"train.jsonl, line 7"`` or ``"option fit.steps"``.
        found: what was found there.
        remedy: what to do about it.
    """

    def __init__(self, subject: str, *, found: str, remedy: str) -> None:
        self.subject = subject
        self.found = found
        self.remedy = remedy
        super().__init__(f"{subject}: {found.rstrip('.')}. {remedy.rstrip('.')}.")

    def __reduce__(self) -> tuple[Callable[..., UserError], tuple[str, str, str]]:
        """Lets a worker process hand the error to the main one."""
        return _restore, (self.subject, self.found, self.remedy)


def _restore(subject: str, found: str, remedy: str) -> UserError:
    return UserError(subject, found=found, remedy=remedy)


def check_option(holds: bool, option: str, value: object, remedy: str) -> None:
    """Raise a `UserError` about ``option`` unless ``holds``; for the `__post_init__` of config dataclasses."""
    if not holds:
        raise UserError(f"option {option}", found=f"found {value!r}", remedy=remedy)
