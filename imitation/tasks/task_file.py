"""Tasks over spoken content in a YAML file: prompts to train on, prompts and tasks held out for the benchmark.

::

    tasks:
      first_word:
        metric: accuracy            # accuracy | wer | chrf | rouge_l | judge
        reference: {word: 1}        # a rule over the transcript; without one the text model's answer is the reference
        prompts: ["What is the first word?", "Name the first word of this: {speech}"]
        heldout_prompts: ["Which word comes first?"]
      last_word:
        is_heldout: true            # never trained on
        ...

``{speech}`` is the place of the transcript or the speech in a prompt; it is at the end where a prompt does not say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from runtime.artefact import fingerprint
from runtime.errors import UserError

from .references import ReferenceRule, read_rule

Metric = Literal["accuracy", "wer", "chrf", "rouge_l", "judge"]
JUDGE: Metric = "judge"
METRICS: tuple[Metric, ...] = ("accuracy", "wer", "chrf", "rouge_l", JUDGE)
PLACE = "{speech}"
BUILT_IN = Path(__file__).parent
KEYS = ("metric", "reference", "prompts", "heldout_prompts", "is_heldout", "max_new_tokens", "weight")


@dataclass(frozen=True)
class TaskPrompt:
    """One wording of a task.

    Attributes:
        task: its name.
        number: of the wording within the task, those held out after the others.
        text: with `PLACE` where the speech goes.
        is_seen: trained on: neither the wording nor its task is held out.
    """

    task: str
    number: int
    text: str
    is_seen: bool

    @property
    def name(self) -> str:
        """A name that is unique in the task file."""
        return f"{self.task}/{self.number}"

    def with_transcript(self, transcript: str) -> str:
        """The prompt as a text model reads it."""
        return self.text.replace(PLACE, transcript, 1)


@dataclass(frozen=True, kw_only=True)
class ContentTask:
    """A task over spoken content.

    Attributes:
        name: of the task.
        metric: that its answers are scored by.
        prompts: its wordings.
        reference: rule of the reference answer; None: the text model's answer to the transcript is the reference.
        is_heldout: never trained on.
        max_new_tokens: of an answer.
        weight: its share of the training requests, relative to the other tasks'.
    """

    name: str
    metric: Metric
    prompts: tuple[TaskPrompt, ...]
    reference: ReferenceRule | None
    is_heldout: bool
    max_new_tokens: int
    weight: float


class TaskFile(NamedTuple):
    """The tasks of a file.

    Attributes:
        tasks: name -> task, in the file's order.
        digest: of the file's content; what is made with the tasks carries it.
    """

    tasks: Mapping[str, ContentTask]
    digest: str

    def prompts(self) -> Iterator[TaskPrompt]:
        """All wordings of all tasks."""
        for task in self.tasks.values():
            yield from task.prompts


def read_tasks(source: str) -> TaskFile:
    """Read a task file.

    Args:
        source: its path, or the name of a built-in one (``content``, ``closed_world``).

    Raises:
        UserError: no such file, or a task that is not whole; the task and key are named.
    """
    built_in = BUILT_IN / f"{source}_tasks.yaml"
    file = built_in if built_in.is_file() else Path(source)
    if not file.is_file():
        known = ", ".join(sorted(one.name.removesuffix("_tasks.yaml") for one in BUILT_IN.glob("*_tasks.yaml")))
        raise UserError(f"option tasks={source}", found="no such file", remedy=f"give a YAML file, or one of {known}")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        stated = content["tasks"]
        if not isinstance(stated, dict) or not stated:
            raise ValueError("tasks: is no mapping of names to tasks")
        tasks = {str(name): read_task(str(name), entry) for name, entry in stated.items()}
        if all(task.is_heldout for task in tasks.values()):
            raise ValueError("every task is held out: nothing is trained on")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        reason = "no key tasks:" if isinstance(error, KeyError | TypeError) else " ".join(str(error).split())
        raise UserError(
            str(file), found=reason, remedy="see imitation/tasks/content_tasks.yaml for a whole one"
        ) from error
    return TaskFile(tasks, fingerprint(stated))


def read_task(name: str, entry: Any) -> ContentTask:
    """A task of a task file.

    Raises:
        ValueError: it is not whole.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"task {name} is no mapping")
    if "/" in name:
        raise ValueError(f"task {name}: a name has no slash")
    if unknown := set(entry) - set(KEYS):
        raise ValueError(f"task {name} has {', '.join(sorted(map(str, unknown)))}; a task has {', '.join(KEYS)}")
    if entry.get("metric") not in METRICS:
        raise ValueError(f"task {name}: metric {entry.get('metric')!r} is none of {', '.join(METRICS)}")
    is_heldout, weight, longest = (
        entry.get("is_heldout", False),
        entry.get("weight", 1.0),
        entry.get("max_new_tokens", 64),
    )
    if not isinstance(is_heldout, bool):
        raise ValueError(f"task {name}: is_heldout {is_heldout!r} is neither true nor false")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise ValueError(f"task {name}: weight {weight!r} is no number above 0")
    if type(longest) is not int or longest < 1:
        raise ValueError(f"task {name}: max_new_tokens {longest!r} is no number from 1 on")
    wordings = [(text, True) for text in _texts(name, entry, "prompts")]
    wordings += [(text, False) for text in _texts(name, entry, "heldout_prompts")]
    if not wordings or not (wordings[0][1] or is_heldout):
        raise ValueError(f"task {name} has no prompts")
    if len({text for text, _ in wordings}) < len(wordings):
        raise ValueError(f"task {name} has a prompt twice")
    prompts = (
        TaskPrompt(name, number, text, is_trained and not is_heldout)
        for number, (text, is_trained) in enumerate(wordings)
    )
    return ContentTask(
        name=name,
        metric=entry["metric"],
        prompts=tuple(prompts),
        reference=read_rule(entry["reference"]) if entry.get("reference") is not None else None,
        is_heldout=is_heldout,
        max_new_tokens=longest,
        weight=float(weight),
    )


def _texts(name: str, entry: Mapping[str, Any], key: str) -> list[str]:
    """The prompts under a key, each with the place of the speech."""
    texts = entry.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"task {name}: {key} is no list of texts")
    for text in texts:
        if text.count(PLACE) > 1:
            raise ValueError(f"task {name}: the prompt {text!r} has {PLACE} more than once")
    return [text if PLACE in text else f"{text} {PLACE}" for text in texts]
