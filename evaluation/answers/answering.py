"""Answering of an evaluation set: each item asked once and journalled, spoken prompts and replies transcribed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from corpus.audio.files import write_audio
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.judges.recognisers import Recogniser, find_recogniser
from evaluation.judges.transcription import transcribe_kept
from evaluation.sets.item import EvaluationItem, EvaluationSet
from evaluation.sets.reading import choose_items, read_set
from lm.data.hearing_folder import is_listening_model
from runtime.artefact import atomic_path
from runtime.chat_endpoint import FailureTally
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.journal import Journal
from runtime.stage import Run

from .answer_file import AnswerHeader, ModelAnswer, write_answers
from .answering_models import AnsweringModel, AnswerSettings, ReceivedReply, open_model
from .config import AnswerConfig
from .prompt import ItemPrompt
from .worked_examples import WorkedExamples, choose_worked_examples, read_worked_examples

ANSWERED, TRANSCRIBED, HEARD = "answered.jsonl", "transcribed.jsonl", "heard.jsonl"


def answer_set(config: AnswerConfig, run: Run) -> dict[str, Any]:
    """Ask every item, transcribe spoken replies, write the answers; returns their numbers."""
    benchmark = BENCHMARKS[config.benchmark]
    found = chosen_items(benchmark, config)
    shots = worked_examples(benchmark, found.items, config)
    cascade = find_recogniser(config.cascade, "cascade") if config.cascade else None
    recogniser = find_recogniser(config.recogniser) if config.is_spoken and not config.reads_own_tokens else None
    heard = {} if cascade is None else transcribe_prompts(found.items, cascade, run)
    settings = AnswerSettings(
        is_spoken=config.is_spoken,
        max_new_tokens=config.max_new_tokens or benchmark.max_new_tokens,
        temperature=config.temperature,
        seed=config.seed,
    )
    with asked_model(config, benchmark, run) as model:
        check_medium(config, model)
        prompts = [prompt_of(item, config, benchmark, shots, heard) for item in found.items]
        answers = ask_all(config, prompts, model, settings, run)
        header = AnswerHeader(
            benchmark=benchmark.name,
            data=config.data,
            set_digest=found.digest,
            items=len(found.items),
            left_out=len(found.left_out),
            repeated=len(found.repeated),
            model=model.name if cascade is None else f"{cascade.name} + {model.name}",
            model_digest=model.digest,
            direction=config.direction,
            shots=shots.count,
            recogniser=recogniser_name(config, recogniser),
            limit=config.limit,
            seed=config.seed,
            settings={
                "temperature": config.temperature,
                "max_new_tokens": settings.max_new_tokens,
                "system": config.system,
                "instruction": benchmark.instruction,
                **model.settings(),
                **({"worked_examples": shots.digest} if config.prompt and config.shots else {}),
            },
        )
    answers = [replace(one, heard=heard.get(one.id, one.heard)) for one in answers]
    write_answers(run.folder, header, with_transcripts(recogniser, answers, run))
    failures = Counter(answer.failure for answer in answers if answer.failure)
    for reason, count in failures.most_common(3):
        run.say(f"no answer to {count} of {len(answers)} items: {reason}")
    counts = {"items": len(answers), "failures": failures.total(), "left_out": len(found.left_out)}
    return counts | ended(answers)


def ended(answers: Sequence[ModelAnswer]) -> dict[str, int]:
    """The numbers of answers by the reason of their end, where the model tells it: ``ended.<reason>``."""
    ends = Counter(answer.end for answer in answers if answer.end)
    return {f"ended.{end.replace(' ', '_')}": count for end, count in sorted(ends.items())}


def asked_model(config: AnswerConfig, benchmark: Benchmark, run: Run) -> AbstractContextManager[AnsweringModel]:
    """The model that is asked, while the context is open."""
    if config.prompt or is_listening_model(Path(config.model)):
        from .speech_models import open_speech_model  # torch and the models' parts: others need none of them

        return nullcontext(open_speech_model(config, benchmark, run))
    config.check_run_options()
    log = run.folder / "server.log"
    return open_model(config.model, config.served_model, config.requests, threads=config.threads, log=log)


def recogniser_name(config: AnswerConfig, recogniser: Recogniser | None) -> str:
    """The recogniser of spoken replies, for a score's stamp."""
    if recogniser is not None:
        return recogniser.name
    return f"the {config.recogniser}'s own reading of the tokens" if config.is_spoken else ""


def chosen_items(benchmark: Benchmark, config: AnswerConfig) -> EvaluationSet:
    """The items to ask: all, or a seeded choice in the order of the set."""
    found = read_set(
        benchmark.name,
        config.data,
        benchmark.read_item,
        max_bad_share=config.max_bad_share,
        needs_audio=config.is_heard,
    )
    return choose_items(found, config.limit, config.seed)


def worked_examples(benchmark: Benchmark, asked: Sequence[EvaluationItem], config: AnswerConfig) -> WorkedExamples:
    """The examples in front of each prompt, out of ``config.shots_data``; for base models in the direction's media."""
    if not config.shots:
        return WorkedExamples({})
    if config.shots_of == "published":
        return published_examples(benchmark, asked, config)
    able = read_worked_examples(
        benchmark.name,
        config.shots_data,
        benchmark.read_item,
        max_bad_share=config.max_bad_share,
        needs_audio=bool(config.prompt) and config.is_heard and not config.cascade,
        needs_spoken_answer=bool(config.prompt) and config.is_spoken,
    )
    return choose_worked_examples(able, asked, config.shots, config.seed, config.shots_data, of=config.shots_of)


def published_examples(benchmark: Benchmark, asked: Sequence[EvaluationItem], config: AnswerConfig) -> WorkedExamples:
    """The worked examples that the published set has with it; spoken where a base model hears the questions."""
    if benchmark.published_shots is None:
        named = ", ".join(name for name, one in BENCHMARKS.items() if one.published_shots is not None)
        found = f"published, and {benchmark.name} has none with it"
        raise UserError("option shots_of", found=found, remedy=f"choose set or subset (published: {named})")
    is_spoken = bool(config.prompt) and ((config.is_heard and not config.cascade) or config.is_spoken)
    root = Path(config.shots_data)
    return WorkedExamples(
        {}, {item.id: benchmark.published_shots(root, item, config.shots, is_spoken=is_spoken) for item in asked}
    )


def check_medium(config: AnswerConfig, model: AnsweringModel) -> None:
    """Raise a `UserError` where the model cannot take or give what the direction asks for."""
    if model.hears:
        return
    if config.is_spoken:
        raise UserError("option direction", found=f"{model.name} writes and does not speak", remedy="choose t2t or s2t")
    if config.is_heard and not config.cascade:
        remedy = "set cascade= to a recogniser that transcribes the questions, or choose t2t"
        raise UserError("option direction", found=f"{model.name} reads and does not hear", remedy=remedy)


def prompt_of(
    item: EvaluationItem,
    config: AnswerConfig,
    benchmark: Benchmark,
    shots: WorkedExamples,
    heard: Mapping[str, str],
) -> ItemPrompt:
    """The prompt about an item: its text, its speech, or what a cascade's recogniser heard."""
    is_audio = config.is_heard and not config.cascade
    text = heard[item.id] if config.is_heard and config.cascade else item.prompt
    return ItemPrompt(
        id=item.id,
        text=None if is_audio else text,
        audio=item.audio if is_audio else None,
        instruction=benchmark.instruction,
        system=config.system,
        shots=shots.of(item),
    )


def ask_all(
    config: AnswerConfig, prompts: Sequence[ItemPrompt], model: AnsweringModel, settings: AnswerSettings, run: Run
) -> list[ModelAnswer]:
    """The answers to all prompts, in order; those in the journal are not asked again, failures are.

    Raises:
        UserError: the model refuses, or more than ``requests.max_failed_share`` of the prompts have no answer.
    """
    with Journal(run.folder / ANSWERED) as journal:
        done = {str(record["id"]): ModelAnswer(**record) for record in journal.records}
        left = [prompt for prompt in prompts if prompt.id not in done]
        tally = FailureTally(config.model, "items were not answered", config.requests.max_failed_share, len(done))
        with run.progress(len(prompts), "answers", start=len(prompts) - len(left), unit="item") as bar:
            for prompt, reply in zip(left, model.replies(left, settings), strict=True):
                answer = kept_answer(prompt, reply, run.folder)
                if not answer.failure:
                    journal.append(asdict(answer))
                done[answer.id] = answer
                bar.update()
                tally.add(answer.failure)
        tally.check()
    return [done[prompt.id] for prompt in prompts]


def kept_answer(prompt: ItemPrompt, reply: ReceivedReply, folder: Path) -> ModelAnswer:
    """A reply as an answer, its sound written to a file; a failure is an answer with its reason."""
    audio = None
    if reply.audio is not None:
        audio = f"audio/{seed_of(prompt.id):016x}.wav"
        with atomic_path(folder / audio) as temporary:
            temporary.write_bytes(reply.audio)
    return ModelAnswer(
        id=prompt.id,
        text=reply.text,
        audio=audio,
        transcript=reply.transcript,
        heard=reply.heard,
        end=reply.end,
        failure=reply.failure,
    )


def transcribe_prompts(items: Sequence[EvaluationItem], recogniser: Recogniser, run: Run) -> dict[str, str]:
    """The transcripts of spoken prompts by a cascade's recogniser, by item; they are kept."""
    folder = run.folder / "prompts"

    def file_of(item: EvaluationItem) -> Path:
        file = folder / f"{seed_of(item.id):016x}.wav"
        assert item.audio is not None
        write_audio(file, item.audio.read(), is_durable=False)
        return file

    by_id = {item.id: item for item in items}
    return transcribe_kept(list(by_id), lambda id: file_of(by_id[id]), recogniser, run, HEARD, "prompts transcribed")


def with_transcripts(recogniser: Recogniser | None, answers: Sequence[ModelAnswer], run: Run) -> list[ModelAnswer]:
    """The answers with the recogniser's transcripts of their speech; transcripts are kept."""
    files = {answer.id: run.folder / answer.audio for answer in answers if answer.audio is not None}
    if not files or recogniser is None:
        return list(answers)
    texts = transcribe_kept(list(files), files.__getitem__, recogniser, run, TRANSCRIBED, "replies transcribed")
    return [replace(answer, transcript=texts.get(answer.id, answer.transcript)) for answer in answers]
