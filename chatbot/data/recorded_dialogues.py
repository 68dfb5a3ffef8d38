"""Recorded dialogues -> speech tokens, in units of work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from corpus.audio.files import SAMPLE_RATE
from corpus.audio.segments import DURATION_TOLERANCE, read_segment
from corpus.manifest import BadRecord, check_bad_share
from runtime.artefact import artefact_folder, atomic_path, read_json, write_json
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import ConfiguredWork, UnitFunction
from runtime.errors import UserError
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer

from .bulk_job import check_left_out, finish_job, open_job, read_part, result_of, write_part
from .dialogue_files import Dialogue, DialogueFingerprints, is_dialogue_file, read_dialogues, record_of
from .import_config import DialogueImportConfig
from .recorded_turns import read_turns


def import_dialogues(config: DialogueImportConfig, run: Run) -> dict[str, Any]:
    """Gather the dialogues, then finish the units that are not finished yet; returns what they hold."""
    sources = {"train": config.turns, "heldout": config.turns_heldout}
    gathered = {
        split: gather(source, run.folder, split, config.max_bad_share) for split, source in sources.items() if source
    }
    counts = {split: int(found["dialogues"]) for split, found in gathered.items()}
    job = open_job(run.folder, counts, unit_dialogues=config.unit_dialogues, lease_seconds=config.bulk.lease_seconds)
    tokenizer = str(artefact_folder(config.tokenizer).absolute())  # workers may have another working directory
    work = ConfiguredWork(replace(config, tokenizer=tokenizer), open_encoder)
    total = finish_job(job, work, config.bulk, processes=config.processes, run=run)
    remedy = f"check the recordings, or raise max_bad_share={config.max_bad_share}"
    check_left_out(total, config.max_bad_share, config.turns, remedy)
    bad = sum(len(found["bad"]) for found in gathered.values())
    return {"gathered": sum(counts.values()), "bad_records": bad, **dict(sorted(total.items()))}


def gather(source: str, folder: Path, split: str, max_bad_share: float) -> dict[str, Any]:
    """Write texts/<split>.jsonl, unless an earlier call has; returns its number of dialogues, and the bad records."""
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
    if not Path(source).is_dir() and not is_dialogue_file(source):
        yield from read_turns(source)
        return
    found = read_dialogues(source, max_bad_share)
    yield from found.bad
    for dialogue in found.dialogues:
        if any(turn.audio is None and not turn.text for turn in dialogue.turns):
            yield BadRecord(dialogue.id, "a turn with neither text nor audio")
            continue
        yield replace(dialogue, turns=[replace(turn, tokens=None) for turn in dialogue.turns])


def open_encoder(config: DialogueImportConfig, number: int) -> UnitFunction:
    """Load the tokenizer in worker ``number``."""
    torch.set_num_threads(config.threads)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.devices[number % len(config.devices)])
    return lambda attempt: encode_unit(attempt, config, tokenizer)


def encode_unit(attempt: UnitAttempt, config: DialogueImportConfig, tokenizer: SpeechTokenizer) -> dict[str, Any]:
    """Write a unit's file; returns the counts of its content and of the dialogues left out, by reason."""
    left_out: Counter[str] = Counter()
    encoded = []
    for dialogue in read_part(attempt.root, attempt.unit):
        try:
            encoded.append(encode_dialogue(dialogue, tokenizer, config.max_seconds, config.duration_tolerance))
        except UserError as error:
            left_out[error.found if error.subject == dialogue.id else "audio that cannot be read"] += 1
    fingerprints = DialogueFingerprints(tokenizer=tokenizer.fingerprint, codebook_size=tokenizer.codebook_size)
    write_part(attempt, encoded, fingerprints)
    return result_of(encoded, left_out)


def encode_dialogue(
    dialogue: Dialogue, tokenizer: SpeechTokenizer, max_seconds: float, tolerance: float = DURATION_TOLERANCE
) -> Dialogue:
    """The dialogue with the tokens of its recordings.

    Raises:
        UserError: a recording that is missing, broken, too short or too long.
    """
    turns = []
    for turn in dialogue.turns:
        if (segment := turn.segment) is None:
            turns.append(turn)
            continue
        audio = read_segment(segment, tolerance=tolerance)
        if len(audio) > max_seconds * SAMPLE_RATE:
            raise UserError(dialogue.id, found="a turn longer than max_seconds", remedy="cut it")
        (tokens,) = tokenizer.encode([audio])
        if not len(tokens):
            raise UserError(dialogue.id, found="a turn too short for a token", remedy="leave it out")
        turns.append(replace(turn, tokens=tokens))
    return replace(dialogue, turns=turns)
