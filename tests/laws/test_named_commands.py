"""Commands and modules that documentation, build files, recipes and docstrings name: all of them exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from recipes.cli import find_command
from tests.support.rooms import ROOMS

ROOT = Path(__file__).resolve().parents[2]
OWN = (*ROOMS, "benchmarks", "tests")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "docs/*.md", "benchmarks/*.py")
PARTS = ("*.py", "*.yaml", "*.j2", "*.html", "Dockerfile")

SNIPPET = re.compile(r"""(?:python3?|PYTHON\)) -c (['"])(.+?)\1""")
MODULE = re.compile(r"(?:python3?|torchrun)(?: -m torch\.distributed\.run)?(?: --[\w-]+=\S+)* -m ([a-z]\w*(?:\.\w+)*)")
COMMAND = re.compile(r"(?:^[\s#$>]*|`|bin/)speechweave ((?:[a-z][\w-]*(?![\w.=/]|:\w)\s?)+)", re.MULTILINE)
REFERENCE = re.compile(rf"`((?:{'|'.join(ROOMS)})(?:\.\w+)+)(?:\(\))?`")
FILE = re.compile(rf"(?<![\w/.])((?:{'|'.join(OWN)})/[\w/]+\.(?:py|yaml|j2|html))\b")
# Names of the examples in CONTRIBUTING.md, a file of artefacts, and a section of recipes.
PLACEHOLDERS = {"room.stage", "corpus.count"}
EXAMPLES = re.compile(r"/(NAME|count|count_config|counting)\.py$")
NOT_MODULES = {"corpus.json", "tokenizer.json", "lm.parallel"}


@cache
def texts() -> dict[str, str]:
    files = [file for pattern in DOCUMENTS for file in sorted(ROOT.glob(pattern))]
    files += [file for room in ROOMS for pattern in PARTS for file in sorted((ROOT / room).rglob(pattern))]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def found(pattern: re.Pattern[str], group: int = 1) -> Iterator[tuple[str, str]]:
    for place, text in texts().items():
        for match in pattern.finditer(text):
            yield place, match[group]


@cache
def definitions(module: str) -> dict[str, ast.stmt] | None:
    """What a module or package binds at its top level; None where there is none."""
    path = ROOT.joinpath(*module.split("."))
    file = next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
    if file is None:
        return {} if path.is_dir() else None
    return bound(ast.parse(file.read_text(encoding="utf-8")).body)


def bound(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names that statements bind, those in functions' bodies on ``self`` included."""
    names: dict[str, ast.stmt] = {}
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names[statement.name] = statement
        for node in ast.walk(statement) if not isinstance(statement, ast.ClassDef) else ():
            if isinstance(node, ast.alias):
                names[node.asname or node.name] = statement
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names[node.id] = statement
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names[node.attr] = statement
    return names


def exists(name: str) -> bool:
    """Whether a dotted name is a module of this project, or what a module or a class in it holds."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        held = definitions(".".join(parts[:length]))
        if held is None:
            continue
        for part in parts[length:]:
            if part not in held:
                return False
            target = held[part]
            held = bound(target.body) if isinstance(target, ast.ClassDef) else {}
        return True
    return False


def imported(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_snippets_import_what_exists() -> None:
    """A snippet that cannot import its module only looks like one that answers "no"."""
    names = [(place, name) for place, code in found(SNIPPET, 2) for name in imported(code)]
    own = [(place, name) for place, name in names if name.split(".")[0] in OWN]
    assert {"Makefile", "recipes/containers/Dockerfile"} <= {place for place, _ in own}
    assert [(place, name) for place, name in own if not exists(name)] == []


def test_modules_that_are_run_exist() -> None:
    names = {(place, name) for place, name in found(MODULE) if name not in PLACEHOLDERS}
    assert len(names) > 20
    # PathFinder alone: setuptools takes a search for pip as pip's start, and its distutils is gone for all later tests
    missing = [
        (place, name)
        for place, name in sorted(names)
        if PathFinder.find_spec(name.split(".")[0]) is None or (name.split(".")[0] in OWN and not exists(name))
    ]
    assert missing == []


def test_commands_exist() -> None:
    words = {(place, command.strip()) for place, command in found(COMMAND)}
    assert len(words) > 50
    assert [(place, command) for place, command in sorted(words) if find_command(command.split()) is None] == []


def test_names_of_modules_in_docstrings_exist() -> None:
    names = {(place, name) for place, name in found(REFERENCE) if place.endswith(".py") and name not in NOT_MODULES}
    assert len(names) > 100
    assert [(place, name) for place, name in sorted(names) if not exists(name)] == []


def test_files_that_are_named_exist() -> None:
    names = {(place, name) for place, name in found(FILE) if not EXAMPLES.search("/" + name)}
    assert len(names) > 20
    assert [(place, name) for place, name in sorted(names) if not (ROOT / name).exists()] == []
