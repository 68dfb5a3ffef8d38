"""Read-back of generated speech tokens: generation for held-out sentences, transcription by the tokenizer, metrics."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from corpus.text.spoken_form import in_words
from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import corpus_word_errors
from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data.readers import read_split
from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from runtime.artefact import write_text
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run
from text2token.backends.builtin import open_generator
from text2token.gate import GOOD, judge
from text2token.speech_generation import Codes, SynthesisRequest, generate_speech
from tokenizer.model import SpeechTokenizer

from .config import ReadbackConfig
from .diversity import SpeakerClassifier, repeated_share, used_codes


class GeneratedSentence(NamedTuple):
    """A normalised sentence, its generated codes, and the gate's verdict on them."""

    text: str
    codes: Codes
    verdict: str


@dataclass(frozen=True, kw_only=True)
class SentenceReadback:
    """A sentence and what the tokenizer reads in its tokens; a line of ``readback.jsonl``.

    Attributes:
        id: of the utterance.
        speaker: of the utterance and of the generation.
        text: normalised.
        heard: transcript of the generated tokens.
        heard_in_real_tokens: transcript of the utterance's own tokens.
        tokens: number of generated ones.
        real_tokens: number of the utterance's own.
        verdict: of the gate.
    """

    id: str
    speaker: str
    text: str
    heard: str
    heard_in_real_tokens: str
    tokens: int
    real_tokens: int
    verdict: str


def evaluate_readback(config: ReadbackConfig, run: Run) -> dict[str, Any]:
    """Generate, read back, compare; writes ``<out>/readback.jsonl`` with every sentence and returns the metrics."""
    torch.set_num_threads(config.threads)
    vocabulary = Vocabulary.from_pretrained(config.model)
    generator = open_generator(config, config.device, vocabulary)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)
    vocabulary.check_speech_tokenizer(tokenizer.fingerprint, config.tokenizer)
    utterances = choose_utterances(config, vocabulary)
    started = time.monotonic()
    sentences = _generate(config, generator, utterances)
    seconds = time.monotonic() - started
    rows = _read_back(tokenizer, utterances, sentences)
    _write_lines(run.folder / "readback.jsonl", [vars(row) for row in rows])
    _write_lines(run.folder / "speakers.jsonl", metrics_by_speaker(rows))
    _write_generated(config, run.folder / "generated", tokenizer, utterances, sentences)
    metrics = readback_metrics(rows) | _diversity(config, tokenizer, utterances, sentences)
    return metrics | {"tokens_per_second": round(metrics["tokens"] / max(seconds, 1e-9), 1)}


def choose_utterances(config: ReadbackConfig, vocabulary: Vocabulary) -> list[TokenisedUtterance]:
    """Utterances with text, tokens and a speaker of the vocabulary, drawn by the seed; in the split's order.

    Raises:
        UserError: there is none, or the tokens are of another speech tokenizer.
    """
    speech = read_split(config.tokens, config.split)
    vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    items = [
        item
        for item in speech.items
        if spoken_words(item.text)
        and len(item.tokens)
        and item.speaker in vocabulary.speakers
        and item.kind in (config.kinds or [item.kind])
    ]
    if not items:
        found = f"no utterance of split {config.split} with a text and a speaker of the vocabulary"
        raise UserError(config.tokens, found=found, remedy="give another split= or kinds=")
    order = np.random.default_rng(config.seed).permutation(len(items))[: config.num_utterances or None]
    return [items[number] for number in sorted(order.tolist())]


def _generate(
    config: ReadbackConfig, generator: Generator, utterances: Sequence[TokenisedUtterance]
) -> list[GeneratedSentence]:
    requests = [
        SynthesisRequest(
            spoken_words(utterance.text) if config.normalises else in_words(utterance.text),
            utterance.speaker,
            seed_of(config.seed, utterance.id, "readback"),
        )
        for utterance in utterances
    ]
    speech = generate_speech(requests, generator, generator.vocabulary, config)
    return [
        GeneratedSentence(
            spoken_words(utterance.text), one.codes, judge(request.text, one.codes, one.is_finished, config.gate)
        )
        for utterance, request, one in zip(utterances, requests, speech, strict=True)
    ]


def _read_back(
    tokenizer: SpeechTokenizer, utterances: Sequence[TokenisedUtterance], sentences: Sequence[GeneratedSentence]
) -> list[SentenceReadback]:
    transcripts = tokenizer.read_tokens([sentence.codes for sentence in sentences])
    transcripts_of_real = tokenizer.read_tokens([utterance.tokens for utterance in utterances])
    return [
        SentenceReadback(
            id=utterance.id,
            speaker=utterance.speaker,
            text=sentence.text,
            heard=transcript,
            heard_in_real_tokens=transcript_of_real,
            tokens=len(sentence.codes),
            real_tokens=len(utterance.tokens),
            verdict=sentence.verdict,
        )
        for utterance, sentence, transcript, transcript_of_real in zip(
            utterances, sentences, transcripts, transcripts_of_real, strict=True
        )
    ]


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_generated(
    config: ReadbackConfig,
    folder: Path,
    tokenizer: SpeechTokenizer,
    utterances: Sequence[TokenisedUtterance],
    sentences: Sequence[GeneratedSentence],
) -> None:
    """Write the generated tokens like tokenised speech, for a decoder and a recogniser."""
    folder.mkdir(exist_ok=True)
    generated = [
        replace(utterance, tokens=one.codes, duration=len(one.codes) / tokenizer.frame_rate)
        for utterance, one in zip(utterances, sentences, strict=True)
        if len(one.codes)
    ]
    write_tokens(
        folder / f"{config.split}.parquet",
        generated,
        tokenizer=tokenizer.fingerprint,
        codebook_size=tokenizer.codebook_size,
        frame_rate=tokenizer.frame_rate,
    )


def _diversity(
    config: ReadbackConfig,
    tokenizer: SpeechTokenizer,
    utterances: Sequence[TokenisedUtterance],
    sentences: Sequence[GeneratedSentence],
) -> dict[str, Any]:
    """Repetition, used codes and classified speakers of the generated tokens and of the real ones."""
    real, generated = [one.tokens for one in utterances], [one.codes for one in sentences if len(one.codes)]
    measures: dict[str, Any] = {
        "repeated_share": round(repeated_share(generated), 4),
        "repeated_share_of_real_tokens": round(repeated_share(real), 4),
        "used_codes": used_codes(generated),
        "used_codes_of_real_tokens": used_codes(real),
    }
    if config.speakers_from:
        known = read_split(config.tokens, config.speakers_from)
        classifier = SpeakerClassifier(((item.speaker, item.tokens) for item in known.items), tokenizer.codebook_size)
        pairs = zip(utterances, sentences, strict=True)
        accuracy = classifier.accuracy([(utterance.speaker, one.codes) for utterance, one in pairs])
        accuracy_of_real = classifier.accuracy([(utterance.speaker, utterance.tokens) for utterance in utterances])
        measures["speaker_guessed"] = round(accuracy, 4)
        measures["speaker_guessed_of_real_tokens"] = round(accuracy_of_real, 4)
        measures["speakers"] = len(classifier.speakers)
    return measures


def metrics_by_speaker(rows: Sequence[SentenceReadback]) -> list[dict[str, Any]]:
    """The metrics of each speaker; a line of ``speakers.jsonl`` each."""
    table = []
    for speaker in sorted({row.speaker for row in rows}):
        own = [row for row in rows if row.speaker == speaker]
        table.append(
            {
                "speaker": speaker,
                "utterances": len(own),
                "readback_wer": _error_rate(own),
                "readback_wer_of_real_tokens": _error_rate_of_real(own),
                "length_ratio": _length_ratio(own),
            }
        )
    return table


def readback_metrics(rows: Sequence[SentenceReadback]) -> dict[str, Any]:
    """Word error rates, lengths and verdicts of all sentences."""
    good = [row for row in rows if row.verdict == GOOD]
    reasons = Counter(row.verdict for row in rows if row.verdict != GOOD)
    return {
        "utterances": len(rows),
        "readback_wer": _error_rate(rows),
        "readback_wer_of_good": _error_rate(good) if good else None,
        "readback_wer_of_real_tokens": _error_rate_of_real(rows),
        "exact_share": round(sum(spoken_words(row.heard) == row.text for row in rows) / len(rows), 4),
        "length_ratio": _length_ratio(rows),
        "rejected_share": round(1 - len(good) / len(rows), 4),
        **{f"rejected_{reason}": count for reason, count in sorted(reasons.items())},
        "tokens": sum(row.tokens for row in rows),
    }


def _error_rate(rows: Sequence[SentenceReadback]) -> float:
    return round(corpus_word_errors([row.text for row in rows], [row.heard for row in rows]).rate, 4)


def _error_rate_of_real(rows: Sequence[SentenceReadback]) -> float:
    return round(corpus_word_errors([row.text for row in rows], [row.heard_in_real_tokens for row in rows]).rate, 4)


def _length_ratio(rows: Sequence[SentenceReadback]) -> float:
    """Generated tokens for each real one."""
    return round(sum(row.tokens for row in rows) / sum(row.real_tokens for row in rows), 4)
