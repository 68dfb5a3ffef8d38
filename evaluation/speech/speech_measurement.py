"""Measurement of sources of speech: transcripts, objective metrics, voices, predicted ratings, roughness; all raw.

Every model's work is kept as it goes on, in units or one by one, so that a kill loses no finished work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpus.audio.files import SAMPLE_RATE, Samples, read_audio, write_audio
from corpus.audio.segments import read_segment
from corpus.manifest import Utterance
from evaluation.judges.closed_world import load_judge
from evaluation.judges.external_models import (
    check_dnsmos,
    distillmos_rating,
    dnsmos_ratings,
    load_distillmos,
    load_predictor,
    naturalness,
)
from evaluation.judges.recognisers import Recogniser, closed_world_name, find_recogniser
from evaluation.judges.speaker_encoders import VoiceEncoder, find_speaker_encoder
from evaluation.judges.transcription import AudioItem, transcribe_all, transcribe_kept
from runtime.artefact import file_digest
from runtime.bulk.parallel_map import in_parallel
from runtime.hashing import seed_of
from runtime.stage import Run

from .config import RECORDINGS
from .hop_modulation import HopRoughness, hop_roughness
from .measured_speech import SpeechRow, digest_of, sound_digest, utterance_digest
from .objective_metrics import compare, missing_packages
from .resynthesis import ResynthesisPair

HEARD_BY_RECOGNISER = "recognised.jsonl"

SpokenSources = Mapping[str, Sequence[ResynthesisPair]]


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Models and packages that measure speech.

    Attributes:
        world: folder of the closed world whose judge listens; None: no judge.
        recogniser: path or URL of a recogniser (`evaluation.judges.recognisers.find_recogniser`); None: none.
        option: the recogniser's option, for errors.
        voices: a speaker encoder (`evaluation.judges.speaker_encoders`), for the similarity of the voices; None leaves
            it out.
        voices_option: its option, for errors.
        utmos: naturalness predictor as TorchScript; None leaves it out.
        dnsmos: whether DNSMOS rates.
        distillmos: whether DistillMOS rates.
        frame_rate: mel frames a second, for the hop modulation.
        processes: worker processes.
    """

    world: str | None
    recogniser: str | None
    option: str = "recogniser"
    voices: str | None = None
    voices_option: str = "similarity"
    utmos: str | None = None
    dnsmos: bool = False
    distillmos: bool = False
    frame_rate: float
    processes: int = 1

    def check(self, run: Run) -> None:
        """Refuse models that are not there before anything is measured; name packages that are not installed."""
        if self.dnsmos:
            check_dnsmos()
        if self.distillmos:
            load_distillmos()
        assert self.speaker_encoder is None or self.speaker_encoder.name
        if self.utmos is not None:
            load_predictor(self.utmos)
        assert self.open_recogniser is None or self.open_recogniser.name
        for name in missing_packages():
            run.say(f"{name} is not installed, its column stays empty: pip install speechweave[quality]")

    @functools.cached_property
    def open_recogniser(self) -> Recogniser | None:
        """The recogniser that the path or URL names; raises a `UserError` where there is none."""
        return None if self.recogniser is None else find_recogniser(self.recogniser, self.option)

    @functools.cached_property
    def speaker_encoder(self) -> VoiceEncoder | None:
        """The speaker encoder that the path or name means; raises a `UserError` where there is none."""
        return None if self.voices is None else find_speaker_encoder(self.voices, self.voices_option)

    @property
    def measured_by(self) -> dict[str, str]:
        """Name and digest of what measures, by the name of its columns."""
        named = {
            "judge": None if self.world is None else closed_world_name(Path(self.world)),
            "asr": None if self.open_recogniser is None else self.open_recogniser.name,
            "voice_likeness": None if self.speaker_encoder is None else self.speaker_encoder.name,
            "utmos": None if self.utmos is None else f"{Path(self.utmos).name} {file_digest(self.utmos)}",
            "dnsmos": f"speechmos {version('speechmos')}" if self.dnsmos else None,
            "distillmos": f"distillmos {version('distillmos')}" if self.distillmos else None,
        }
        return {name: words for name, words in named.items() if words is not None}


def measure_sources(spoken: SpokenSources, listeners: Listeners, run: Run) -> dict[str, list[SpeechRow]]:
    """The rows of each source, one an utterance; the recordings' source is named `RECORDINGS`."""
    rows: dict[str, list[SpeechRow]] = {
        name: [
            {"part": name, "id": pair.made.id, "speaker": pair.original.speaker, "text": pair.original.text}
            for pair in pairs
        ]
        for name, pairs in spoken.items()
    }
    add_judge(listeners, run, spoken, rows)
    add_objective_metrics(listeners, run, spoken, rows)
    add_speaker_similarity(listeners, run, spoken, rows)
    add_recogniser(listeners, run, spoken, rows)
    add_ratings(listeners, run, spoken, rows)
    return rows


def audio_of(name: str, pair: ResynthesisPair) -> Path:
    """The recording itself, or what was made of it."""
    return pair.original.audio if name == RECORDINGS else pair.made.audio


def audio_items(spoken: SpokenSources) -> list[AudioItem]:
    """All sounds of all sources, named ``<source>/<id>``."""
    return [AudioItem(f"{name}/{pair.made.id}", audio_of(name, pair)) for name in spoken for pair in spoken[name]]


def with_whole_files(pairs: Sequence[ResynthesisPair], folder: Path) -> list[ResynthesisPair]:
    """Pairs whose recordings are files of their own: segments of longer files are cut out into ``folder``."""

    def whole(one: Utterance) -> Utterance:
        if one.offset is None:
            return one
        file = folder / f"{seed_of(one.id):016x}.wav"
        if not file.exists():
            write_audio(file, read_segment(one.segment))
        return replace(one, audio=file, offset=None)

    return [replace(pair, original=whole(pair.original)) for pair in pairs]


def add_judge(listeners: Listeners, run: Run, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]) -> None:
    """Add the independent judge's transcript, where the text belongs to the closed world."""
    if listeners.world is None:
        return
    judge = load_judge(listeners.world)
    known = {f"{name}/{row['id']}" for name, some in rows.items() for row in some if judge.knows(row["text"])}
    wanted = [item for item in audio_items(spoken) if item.name in known]
    transcripts = transcribe_all(judge, wanted, run, processes=listeners.processes)
    for name, some in rows.items():
        for row in some:
            if (text := transcripts.get(f"{name}/{row['id']}")) is not None:
                row["judge"] = text


def add_objective_metrics(
    listeners: Listeners, run: Run, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]
) -> None:
    """Add the metrics that compare a resynthesis with its recording."""
    parts = {name: pairs for name, pairs in spoken.items() if name != RECORDINGS}
    with run.progress(sum(map(len, parts.values())), "objective metrics", unit="utterance") as bar:
        for name, pairs in parts.items():
            found = in_parallel(compare, pairs, run.folder / "likeness" / name, processes=listeners.processes, bar=bar)
            for row in rows[name]:
                row |= found[row["id"]]


def add_speaker_similarity(
    listeners: Listeners, run: Run, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]
) -> None:
    """Add the cosine of speaker embeddings: resynthesis and recording; for recordings, two of the same voice."""
    encoder = listeners.speaker_encoder
    if encoder is None:
        return
    originals = {pair.made.id: encoder.embed(pair.original.audio) for pair in spoken[RECORDINGS]}
    others: dict[str, list[str]] = {}
    for pair in spoken[RECORDINGS]:
        others.setdefault(pair.original.speaker, []).append(pair.made.id)
    with run.progress(sum(map(len, spoken.values())), "voices", unit="utterance") as bar:
        for name, pairs in spoken.items():
            for row, pair in zip(rows[name], pairs, strict=True):
                same = others.get(pair.original.speaker, []) if pair.original.speaker else []
                likeness: float | None = None
                if name != RECORDINGS:
                    likeness = float(originals[row["id"]] @ encoder.embed(pair.made.audio))
                elif len(same) > 1:
                    following = same[(same.index(row["id"]) + 1) % len(same)]
                    likeness = float(originals[row["id"]] @ originals[following])
                row["voice_likeness"] = None if likeness is None else float(f"{likeness:.6g}")
                bar.update()


def add_recogniser(listeners: Listeners, run: Run, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]) -> None:
    """Add the transcripts of the recogniser that a path or URL names."""
    recogniser = listeners.open_recogniser
    if recogniser is None:
        return
    files = {item.name: item.audio for item in audio_items(spoken)}
    words = "recogniser transcribes"
    heard = transcribe_kept(list(files), files.__getitem__, recogniser, run, HEARD_BY_RECOGNISER, words)
    for name, some in rows.items():
        for row in some:
            row["asr"] = heard[f"{name}/{row['id']}"]


def add_ratings(listeners: Listeners, run: Run, spoken: SpokenSources, rows: Mapping[str, list[SpeechRow]]) -> None:
    """Add the scores of the predictors of people's ratings."""
    raters: dict[str, Callable[[Path], dict[str, float]]] = {}
    if listeners.utmos is not None:
        raters["utmos"] = functools.partial(naturalness, load_predictor(listeners.utmos))
    if listeners.dnsmos:
        raters["dnsmos"] = dnsmos_ratings
    if listeners.distillmos:
        raters["distillmos"] = functools.partial(distillmos_rating, load_distillmos())
    items = audio_items(spoken)
    for rater, rate in raters.items():
        with run.progress(len(items), f"{rater} rates", unit="file") as bar:
            folder = run.folder / "ratings" / rater
            # One process: the predictors keep threads of their own, which do not survive a fork.
            found = in_parallel(functools.partial(rate_all, rate), items, folder, processes=1, bar=bar, chunk=1)
        for name, some in rows.items():
            for row in some:
                row |= found[f"{name}/{row['id']}"]


def rate_all(rate: Callable[[Path], dict[str, float]], items: Sequence[AudioItem]) -> dict[str, dict[str, float]]:
    """The ratings of each sound by its name."""
    return {item.name: rate(item.audio) for item in items}


def roughness_of(spoken: SpokenSources, frame_rate: float) -> dict[str, list[HopRoughness]]:
    """The roughness of all utterances by position within a mel frame."""
    hop = SAMPLE_RATE / frame_rate
    return {name: [hop_roughness(audio, hop) for audio in sounds(name, pairs)] for name, pairs in spoken.items()}


def sounds(name: str, pairs: Sequence[ResynthesisPair]) -> Iterator[Samples]:
    """The samples (S,) of a source's utterances."""
    for pair in pairs:
        yield read_segment(pair.original.segment) if name == RECORDINGS else read_audio(pair.made.audio)


def source_digests(name: str, pairs: Sequence[ResynthesisPair]) -> dict[str, Any]:
    """Digests of a source's recordings and of its own sounds, as fields of a `MeasuredSource`."""
    return {
        "data_digest": digest_of(utterance_digest(pair.original) for pair in pairs),
        "audio_digest": digest_of(sound_digest(audio_of(name, pair)) for pair in pairs),
    }
