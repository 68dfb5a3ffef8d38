"""Laws of the structure: names, docstrings and imports, read off the source of every room.

Circles are held by import-linter (`acyclic_siblings`), which counts imports inside functions and under
``TYPE_CHECKING``, too.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from recipes.cli import COMMANDS
from tests.support.rooms import ROOMS

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Words that hide a technical term, or that a reader of today's technical English stumbles over.
BANNED = re.compile(r"\b(told|put up with|so many|mend(?:s|ed)?|beside|whoever|lest|bears)\b", re.IGNORECASE)
QUESTION = re.compile(r"(What|Who|Whose|How|When|Which)\b")
MOST_LAZY_IMPORTS, MOST_TYPE_CHECKING_BLOCKS = 18, 20  # the first besides those of stages, which have one each
# A stage module holds its config classes, `run`, and the functions that its Stage refers to.
MOST_OWN_IMPORTS_OF_A_RUN = 1


class Module(NamedTuple):
    """A module of the product: its dotted name, its file, its syntax tree."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def is_stage(self) -> bool:
        """Whether it holds a ``STAGE``."""
        assigned = [target for node in self.tree.body if isinstance(node, ast.Assign) for target in node.targets]
        return any(getattr(target, "id", "") == "STAGE" for target in assigned)

    def imported(self, node: ast.ImportFrom) -> str:
        """The absolute name of what ``node`` imports from."""
        if not node.level:
            return node.module or ""
        above = self.package.split(".")
        return ".".join(filter(None, [".".join(above[: len(above) - node.level + 1]), node.module]))

    def is_own(self, node: ast.AST) -> bool:
        """Whether ``node`` imports from a room."""
        return isinstance(node, ast.ImportFrom) and self.imported(node).split(".")[0] in ROOMS


@cache
def modules() -> tuple[Module, ...]:
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return tuple(
        Module(name, file, ast.parse(file.read_text(encoding="utf-8"))) for name, file in zip(names, files, strict=True)
    )


def lazy_imports(module: Module) -> Iterator[ast.ImportFrom]:
    """Imports of own modules inside functions."""
    for function in ast.walk(module.tree):
        if isinstance(function, FUNCTIONS):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and module.is_own(node):
                    yield node


def docstrings(module: Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{module.name}:{getattr(node, 'name', 'module')}", text


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module.name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_docstrings_speak_the_fields_language() -> None:
    found = [
        (place, banned.group() if banned else text[:40])
        for module in modules()
        for place, text in docstrings(module)
        if (banned := BANNED.search(text)) or QUESTION.match(text)
    ]
    assert found == []


def test_a_stage_module_is_its_config_and_a_run_of_one_import() -> None:
    wrong = {}
    for module in modules():
        if not module.is_stage:
            continue
        runs = [node for node in module.tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"]
        assert len(runs) == 1, module.name
        in_run = sum(module.is_own(node) for node in ast.walk(runs[0]))
        elsewhere = len({id(node) for node in lazy_imports(module)}) - in_run
        if in_run > MOST_OWN_IMPORTS_OF_A_RUN or elsewhere:
            wrong[module.name] = (in_run, elsewhere)
    assert wrong == {}


def test_every_command_runs_as_a_module() -> None:
    """``python -m room.command`` acts; without its last two lines it would do nothing and say so to nobody."""
    public = {module.name: module for module in modules()}
    for command in COMMANDS:
        last = public[command.module].tree.body[-1]
        assert isinstance(last, ast.If) and "__main__" in ast.unparse(last.test), command.module


def test_what_rooms_hand_each_other_are_records_not_dictionaries() -> None:
    """A function that another room imports returns no dictionary of anything under string keys."""
    public = {module.name: module for module in modules()}
    used = {
        (module.imported(node), alias.name)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and module.is_own(node)
        for alias in node.names
        if module.imported(node).split(".")[0] != module.name.split(".")[0]
    }
    # JSON objects and identities of configs are dictionaries by nature.
    allowed = {("runtime.artefact", "read_json"), ("runtime.artefact", "identity")}
    wrong = []
    for name, symbol in sorted(used - allowed):
        for node in public[name].tree.body if name in public else []:
            if isinstance(node, FUNCTIONS) and node.name == symbol and node.returns is not None:
                returned = ast.unparse(node.returns)
                if re.search(r"(dict|Mapping)\[str, (Any|object)\]", returned):
                    wrong.append((name, symbol, returned))
    assert wrong == []


def test_imports_stand_at_the_top() -> None:
    """Few imports of own modules inside functions, few ``TYPE_CHECKING`` blocks: neither may hide a circle."""
    lazy = {
        f"{module.name}:{node.lineno}" for module in modules() if not module.is_stage for node in lazy_imports(module)
    }
    blocks = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    assert len(lazy) < MOST_LAZY_IMPORTS, sorted(lazy)
    assert len(blocks) < MOST_TYPE_CHECKING_BLOCKS, sorted(blocks)
