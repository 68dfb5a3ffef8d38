"""Scores of measured speech: every metric of every source with its stamp and its 95 % interval; no model is needed.

Means are over utterances, word error rates and unit edit distances over all words and tokens. Intervals are bootstrap
percentiles, utterances resampled with replacement by a seed of their own (`evaluation.rules.measure`). That of the hop
modulation is 1.96 standard deviations of the resamples to both sides: it is a spread, which resampling itself makes
larger, so that percentiles would miss their own value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from evaluation.rules.measure import RESAMPLES, ItemScore, MeanScore, Measure, SetScore, rounded, score_set
from evaluation.scores.stamp import ScoredRule, Stamp
from runtime.artefact import read_json, write_json, write_text
from runtime.hashing import seed_of

from .hop_modulation import HopRoughness, modulation_of, profile_of
from .measured_speech import MeasuredHeader, MeasuredSource, MeasuredSpeech, SpeechRow, read_measured
from .quality_table import SourceScores, SpeechScores, markdown
from .speech_columns import COLUMNS, SPEECH_QUALITY, Normaliser, SpeechColumn, normaliser_of

SCORES, TABLE = "scores.json", "quality.md"
VERSION = 1  # of the code that makes a score out of a row
NO_WORDS, UNDEFINED, UNHEARD = "no word in the text", "undefined", "not measured"
HOP = "hop_modulation"


def score_speech(measured: Path | str, folder: Path, normaliser: str, seed: int) -> SpeechScores:
    """Score what was measured in a folder, and write ``scores.json`` and ``quality.md`` into ``folder``.

    Args:
        measured: folder of a measurement.
        folder: for the scores.
        normaliser: name of a row of `evaluation.speech.speech_columns.FORMS`.
        seed: for the stamps.

    Raises:
        UserError: no measurement, or a missing package of the normaliser.
    """
    found = read_measured(measured)
    scored = [one for source in found.header.sources for one in score_source(found, source, normaliser, seed)]
    write_json(folder / SCORES, {"scores": [asdict(one) for one in scored]})
    scores = scores_of((one.stamp.model, one.score.means) for one in scored)
    counted = {name: SourceScores(len(rows), scores.get(name, {})) for name, rows in found.rows.items()}
    write_text(folder / TABLE, markdown(counted, found.header))
    return counted


def read_scores(folder: Path) -> Mapping[str, Mapping[str, MeanScore]]:
    """The means in a folder by source and metric; empty where they are of before scores had stamps."""
    if not (folder / SCORES).is_file():
        return {}
    records = read_json(folder / SCORES)["scores"]
    means = [{name: MeanScore(**mean) for name, mean in one["score"]["means"].items()} for one in records]
    return scores_of((one["stamp"]["model"], each) for one, each in zip(records, means, strict=True))


def scores_of(scores: Iterable[tuple[str, Mapping[str, MeanScore]]]) -> dict[str, dict[str, MeanScore]]:
    """Means by source and metric."""
    by_source: dict[str, dict[str, MeanScore]] = {}
    for source, means in scores:
        by_source.setdefault(source, {}).update(means)
    return by_source


def score_source(found: MeasuredSpeech, source: MeasuredSource, normaliser: str, seed: int) -> Iterator[ScoredRule]:
    """The scores of one source by every metric that it has."""
    rows = found.rows[source.name]
    form = normaliser_of(normaliser, [str(row["text"]) for row in rows])
    for name, column in COLUMNS.items():
        key = column.transcript or name
        if name == HOP:
            score = modulation_score(found.roughness.get(source.name, ()))
        elif any(row.get(key) is not None for row in rows):
            score = score_set([(str(row["speaker"]), score_row(row, name, column, form)) for row in rows])
        else:
            score = None
        if score is not None:
            yield ScoredRule(stamp_of_metric(found.header, source, name, column, form, score, rows, seed), score)


def score_row(row: SpeechRow, name: str, column: SpeechColumn, form: Normaliser) -> ItemScore:
    """The score of one utterance by one metric; without one it has a note."""
    key = column.transcript or name
    if key not in row:
        return ItemScore({}, UNHEARD)
    value = row[key]
    if column.transcript:
        errors = form.errors(str(row["text"]), str(value))
        return ItemScore({name: Measure(errors.errors, errors.words)}) if errors.words else ItemScore({}, NO_WORDS)
    if isinstance(value, list):
        return ItemScore({name: Measure(*value)})
    if value is None or not math.isfinite(value):
        return ItemScore({}, UNDEFINED)
    return ItemScore({name: Measure(float(value))})


def modulation_score(roughness: Sequence[HopRoughness]) -> SetScore | None:
    """The hop modulation of a source, pooled over its utterances; None where there is no sound."""
    if not roughness:
        return None
    sums_NP, counts_NP = (np.array([getattr(one, key) for one in roughness]) for key in ("sums", "counts"))
    profile_P = profile_of(sums_NP.sum(0), counts_NP.sum(0))
    if profile_P is None:
        return None
    rng = np.random.default_rng(seed_of(f"bootstrap {HOP}"))
    # The order of utterances does not matter: they are resampled in the order of their sums.
    order = np.lexsort(np.vstack([counts_NP.T, sums_NP.T]))
    drawn_RN = rng.multinomial(len(order), np.full(len(order), 1 / len(order)), size=RESAMPLES).astype(float)
    profiles = [
        profile_of(sums_P, counts_P)
        for sums_P, counts_P in zip(drawn_RN @ sums_NP[order], drawn_RN @ counts_NP[order], strict=True)
    ]
    drawn = [modulation_of(one_P) for one_P in profiles if one_P is not None]
    return SetScore(
        means={
            name: spread_around(value, [one[name] for one in drawn], len(roughness))
            for name, value in modulation_of(profile_P).items()
        },
        notes={},
    )


def spread_around(value: float, drawn: Sequence[float], items: int) -> MeanScore:
    """A pooled value with 1.96 standard deviations of its resamples to both sides."""
    spread, middle = 1.96 * float(np.std(drawn)), rounded(value)
    edges = (rounded(max(0.0, value - spread)), rounded(value + spread))
    return MeanScore(
        micro=middle, macro=middle, subset_mean=middle, interval=edges, items=items, subsets={}, subset_intervals={}
    )


def stamp_of_metric(
    header: MeasuredHeader,
    source: MeasuredSource,
    name: str,
    column: SpeechColumn,
    form: Normaliser,
    score: SetScore,
    rows: Sequence[SpeechRow],
    seed: int,
) -> Stamp:
    """The stamp of the scores of a source by one metric."""
    by = header.measured_by.get(column.measured_by, "")
    items = score.means[name].items if name in score.means else 0
    return Stamp(
        benchmark=SPEECH_QUALITY,
        data_digest=source.data_digest,
        items=items,
        left_out=source.left_out,
        repeated=len(rows) - len({row["id"] for row in rows}),
        failures=len(rows) - items,
        model=source.name,
        model_digest=source.audio_digest,
        direction="s2s",
        medium="speech",
        limit=header.limit,
        shots=0,
        recogniser=by if column.transcript else "",
        rule=name,
        rule_version=VERSION,
        compat="default",
        normaliser=form.words if column.transcript else "",
        judge="" if column.transcript else by,
        judge_prompt="",
        judge_parameters={},
        seed=seed,
        answer_seed=header.seed,
        batch_size=1,
        settings={
            "data": header.data,
            **({"frame_rate": header.frame_rate} if name == HOP else {}),
            **header.settings,
        },
    )
