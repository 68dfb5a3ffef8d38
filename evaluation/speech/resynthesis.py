"""Intelligibility of resynthesised speech: the judge's word errors, and its floor on the recordings themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corpus.manifest import Utterance, read_manifest
from corpus.text.word_errors import WordErrors, total, word_errors
from evaluation.judges.closed_world import Judge
from evaluation.judges.transcription import AudioItem
from runtime.errors import UserError

SPLITS = ("heldout_sentence", "heldout_voice", "train")


@dataclass(frozen=True)
class ResynthesisPair:
    """One resynthesised utterance and the recording that its tokens came from."""

    made: Utterance
    original: Utterance


def recordings(corpus: Path | str) -> dict[str, Utterance]:
    """Every utterance of a corpus by id."""
    found: dict[str, Utterance] = {}
    for split in SPLITS:
        if (Path(corpus) / f"{split}.jsonl").is_file():
            utterances = read_manifest(Path(corpus) / f"{split}.jsonl", should_check_audio=False).utterances
            found |= {utterance.id: utterance for utterance in utterances}
    if not found:
        remedy = "give the output folder of corpus.build"
        raise UserError(str(corpus), found=f"none of {', '.join(SPLITS)} (.jsonl)", remedy=remedy)
    return found


class PairedSource(NamedTuple):
    """A resynthesis with its recordings, and the number of bad records of its manifest that were left out."""

    pairs: list[ResynthesisPair]
    left_out: int


def pair(resynthesis: Path | str, originals: dict[str, Utterance]) -> PairedSource:
    """The utterances of a resynthesis with their recordings."""
    manifest = Path(resynthesis) / "manifest.jsonl"
    pairs = []
    found = read_manifest(manifest)
    for made in found.utterances:
        if made.id not in originals:
            remedy = "give the corpus whose tokens were resynthesised"
            raise UserError(str(manifest), found=f"utterance {made.id}, which the corpus lacks", remedy=remedy)
        pairs.append(ResynthesisPair(made, originals[made.id]))
    return PairedSource(pairs, len(found.bad))


def judgeable(pairs: list[ResynthesisPair], judge: Judge, subject: str) -> list[ResynthesisPair]:
    """The pairs whose text is a sentence of the closed world."""
    kept = [spoken for spoken in pairs if judge.knows(spoken.original.text)]
    if not kept:
        found = f"none of {len(pairs)} utterances is a sentence of the closed world (sentences.txt of the corpus)"
        raise UserError(subject, found=found, remedy="resynthesise utterances of the built-in corpus")
    return kept


def speech_to_transcribe(part: str, pairs: list[ResynthesisPair]) -> list[AudioItem]:
    """The audio of one resynthesis, for the judge."""
    return [AudioItem(f"{part}/{spoken.made.id}", spoken.made.audio) for spoken in pairs]


def recordings_to_transcribe(pairs: list[ResynthesisPair]) -> list[AudioItem]:
    """The recordings, for the judge's own floor."""
    return [AudioItem(f"floor/{spoken.original.id}", spoken.original.audio) for spoken in pairs]


def score(part: str, pairs: list[ResynthesisPair], transcripts: dict[str, str]) -> list[dict[str, Any]]:
    """One row of details for each utterance; ``part`` ``"floor"`` scores the recordings."""
    rows = []
    for spoken in pairs:
        utterance = spoken.original if part == "floor" else spoken.made
        text = transcripts[f"{part}/{utterance.id}"]
        errors = word_errors(utterance.text, text)
        rows.append(
            {
                "part": part,
                "id": utterance.id,
                "speaker": utterance.speaker,
                "kind": utterance.kind,
                "audio": str(utterance.audio),
                "text": utterance.text,
                "judge": text,
                "edits": errors.errors,
                "words": errors.words,
            }
        )
    return rows


def rate(rows: list[dict[str, Any]], speaker: str | None = None) -> float:
    """The word error rate over rows of `score`, of one speaker or of all."""
    chosen = [row for row in rows if speaker in (None, row["speaker"])]
    return round(total(WordErrors(row["edits"], row["words"]) for row in chosen).rate_or_errors, 5)
