"""Commands on recipes: their options are the sections of a YAML file, written ``SECTION.option=value``.

``--SECTION.option value`` means the same, as for every command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.config import parse_open_words
from runtime.errors import exit_status


@dataclass(frozen=True, kw_only=True)
class RecipeCommand:
    """One command on a recipe.

    Attributes:
        words: e.g. ``"ablate tokenizer"``.
        help: the text of ``--help``.
        run: acts on overrides in Hydra's grammar; returns the exit status.
        kinds: types of options that the command itself knows, by dotted name: flags and strings.
    """

    words: str
    help: str
    run: Callable[[list[str]], int]
    kinds: Mapping[str, Any] = field(default_factory=dict)

    def exit(self) -> None:
        """Run with the process's arguments and leave with the exit status."""
        sys.exit(self.main())

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Parse ``arguments`` (None: the process's own) and act; the exit status is 2 for a user's error."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        try:
            return exit_status(self.words, lambda: self._act(words))
        except KeyboardInterrupt:
            print("\nstopped; call again to go on", file=sys.stderr)
            return 130

    def _act(self, words: list[str]) -> int:
        if "--help" in words or "-h" in words:
            print(self.help)
            return 0
        return self.run(parse_open_words(words, self.kinds))
