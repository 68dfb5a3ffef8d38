"""Requests about a manifest's utterances, balanced over tasks, and their answers, journalled one by one."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from corpus.manifest import Utterance, read_manifest
from evaluation.answers.answering_models import CUT, ReceivedReply
from evaluation.sets.reading import choose_in_order
from runtime.chat_endpoint import FailureTally
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.journal import Journal
from runtime.stage import Run

from .ask_config import AskConfig
from .pairs import ImitationPair, PairsHeader, write_pairs
from .tasks.task_file import ContentTask, TaskFile, TaskPrompt, read_tasks
from .text_models import TextModel, TextRequest, open_text_model

ASKED = "asked.jsonl"
BLOCK = 1024  # requests that are handed to a model at once


def ask_all(config: AskConfig, run: Run) -> dict[str, Any]:
    """Ask what is not asked yet, and write the pairs; returns their numbers."""
    tasks = read_tasks(config.tasks)
    manifest = read_manifest(config.manifest, config.max_bad_share, should_check_audio=False).of_kinds(config.kinds)
    utterances = choose_in_order(tuple(manifest.utterances), config.limit, f"{config.seed} utterances")
    requests = list(plan_requests(utterances, tasks, config))
    model = open_text_model(config)
    with Journal(run.folder / ASKED) as journal, run.progress(len(requests), "answers", unit="answer") as bar:
        known = {str(record["name"]): reply_of(record) for record in journal.records}
        bar.update(sum(request.name in known for request in requests))
        missing = [request for request in requests if request.name not in known]
        share, lacking = config.requests.max_failed_share, "requests have no answer"
        tally = FailureTally(config.model, lacking, share, len(requests) - len(missing))
        for begin in range(0, len(missing), BLOCK):
            block = missing[begin : begin + BLOCK]
            for request, reply in zip(block, model.answers(block), strict=True):
                if not reply.failure:  # a failure is asked again by the next call
                    ids = {"ids": list(reply.ids)} if reply.ids else {}
                    journal.append({"name": request.name, "text": reply.text, "end": reply.end} | ids)
                known[request.name] = reply
                tally.add(reply.failure)
                bar.update(1)
    tally.check()
    for reason, count in tally.failures.most_common(3):
        run.say(f"no answer to {count} of {len(requests)} requests: {reason}")
    answered = [(request, known[request.name]) for request in requests if not known[request.name].failure]
    return write(config, run, tasks, model, answered) | {
        "utterances": len({one.id for request in requests for one in request.utterances}),
        "bad_records": len(manifest.bad),
        "requests": len(requests),
        "failures": tally.failures.total(),
    }


def write(
    config: AskConfig, run: Run, tasks: TaskFile, model: TextModel,
    answered: Sequence[tuple[TextRequest, ReceivedReply]],
) -> dict[str, Any]:  # fmt: skip
    """Write the pairs of whole answers; returns the numbers of answers, of those left out, and by task."""
    cut = sum(reply.end == CUT for _, reply in answered)
    if cut > config.max_cut_share * max(len(answered), 1):
        found = f"{cut} of {len(answered)} answers were cut at the longest that their task allows"
        remedy = f"raise max_new_tokens of the tasks, or max_cut_share={config.max_cut_share}"
        raise UserError(f"option tasks={config.tasks}", found=found, remedy=remedy)
    kept = [(one, reply) for one, reply in answered if reply.end != CUT and (reply.text or "").strip()]
    whole = [(one, (reply.text or "").strip()) for one, reply in kept]
    if not whole:
        raise UserError(config.model, found="no answer that is whole", remedy="look at asked.jsonl in the run folder")
    pairs = [
        ImitationPair(
            utterances=tuple(one.id for one in request.utterances),
            task=request.task.name,
            prompt=request.prompt.number,
            text=request.prompt.text,
            transcripts=tuple(one.text for one in request.utterances),
            response=text,
            is_seen=request.prompt.is_seen,
            response_ids=reply.ids,
        )
        for (request, text), (_, reply) in zip(whole, kept, strict=True)
    ]
    header = PairsHeader(
        manifest=config.manifest,
        tasks=tasks.digest,
        model=model.name,
        model_digest=model.digest,
        system=config.system,
        pairs=len(pairs),
        first_prompt=model.prompt_ids(whole[0][0]),
    )
    write_pairs(run.folder, header, pairs)
    counts = Counter(pair.task for pair in pairs)
    return {
        "pairs": len(pairs),
        "cut": cut,
        "empty": len(answered) - cut - len(pairs),
        **{f"pairs.{task}": counts[task] for task in tasks.tasks if counts[task]},
        **agreement(whole),
    }


def agreement(whole: Sequence[tuple[TextRequest, str]]) -> dict[str, float]:
    """The share of answers that equal the rule's, for each task that has a rule: ``agrees.<task>``."""
    equal: defaultdict[str, list[bool]] = defaultdict(list)
    for request, text in whole:
        wanted = request.task.reference.answer(request.transcript) if request.task.reference is not None else None
        if wanted is not None:
            equal[request.task.name].append(text.strip().lower() == wanted.lower())
    return {f"agrees.{task}": round(sum(hits) / len(hits), 4) for task, hits in equal.items()}


def plan_requests(utterances: Sequence[Utterance], tasks: TaskFile, config: AskConfig) -> Iterator[TextRequest]:
    """The requests about each utterance: different prompts, tasks as often as their weights say.

    A request about several utterances begins with this one; the others are drawn. The next task is always the one that
    is furthest behind its share, so counts differ from the shares by less than one request a task, whatever the number
    of utterances; the wording is drawn by utterance and seed.
    """
    allowed = {
        task.name: [prompt for prompt in task.prompts if prompt.is_seen or config.prompts == "all"]
        for task in tasks.tasks.values()
    }
    for name in config.only:
        if not allowed.get(name):
            remedy = f"choose from {', '.join(one for one, prompts in allowed.items() if prompts)}"
            raise UserError("option only", found=f"no task {name} that has prompts={config.prompts}", remedy=remedy)
    used = [task for task in tasks.tasks.values() if allowed[task.name] and task.name in (config.only or allowed)]
    total = sum(task.weight for task in used)
    num_prompts = sum(len(allowed[task.name]) for task in used)
    if config.requests_per_utterance > num_prompts:
        remedy = f"ask for at most {num_prompts}, or write more prompts"
        found = f"{config.requests_per_utterance} of {num_prompts} prompts"
        raise UserError("option requests_per_utterance", found=found, remedy=remedy)
    order = list(range(len(utterances)))
    random.Random(f"{config.seed} tasks").shuffle(order)  # neighbours in a manifest may be alike
    counts: Counter[str] = Counter()
    planned: dict[int, list[tuple[ContentTask, TaskPrompt]]] = {}
    asked = 0
    for place in order:
        utterance, taken = utterances[place], list[tuple[ContentTask, TaskPrompt]]()
        draw = random.Random(seed_of(config.seed, utterance.id))
        for _ in range(config.requests_per_utterance):
            asked += 1
            left = [task for task in used if any(one not in [p for _, p in taken] for one in allowed[task.name])]
            task = max(left, key=lambda one: one.weight / total * asked - counts[one.name])
            counts[task.name] += 1
            taken.append((task, draw.choice([one for one in allowed[task.name] if one not in [p for _, p in taken]])))
        planned[place] = taken
    for place, utterance in enumerate(utterances):
        for task, prompt in planned[place]:
            name = f"{utterance.id} {prompt.name}"
            draw = random.Random(seed_of(config.seed, name))
            others = draw.choices(utterances, k=draw.randint(1, config.most_utterances) - 1)
            yield TextRequest(name, (utterance, *others), task, prompt)


def reply_of(record: dict[str, Any]) -> ReceivedReply:
    """The reply that a journal's record holds."""
    return ReceivedReply(record["text"], end=str(record["end"]), ids=tuple(record.get("ids", ())))
