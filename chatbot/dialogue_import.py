"""Recorded dialogues -> dialogues with speech tokens, which `chatbot.prepare` takes.

    python -m chatbot.dialogue_import turns=recordings.jsonl tokenizer=runs/quickstart/tokenizer out=runs/recorded

``turns`` is a manifest of turns (`chatbot.data.recorded_turns`), or a file or folder of dialogues whose turns have
audio. Works in units like `chatbot.dialogues`: kill it at any moment and call it again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.manifest import BadRecord, check_bad_share
from runtime.artefact import artefact_folder, atomic_path, read_json, write_json
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.launch import BulkConfig
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

from .data.bulk_job import check_left_out, finish_job, open_job, read_part, result_of, write_part
from .data.dialogue_files import Dialogue, DialogueFingerprints, dialogue_files, read_dialogues, record_of
from .data.recorded_turns import read_turns

if TYPE_CHECKING:
    from tokenizer.model import SpeechTokenizer


@dataclass(kw_only=True)
class DialogueImportConfig(StageConfig):
    """Options of chatbot.dialogue_import.

    Attributes:
        seed: unused: nothing is drawn.
        turns: a manifest of turns, or dialogues whose turns have audio.
        turns_heldout: the same, for the validation split ("" = none).
        tokenizer: run folder of tokenizer.train, or its artefact.
        max_seconds: of a turn; a dialogue with a longer one is left out.
        max_bad_share: share of dialogues that may be bad, or have audio that cannot be read.
        unit_dialogues: dialogues of a unit of work.
        processes: worker processes; changes speed only.
        threads: torch threads of each process.
        devices: where to run, workers take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: who starts the workers, and what is put up with.
    """

    turns: str
    tokenizer: str
    turns_heldout: str = ""
    max_seconds: float = 60.0
    max_bad_share: float = 0.01
    unit_dialogues: int = 64
    processes: int = 1
    threads: int = 1
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        for name in ("unit_dialogues", "processes", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        check_option(self.max_seconds > 0, "max_seconds", self.max_seconds, "give a positive number")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give a share in [0, 1]")
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")


@dataclass(frozen=True, kw_only=True)
class TurnEncoding:
    """All that a worker needs, as plain data (a `runtime.bulk.workers.Work`).

    Attributes:
        root: the job's folder.
        tokenizer: the artefact's folder.
        max_seconds: of a turn.
        threads: of torch, in each process.
        devices: where to run; workers take them in turn.
    """

    root: Path
    tokenizer: str
    max_seconds: float
    threads: int
    devices: tuple[str, ...]

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        """Load the tokenizer."""
        import torch

        from tokenizer.model import SpeechTokenizer

        torch.set_num_threads(self.threads)
        tokenizer = SpeechTokenizer.from_pretrained(self.tokenizer, self.devices[number % len(self.devices)])
        return lambda attempt: self.finish(attempt, tokenizer)

    def finish(self, attempt: UnitAttempt, tokenizer: SpeechTokenizer) -> dict[str, Any]:
        """Write a unit's file; returns what it holds and what was left out."""
        left_out: Counter[str] = Counter()
        encoded = []
        for dialogue in read_part(self.root, attempt.unit):
            try:
                encoded.append(self.encode(dialogue, tokenizer))
            except UserError as error:
                left_out[error.found if error.subject == dialogue.id else "audio that cannot be read"] += 1
        marks = DialogueFingerprints(tokenizer=tokenizer.fingerprint, codebook_size=tokenizer.codebook_size)
        write_part(attempt, encoded, marks)
        return result_of(encoded, left_out)

    def encode(self, dialogue: Dialogue, tokenizer: SpeechTokenizer) -> Dialogue:
        """The dialogue with the tokens of its recordings.

        Raises:
            UserError: a recording that is missing, broken, too short or too long.
        """
        from corpus.audio.files import SAMPLE_RATE, read_audio

        turns = []
        for turn in dialogue.turns:
            if turn.audio is None:
                turns.append(turn)
                continue
            audio = read_audio(turn.audio)
            if len(audio) > self.max_seconds * SAMPLE_RATE:
                raise UserError(dialogue.id, found="a turn longer than max_seconds", remedy="cut it")
            (tokens,) = tokenizer.encode([audio])
            if not len(tokens):
                raise UserError(dialogue.id, found="a turn too short for a token", remedy="leave it out")
            turns.append(replace(turn, tokens=tokens))
        return replace(dialogue, turns=turns)


def run(config: DialogueImportConfig, run: Run) -> dict[str, Any]:
    """Gather the dialogues, then finish the units that are not finished yet; returns what they hold."""
    work = TurnEncoding(
        root=run.folder.absolute(),
        tokenizer=str(artefact_folder(config.tokenizer).absolute()),
        max_seconds=config.max_seconds,
        threads=config.threads,
        devices=tuple(config.devices),
    )
    sources = {"train": config.turns, "heldout": config.turns_heldout}
    gathered = {
        split: gather(source, run.folder, split, config.max_bad_share) for split, source in sources.items() if source
    }
    counts = {split: int(found["dialogues"]) for split, found in gathered.items()}
    job = open_job(run.folder, counts, unit_dialogues=config.unit_dialogues, lease_seconds=config.bulk.lease_seconds)
    total = finish_job(job, work, config.bulk, processes=config.processes, run=run)
    remedy = f"check the recordings, or raise max_bad_share={config.max_bad_share}"
    check_left_out(total, config.max_bad_share, config.turns, remedy)
    bad = sum(len(found["bad"]) for found in gathered.values())
    return {"gathered": sum(counts.values()), "bad_records": bad, **dict(sorted(total.items()))}


def gather(source: str, folder: Path, split: str, max_bad_share: float) -> dict[str, Any]:
    """Write texts/<split>.jsonl, unless an earlier call has; returns how many dialogues it holds, and bad records."""
    record = folder / "texts" / f"{split}.counts.json"
    if not record.exists():
        bad: list[BadRecord] = []
        count = 0
        with atomic_path(folder / "texts" / f"{split}.jsonl") as temporary, temporary.open("w") as lines:
            for item in recorded(source, max_bad_share):
                if isinstance(item, BadRecord):
                    bad.append(item)
                else:
                    count += 1
                    lines.write(json.dumps(record_of(item, folder.resolve())) + "\n")
        check_bad_share(bad, count + len(bad), max_bad_share)
        write_json(record, {"dialogues": count, "bad": [[one.place, one.reason] for one in bad]})
    return read_json(record)


def recorded(source: str, max_bad_share: float) -> Iterator[Dialogue | BadRecord]:
    """The dialogues of a source of either kind, without tokens of their own."""
    first = dialogue_files(source)[0].open("rb").readline()
    if not Path(source).is_dir() and b'"dialogues"' not in first:
        yield from read_turns(source)
        return
    found = read_dialogues(source, max_bad_share)
    yield from found.bad
    for dialogue in found.dialogues:
        if any(turn.audio is None and not turn.text for turn in dialogue.turns):
            yield BadRecord(dialogue.id, "a turn with neither text nor audio")
            continue
        yield replace(dialogue, turns=[replace(turn, tokens=None) for turn in dialogue.turns])


STAGE = Stage(
    name="chatbot.dialogue_import",
    config=DialogueImportConfig,
    run=run,
    summary="Recorded dialogues -> dialogues with speech tokens that chatbot.prepare takes.",
    inputs=lambda config: [*filter(None, (config.turns, config.turns_heldout)), config.tokenizer],
    example="turns=recordings.jsonl tokenizer=runs/quickstart/tokenizer out=runs/recorded",
    speed_options=("processes", "threads", "bulk", "max_bad_share"),
)

if __name__ == "__main__":
    STAGE.exit()
