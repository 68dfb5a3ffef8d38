"""Measurement of a tokenizer or a decoder on any manifest: tokens, speech made of them, and what is heard in it.

Everything is kept raw (`evaluation.speech.measured_speech`), goes on after a kill, and is scored with stamps; the times
(``rtf``) are metrics of the stage and no scores, for they are never the same twice.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from corpus.manifest import Utterance
from evaluation.speech.config import RECORDINGS
from evaluation.speech.measured_speech import MeasuredSource, SpeechRow, TokenMeasures, digest_of, utterance_digest
from evaluation.speech.quality_measurement import MeasuredSet, measure_spoken
from evaluation.speech.speech_columns import check_normaliser
from evaluation.speech.speech_measurement import Listeners, SpokenSources, with_whole_files
from runtime.artefact import artefact_folder, file_digest
from runtime.journal import Journal
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer
from tokenizer.scoring.robustness import NoiseScore, noise_name, score_under_noise
from tokenizer.scoring.transcripts import SplitScores, describe, score_manifest, summarise

from .config import DecoderSetConfig, SpokenSetConfig, TokenizerSetConfig
from .encoding import EncodedSet, encode_set, encoded_before, open_decoder
from .speaking import SpokenAgain, speak_again

FROM_TOKENS, RESYNTHESISED = "tokens", "resynthesised"
SCORED = "scored.jsonl"
TIMES = ("rtf", "cpu_rtf")


def measure_tokenizer(config: TokenizerSetConfig, run: Run) -> dict[str, Any]:
    """Measure a tokenizer, and with a decoder the speech made of its tokens; returns the metrics."""
    torch.set_num_threads(config.threads)
    check_normaliser(config.normaliser)
    listeners = listeners_of(config)
    if config.decoder is not None:
        config.check_recogniser()
        listeners.check(run)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    if config.decoder is None:
        run.say("no speech is made of the tokens: reconstruction is not measured (give decoder=)")
    else:
        tokenizer.require_codebook()
        open_decoder(config.decoder, tokenizer.fingerprint)
    noise: list[NoiseScore] = []
    with Journal(run.folder / SCORED) as journal:
        clean = score_manifest(
            tokenizer,
            Path(config.data),
            run,
            limit=config.limit or sys.maxsize,
            max_bad_share=config.max_bad_share,
            journal=journal,
            tolerance=config.duration_tolerance,
        )
        if tokenizer.has_codebook and config.noise.snrs:
            limits = {"limit": config.noise.max_utterances, "seed": config.seed}
            noise = score_under_noise(tokenizer, clean, run, journal, config.noise.kinds, config.noise.snrs, **limits)
    numbers = describe(tokenizer) | summarise({Path(config.data).stem: clean})
    measured = token_measures(clean, noise, numbers, tokenizer.fingerprint)
    again = None
    if config.decoder is not None:
        encoded = EncodedSet(
            utterances=clean.utterances,
            tokens=clean.tokens,
            tokenizer=tokenizer.fingerprint,
            codebook_size=tokenizer.codebook_size,
            frame_rate=tokenizer.frame_rate,
            left_out=len(clean.bad),
        )
        again = speak_again(encoded, config.decoder, config.speaking, config.threads, run)
    times = {f"encoding.{name}": numbers[name] for name in TIMES if name in numbers}
    return finish(config, run, listeners, measured, again, len(clean.bad)) | times


def measure_decoder(config: DecoderSetConfig, run: Run) -> dict[str, Any]:
    """Measure the speech that a decoder makes of a manifest's tokens; returns the metrics."""
    torch.set_num_threads(config.threads)
    check_normaliser(config.normaliser)
    config.check_recogniser()
    listeners = listeners_of(config)
    listeners.check(run)
    encoded = encode_set(config, run) if config.tokenizer is not None else encoded_before(config)
    again = speak_again(encoded, config.decoder, config.speaking, config.threads, run)
    tokens = TokenMeasures(measured_by={"tokenizer": encoded.tokenizer})
    return finish(config, run, listeners, tokens, again, encoded.left_out)


def finish(
    config: DecoderSetConfig | TokenizerSetConfig,
    run: Run,
    listeners: Listeners,
    tokens: TokenMeasures,
    again: SpokenAgain | None,
    left_out: int,
) -> dict[str, Any]:
    """Measure what is heard, score everything, write the files; returns the metrics."""
    spoken: SpokenSources = {}
    settings: dict[str, Any] = {}
    if again is not None:
        assert config.decoder is not None
        pairs = with_whole_files(again.pairs, run.folder / "segments")
        spoken = {RECORDINGS: pairs, RESYNTHESISED: pairs}
        settings = {"decoder": file_digest(artefact_folder(config.decoder)), **asdict(config.speaking)}
    found = MeasuredSet(
        data=Path(config.data).name,
        left_out=dict.fromkeys((RECORDINGS, RESYNTHESISED), left_out),
        limit=config.limit,
        seed=config.seed,
        normaliser=config.normaliser,
        sheets=config.sheets,
        settings=settings,
        tokens=tokens,
    )
    metrics = measure_spoken(spoken, listeners, found, run)
    return metrics | {f"decoding.{name}": value for name, value in (again.speed if again else {}).items()}


def listeners_of(config: SpokenSetConfig) -> Listeners:
    """The models that listen."""
    return Listeners(
        world=config.world,
        recogniser=config.open_recogniser,
        voices=config.similarity,
        utmos=config.utmos,
        dnsmos=config.dnsmos,
        distillmos=config.distillmos,
        frame_rate=config.frame_rate,
        processes=config.processes,
    )


def token_measures(
    clean: SplitScores, noise: Sequence[NoiseScore], numbers: Mapping[str, Any], tokenizer: str
) -> TokenMeasures:
    """Rows of the clean tokens and of each noise: texts read from them, unit edit distances."""

    def row(part: str, one: Utterance) -> SpeechRow:
        return {"part": part, "id": one.id, "speaker": one.speaker, "text": one.text}

    rows: dict[str, list[SpeechRow]] = {FROM_TOKENS: []}
    for number, one in enumerate(clean.utterances):
        texts = {"without_vq": clean.without_vq[number]}
        texts |= {"with_vq": clean.with_vq[number]} if clean.has_vq else {}
        rows[FROM_TOKENS].append(row(FROM_TOKENS, one) | texts)
    for score in noise:
        name = noise_name(score.kind, score.snr_db)
        heard = zip(clean.utterances, score.utterances, strict=False)  # the first utterances only
        rows[name] = [row(name, one) | {"with_vq": two.text, "ued": [two.edits, two.tokens]} for one, two in heard]
    digests = [utterance_digest(one) for one in clean.utterances]
    sources = tuple(
        MeasuredSource(name=name, data_digest=digest_of(digests[: len(some)]), audio_digest="", left_out=len(clean.bad))
        for name, some in rows.items()
    )
    named = ("frame_rate_hz", "codebook_size", "bits_per_second", "codebook_use", "perplexity", "parameters")
    facts = {name: numbers[name] for name in named if name in numbers}
    return TokenMeasures(rows=rows, sources=sources, measured_by={"tokenizer": tokenizer}, facts=facts)
