from pathlib import Path
from typing import Any

import pytest
import yaml

from imitation.tasks.references import read_rule
from imitation.tasks.task_file import read_tasks
from runtime.errors import UserError

SAID = "tom put the red ball in the red box"


@pytest.mark.parametrize(
    ("rule", "said", "answer"),
    [
        ("transcript", SAID, SAID),
        ("transcript", "  two   words ", "two words"),
        ({"word": 1}, SAID, "tom"),
        ({"word": 2}, SAID, "put"),
        ({"word": -1}, SAID, "box"),
        ({"word": -9}, SAID, "tom"),
        ({"word": 10}, SAID, None),
        ({"word": -10}, SAID, None),
        ({"word": 1}, "", None),
        ({"listed": ["red", "blue"]}, SAID, "red"),
        ({"listed": ["box", "tom"]}, SAID, "tom box"),
        ({"listed": ["anna"]}, SAID, "none"),
        ({"listed": ["re"]}, SAID, "none"),
        ({"listed": ["tom"]}, "Tom and anna", "Tom"),
        ({"begins_with": ["who", "what"]}, "What is it", "yes"),
        ({"begins_with": ["who", "what"]}, "it is what it is", "no"),
        ("word_count", SAID, "9"),
    ],
)
def test_references(rule: Any, said: str, answer: str | None) -> None:
    assert read_rule(rule).answer(said) == answer


@pytest.mark.parametrize("name", ["content", "closed_world"])
def test_built_in_tasks_hold_out_tasks_and_wordings(name: str) -> None:
    tasks = read_tasks(name).tasks
    trained = [task for task in tasks.values() if not task.is_heldout]
    assert len(trained) >= 6 and len(tasks) - len(trained) >= 3
    for task in trained:
        seen = [prompt for prompt in task.prompts if prompt.is_seen]
        assert len(seen) >= 2 and len(task.prompts) > len(seen), task.name
    assert not any(prompt.is_seen for task in tasks.values() if task.is_heldout for prompt in task.prompts)


def test_prompts(tmp_path: Path) -> None:
    entry = {"metric": "wer", "prompts": ["say", "a {speech} b"], "heldout_prompts": ["copy"]}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump({"tasks": {"repeat": entry}}))
    found = read_tasks(str(tmp_path / "t.yaml"))
    assert [prompt.text for prompt in found.prompts()] == ["say {speech}", "a {speech} b", "copy {speech}"]
    assert [prompt.is_seen for prompt in found.prompts()] == [True, True, False]
    prompt = found.tasks["repeat"].prompts[1]
    assert prompt.name == "repeat/1" and prompt.with_transcript("{speech} x") == "a {speech} x b"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("tasks: [", "while parsing"),
        ("a: 1", "no key tasks:"),
        ("tasks: {}", "no mapping of names to tasks"),
        ("tasks: {a: 5}", "task a is no mapping"),
        ("tasks: {a/b: {metric: wer, prompts: [x]}}", "a name has no slash"),
        ("tasks: {a: {metric: wer, prompts: [x], prompt: [y]}}", "task a has prompt; a task has metric,"),
        (
            "tasks: {a: {metric: bleu, prompts: [x]}}",
            "metric 'bleu' is none of accuracy, wer, chrf, rouge_l, judge",
        ),
        ("tasks: {a: {metric: wer}}", "task a has no prompts"),
        ("tasks: {a: {metric: wer, heldout_prompts: [x]}}", "task a has no prompts"),
        ("tasks: {a: {metric: wer, prompts: x}}", "prompts is no list of texts"),
        ("tasks: {a: {metric: wer, prompts: [x, x]}}", "task a has a prompt twice"),
        ("tasks: {a: {metric: wer, prompts: ['{speech} {speech}']}}", "has {speech} more than once"),
        ("tasks: {a: {metric: wer, prompts: [x], is_heldout: 1}}", "is_heldout 1 is neither true nor false"),
        ("tasks: {a: {metric: wer, prompts: [x], is_heldout: true}}", "every task is held out"),
        ("tasks: {a: {metric: wer, prompts: [x], weight: 0}}", "weight 0 is no number above 0"),
        ("tasks: {a: {metric: wer, prompts: [x], max_new_tokens: 1.5}}", "max_new_tokens 1.5 is no number"),
        ("tasks: {a: {metric: wer, prompts: [x], reference: last}}", "reference 'last' is no rule; there are"),
        ("tasks: {a: {metric: wer, prompts: [x], reference: {word: 0}}}", "takes a number other than 0"),
        ("tasks: {a: {metric: wer, prompts: [x], reference: {listed: []}}}", "takes a list of words"),
    ],
)
def test_files_that_are_not_whole_are_refused(content: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(UserError) as refused:
        read_tasks(str(tmp_path / "t.yaml"))
    assert found in refused.value.found and str(tmp_path / "t.yaml") == refused.value.subject
