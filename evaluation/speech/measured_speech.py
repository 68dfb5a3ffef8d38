"""Files of measured speech: transcripts and measures of every utterance, raw, so that scoring them needs no model.

details.jsonl    one line an utterance and source: texts as they were heard, measures
roughness.jsonl  its roughness by position within a mel frame (`evaluation.speech.hop_modulation`)
measured.json    `MeasuredHeader`: the circumstances, written last
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import Utterance
from runtime.artefact import file_digest, read_json, write_json, write_text
from runtime.errors import UserError

from .hop_modulation import HopRoughness

DETAILS, ROUGHNESS, HEADER = "details.jsonl", "roughness.jsonl", "measured.json"

SpeechRow = dict[str, Any]  # one utterance of one source, a line of details.jsonl


@dataclass(frozen=True, kw_only=True)
class MeasuredSource:
    """One source of speech: the recordings, or one way of making them again.

    Attributes:
        name: of its row in the table.
        data_digest: of the recordings that it is compared with, and of their texts.
        audio_digest: of its own sounds; "" where it has none (tokens).
        left_out: bad records of its manifest.
    """

    name: str
    data_digest: str
    audio_digest: str
    left_out: int


@dataclass(frozen=True, kw_only=True)
class MeasuredHeader:
    """Circumstances of a measurement: what a score's stamp takes over.

    Attributes:
        data: name of the corpus or manifest.
        limit: utterances of each source, the first ones; 0 means all.
        seed: of the measurement.
        frame_rate: mel frames a second, for the hop modulation.
        sources: in the order of the table.
        measured_by: what measured a column, with its digest or version (``judge``, ``asr``, ``utmos`` ...).
        settings: further options that change a measure.
        facts: numbers of a source as a whole, which have no interval (rates, codebook use).
    """

    data: str
    limit: int
    seed: int
    frame_rate: float
    sources: tuple[MeasuredSource, ...]
    measured_by: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasuredSpeech:
    """A measurement: its circumstances, the rows of each source, and the roughness of their utterances in order."""

    header: MeasuredHeader
    rows: Mapping[str, Sequence[SpeechRow]]
    roughness: Mapping[str, Sequence[HopRoughness]]


@dataclass(frozen=True, kw_only=True)
class TokenMeasures:
    """Measures of a set's tokens, in front of those of its sounds.

    Attributes:
        rows: of the clean tokens and of those under each noise.
        sources: the same sources.
        measured_by: name of what measured them.
        facts: numbers of the whole set.
    """

    rows: Mapping[str, Sequence[SpeechRow]] = field(default_factory=dict)
    sources: tuple[MeasuredSource, ...] = ()
    measured_by: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


def write_measured(folder: Path, measured: MeasuredSpeech) -> None:
    """Write the three files, the header last."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for rows in measured.rows.values() for row in rows]
    write_text(folder / DETAILS, "".join(lines))
    kept = [
        {"part": name, "sums": [float(f"{value:.9g}") for value in one.sums], "counts": one.counts.tolist()}
        for name, some in measured.roughness.items()
        for one in some
    ]
    write_text(folder / ROUGHNESS, "".join(json.dumps(one) + "\n" for one in kept))
    write_json(folder / HEADER, asdict(measured.header))


def read_measured(folder: Path | str) -> MeasuredSpeech:
    """Read a measurement.

    Raises:
        UserError: none there, or a broken line.
    """
    root = Path(folder)
    if not (root / HEADER).is_file():
        remedy = "give the output folder of evaluation.quality (one of before 2026-11-29 has to be measured again)"
        raise UserError(str(root), found=f"no {HEADER}", remedy=remedy)
    try:
        found = read_json(root / HEADER)
        header = MeasuredHeader(**found | {"sources": tuple(MeasuredSource(**one) for one in found["sources"])})
    except (TypeError, KeyError) as error:
        raise UserError(str(root / HEADER), found=f"no header ({error})", remedy="measure again") from error
    rows: dict[str, list[SpeechRow]] = {source.name: [] for source in header.sources}
    for row in json_lines(root / DETAILS, rows):
        rows[row["part"]].append(row)
    roughness: dict[str, list[HopRoughness]] = {}
    for one in json_lines(root / ROUGHNESS, rows):
        roughness.setdefault(one["part"], []).append(HopRoughness(np.array(one["sums"]), np.array(one["counts"])))
    return MeasuredSpeech(header, rows, roughness)


def json_lines(file: Path, parts: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The records of a file; each names one of ``parts``."""
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="measure again")
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        try:
            record = parse_json_line(line)
            known = isinstance(record, dict) and record["part"] in parts
        except (ValueError, KeyError) as error:
            raise UserError(f"{file}, line {number}", found=f"no row ({error})", remedy="measure again") from error
        if not known:
            raise UserError(f"{file}, line {number}", found="a row of no source", remedy="measure again")
        yield record


def utterance_digest(utterance: Utterance) -> str:
    """A digest of an utterance: its id, text and voice, the stretch of audio that it means, and the file's bytes."""
    words = [utterance.id, utterance.text, utterance.speaker, utterance.offset]
    words += [] if utterance.offset is None else [utterance.duration]
    digest = hashlib.sha256(json.dumps(words, ensure_ascii=False).encode())
    digest.update(sound_digest(utterance.audio).encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=4)  # the segments of one file come one after the other
def sound_digest(audio: Path) -> str:
    """A digest of a sound file's bytes."""
    return file_digest(audio)


def digest_of(parts: Iterable[str]) -> str:
    """A digest of digests in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
