"""Quality of resyntheses of a corpus: measured raw, scored with stamps, and a page to listen to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.stage import Run

from . import resynthesis
from .config import COPY_SYNTHESIS, RECORDINGS, QualityConfig, QualityScoreConfig
from .copy_synthesis import copy_synthesis
from .listening_page import ScoreSheet, write_page
from .measured_speech import MeasuredHeader, MeasuredSource, MeasuredSpeech, SpeechRow, write_measured
from .quality_table import flat, table_cells
from .resynthesis import ResynthesisPair
from .speech_measurement import (
    Listeners,
    SpokenSources,
    audio_of,
    measure_sources,
    roughness_of,
    source_digests,
    with_whole_files,
)
from .speech_scoring import TABLE, score_speech


def measure(config: QualityConfig, run: Run) -> dict[str, Any]:
    """Measure every source, write table, details and listening page; returns the metrics."""
    is_closed = (Path(config.corpus) / "sentences.txt").is_file()
    listeners = Listeners(
        world=config.corpus if is_closed else None,
        recogniser=config.asr,
        option="asr",
        voices=config.decoder,
        utmos=config.utmos,
        dnsmos=config.dnsmos,
        frame_rate=config.frame_rate,
        processes=config.processes,
    )
    listeners.check(run)
    if not is_closed:
        run.say(f"{config.corpus} has no sentences.txt: it is no closed world, and the judge does not listen")
    originals = resynthesis.recordings(config.corpus)
    sources = {name: resynthesis.pair(folder, originals) for name, folder in config.resynthesis.items()}
    segments = run.folder / "segments"
    parts = {name: with_whole_files(source.pairs[: config.limit or None], segments) for name, source in sources.items()}
    recorded = unique(pairs for pairs in parts.values())
    if config.vocoder is not None:
        folder = run.folder / COPY_SYNTHESIS
        with run.progress(len(recorded), "copy synthesis", unit="utterance") as bar:
            parts[COPY_SYNTHESIS] = copy_synthesis(recorded, config.vocoder, folder, bar)
    left_out = {name: source.left_out for name, source in sources.items()}
    return measure_spoken(
        {RECORDINGS: recorded} | parts,
        listeners,
        run,
        data=Path(config.corpus).name,
        left_out=left_out,
        limit=config.limit,
        seed=config.seed,
        normaliser=config.normaliser,
        sheets=config.sheets,
    )


def measure_spoken(
    spoken: SpokenSources,
    listeners: Listeners,
    run: Run,
    *,
    data: str,
    left_out: Mapping[str, int],
    limit: int,
    seed: int,
    normaliser: str,
    sheets: int,
) -> dict[str, Any]:
    """Measure sources, write raw measures, scores, table and listening page; returns the metrics.

    Args:
        spoken: the recordings and what was made of them, by name.
        listeners: what measures.
        run: run folder.
        data: name of the corpus, for stamps.
        left_out: bad records of each source.
        limit: utterances of each source; 0 means all.
        seed: of the stage.
        normaliser: of transcripts.
        sheets: utterances on the listening page.
    """
    rows = measure_sources(spoken, listeners, run)
    header = MeasuredHeader(
        data=data,
        limit=limit,
        seed=seed,
        frame_rate=listeners.frame_rate,
        sources=tuple(
            MeasuredSource(name=name, left_out=left_out.get(name, 0), **source_digests(name, pairs))
            for name, pairs in spoken.items()
        ),
        measured_by=listeners.measured_by,
    )
    write_measured(run.folder, MeasuredSpeech(header, rows, roughness_of(spoken, listeners.frame_rate)))
    scores = score_speech(run.folder, run.folder, normaliser, seed)
    summary = flat(scores, {name: len(some) for name, some in rows.items()})
    chosen = [sheet_of(pair, spoken, rows) for pair in spoken[RECORDINGS][:sheets]]
    write_page(run.folder, *table_cells(summary, scores), chosen)
    run.say((run.folder / TABLE).read_text(encoding="utf-8"))
    return {f"{name}.{key}": value for name, values in summary.items() for key, value in values.items()}


def score_again(config: QualityScoreConfig, run: Run) -> dict[str, Any]:
    """Score what was measured before, and print the table; returns the metrics."""
    scores = score_speech(config.measured, run.folder, config.normaliser, config.seed)
    run.say((run.folder / TABLE).read_text(encoding="utf-8"))
    return {f"{name}.{key}": mean.micro for name, means in scores.items() for key, mean in means.items()}


def unique(parts: Iterable[Sequence[ResynthesisPair]]) -> list[ResynthesisPair]:
    """Each utterance once, in the order in which they come."""
    return list({pair.made.id: pair for pairs in parts for pair in pairs}.values())


def sheet_of(pair: ResynthesisPair, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]) -> ScoreSheet:
    """One utterance, from the recording and from each resynthesis that has it."""
    audios = {
        name: audio_of(name, other)
        for name, pairs in spoken.items()
        for other in pairs
        if other.made.id == pair.made.id
    }
    heard = {
        name: str(row.get("judge", row.get("asr")))
        for name, some in rows.items()
        for row in some
        if row["id"] == pair.made.id and ("judge" in row or "asr" in row)
    }
    return ScoreSheet(text=pair.original.text, audios=audios, heard=heard)
