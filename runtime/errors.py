"""Errors that a user can repair, as one paragraph of subject, finding and remedy, and a command's exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator


class UserError(ValueError):
    """A mistake that the user can correct. Commands print it as one paragraph and exit with status 2.

    Args:
        subject: the file or option at fault, e.g. ``"train.jsonl, line 7"`` or ``"option fit.steps"``.
        found: the fault.
        remedy: the way out.
    """

    def __init__(self, subject: str, *, found: str, remedy: str) -> None:
        self.subject = subject
        self.found = found
        self.remedy = remedy
        super().__init__(f"{subject}: {found.rstrip('.')}. {remedy.rstrip('.')}.")

    def __reduce__(self) -> tuple[Callable[..., UserError], tuple[str, str, str]]:
        """Pickle support: worker processes send the error to the main one."""
        return _restore, (self.subject, self.found, self.remedy)


def _restore(subject: str, found: str, remedy: str) -> UserError:
    return UserError(subject, found=found, remedy=remedy)


def check_option(holds: bool, option: str, value: object, remedy: str) -> None:
    """Raise a `UserError` about ``option`` unless ``holds``; for the `__post_init__` of config dataclasses."""
    if not holds:
        raise UserError(f"option {option}", found=f"found {value!r}", remedy=remedy)


@contextlib.contextmanager
def explained_errors() -> Iterator[None]:
    """Turn the operating system's disk errors into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        place = str(error.filename or "the output folder")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some space and call again: what was finished is kept, and the stage goes on from there"
            raise UserError(place, found="the disk is full", remedy=remedy) from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise UserError(place, found="no permission to write or read", remedy="choose another out=") from error
        raise


def exit_status(words: str, action: Callable[[], int | None]) -> int:
    """Run a command and report its end: 0 good, 2 a user's error (one paragraph on stderr), 1 a defect (traceback).

    Args:
        words: of the command after ``speechweave``, for the message.
        action: the command; it may return an exit status of its own.
    """
    try:
        with explained_errors():
            status = action() or 0
            sys.stdout.flush()
            return status
    except UserError as error:
        print(f"\nspeechweave {words}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has ended: no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its exit
    except Exception:
        traceback.print_exc()
        return 1
    return 0
