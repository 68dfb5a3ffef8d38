"""Stage: build the spoken corpus: what the built-in world says, in many voices, and a user's own recordings.

    python -m corpus.build out=runs/corpus num_utterances=6000

Writes into ``out``: ``train.jsonl``, ``heldout_sentence.jsonl`` (seen voices, unseen texts), ``heldout_voice.jsonl``
(unseen voices, unseen texts), ``heldout_words.jsonl`` (seen voices, random words without grammar),
``heldout_dialogue.jsonl`` (dialogues in seen voices, about stories that training never hears), ``audio/``,
``questions.jsonl``, ``dialogues.jsonl`` and ``dialogues_heldout.jsonl`` (which questions follow each other),
``texts.jsonl``, ``texts_heldout.jsonl``, ``sentences.txt`` (every sentence of the world) and ``voices.json``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime.artefact import write_json, write_text
from runtime.bulk.workers import num_available_cpus
from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig

from .audio.room_simulation import RoomConfig
from .manifest import Utterance, write_manifest
from .recordings import ImportedRecordings, import_recordings, read_recordings
from .splits import HeldOutTexts
from .text.normalisation import normalise, split_sentences
from .world.closed_world import World
from .world.dialogues import AskedDialogue, dialogue_line, heldout_dialogues, training_dialogues
from .world.documents import Documents, write_documents
from .world.plan import HELD_OUT_SENTENCE, KINDS, SPLITS, TRAIN, CorpusPlan, Line, PlanSizes
from .world.synthesis import synthesise
from .world.voices import ANSWER, ENGINES, WorldVoice, choose_voices


@dataclass(kw_only=True)
class Shares:
    """The share of each kind of utterance; they sum to 1.

    Attributes:
        question: questions of the world.
        statement: sentences that state something.
        random: random words of the vocabulary.
        story: little stories of up to four sentences.
        followup: questions about a story told before ("what color is it").
    """

    question: float = 0.4
    statement: float = 0.225
    random: float = 0.225
    story: float = 0.1
    followup: float = 0.05

    def __post_init__(self) -> None:
        for kind, share in asdict(self).items():
            check_option(0 <= share <= 1, f"shares.{kind}", share, "give a number from 0 to 1")
        total = sum(asdict(self).values())
        check_option(math.isclose(total, 1, abs_tol=1e-6), "shares", total, "question, ... and followup must sum to 1")

    def counts(self, total: int, *, without: Sequence[str] = ()) -> dict[str, int]:
        """``total`` utterances divided by the shares (those of the kinds but ``without``)."""
        shares = {kind: 0.0 if kind in without else float(getattr(self, kind)) for kind in KINDS}
        whole = sum(shares.values()) or 1.0
        return {kind: round(total * share / whole) for kind, share in shares.items()}


@dataclass(kw_only=True)
class BuildConfig(StageConfig):
    """Options of corpus.build.

    Attributes:
        out: run folder.
        seed: of every choice; the same seed gives the same bytes, whatever the number of workers.
        num_utterances: training utterances in the seen voices.
        shares: of question, statement, random and story among them.
        answer_voice_utterances: training utterances in the answer voice, besides all replies (which are always spoken).
        num_texts: training texts.
        num_heldout_texts: held-out texts.
        heldout_share: share of all sentences that training never hears or reads.
        heldout_utterances: size of heldout_sentence, and of heldout_voice; heldout_words (random word strings in seen
            voices: sounds without grammar) has a quarter of it, heldout_dialogue an eighth in dialogues of four turns.
        dialogue_turns: most turns of the dialogues that training questions are put together to.
        situations: how many "who put what where" situations are asked about.
        engines: auto (espeak-ng, and flite where libflite1 is installed) or espeak.
        seen_voices: how many voices training hears, the answer voice among them; 0 for all there are.
        answer_voice: name of the voice that speaks the replies; empty takes flite's slt, else espeak-f2.
        room: how the built-in utterances are recorded, the answer voice's apart.
        manifest: a NeMo manifest of your own recordings, added to the built-in ones with kind "user".
        max_bad_share: share of bad records in it that are left out without an error.
        workers: processes; 0 for all CPUs.
    """

    num_utterances: int = 6000
    shares: Shares = field(default_factory=Shares)
    answer_voice_utterances: int = 1250
    num_texts: int = 6000
    num_heldout_texts: int = 300
    heldout_share: float = 0.1
    heldout_utterances: int = 300
    dialogue_turns: int = 3
    situations: int = 60
    engines: str = "auto"
    seen_voices: int = 0
    answer_voice: str = ""
    room: RoomConfig = field(default_factory=RoomConfig)
    manifest: str | None = None
    max_bad_share: float = 0.01
    workers: int = 0

    def __post_init__(self) -> None:
        counts = ("num_utterances", "answer_voice_utterances", "num_texts", "num_heldout_texts", "seen_voices")
        for name in (*counts, "workers"):
            check_option(getattr(self, name) >= 0, name, getattr(self, name), "give a number of at least 0")
        check_option(self.heldout_utterances >= 10, "heldout_utterances", self.heldout_utterances, "give at least 10")
        check_option(self.dialogue_turns >= 1, "dialogue_turns", self.dialogue_turns, "give at least 1")
        check_option(4 <= self.situations <= 1000, "situations", self.situations, "give a number from 4 to 1000")
        check_option(0.01 <= self.heldout_share <= 0.5, "heldout_share", self.heldout_share, "give 0.01 to 0.5")
        check_option(0 <= self.max_bad_share < 1, "max_bad_share", self.max_bad_share, "give a number in [0, 1)")
        check_option(self.engines in ENGINES, "engines", self.engines, f"give one of {', '.join(ENGINES)}")


def run(config: BuildConfig, run: Run) -> dict[str, Any]:
    """Take in the user's recordings, plan and synthesise the built-in speech, write the lists."""
    workers = config.workers or num_available_cpus()
    recordings = (
        read_recordings(config.manifest, config.max_bad_share) if config.manifest else ImportedRecordings([], [])
    )
    world = World(config.seed, config.situations)
    held_out = HeldOutTexts(world, config.heldout_share, config.seed)
    voices = choose_voices(config.engines, config.seen_voices, config.answer_voice)
    plan = CorpusPlan(world, held_out, voices, config.seed, run.folder / "audio")
    asked = heldout_dialogues(world, held_out, config.heldout_utterances // 8, config.seed)
    lines = [*plan.lines(plan_sizes(config)), *plan.dialogue_lines(asked)]
    documents = write_documents(
        world, held_out, train=config.num_texts, held_out_count=config.num_heldout_texts, seed=config.seed
    )
    audio, units = run.folder / "audio", run.folder / "units"
    with run.progress(len(lines) + len(recordings.utterances), "speech", unit="utterance") as bar:
        recordings = import_recordings(
            recordings,
            audio / "user",
            units / "recordings",
            max_bad_share=config.max_bad_share,
            workers=workers,
            bar=bar,
        )
        prompts = [line.prompt for line in lines]
        speech = units / "speech"
        durations = synthesise(prompts, speech, room=config.room, seed=config.seed, workers=workers, bar=bar)
    os.sync()  # the audio files were written without waiting for the disk
    splits = gather(lines, durations, recordings, held_out)
    for split, utterances in splits.items():
        write_manifest(run.folder / f"{split}.jsonl", utterances)
    write_world(run.folder, world, held_out, documents)
    told = train_dialogues(world, lines, config.dialogue_turns, config.seed)
    write_lines(run.folder / "dialogues.jsonl", map(dialogue_line, told))
    write_lines(run.folder / "dialogues_heldout.jsonl", map(dialogue_line, asked))
    write_voices(run.folder, voices)
    write_json(run.folder / "bad_records.json", {"bad_records": [asdict(record) for record in recordings.bad]})
    if recordings.bad:
        run.say(f"{config.manifest}: left out {len(recordings.bad)} bad records, see {run.folder}/bad_records.json")
    return measure(splits, world, held_out, documents, recordings)


def plan_sizes(config: BuildConfig) -> PlanSizes:
    """Utterances of each kind; the answer voice tells no stories."""
    return PlanSizes(
        train=config.shares.counts(config.num_utterances),
        answer=config.shares.counts(config.answer_voice_utterances, without=["story"]),
        held_out=config.shares.counts(config.heldout_utterances, without=["random", "followup"]),
        held_out_words=config.heldout_utterances // 4,
    )


def train_dialogues(world: World, lines: Sequence[Line], most_turns: int, seed: int) -> list[AskedDialogue]:
    """The training questions of each voice as dialogues."""
    spoken: dict[str, dict[str, dict[str, str]]] = {}
    for line in lines:
        if line.split == TRAIN and line.kind in ("question", "followup"):
            kinds = spoken.setdefault(line.prompt.voice.name, {"question": {}, "followup": {}})
            kinds[line.kind][line.prompt.id] = line.text
    return [
        dialogue
        for voice, kinds in sorted(spoken.items())
        for dialogue in training_dialogues(
            world, kinds["question"], kinds["followup"], most_turns, f"dialogue-{seed}-{voice}"
        )
    ]


def gather(
    lines: Sequence[Line], durations: dict[str, float], recordings: ImportedRecordings, held_out: HeldOutTexts
) -> dict[str, list[Utterance]]:
    """The utterances of each split. A user's recording is held out if its text is."""
    splits: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for line in lines:
        prompt = line.prompt
        duration = durations[prompt.id]
        splits[line.split].append(
            Utterance(prompt.id, prompt.path, duration, line.text, prompt.voice.name, kind=line.kind)
        )
    for utterance in recordings.utterances:
        splits[HELD_OUT_SENTENCE if utterance.text in held_out else TRAIN].append(utterance)
    return splits


def write_world(folder: Path, world: World, held_out: HeldOutTexts, documents: Documents) -> None:
    """questions.jsonl, texts.jsonl, texts_heldout.jsonl and sentences.txt."""
    questions = [
        asdict(question) | {"split": "heldout" if question.question in held_out else "train"}
        for question in world.questions
    ]
    write_lines(folder / "questions.jsonl", map(json.dumps, questions))
    write_lines(folder / "texts.jsonl", (json.dumps(asdict(document)) for document in documents.train))
    write_lines(folder / "texts_heldout.jsonl", (json.dumps(asdict(document)) for document in documents.held_out))
    told = (document.text for document in (*documents.train, *documents.held_out))
    sentences = {normalise(sentence) for text in told for sentence in split_sentences(text)}
    write_lines(folder / "sentences.txt", sorted(sentences | set(world.sentences)))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one line each, atomically."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_voices(folder: Path, voices: Sequence[WorldVoice]) -> None:
    """voices.json: ``{"answer": name, "voices": [{"name", "engine", "role": seen|heldout|answer, ...}]}``."""
    answer = next(voice.name for voice in voices if voice.role == ANSWER)
    write_json(folder / "voices.json", {"answer": answer, "voices": [voice.describe() for voice in voices]})


def measure(
    splits: dict[str, list[Utterance]],
    world: World,
    held_out: HeldOutTexts,
    documents: Documents,
    recordings: ImportedRecordings,
) -> dict[str, Any]:
    """The stage's metrics."""
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


STAGE = Stage(
    name="corpus.build",
    config=BuildConfig,
    run=run,
    summary="Make a spoken corpus on the spot (and add your own recordings to it).",
    inputs=lambda config: [config.manifest],
    example="out=runs/corpus num_utterances=6000",
    speed_options=("workers",),
)

if __name__ == "__main__":
    STAGE.exit()
