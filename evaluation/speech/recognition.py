"""Word errors of a recogniser on a manifest: transcripts kept one by one, a rate with its interval, and a stamp."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from corpus.audio.files import write_audio
from corpus.audio.segments import read_segment
from corpus.manifest import BadRecord, Utterance, check_bad_share, read_manifest
from evaluation.judges.recognisers import find_recogniser
from evaluation.judges.transcription import transcribe_kept
from evaluation.rules.measure import ItemScore, Measure, score_set
from runtime.artefact import write_json, write_text
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run

from .measured_speech import digest_of, utterance_digest
from .recognition_config import RecognitionConfig
from .speech_columns import check_normaliser, normaliser_of

KEPT, ROWS, SCORES = "transcribed.jsonl", "transcripts.jsonl", "scores.json"


def measure_recognition(config: RecognitionConfig, run: Run) -> dict[str, Any]:
    """Transcribe, compare and write; returns the rate, its interval and the numbers of utterances."""
    torch.set_num_threads(config.threads)
    check_normaliser(config.normaliser)
    manifest = read_manifest(config.data, config.max_bad_share).of_kinds(config.kinds)
    chosen = manifest.utterances[: config.limit or None]
    files, bad = whole_files(chosen, config, run.folder / "audio")
    check_bad_share([*manifest.bad, *bad], len(chosen) + len(manifest.bad), config.max_bad_share)
    recogniser = find_recogniser(config.recogniser, instruction=config.instruction)
    heard = [utterance for utterance in chosen if utterance.id in files]
    if not heard:
        raise UserError(config.data, found="no utterance that can be heard", remedy="see bad_records in the log")
    texts = transcribe_kept([one.id for one in heard], files.__getitem__, recogniser, run, KEPT, "files transcribed")
    form = normaliser_of(config.normaliser, [utterance.text for utterance in heard])
    errors = {one.id: form.errors(one.text, texts[one.id]) for one in heard}
    scores = [
        (one.kind, ItemScore({"wer": Measure(errors[one.id].errors, errors[one.id].words)})) for one in by_id(heard)
    ]
    wer = score_set(scores).means["wer"]
    rows = ({"id": one.id, "text": one.text, "transcript": texts[one.id], **asdict(errors[one.id])} for one in heard)
    write_text(run.folder / ROWS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    stamp = {
        "data": config.data,
        "data_digest": digest_of(map(utterance_digest, heard)),
        "recogniser": recogniser.name,
        "normaliser": form.words,
        "items": len(heard),
        "left_out": len(manifest.bad) + len(bad),
    }
    write_json(run.folder / SCORES, {"stamp": stamp, "wer": asdict(wer)})
    return {
        "wer": wer.micro,
        "wer_low": wer.interval[0],
        "wer_high": wer.interval[1],
        **{f"wer.{kind}": rate for kind, rate in wer.subsets.items() if kind},
        "utterances": len(heard),
        "words": sum(one.words for one in errors.values()),
        "left_out": len(manifest.bad) + len(bad),
    }


def by_id(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The utterances by id: the interval does not depend on a manifest's order."""
    return sorted(utterances, key=lambda one: one.id)


def whole_files(
    utterances: Sequence[Utterance], config: RecognitionConfig, folder: Path
) -> tuple[dict[str, Path], list[BadRecord]]:
    """A file with each utterance's speech, its own or a segment written to ``folder``; and what cannot be read."""
    files: dict[str, Path] = {}
    bad = []
    for utterance in utterances:
        try:
            samples = read_segment(utterance.segment, tolerance=config.duration_tolerance)
        except UserError as error:
            bad.append(BadRecord(str(utterance.audio), error.found))
            continue
        files[utterance.id] = utterance.audio
        if utterance.offset is not None:
            files[utterance.id] = folder / f"{seed_of(utterance.id):016x}.wav"
            write_audio(files[utterance.id], samples, is_durable=False)
    return files, bad
