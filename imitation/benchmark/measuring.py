"""Answers of a model that hears to held-out prompts and tasks, under each condition, and their scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from corpus.audio.segments import read_segment
from corpus.manifest import Utterance, read_manifest
from evaluation.judges.recognisers import find_recogniser
from evaluation.judges.transcription import transcribe_kept
from evaluation.sets.reading import choose_in_order
from imitation.documents import in_turn, mixed_content
from imitation.pairs import ImitationPair, PairsFile, read_pairs
from imitation.tasks.task_file import JUDGE, TaskFile, read_tasks
from lm.data.formats import Said
from lm.data.request_format import request_format
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest, write_json
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.journal import Journal
from runtime.stage import Run

from .config import CASCADE, INTERLEAVED, SPEECH, TRANSCRIPT, BenchmarkConfig
from .generalisation import SEEN, UNSEEN_PROMPTS, UNSEEN_TASKS, GroupScore, ScoredAnswer, group_scores, imitation_gap
from .judging import AnswerJudge, JudgedAnswer
from .table import write_figure, write_table
from .task_metrics import TASK_METRICS

ANSWERED, SCORES = "answered.jsonl", "scores.json"


def measure(config: BenchmarkConfig, run: Run) -> dict[str, Any]:
    """Ask under each condition, score, and write the table; returns its numbers."""
    torch.set_num_threads(config.threads)
    tasks, asked = read_tasks(config.tasks), read_pairs(config.pairs)
    if asked.header.tasks != tasks.digest:
        found = f"tasks {tasks.digest}, where the pairs were asked with {asked.header.tasks}"
        raise UserError(f"option tasks={config.tasks}", found=found, remedy="give the task file of imitation.ask")
    pairs = choose_in_order(tuple(asked.pairs), config.limit, f"{config.seed} pairs")
    manifest = read_manifest(config.manifest, config.max_bad_share, needs_text=False)
    known = {one.id: one for one in manifest.utterances}
    for pair in pairs:
        if missing := set(pair.utterances) - set(known):
            remedy = "give the manifest that imitation.ask read"
            raise UserError(config.manifest, found=f"no utterance {min(missing)}, which a pair is about", remedy=remedy)
    judged = judged_tasks(config, tasks, pairs)
    benchmark = GeneralisationBenchmark(config, run, asked, tasks, known, judged)
    scores = {name: group_scores(benchmark.scored(name, benchmark.pairs_of(name, pairs))) for name in config.conditions}
    stamp = {
        "pairs": asked.digest,
        "tasks": tasks.digest,
        "text_model": asked.header.model,
        "model_digest": file_digest(config.model),
        "recogniser": benchmark.recogniser_name,
        "limit": config.limit,
        "seed": config.seed,
    }
    if benchmark.judge is not None:
        stamp |= {"judge": config.judge_model, "judge_prompt": benchmark.judge.digest, "judged": sorted(judged)}
    plain = {name: {group: asdict(one) for group, one in groups.items()} for name, groups in scores.items()}
    write_json(run.folder / SCORES, {"stamp": stamp, "scores": plain})
    write_table(run.folder, scores)
    write_figure(run.folder, scores)
    return flat(scores) | ({} if benchmark.judge is None else {"unjudged": benchmark.judge.unjudged})


def judged_tasks(config: BenchmarkConfig, tasks: TaskFile, pairs: Sequence[ImitationPair]) -> set[str]:
    """The tasks of the pairs that a judge rates.

    Raises:
        UserError: no task of a name, or a task with metric judge and no judge.
    """
    asked = {pair.task for pair in pairs}
    for name in config.judged:
        if name not in asked:
            raise UserError("option judged", found=f"no task {name}", remedy=f"choose from {', '.join(sorted(asked))}")
    own = {name for name in asked if tasks.tasks[name].metric == JUDGE}
    if own and not config.judge:
        found = f"metric judge of task {min(own)}, and no judge"
        raise UserError(config.tasks, found=found, remedy="give judge=URL and judge_model=NAME, or another metric")
    if config.judge and not own and not config.judged:
        found, remedy = "given, where no task is judged", "name tasks by judged=[...], or leave it out"
        raise UserError("option judge", found=found, remedy=remedy)
    return own | set(config.judged)


def flat(scores: Mapping[str, Mapping[str, GroupScore]]) -> dict[str, Any]:
    """Metrics: ``<condition>.<group>`` with its interval, worst prompt, and gap to the transcript."""
    found: dict[str, Any] = {}
    for condition, groups in scores.items():
        for group, one in groups.items():
            name = f"{condition}.{group}"
            found |= {name: one.mean, f"{name}.low": one.interval[0], f"{name}.high": one.interval[1]}
            found[f"{name}.worst_prompt"] = one.worst_prompt[0]
            if condition != TRANSCRIPT and TRANSCRIPT in scores:
                found[f"{name}.gap"] = imitation_gap(scores, condition, group)
    return found


def answer_name(condition: str, pair: ImitationPair) -> str:
    """The name of an answer in the journals."""
    return f"{condition} {pair.task}/{pair.prompt} {' '.join(pair.utterances)}"


class GeneralisationBenchmark:
    """The model, what it is asked, and its answers, which are kept.

    Args:
        config: of the stage.
        run: its folder keeps answers and transcripts.
        asked: the pairs' file.
        tasks: that they were asked with.
        known: utterances by id.
        judged: tasks that a judge rates.
    """

    def __init__(
        self, config: BenchmarkConfig, run: Run, asked: PairsFile, tasks: TaskFile, known: Mapping[str, Utterance],
        judged: Collection[str],
    ) -> None:  # fmt: skip
        self.config, self.run, self.asked, self.tasks, self.known = config, run, asked, tasks, known
        self.judged, self.judge = judged, AnswerJudge(config, run) if judged else None
        self.model = ListeningModel.from_pretrained(config.model, batch_size=config.batch_size)
        self.recogniser_name = ""
        self._heard: dict[str, str] = {}
        self.format = request_format(self.model.vocabulary)

    def pairs_of(self, condition: str, pairs: Sequence[ImitationPair]) -> list[ImitationPair]:
        """The pairs that a condition is measured on.

        Raises:
            UserError: none is about several utterances, for interleaved inputs.
        """
        several = [pair for pair in pairs if len(pair.utterances) > 1]
        if condition == INTERLEAVED and not several:
            remedy = "ask with most_utterances=2 or more, or leave interleaved out of conditions"
            raise UserError(self.config.pairs, found="no pair about several utterances", remedy=remedy)
        return several if condition == INTERLEAVED else list(pairs)

    def scored(self, condition: str, pairs: Sequence[ImitationPair]) -> list[ScoredAnswer]:
        """The score of the answer to each pair."""
        if condition == CASCADE:
            self._transcribe(pairs)
        found, rated = [], list[tuple[ScoredAnswer, JudgedAnswer]]()
        for pair, answer in zip(pairs, self._answers(condition, pairs), strict=True):
            task = self.tasks.tasks[pair.task]
            rule = task.reference
            reference = pair.response if rule is None else rule.answer(pair.content)
            if reference is None:
                continue
            group = UNSEEN_TASKS if task.is_heldout else SEEN if pair.is_seen else UNSEEN_PROMPTS
            scored = ScoredAnswer(pair.task, pair.prompt, group, pair.utterances[0], math.nan)
            if pair.task in self.judged:
                asked = pair.with_transcript(pair.content)
                rated.append((scored, JudgedAnswer(answer_name(condition, pair), asked, reference, answer)))
            else:
                found.append(scored._replace(score=TASK_METRICS[task.metric](reference, answer)))
        if self.judge is not None:
            scores = self.judge.scores([one for _, one in rated], condition)
            pairs_of_scores = zip(rated, scores, strict=True)
            found += [one._replace(score=score) for (one, _), score in pairs_of_scores if score is not None]
        return found

    def _transcribe(self, pairs: Sequence[ImitationPair]) -> None:
        recogniser = find_recogniser(self.config.recogniser)
        self.recogniser_name = recogniser.name
        ids = sorted({one for pair in pairs for one in pair.utterances})
        for one in ids:
            if self.known[one].offset is not None:
                found = f"{one}, a segment of a longer file, which a recogniser would hear whole"
                remedy = "leave cascade out of conditions, or cut the files"
                raise UserError(self.config.manifest, found=found, remedy=remedy)
        self._heard = transcribe_kept(
            ids, lambda id: self.known[id].audio, recogniser, self.run, "heard.jsonl", "transcripts of the cascade"
        )

    def _answers(self, condition: str, pairs: Sequence[ImitationPair]) -> Iterator[str]:
        """The answer to each pair, those of earlier calls included."""
        with Journal(self.run.folder / ANSWERED) as journal:
            known = {str(record["name"]): str(record["text"]) for record in journal.records}
            names = [answer_name(condition, pair) for pair in pairs]
            left = [(name, pair) for name, pair in zip(names, pairs, strict=True) if name not in known]
            with self.run.progress(len(pairs), condition, start=len(pairs) - len(left), unit="answer") as bar:
                for begin in range(0, len(left), self.config.batch_size):
                    block = left[begin : begin + self.config.batch_size]
                    texts = self._generate(condition, [pair for _, pair in block])
                    rows = [{"name": name, "text": text} for (name, _), text in zip(block, texts, strict=True)]
                    journal.append(*rows)
                    known |= {row["name"]: row["text"] for row in rows}
                    bar.update(len(block))
        yield from (known[name] for name in names)

    def _generate(self, condition: str, pairs: Sequence[ImitationPair]) -> list[str]:
        vocabulary, heard = self.model.vocabulary, dict[str, Tensor]()
        rows = self.model.generate(
            [self._prompt(condition, pair, heard) for pair in pairs],
            max_new_tokens=[self.tasks.tasks[pair.task].max_new_tokens for pair in pairs],
            stop=self.format.end_ids,
        )
        return [vocabulary.decode_text(row).strip() for row in rows]

    def _prompt(self, condition: str, pair: ImitationPair, heard: dict[str, Tensor]) -> HeardPrompt:
        """A pair's prompt; ``heard`` keeps the vectors of its utterances for the pairs that follow."""
        clips: list[Tensor] = []
        if condition in (SPEECH, INTERLEAVED):
            is_spoken = [True] * len(pair.utterances)
            if condition == INTERLEAVED:
                is_spoken = in_turn(len(is_spoken), seed_of(self.config.seed, "forms", *pair.utterances) % 2)
            parts: list[Said] = list(pair.transcripts)
            for number, (one, said) in enumerate(zip(pair.utterances, is_spoken, strict=True)):
                if said and one not in heard:
                    (heard[one],) = self.model.hear([read_segment(self.known[one].segment)])
                if said:
                    clips.append(heard[one])
                    parts[number] = self.model.placeholders(heard[one])
            content: Said = mixed_content(pair, parts)
        else:
            texts = [self._heard[one] for one in pair.utterances] if condition == CASCADE else pair.transcripts
            content = pair.with_transcript(" ".join(texts))
        return HeardPrompt(self.format.prompt(content, system=self.asked.header.system), clips)
