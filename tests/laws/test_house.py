"""Laws of the house: every room is imported from this clone, every stage helps quickly, no room imports heavily."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.cli import COMMANDS, Subcommand, main
from tests.support.rooms import ROOMS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "nemo", "megatron", "transformers", "lhotse", "matplotlib", "vector_quantize_pytorch")


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_imported_from_this_clone(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / room


def test_no_file_bears_a_rooms_name() -> None:
    wrong = [file for room in ROOMS for file in (ROOT / room).rglob("*.py") if file.stem in ROOMS]
    assert wrong == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words.replace(" ", "-"))
def test_help_is_quick_and_light(command: object) -> None:
    assert isinstance(command, tuple)
    words, module, _ = command
    probe = (
        "import sys, time; from recipes.cli import main; status = main(sys.argv[1:]); "
        "print('CPU SECONDS', time.process_time()); "
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *words.split(), "--help"], capture_output=True, text=True, cwd=ROOT, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert module in done.stdout or "speechweave" in done.stdout
    assert float(done.stdout.split("CPU SECONDS ")[1].split()[0]) < 2.0, "CPU seconds: the wall clock is the machine's"
    assert "HEAVY []" in done.stdout, f"{module} imports heavy libraries before it needs them: {done.stdout[-200:]}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words.replace(" ", "-"))
def test_both_spellings_of_an_option_mean_the_same(
    command: object, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(command, tuple)
    monkeypatch.chdir(tmp_path)
    errors = []
    for words in (["unheard_of=1"], ["--unheard_of", "1"], ["--unheard-of=1"]):
        assert main([*command[0].split(), *words]) == 2
        errors.append(capsys.readouterr().err)
    assert "unheard_of" in errors[0] and "Traceback" not in errors[0]
    assert errors[1:] == [errors[0]] * 2


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words.replace(" ", "-"))
def test_the_example_of_a_stage_is_a_command_that_it_reads(command: Subcommand) -> None:
    """As a shell hands it over: Hydra's grammar has no ``>``, for one."""
    stage = getattr(importlib.import_module(command.module), "STAGE", None)
    if stage is not None:
        assert stage.compose(shlex.split(stage.example)).out


def test_unknown_command_names_near_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recipes.cli", "tokeniser", "train"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "tokenizer train" in done.stderr


def test_the_commands_of_a_word_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    mine = [command.words for command in COMMANDS if command.words.startswith("evaluate ")]
    for words in (["evaluate"], ["evaluate", "--help"]):
        assert main(words) == 0
        listed = capsys.readouterr().out
        assert len(mine) > 10 and all(f"  {name} " in listed for name in mine) and "lm train" not in listed
    assert main(["evaluat"]) == 2 and "Did you mean" in capsys.readouterr().err
