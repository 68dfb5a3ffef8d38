"""Measurement of speech quality: the judges, the objective metrics and the speaker encoder over all resyntheses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.audio.files import SAMPLE_RATE, Samples, read_audio
from corpus.audio.segments import read_segment
from corpus.text.word_errors import word_errors
from decoder.model import SpeechDecoder
from evaluation.judges.closed_world import load_judge
from evaluation.judges.external_models import check_dnsmos, dnsmos_ratings, naturalness
from evaluation.judges.recognisers import find_recogniser
from evaluation.judges.transcription import AudioItem, transcribe_all
from runtime.artefact import artefact_folder, write_text
from runtime.bulk.parallel_map import in_parallel
from runtime.errors import UserError
from runtime.stage import Run

from . import resynthesis
from .config import COPY_SYNTHESIS, RECORDINGS, QualityConfig
from .copy_synthesis import copy_synthesis
from .hop_modulation import hop_modulation
from .listening_page import ScoreSheet, write_page
from .objective_metrics import compare, missing_packages
from .quality_table import Row, markdown, summarise, table_cells
from .resynthesis import ResynthesisPair

Spoken = Mapping[str, Sequence[ResynthesisPair]]


def measure(config: QualityConfig, run: Run) -> dict[str, Any]:
    """Measure every source, write table, details and listening page; returns the metrics."""
    if config.dnsmos:
        check_dnsmos()
    originals = resynthesis.recordings(config.corpus)
    parts = {
        name: resynthesis.pair(folder, originals)[: config.limit or None] for name, folder in config.resynthesis.items()
    }
    recorded = unique(pairs for pairs in parts.values())
    if config.vocoder is not None:
        folder = run.folder / COPY_SYNTHESIS
        with run.progress(len(recorded), "copy synthesis", unit="utterance") as bar:
            parts[COPY_SYNTHESIS] = copy_synthesis(recorded, config.vocoder, folder, bar)
    for name in missing_packages():
        run.say(f"{name} is not installed, its column stays empty: pip install speechweave[quality]")
    spoken = {RECORDINGS: recorded} | parts
    rows = {
        name: [{"part": name, "id": pair.made.id, "text": pair.original.text} for pair in spoken[name]]
        for name in spoken
    }
    add_judge(config, run, spoken, rows)
    add_objective_metrics(config, run, parts, rows)
    add_speaker_similarity(config, spoken, rows)
    add_external_models(config, spoken, rows)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for name in rows for row in rows[name]]
    write_text(run.folder / "details.jsonl", "".join(lines))
    summary = {
        name: summarise(some) | hop_modulation(sounds(name, spoken[name]), SAMPLE_RATE / config.frame_rate)
        for name, some in rows.items()
    }
    write_text(run.folder / "quality.md", markdown(summary))
    sheets = [sheet_of(pair, spoken, rows) for pair in spoken[RECORDINGS][: config.sheets]]
    write_page(run.folder, *table_cells(summary), sheets)
    run.say(markdown(summary))
    return {f"{name}.{key}": value for name, values in summary.items() for key, value in values.items()}


def unique(parts: Iterable[Sequence[ResynthesisPair]]) -> list[ResynthesisPair]:
    """Each utterance once, in the order in which they come."""
    return list({pair.made.id: pair for pairs in parts for pair in pairs}.values())


def audio_of(name: str, pair: ResynthesisPair) -> Path:
    """The recording itself, or what was made of it."""
    return pair.original.audio if name == RECORDINGS else pair.made.audio


def sounds(name: str, pairs: Iterable[ResynthesisPair]) -> Iterator[Samples]:
    """The samples (S,) of a source's utterances."""
    for pair in pairs:
        yield read_segment(pair.original.segment) if name == RECORDINGS else read_audio(pair.made.audio)


def sheet_of(pair: ResynthesisPair, spoken: Spoken, rows: Mapping[str, list[Row]]) -> ScoreSheet:
    """One utterance, from the recording and from each resynthesis that has it."""
    audios = {
        name: audio_of(name, other)
        for name, pairs in spoken.items()
        for other in pairs
        if other.made.id == pair.made.id
    }
    heard = {
        name: str(row["judge"])
        for name, some in rows.items()
        for row in some
        if row["id"] == pair.made.id and "judge" in row
    }
    return ScoreSheet(text=pair.original.text, audios=audios, heard=heard)


def add_judge(config: QualityConfig, run: Run, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """Add the independent judge's transcript and word errors, where the text belongs to the closed world."""
    if not (Path(config.corpus) / "sentences.txt").is_file():
        run.say(f"{config.corpus} has no sentences.txt: it is no closed world, and the judge does not listen")
        return
    judge = load_judge(config.corpus)
    wanted = [
        AudioItem(f"{name}/{pair.made.id}", audio_of(name, pair))
        for name, pairs in spoken.items()
        for pair in pairs
        if judge.knows(pair.original.text)
    ]
    transcripts = transcribe_all(judge, wanted, run, processes=config.processes)
    for name, some in rows.items():
        for row in some:
            if (text := transcripts.get(f"{name}/{row['id']}")) is not None:
                errors = word_errors(row["text"], text)
                row |= {"judge": text, "judge_edits": errors.errors, "judge_words": errors.words}


def add_objective_metrics(config: QualityConfig, run: Run, parts: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """Add the metrics that compare a resynthesis with its recording."""
    with run.progress(sum(map(len, parts.values())), "objective metrics", unit="utterance") as bar:
        for name, pairs in parts.items():
            folder = run.folder / "likeness" / name
            found = in_parallel(compare, pairs, folder, processes=config.processes, bar=bar)
            for row in rows[name]:
                row |= found[row["id"]]


def add_speaker_similarity(config: QualityConfig, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """Add the cosine of speaker embeddings: resynthesis and recording; for recordings, two of the same voice."""
    if config.decoder is None:
        return
    decoder = SpeechDecoder.from_pretrained(artefact_folder(config.decoder))
    if decoder.speaker_encoder is None:
        remedy = "train one with speaker.embedding=64, or leave decoder out"
        raise UserError(f"option decoder={config.decoder}", found="a decoder without a speaker encoder", remedy=remedy)
    originals = {pair.made.id: decoder.embed_speaker(str(pair.original.audio)) for pair in spoken[RECORDINGS]}
    others: dict[str, list[str]] = {}
    for pair in spoken[RECORDINGS]:
        others.setdefault(pair.original.speaker, []).append(pair.made.id)
    for name, pairs in spoken.items():
        for row, pair in zip(rows[name], pairs, strict=True):
            same = others.get(pair.original.speaker, [])
            if name != RECORDINGS:
                row["voice_likeness"] = float(originals[row["id"]] @ decoder.embed_speaker(str(pair.made.audio)))
            elif len(same) > 1:
                following = same[(same.index(row["id"]) + 1) % len(same)]
                row["voice_likeness"] = float(originals[row["id"]] @ originals[following])


def add_external_models(config: QualityConfig, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """Add the word errors of the recogniser given by path and the scores of the predictors of people's ratings."""
    recogniser = None if config.asr is None else find_recogniser(config.asr, "asr")
    for name, pairs in spoken.items():
        files = [audio_of(name, pair) for pair in pairs]
        if recogniser is not None:
            for row, text in zip(rows[name], recogniser.transcribe(files), strict=True):
                errors = word_errors(row["text"], text)
                row |= {"asr": text, "asr_edits": errors.errors, "asr_words": errors.words}
        if config.utmos is not None:
            for row, score in zip(rows[name], naturalness(config.utmos, files), strict=True):
                row["utmos"] = score
        if config.dnsmos:
            for row, ratings in zip(rows[name], dnsmos_ratings(files), strict=True):
                row |= ratings
