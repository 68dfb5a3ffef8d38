"""Grid of an ablation: the options of ``tokenizer.train`` that vary, and the options of each point.

``model.frame_rate=50,25 vq.codebook_size=256,512`` (Hydra's sweep grammar) spans the product of the lists, here four
points. One value sets the option for all points. What goes with a frame rate (`AblateConfig.by_frame_rate`) gives way
to what was swept or set on the command line.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra.errors import HydraException

from runtime.errors import UserError, check_option


@dataclass(frozen=True)
class Point:
    """One training of the grid.

    Attributes:
        swept: the options that vary, dotted, with this point's values.
        options: all options of ``tokenizer.train`` that this point sets, dotted (``swept`` included).
    """

    swept: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The options that vary, as text."""
        return ", ".join(f"{short(key)} {plain(value)}" for key, value in self.swept.items()) or "one point"

    @property
    def name(self) -> str:
        """A name for folders and steps."""
        words = [f"{key.removeprefix('model.')}-{plain(value)}" for key, value in self.swept.items()]
        return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words)) or "point"

    @property
    def frame_rate(self) -> float:
        """Tokens a second."""
        return float(self.options.get("model.frame_rate", 12.5))

    def nested(self) -> dict[str, Any]:
        """The options as the nested sections of a YAML file."""
        return nest(self.options)


@dataclass(frozen=True)
class Overrides:
    """The options of ``tokenizer.train`` given on a command line.

    Attributes:
        swept: dotted option to the list of its values.
        fixed: dotted option to its one value.
    """

    swept: dict[str, list[Any]]
    fixed: dict[str, Any]


def parse_overrides(words: Sequence[str]) -> Overrides:
    """Read ``key=value`` and ``key=value,value`` words with Hydra's grammar.

    Raises:
        UserError: a word that is no override.
    """
    swept: dict[str, list[Any]] = {}
    fixed: dict[str, Any] = {}
    parser = OverridesParser.create()
    for word in words:
        try:
            override = parser.parse_override(word)
            key = str(override.key_or_group)
            swept.pop(key, None)  # the last word about an option holds
            fixed.pop(key, None)
            if override.is_sweep_override():
                swept[key] = [unquoted(value) for value in override.sweep_iterator(Transformer.identity)]
            else:
                fixed[key] = override.value()
        except HydraException as error:
            text = str(error).splitlines()[0]
            raise UserError(f"argument {word!r}", found=text, remedy="write key=value or key=value,value") from error
    return Overrides(swept, fixed)


def unquoted(value: Any) -> Any:
    """A value of a sweep as plain data (Hydra keeps quoted strings in a class of their own)."""
    return value.text if hasattr(value, "text") else value


def make_points(
    sweep: Mapping[str, Sequence[Any]],
    train: Mapping[str, Any],
    by_frame_rate: Mapping[str, Mapping[str, Any]],
    overrides: Overrides,
) -> list[Point]:
    """The points of a grid, the first option varying slowest.

    Args:
        sweep: the recipe's own grid; an option set or swept on the command line takes its place.
        train: the recipe's options for all points (dotted).
        by_frame_rate: options that go with a frame rate (keys such as ``"12.5"``).
        overrides: from the command line.
    """
    lists = {key: list(values) for key, values in sweep.items() if key not in overrides.fixed} | overrides.swept
    for key, values in lists.items():
        check_option(len(values) > 0, f"sweep.{key}", values, "give at least one value")
        check_option(len(set(map(plain, values))) == len(values), key, values, "name each value once")
    points = []
    for combination in itertools.product(*lists.values()):
        swept = dict(zip(lists, combination, strict=True))
        options = dict(train) | overrides.fixed | swept
        rate = options.get("model.frame_rate", 12.5)
        own = by_frame_rate.get(plain(rate), {})
        options |= {key: value for key, value in own.items() if key not in swept and key not in overrides.fixed}
        points.append(Point(swept, options))
    return points


def short(key: str) -> str:
    """The last word of a dotted option, in words."""
    return key.split(".")[-1].replace("_", " ")


def plain(value: Any) -> str:
    """A value as text; 50.0 and 50 are the same."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    nested: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, last = key.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse of `nest`; lists stay values."""
    dotted: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            dotted |= flatten(value, f"{prefix}{key}.")
        else:
            dotted[f"{prefix}{key}"] = value
    return dotted
