"""A command that is no stage (it looks at things, or answers): arguments as words, mistakes in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .errors import UserError
from .stage import explained_errors


def run_command(
    parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], None], arguments: Sequence[str] | None
) -> int:
    """Parse ``arguments`` (None: the process's own) and act; returns the exit status (0 good, 2 user error).

    Args:
        parser: its ``prog`` names the command in errors.
        action: raises `UserError` for what the user did.
        arguments: the words after the command.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stopped:  # argparse has printed the help or the mistake
        return stopped.code if isinstance(stopped.code, int) else 2
    try:
        with explained_errors():
            action(options)
    except UserError as error:
        print(f"\n{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0
