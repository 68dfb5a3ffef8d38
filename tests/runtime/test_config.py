"""Options: bounds are checked under their dotted names, and every spelling of an option means the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.command import Command
from runtime.config import Options, compose_config, option, option_help
from runtime.errors import UserError


@dataclass(kw_only=True)
class PartConfig(Options):
    """A part."""

    steps: int = option(3, at_least=1)
    rate: float = option(0.5, above=0, below=1)
    kind: str = option("vq", one_of=("vq", "fsq"))
    levels: list[int] = option([8, 8], at_least=3)


@dataclass(kw_only=True)
class ToyConfig(Options):
    """A toy.

    Attributes:
        text: any words.
    """

    part: PartConfig = field(default_factory=PartConfig)
    text: str = ""
    note: str | None = None
    files: list[str] = field(default_factory=list)
    is_open: bool = False
    shares: dict[str, float] = field(default_factory=dict)
    count: int = option(at_least=2)


def compose(*words: str, positional: str = "") -> ToyConfig:
    return compose_config(ToyConfig, [*words, "count=2"], positional=positional)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("part.steps=0", "option part.steps: found 0. give a value that is at least 1"),
        ("part.rate=1.0", "option part.rate: found 1.0. give a value that is above 0 and below 1"),
        ("part.rate=nan", "option part.rate: found nan"),
        ("part.kind=lfq", "option part.kind: found 'lfq'. choose one of vq, fsq"),
        ("part.levels=[8,2]", "option part.levels: found [8, 2]. give a value that is at least 3"),
        ("count=1", "option count: found 1. give a value that is at least 2"),
        ("shares={a:much}", "option shares.a: Value 'much'"),
        ("shares=0.5", "option shares: "),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_dotted_name(word: str, expected: str) -> None:
    with pytest.raises(UserError) as refused:
        compose_config(ToyConfig, ["count=2", word])
    assert expected in str(refused.value)


def test_a_config_made_in_python_is_checked_too() -> None:
    with pytest.raises(UserError, match="option steps"):
        PartConfig(steps=0)
    assert PartConfig().levels is not PartConfig().levels


@pytest.mark.parametrize(
    "words",
    [
        ("part.steps=7", "is_open=true", "text=hello"),
        ("--part.steps", "7", "--is_open", "--text", "hello"),
        ("--part.steps=7", "--is-open=true", "--text=hello"),
        ("--part.steps", "7", "--is-open", "true", "text=hello"),
        ("--no-is-open", "--text", "hello", "--part.steps", "7", "--is-open"),
    ],
)
def test_every_spelling_means_the_same(words: tuple[str, ...]) -> None:
    made = compose(*words)
    assert (made.part.steps, made.is_open, made.text) == (7, True, "hello")


def test_a_list_is_given_whole_or_element_by_element() -> None:
    assert compose("files=[a,b]").files == compose("--files", "a", "--files=b").files == ["a", "b"]
    assert compose("--part.levels", "[3,4]").part.levels == compose("--part.levels=3", "--part.levels=4").part.levels
    assert compose("--files", "a, [b]").files == ["a, [b]"]


@settings(max_examples=20, deadline=None)  # each composes two configs through Hydra
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).filter(lambda text: text != "null"))
def test_a_string_after_its_option_is_taken_literally(text: str) -> None:
    assert compose("--text", text).text == text
    assert compose("--note", text).note == text


@pytest.mark.parametrize(
    "words",
    [
        ("shares.a=0.5", "shares.b=1"),
        ("shares={a:0.5,b:1}",),
        ("shares={a:0.5}", "shares={b:1}"),
        ("shares={a:0.1,b:1}", "shares.a=0.5"),
        ("--shares", "{a:0.5}", "--shares.b", "1"),
        ("--shares={a: 0.5, b: 1}",),
    ],
)
def test_a_dictionary_is_given_whole_or_key_by_key(words: tuple[str, ...]) -> None:
    assert compose(*words).shares == {"a": 0.5, "b": 1.0}
    assert compose("shares={}").shares == {}


def test_words_without_a_name_go_to_the_positional_option() -> None:
    assert compose("a b.wav", "c,d.wav", "--text", "x", positional="files").files == ["a b.wav", "c,d.wav"]
    assert compose("it's = 1", positional="text").text == "it's = 1"
    with pytest.raises(UserError, match="a second text"):
        compose("one", "two", positional="text")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("stray",), "argument 'stray': not of the form key=value"),
        (("--txt", "a"), "option txt: no such option. did you mean text"),
        (("--text",), "option --text: no value"),
        (("--shares.a", "0.5", "--part.stepz=3"), "option part.stepz: no such option. did you mean part.steps"),
        (("part.levels=8,4",), "Ambiguous value for argument 'part.levels=8,4'"),
    ],
)
def test_mistakes_name_the_word(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(UserError) as refused:
        compose_config(ToyConfig, ["count=2", *words])
    assert expected in str(refused.value)


def test_help_shows_defaults_and_bounds() -> None:
    lines = option_help(ToyConfig)
    assert "  part.steps=3  (at least 1)" in lines
    assert "  part.kind=vq  (one of vq, fsq)" in lines
    assert "  count=(required)  (at least 2)" in lines
    assert lines[lines.index("  text=") + 1].strip() == "any words."


def test_a_command_acts_on_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    command = Command(
        name="toy.show",
        words="toy show",
        config=ToyConfig,
        run=seen.append,
        summary="Show a toy.",
        example="speechweave toy show a.wav --count 2",
        positional="files",
    )
    assert command.main(["a.wav", "--count", "2"]) == 0
    assert seen[0].files == ["a.wav"]
    assert command.main(["--count", "1"]) == 2
    assert "speechweave toy show: error: option count: found 1" in capsys.readouterr().err
    assert command.main(["--help"]) == 0
    assert "speechweave toy show a.wav --count 2" in capsys.readouterr().out
