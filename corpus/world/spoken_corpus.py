"""The spoken corpus: the built-in world's utterances, a user's recordings, and the lists that describe them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus.manifest import Manifest, Utterance, write_manifest
from corpus.recordings import import_recordings, read_recordings
from corpus.text.normalisation import normalise, split_sentences
from runtime.artefact import write_json, write_text
from runtime.bulk.workers import num_available_cpus
from runtime.stage import Run

from .build_config import BuildConfig
from .closed_world import World
from .dialogues import QuestionDialogue, dialogue_line, heldout_dialogues, training_dialogues
from .documents import Documents, write_documents
from .fragments import plan_fragments
from .held_out import HeldOutTexts
from .plan import HELD_OUT_SENTENCE, SPLITS, TRAIN, CorpusPlan, PlannedUtterance
from .synthesis import synthesise
from .voices import ANSWER, WorldVoice, choose_voices


def build_corpus(config: BuildConfig, run: Run) -> dict[str, Any]:
    """Import the user's recordings, plan and synthesise the built-in speech, write the lists; returns the metrics."""
    folder = run.folder
    recordings = read_recordings(config.manifest, config.max_bad_share) if config.manifest else Manifest(folder, [], [])
    world = World(config.seed, config.situations)
    held_out = HeldOutTexts(world, config.heldout_share, config.seed)
    voices = choose_voices(config.engines, config.seen_voices, config.answer_voice)
    plan = CorpusPlan(world, held_out, voices, config.seed, folder / "audio")
    dialogues = heldout_dialogues(world, held_out, config.heldout_utterances // 8, config.seed)
    planned = [*plan.utterances(config.plan_sizes()), *plan.dialogue_utterances(dialogues)]
    documents = write_documents(
        world, held_out, train=config.num_texts, held_out_count=config.num_heldout_texts, seed=config.seed
    )
    planned += plan_fragments(config, world, held_out, documents, planned, folder / "audio")
    durations, recordings = _make_audio(config, run, planned, recordings)
    splits = _split(planned, durations, recordings, held_out)
    for split, utterances in splits.items():
        write_manifest(folder / f"{split}.jsonl", utterances)
    _write_world(folder, world, held_out, documents)
    asked = _train_dialogues(world, planned, config.dialogue_turns, config.seed)
    _write_lines(folder / "dialogues.jsonl", map(dialogue_line, asked))
    _write_lines(folder / "dialogues_heldout.jsonl", map(dialogue_line, dialogues))
    _write_voices(folder, voices)
    write_json(folder / "bad_records.json", {"bad_records": [asdict(record) for record in recordings.bad]})
    if recordings.bad:
        run.say(f"{config.manifest}: left out {len(recordings.bad)} bad records, see {folder}/bad_records.json")
    return _measure(splits, world, held_out, documents, recordings)


def _make_audio(
    config: BuildConfig, run: Run, planned: Sequence[PlannedUtterance], recordings: Manifest
) -> tuple[dict[str, float], Manifest]:
    """Convert the recordings and synthesise the planned utterances (prompt id -> seconds of audio)."""
    workers = config.workers or num_available_cpus()
    units = run.folder / "units"
    with run.progress(len(planned) + len(recordings.utterances), "speech", unit="utterance") as bar:
        imported = import_recordings(
            recordings,
            run.folder / "audio" / "user",
            units / "recordings",
            max_bad_share=config.max_bad_share,
            tolerance=config.duration_tolerance,
            workers=workers,
            bar=bar,
        )
        prompts = [utterance.prompt for utterance in planned]
        speech = units / "speech"
        durations = synthesise(prompts, speech, room=config.room, seed=config.seed, workers=workers, bar=bar)
    os.sync()  # the audio files were written without waiting for the disk
    return durations, imported


def _train_dialogues(
    world: World, planned: Sequence[PlannedUtterance], most_turns: int, seed: int
) -> list[QuestionDialogue]:
    """The training questions of each voice as dialogues."""
    by_voice: dict[str, dict[str, dict[str, str]]] = {}
    for utterance in planned:
        if utterance.split == TRAIN and utterance.kind in ("question", "followup"):
            kinds = by_voice.setdefault(utterance.prompt.voice.name, {"question": {}, "followup": {}})
            kinds[utterance.kind][utterance.prompt.id] = utterance.text
    return [
        dialogue
        for voice, kinds in sorted(by_voice.items())
        for dialogue in training_dialogues(
            world, kinds["question"], kinds["followup"], most_turns, f"dialogue-{seed}-{voice}"
        )
    ]


def _split(
    planned: Sequence[PlannedUtterance],
    durations: Mapping[str, float],
    recordings: Manifest,
    held_out: HeldOutTexts,
) -> dict[str, list[Utterance]]:
    """The utterances of each split. A user's recording is held out if its text is."""
    splits: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for utterance in planned:
        splits[utterance.split].append(utterance.spoken(durations))
    for recording in recordings.utterances:
        splits[HELD_OUT_SENTENCE if recording.text in held_out else TRAIN].append(recording)
    return splits


def _write_world(folder: Path, world: World, held_out: HeldOutTexts, documents: Documents) -> None:
    """Write questions.jsonl, texts.jsonl, texts_heldout.jsonl and sentences.txt."""
    questions = [
        asdict(question) | {"split": "heldout" if question.question in held_out else "train"}
        for question in world.questions
    ]
    _write_lines(folder / "questions.jsonl", map(json.dumps, questions))
    _write_lines(folder / "texts.jsonl", (json.dumps(asdict(document)) for document in documents.train))
    _write_lines(folder / "texts_heldout.jsonl", (json.dumps(asdict(document)) for document in documents.held_out))
    texts = (document.text for document in (*documents.train, *documents.held_out))
    sentences = {normalise(sentence) for text in texts for sentence in split_sentences(text)}
    _write_lines(folder / "sentences.txt", sorted(sentences | set(world.sentences)))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _write_voices(folder: Path, voices: Sequence[WorldVoice]) -> None:
    """Write voices.json: ``{"answer": name, "voices": [{"name", "engine", "role": seen|heldout|answer, ...}]}``."""
    answer = next(voice.name for voice in voices if voice.role == ANSWER)
    write_json(folder / "voices.json", {"answer": answer, "voices": [voice.describe() for voice in voices]})


def _measure(
    splits: Mapping[str, Sequence[Utterance]],
    world: World,
    held_out: HeldOutTexts,
    documents: Documents,
    recordings: Manifest,
) -> dict[str, Any]:
    everything = [utterance for utterances in splits.values() for utterance in utterances]
    counts: dict[str, Any] = {}
    for split, utterances in splits.items():
        counts[f"num_utterances.{split}"] = len(utterances)
        counts[f"hours.{split}"] = round(sum(utterance.duration for utterance in utterances) / 3600, 3)
    return {
        "num_voices": len({utterance.speaker for utterance in everything}),
        "num_sentences": len(world.sentences),
        "num_words": len(world.vocabulary),
        "num_utterances": len(everything),
        "hours": round(sum(utterance.duration for utterance in everything) / 3600, 3),
        **counts,
        "num_questions": len(world.questions),
        "num_heldout_questions": sum(question.question in held_out for question in world.questions),
        "num_texts": len(documents.train),
        "num_heldout_texts": len(documents.held_out),
        "num_user_utterances": len(recordings.utterances),
        "bad_records": len(recordings.bad),
    }
