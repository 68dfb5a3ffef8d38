"""The container file: every version pinned, allowed by pyproject.toml, and as tested; read as text, without Docker."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "recipes/containers/Dockerfile").read_text(encoding="utf-8")
LINES = [line.strip() for line in re.sub(r"\\\n", " ", TEXT).splitlines() if line.strip() and not line.startswith("#")]


def installed() -> list[Requirement]:
    """What ``pip install`` gets by name."""
    found = []
    for call in re.findall(r"pip install ([^&|\n]+)", "\n".join(LINES)):
        words = [word.strip('"') for word in call.split()]
        taken = {
            number + 1 for number, word in enumerate(words) if word in ("-c", "-e", "--index-url", "--config-settings")
        }
        names = [word for number, word in enumerate(words) if number not in taken and not word.startswith("-")]
        found += [Requirement(name) for name in names if name != "."]
    return found


def test_every_package_has_one_version() -> None:
    names = {each.name for each in installed()}
    assert {"torch", "transformer-engine", "setuptools"} <= names
    for each in installed():
        assert re.fullmatch(r"==[\d.]+", str(each.specifier)), f"{each} is no pin"


def test_the_versions_are_allowed_and_the_tested_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["gpu"])]
    pins = {each.name: str(each.specifier).removeprefix("==") for each in installed()}
    shared = [each for each in asked if each.name in pins]
    assert {each.name for each in shared} == {"torch", "transformer-engine"}
    assert all(each.specifier.contains(pins[each.name]) for each in shared)
    assert f"torch=={pins['torch']}" in (ROOT / "constraints/cpu.txt").read_text(encoding="utf-8").split()


def test_the_image_below_has_a_version() -> None:
    (image,) = (line.split()[1] for line in LINES if line.startswith("FROM "))
    assert re.search(r":\d+\.\d+", image)


def test_no_branch_is_built() -> None:
    assert not re.search(r"\b(master|main|latest|HEAD)\b", "\n".join(LINES))
    assert "git checkout ${APEX_REF}" in TEXT


@pytest.mark.parametrize(("ref", "is_refused"), [("", True), ("master", True), ("25.09", True), ("0" * 40, False)])
def test_apex_is_built_at_a_whole_commit_only(ref: str, is_refused: bool) -> None:
    (guard,) = (line.removeprefix("RUN ") for line in LINES if line.startswith("RUN echo"))
    done = subprocess.run(["sh", "-c", guard], env={"APEX_REF": ref, "PATH": "/usr/bin:/bin"}, capture_output=True)
    assert (done.returncode != 0) == is_refused


def test_lists_of_packages_do_not_stay_in_the_image() -> None:
    for line in LINES:
        if "apt-get install" in line:
            assert "--no-install-recommends" in line and "rm -rf /var/lib/apt/lists/*" in line
