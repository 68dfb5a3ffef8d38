"""Generalisation over prompts and tasks: means over tasks of each group of prompts under each condition.

| group | prompts |
|---|---|
| seen | of trained tasks, trained on |
| unseen_prompts | of trained tasks, held out |
| unseen_tasks | of held-out tasks |

A task's score is the mean over its answers, a group's the mean over its tasks. The interval resamples utterances. The
imitation gap of a condition is the transcript's score less its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.rules.measure import CONFIDENCE, RESAMPLES, rounded
from runtime.hashing import seed_of

from .config import TRANSCRIPT

SEEN, UNSEEN_PROMPTS, UNSEEN_TASKS = GROUPS = ("seen", "unseen_prompts", "unseen_tasks")
TITLES = {SEEN: "seen prompts", UNSEEN_PROMPTS: "unseen prompts", UNSEEN_TASKS: "unseen tasks"}
Floats = npt.NDArray[np.float64]


class ScoredAnswer(NamedTuple):
    """The score of one answer, 0 to 1.

    Attributes:
        task: its name.
        prompt: number of the wording.
        group: of the prompt.
        utterance: the first one that it is about.
        score: by the task's metric.
    """

    task: str
    prompt: int
    group: str
    utterance: str
    score: float


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """The score of a group of prompts under one condition.

    Attributes:
        mean: over tasks.
        interval: 95 %, over utterances.
        worst_prompt: the lowest mean of a prompt, and its name.
        tasks: the mean of each task.
        answers: their number.
    """

    mean: float
    interval: tuple[float, float]
    worst_prompt: tuple[float, str]
    tasks: Mapping[str, float]
    answers: int


def group_scores(answers: Sequence[ScoredAnswer]) -> dict[str, GroupScore]:
    """The score of each group that has answers."""
    return {
        group: group_score(own, group)
        for group in GROUPS
        if (own := sorted(one for one in answers if one.group == group))
    }


def group_score(answers: Sequence[ScoredAnswer], group: str) -> GroupScore:
    """The score of one group, whose answers come in a fixed order."""
    by_prompt: defaultdict[str, list[float]] = defaultdict(list)
    for one in answers:
        by_prompt[f"{one.task}/{one.prompt}"].append(one.score)
    sums, counts, names = task_sums(answers)
    tasks = {name: rounded(sums[:, at].sum() / counts[:, at].sum()) for at, name in enumerate(names)}
    return GroupScore(
        mean=rounded(np.mean(list(tasks.values()))),
        interval=mean_interval(sums, counts, seed_of(f"generalisation {group}")),
        worst_prompt=min((rounded(np.mean(scores)), name) for name, scores in by_prompt.items()),
        tasks=tasks,
        answers=len(answers),
    )


def task_sums(answers: Sequence[ScoredAnswer]) -> tuple[Floats, Floats, list[str]]:
    """Sums and numbers of scores (U, K) of each utterance and task, and the names of the tasks."""
    tasks = sorted({one.task for one in answers})
    utterances = sorted({one.utterance for one in answers})
    rows, columns = {name: at for at, name in enumerate(utterances)}, {name: at for at, name in enumerate(tasks)}
    sums, counts = (np.zeros((len(utterances), len(tasks))) for _ in range(2))
    for one in answers:
        sums[rows[one.utterance], columns[one.task]] += one.score
        counts[rows[one.utterance], columns[one.task]] += 1
    return sums, counts, tasks


def mean_interval(sums: Floats, counts: Floats, seed: int) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean over tasks, utterances drawn with replacement."""
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (draws @ sums) / (draws @ counts)  # NaN where a draw has no answer of a task
    means = np.nanmean(ratios, axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return rounded(low), rounded(high)


def imitation_gap(scores: Mapping[str, Mapping[str, GroupScore]], condition: str, group: str) -> float:
    """The transcript's mean less that of a condition; NaN where either is missing."""
    both = [scores.get(name, {}).get(group) for name in (TRANSCRIPT, condition)]
    if both[0] is None or both[1] is None:
        return math.nan
    return rounded(both[0].mean - both[1].mean)
