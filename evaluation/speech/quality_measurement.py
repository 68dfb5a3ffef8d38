"""Quality of resyntheses of a corpus: measured raw, scored with stamps, and a page to listen to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.stage import Run

from . import resynthesis
from .config import COPY_SYNTHESIS, RECORDINGS, QualityConfig, QualityScoreConfig
from .copy_synthesis import copy_synthesis
from .listening_page import ScoreSheet, write_page
from .measured_speech import MeasuredHeader, MeasuredSource, MeasuredSpeech, SpeechRow, TokenMeasures, write_measured
from .quality_table import SpeechScores, flat, scored_cells
from .resynthesis import ResynthesisPair
from .speech_columns import check_normaliser
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
    check_normaliser(config.normaliser)
    is_closed = (Path(config.corpus) / "sentences.txt").is_file()
    listeners = Listeners(
        world=config.corpus if is_closed else None,
        recogniser=config.asr,
        option="asr",
        voices=config.decoder,
        voices_option="decoder",
        utmos=config.utmos,
        dnsmos=config.dnsmos,
        distillmos=config.distillmos,
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
            parts[COPY_SYNTHESIS] = copy_synthesis(recorded, config.vocoder, folder, bar, frame_rate=config.frame_rate)
    left_out = {name: source.left_out for name, source in sources.items()}
    measured = MeasuredSet(
        data=Path(config.corpus).name,
        left_out=left_out,
        limit=config.limit,
        seed=config.seed,
        normaliser=config.normaliser,
        sheets=config.sheets,
    )
    return measure_spoken({RECORDINGS: recorded} | parts, listeners, measured, run)


@dataclass(frozen=True, kw_only=True)
class MeasuredSet:
    """Circumstances of a measurement.

    Attributes:
        data: name of the corpus or manifest, for stamps.
        left_out: bad records of each source.
        limit: utterances of each source; 0 means all.
        seed: of the stage.
        normaliser: of transcripts.
        sheets: utterances on the listening page.
        settings: further options that change a measure.
        tokens: what was measured of the tokens.
    """

    data: str
    left_out: Mapping[str, int]
    limit: int
    seed: int
    normaliser: str
    sheets: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    tokens: TokenMeasures = field(default_factory=TokenMeasures)


def measure_spoken(spoken: SpokenSources, listeners: Listeners, found: MeasuredSet, run: Run) -> dict[str, Any]:
    """Measure sources, write raw measures, scores, table and listening page; returns the metrics.

    Args:
        spoken: the recordings and what was made of them, by name; none where there are only tokens.
        listeners: what measures them.
        found: the set, and what was measured of its tokens.
        run: run folder.
    """
    rows = measure_sources(spoken, listeners, run) if spoken else {}
    own = tuple(
        MeasuredSource(name=name, left_out=found.left_out.get(name, 0), **source_digests(name, pairs))
        for name, pairs in spoken.items()
    )
    header = MeasuredHeader(
        data=found.data,
        limit=found.limit,
        seed=found.seed,
        frame_rate=listeners.frame_rate,
        sources=(*found.tokens.sources, *own),
        measured_by={**found.tokens.measured_by, **(listeners.measured_by if spoken else {})},
        settings=found.settings,
        facts=found.tokens.facts,
    )
    roughness = roughness_of(spoken, listeners.frame_rate)
    write_measured(run.folder, MeasuredSpeech(header, {**found.tokens.rows, **rows}, roughness))
    scores = score_speech(run.folder, run.folder, found.normaliser, found.seed)
    if spoken:
        heard = {name: scores[name] for name in spoken}
        chosen = [sheet_of(pair, spoken, rows) for pair in spoken[RECORDINGS][: found.sheets]]
        write_page(run.folder, *scored_cells(heard), chosen)
    return {**report(run, scores), **found.tokens.facts}


def report(run: Run, scores: SpeechScores) -> dict[str, Any]:
    """Print the table of a run; returns the scores as metrics."""
    run.say((run.folder / TABLE).read_text(encoding="utf-8"))
    return {f"{name}.{key}": value for name, values in flat(scores).items() for key, value in values.items()}


def score_again(config: QualityScoreConfig, run: Run) -> dict[str, Any]:
    """Score what was measured before, and print the table; returns the metrics."""
    return report(run, score_speech(config.measured, run.folder, config.normaliser, config.seed))


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
