"""Laws of the structure: names, docstrings and imports, read off the source of every room.

Circles are held by import-linter (`acyclic_siblings`), which counts imports inside functions and under
``TYPE_CHECKING``, too. It does not see the references of stages, strings ``"module:function"`` that are imported when
needed: here they count as imports. (The rows of a table of variants are such strings as well, and each variant derives
from a class that reads the table: those circles are the table's purpose.)
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import grimp

from recipes.cli import COMMANDS
from tests.support.rooms import ROOMS

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Words that hide a technical term, or that a reader of today's technical English stumbles over.
BANNED = re.compile(r"\b(told|put up with|so many|mend(?:s|ed)?|beside|whoever|lest|bears)\b", re.IGNORECASE)
QUESTION = re.compile(r"(What|Who|Whose|How|When|Which)\b")
REFERENCE = re.compile(rf"(?P<module>({'|'.join(ROOMS)})(\.\w+)+):(?P<name>\w+)")
MOST_LAZY_IMPORTS, MOST_TYPE_CHECKING_BLOCKS = 17, 4  # of all modules of the product


class Module(NamedTuple):
    """A module of the product: its dotted name, its file, its syntax tree."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @property
    def stage(self) -> dict[str, Any]:
        """The arguments of its ``STAGE``, strings as they are and others as source; empty where it has none."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STAGE":
                assert isinstance(node.value, ast.Call)
                values = {str(given.arg): given.value for given in node.value.keywords}
                return {
                    name: value.value if isinstance(value, ast.Constant) else ast.unparse(value)
                    for name, value in values.items()
                }
        return {}

    def references(self) -> Iterator[re.Match[str]]:
        """The strings ``"module:name"`` that stand in it."""
        for node in ast.walk(self.tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and (found := REFERENCE.fullmatch(text)) is not None:
                yield found

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


def test_a_stages_implementation_is_a_function_of_its_room_that_takes_its_config() -> None:
    """Names of classes are unique, so equal names of the config's class mean one class. All else stands at the top."""
    public = {module.name: module for module in modules()}
    wrong = {}
    for module in modules():
        if not module.stage:
            continue
        found = REFERENCE.fullmatch(module.stage["implementation"])
        assert found is not None, module.name
        place = public.get(found["module"])
        takes = [
            [ast.unparse(parameter.annotation) for parameter in node.args.args if parameter.annotation is not None]
            for node in (place.tree.body if place is not None and place.room == module.room else ())
            if isinstance(node, ast.FunctionDef) and node.name == found["name"]
        ]
        if takes != [[module.stage["config"], "Run"]] or any(lazy_imports(module)):
            wrong[module.name] = (module.stage["implementation"], takes)
    assert wrong == {}


def test_a_reference_names_what_is_there_in_its_own_room() -> None:
    public = {module.name: module for module in modules()}
    wrong = []
    for module in modules():
        for found in module.references():
            there = public[found["module"]].tree.body if found["module"] in public else []
            defined = {getattr(node, "name", "") for node in there}
            if found["name"] not in defined or found["module"].split(".")[0] != module.room:
                wrong.append((module.name, found.group()))
    assert wrong == []


def test_no_circle_where_implementations_of_stages_count_as_imports() -> None:
    """Between any two modules or folders that lie in one folder of a room."""
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    for module in modules():
        for found in module.references() if module.stage else ():
            graph.add_import(importer=module.name, imported=found["module"])
    packages = [module.name for module in modules() if module.file.name == "__init__.py"]
    circles = {package: graph.nominate_cycle_breakers(package) for package in packages}
    assert {package: circle for package, circle in circles.items() if circle} == {}


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
    lazy = {f"{module.name}:{node.lineno}" for module in modules() for node in lazy_imports(module)}
    blocks = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    assert len(lazy) <= MOST_LAZY_IMPORTS, sorted(lazy)
    assert len(blocks) <= MOST_TYPE_CHECKING_BLOCKS, sorted(blocks)
