"""Configuration: dataclasses with bounded options, filled from YAML files and command-line overrides.

A config is a keyword-only dataclass derived from `Options`; its docstring's ``Attributes`` are the help of its options,
and `option` states a default with its bounds::

    @dataclass(kw_only=True)
    class FitConfig(Options):
        steps: int = option(1000, at_least=1)
        schedule: str = option("linear", one_of=("linear", "cosine"))

The grammar of every command is the same: ``[--config FILE] [key=value ...]``, where ``--key value`` and ``--key=value``
mean the same as ``key=value``. Values follow Hydra's override grammar. Of an option that is a dictionary,
``weights.a=0.5`` and ``weights={a:0.5}`` add the key (or set it) and leave the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from .errors import UserError

BOUNDS, LATER = "bounds", "later"  # keys of a dataclass field's metadata
TRUE, FALSE = "true", "false"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The values that an option may take; the elements of a list are bounded one by one, None is always allowed."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    one_of: tuple[Any, ...] = ()
    remedy: str = ""

    def allow(self, value: Any) -> bool:
        """Whether a value (or each element of a list) lies within the bounds; NaN never does."""
        if value is None:
            return True
        if isinstance(value, list | tuple | set):
            return all(self.allow(element) for element in value)
        if self.one_of:
            return value in self.one_of
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def describe(self) -> str:
        """The bounds in words, e.g. ``at least 1`` or ``one of vq, fsq``."""
        if self.one_of:
            return f"one of {', '.join(str(value) for value in self.one_of)}"
        limits = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        return " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None)


class Options:
    """Base of config dataclasses: every option is checked against its bounds when the config is made."""

    def __post_init__(self) -> None:
        """Check the bounds; a subclass that compares options with each other calls this first.

        Raises:
            UserError: a value out of bounds.
        """
        for name, bounds in option_bounds(type(self)).items():
            check_bounds(name, getattr(self, name), bounds)


def option(
    default: Any = MISSING,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    one_of: Collection[Any] = (),
    remedy: str = "",
    is_later: bool = False,
) -> Any:
    """A config dataclass's field with a default (none: the option is required) and bounds.

    Args:
        default: a list or dictionary is copied for each config.
        at_least: smallest value.
        above: lower bound, itself not allowed.
        at_most: largest value.
        below: upper bound, itself not allowed.
        one_of: the values to choose from.
        remedy: what the error tells the user to do; the bounds in words by default.
        is_later: the option was added later: at its default it does not count in the identity of a run or an artefact
            (`runtime.artefact.identity`).
    """
    bounds = Bounds(at_least=at_least, above=above, at_most=at_most, below=below, one_of=tuple(one_of), remedy=remedy)
    metadata = {BOUNDS: bounds, LATER: is_later}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option_bounds(config_class: type) -> dict[str, Bounds]:
    """The bounds of a config dataclass's own options, by name."""
    if not is_dataclass(config_class):
        return {}
    return {field.name: field.metadata[BOUNDS] for field in fields(config_class) if BOUNDS in field.metadata}


def check_bounds(name: str, value: Any, bounds: Bounds) -> None:
    """Raise a `UserError` about option ``name`` where its value is out of bounds."""
    if not bounds.allow(value):
        words = bounds.describe()
        remedy = bounds.remedy or (f"choose {words}" if bounds.one_of else f"give a value that is {words}")
        raise UserError(f"option {name}", found=f"found {value!r}", remedy=remedy)


class OptionRow(NamedTuple):
    """One option of a config: its dotted name, type, default and bounds in words, and its description."""

    name: str
    kind: Any
    default: str
    bounds: str
    description: str

    def lines(self) -> list[str]:
        """The option as ``--help`` shows it."""
        first = f"  {self.name}={self.default}" + (f"  ({self.bounds})" if self.bounds else "")
        return [first, *textwrap.wrap(self.description, 110, initial_indent="      ", subsequent_indent="      ")]


def option_rows(config_class: type, prefix: str = "") -> list[OptionRow]:
    """All options of a config dataclass, nested ones included."""
    rows: list[OptionRow] = []
    hints = get_type_hints(config_class)
    bounds = option_bounds(config_class)
    descriptions = option_descriptions(config_class)
    for field in fields(config_class):
        kind = hints[field.name]
        name = prefix + field.name
        if isinstance(kind, type) and is_dataclass(kind):
            rows += option_rows(kind, f"{name}.")
            continue
        default = "(required)"
        if field.default is not MISSING:
            default = str(field.default)
        elif field.default_factory is not MISSING:
            default = str(field.default_factory())
        words = bounds[field.name].describe() if field.name in bounds else ""
        rows.append(OptionRow(name, kind, default, words, descriptions.get(field.name, "")))
    return rows


def option_descriptions(config_class: type) -> dict[str, str]:
    """The ``Attributes`` of a config's docstring and of those it derives from, each as one line."""
    found: dict[str, str] = {}
    for each in reversed(config_class.__mro__):
        name = ""
        for line in inspect.cleandoc(each.__doc__ or "").partition("Attributes:")[2].splitlines():
            item = re.match(r" {4}(\w+): (.*)", line)
            if item:
                name, found[item[1]] = item[1], item[2]
            elif name and line.startswith(" " * 8):
                found[name] += f" {line.strip()}"
    return found


def option_help(config_class: type) -> list[str]:
    """The lines of ``--help`` about a config's options: their defaults, bounds and meaning."""
    about = inspect.cleandoc(config_class.__doc__ or "").partition("Attributes:")[0].strip()
    lines = [about, "", "Options (key=value or --key value):"]
    lines += [line for row in option_rows(config_class) for line in row.lines()]
    return [*lines, "", "  --config FILE   a YAML file that sets options before the others", "  --help          this"]


ConfigClass = TypeVar("ConfigClass")


def compose_config(config_class: type[ConfigClass], arguments: Sequence[str], *, positional: str = "") -> ConfigClass:
    """Build ``config_class`` from ``[--config FILE] [key=value ...] [--key value ...]``.

    Args:
        config_class: a dataclass.
        arguments: the words after the command.
        positional: the option (a string, or a list of them) that takes the words without a name.

    Raises:
        UserError: an unknown option, a value of the wrong type or out of bounds, a failed check of the dataclass.
    """
    from omegaconf import OmegaConf

    parsed = parse_words(config_class, arguments, positional)
    node = OmegaConf.structured(config_class)
    for file in parsed.files:
        if not file.is_file():
            raise UserError(str(file), found="no such file", remedy="give --config the path of a YAML file")
        with config_errors(config_class):
            node = OmegaConf.merge(node, OmegaConf.load(file))
    overrides = [_adding(word, dictionary_options(config_class)) for word in parsed.overrides]
    with config_errors(config_class):
        if overrides:  # a file alone needs none of Hydra's grammar
            _override(node, overrides)
        return _checked(config_class, node)


def _override(node: Any, overrides: list[str]) -> None:
    """Apply overrides in Hydra's grammar to ``node``, as Hydra does.

    These are the parts of ``hydra.compose`` without its search for files, in which it reads a dozen groups of its own
    each time (0.1 s).
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.utils import setup_globals
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    setup_globals()
    parsed = OverridesParser.create().parse_overrides(overrides)
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
    OmegaConf.set_struct(node, True)
    ConfigLoaderImpl._apply_overrides_to_config(parsed, node)


def read_section(config_class: type[ConfigClass], values: Mapping[str, Any], prefix: str = "") -> ConfigClass:
    """Build ``config_class`` from a section of a larger config.

    Args:
        config_class: a dataclass.
        values: plain data, its options by name.
        prefix: of the options' names in errors, e.g. ``"site."``.

    Raises:
        UserError: as `compose_config`.
    """
    from omegaconf import OmegaConf

    with config_errors(config_class):
        node = OmegaConf.merge(OmegaConf.structured(config_class), dict(values))
        return _checked(config_class, node, prefix)


def _checked(config_class: type[ConfigClass], node: Any, prefix: str = "") -> ConfigClass:
    """The config that a composed node holds, its bounds checked."""
    from omegaconf import OmegaConf

    # Checked here first, where the dotted names are known: a nested dataclass knows only its own part of them.
    _check_all_bounds(config_class, OmegaConf.to_container(node, resolve=True, enum_to_str=True), prefix)
    value = OmegaConf.to_object(node)
    assert isinstance(value, config_class)
    return value


class ParsedWords(NamedTuple):
    """A command line taken apart: YAML files in their order, and overrides in Hydra's grammar."""

    files: list[Path]
    overrides: list[str]


def parse_words(config_class: type, arguments: Sequence[str], positional: str = "") -> ParsedWords:
    """Read ``key=value``, ``--key value``, ``--key=value``, ``--flag``, ``--no-flag`` and positional words.

    A string given as ``--key value`` or as a positional word is taken literally: it needs no quotes of Hydra's grammar.
    ``--key value`` of a list adds one element, and may be repeated.
    """
    return _read_words({row.name: row.kind for row in option_rows(config_class)}, arguments, positional)


def parse_open_words(arguments: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """Read the words of a command whose options are sections of a YAML file, in the grammar of `parse_words`.

    Args:
        arguments: the words after the command; the options' names are checked by who composes the sections.
        kinds: types of the options that are known beforehand, by dotted name.

    Returns:
        Overrides in Hydra's grammar.
    """
    return _read_words({"config": str} | dict(kinds), arguments).overrides


def _read_words(kinds: Mapping[str, Any], arguments: Sequence[str], positional: str = "") -> ParsedWords:
    files: list[Path] = []
    overrides: list[str] = []
    bare: list[str] = []
    lists: dict[str, list[str]] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            is_override = "=" in word and word.split("=")[0].lstrip("+~").split(".")[0].isidentifier()
            (overrides if is_override else bare).append(word)
            continue
        spelt, _, value = word[2:].partition("=")
        key = spelt if spelt in kinds else spelt.replace("-", "_")
        has_value = "=" in word
        if not has_value and key not in kinds and key.removeprefix("no_") in kinds:
            overrides.append(f"{key.removeprefix('no_')}={FALSE}")
        elif not has_value and kinds.get(key) is bool and (not words or words[0] not in (TRUE, FALSE)):
            overrides.append(f"{key}={TRUE}")
        else:
            if not has_value:
                if not words:
                    found = "no file name" if key == "config" else "no value"
                    remedy = "write --config FILE.yaml" if key == "config" else f"write --{spelt} VALUE, or {key}=VALUE"
                    raise UserError(f"option --{spelt}", found=found, remedy=remedy)
                value = words.pop(0)
            if key == "config" and key not in kinds:
                files.append(Path(value))
            elif get_origin(kinds.get(key)) is list and not value.startswith("["):
                lists.setdefault(key, []).append(_quoted(value) if get_args(kinds[key]) == (str,) else value)
            else:
                overrides.append(f"{key}={_quoted(value) if _is_text(kinds.get(key)) else value}")
    if bare and not positional:
        remedy = "see --help for options"
        raise UserError(f"argument {bare[0]!r}", found="not of the form key=value", remedy=remedy)
    if bare:
        is_list = get_origin(kinds[positional]) is list
        if len(bare) > 1 and not is_list:
            raise UserError(f"argument {bare[1]!r}", found=f"a second {positional}", remedy="see --help for options")
        literal = [_quoted(word) for word in bare]
        if is_list:
            lists.setdefault(positional, []).extend(literal)
        else:
            overrides.append(f"{positional}={literal[0]}")
    overrides += [f"{key}=[{','.join(values)}]" for key, values in lists.items()]
    return ParsedWords(files, overrides)


def _adding(word: str, dictionaries: Sequence[str]) -> str:
    """An override that may add keys where it is of a dictionary: ``weights.a=0.5`` and ``weights={a:0.5}`` alike."""
    key = word.partition("=")[0]
    is_added = any(key == name or key.startswith(f"{name}.") for name in dictionaries)
    return f"++{word}" if is_added else word


def _is_text(kind: Any) -> bool:
    return kind is str or (str in get_args(kind) and get_origin(kind) not in (list, dict, tuple))


def _quoted(value: str) -> str:
    """A string as Hydra's grammar takes it literally; ``null`` stays what it is."""
    if value == "null":
        return value
    # Within quotes only a quote is escaped, and the backslashes that stand before one (or at the end).
    escaped = re.sub(r"(\\*)'", r"\1\1\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return "'" + escaped.replace("${", r"\${") + "'"  # no interpolation of OmegaConf's


def _check_all_bounds(config_class: type, values: Any, prefix: str = "") -> None:
    bounds = option_bounds(config_class)
    for name, kind in get_type_hints(config_class).items():
        if not isinstance(values, dict) or name not in values:
            continue
        if isinstance(kind, type) and is_dataclass(kind):
            _check_all_bounds(kind, values[name], f"{prefix}{name}.")
        elif name in bounds and values[name] != "???":  # OmegaConf's mark of a value that is still missing
            check_bounds(prefix + name, values[name], bounds[name])


@contextlib.contextmanager
def config_errors(config_class: type) -> Iterator[None]:
    """Turn Hydra's and OmegaConf's exceptions into one `UserError` that names the option and near names."""
    from hydra.errors import HydraException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        key = str(getattr(cause, "full_key", None) or "")
        text = " ".join(str(cause).split("full_key:")[0].split())
        if isinstance(cause, MissingMandatoryValue):
            raise UserError(f"option {key}", found="not given", remedy=f"add {key}=VALUE") from error
        if isinstance(cause, ConfigKeyError | ConfigAttributeError):
            near = get_close_matches(key, [row.name for row in option_rows(config_class)], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? See" if near else "see"
            raise UserError(f"option {key}", found="no such option", remedy=f"{hint} --help for all") from error
        raise UserError(f"option {key}" if key else "options", found=text, remedy="see --help for types") from error


def dictionary_options(config_class: type, prefix: str = "") -> tuple[str, ...]:
    """The dotted name of each option that is a dictionary, whose keys the user makes up."""
    found: list[str] = []
    for name, kind in get_type_hints(config_class).items():
        if isinstance(kind, type) and is_dataclass(kind):
            found += dictionary_options(kind, f"{prefix}{name}.")
        elif get_origin(kind) is dict:
            found.append(f"{prefix}{name}")
    return tuple(found)
