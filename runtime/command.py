"""Commands that are no stage: they show something or serve, have options like a stage, and no run folder.

::

    COMMAND = Command(name="lm.generate", words="lm generate", config=GenerateConfig, run=generate, positional="model",
                      summary="...", example="speechweave lm generate runs/model --text 'the sea is'")
    main = COMMAND.main

    if __name__ == "__main__":
        COMMAND.exit()
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .config import Options, compose_config, option_help
from .errors import exit_status

CommandConfig = TypeVar("CommandConfig", bound=Options)


@dataclass(frozen=True, kw_only=True)
class Command(Generic[CommandConfig]):
    """One command: its options, and the function that acts on them.

    Attributes:
        name: module path, e.g. ``"lm.generate"``.
        words: the same for ``speechweave``, e.g. ``"lm generate"``; empty for a module that is only run by its path.
        config: dataclass derived from `runtime.config.Options`.
        run: acts, and may return an exit status of its own; raises `UserError` for what the user did.
        summary: one line for ``--help``.
        example: whole lines shown in ``--help``.
        notes: text at the end of ``--help``.
        positional: the option that takes words without a name.
    """

    name: str
    words: str
    config: type[CommandConfig]
    run: Callable[[CommandConfig], int | None]
    summary: str
    example: str
    positional: str = ""
    notes: str = ""

    def exit(self) -> None:
        """Run with the process's arguments and leave with the exit status."""
        sys.exit(self.main())

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Parse ``arguments`` (None: the process's own) and act; the exit status is 2 for a user's error."""
        words = sys.argv[1:] if arguments is None else arguments
        return exit_status(self.words or self.name, lambda: self._act(words))

    def _act(self, words: Sequence[str]) -> int | None:
        if "--help" in words or "-h" in words:
            print(self.help())
            return None
        return self.run(compose_config(self.config, words, positional=self.positional))

    def help(self) -> str:
        """The text of ``--help``: what the command does, examples, its options with defaults and bounds."""
        usage = f"{self.positional.upper()} " if self.positional else ""
        program = f"speechweave {self.words}" if self.words else f"python -m {self.name}"
        lines = [self.summary, "", f"usage: {program} {usage}[key=value ...]", ""]
        lines += [f"  {example}".rstrip() for example in self.example.strip().splitlines()]
        notes = ["", self.notes.strip()] if self.notes else []
        return "\n".join([*lines, "", *option_help(self.config), *notes])
