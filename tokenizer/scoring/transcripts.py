"""Transcripts of a manifest read from its tokens and with the quantiser bypassed, and their word errors by voice."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corpus.audio.segments import DURATION_TOLERANCE, read_segment
from corpus.manifest import BadRecord, Utterance, check_bad_share, read_manifest
from corpus.text.word_errors import WordErrors, corpus_character_errors, corpus_word_errors, is_unspaced
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run
from tokenizer.model import Codes, SpeechTokenizer

from .codebook_use import CodebookUse

READ_TOGETHER = 64  # utterances in memory at a time


@dataclass
class SplitScores:
    """Tokens and transcripts of the utterances of one manifest.

    Attributes:
        codebook_size: K.
        utterances: those that could be read.
        tokens: of each utterance; empty lists where the tokenizer has no codebook.
        with_vq: each utterance's text, read from its tokens.
        without_vq: each utterance's text with the quantiser bypassed.
        seconds: wall time of encoding to tokens.
        cpu_seconds: CPU time of the same.
        bad: records left out.
    """

    codebook_size: int
    utterances: list[Utterance] = field(default_factory=list)
    tokens: list[Codes] = field(default_factory=list)
    with_vq: list[str] = field(default_factory=list)
    without_vq: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    bad: list[BadRecord] = field(default_factory=list)

    @property
    def has_vq(self) -> bool:
        """Whether the tokenizer has a codebook."""
        return len(self.with_vq) > 0

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return math.fsum(utterance.duration for utterance in self.utterances)

    def errors(self, transcripts: list[str], speaker: str | None = None) -> WordErrors:
        """Word errors of ``transcripts``, of one speaker or all."""
        rows = [row for row, utterance in enumerate(self.utterances) if speaker in (None, utterance.speaker)]
        return corpus_word_errors([self.utterances[row].text for row in rows], [transcripts[row] for row in rows])

    def character_error_rates(self) -> dict[str, float]:
        """``cer_with_vq`` and ``cer_without_vq`` where the script has no spaces between words; else nothing."""
        references = [utterance.text for utterance in self.utterances]
        if not is_unspaced(references):
            return {}
        rates = {"cer_without_vq": corpus_character_errors(references, self.without_vq).rate}
        return rates | ({"cer_with_vq": corpus_character_errors(references, self.with_vq).rate} if self.has_vq else {})

    def report(self, num_examples: int) -> dict[str, Any]:
        """Plain data for ``report.json``."""
        speakers: dict[str, list[Utterance]] = defaultdict(list)
        for utterance in self.utterances:
            speakers[utterance.speaker].append(utterance)
        report: dict[str, Any] = {
            "utterances": len(self.utterances),
            "bad_records": len(self.bad),
            "hours": self.duration / 3600,
            "wer_without_vq": self.errors(self.without_vq).rate,
            "voices": [
                {"voice": name, "utterances": len(own), "wer_without_vq": self.errors(self.without_vq, name).rate}
                | ({"wer_with_vq": self.errors(self.with_vq, name).rate} if self.has_vq else {})
                for name, own in sorted(speakers.items())
            ],
            "examples": [
                {"id": self.utterances[row].id, "voice": self.utterances[row].speaker}
                | {"text": self.utterances[row].text, "without_vq": self.without_vq[row]}
                | ({"with_vq": self.with_vq[row], "tokens": self.tokens[row].tolist()} if self.has_vq else {})
                for row in range(min(num_examples, len(self.utterances)))
            ],
        }
        report |= self.character_error_rates()
        if self.has_vq:
            use = CodebookUse.of(self.tokens, self.codebook_size)
            report |= {"wer_with_vq": self.errors(self.with_vq).rate, "rtf": self.seconds / self.duration}
            report |= {"cpu_rtf": self.cpu_seconds / self.duration}
            report |= {"codebook_use": use.share, "perplexity": use.perplexity, "code_counts": use.counts.tolist()}
        return report

    def take(self, part: list[Utterance], record: dict[str, Any]) -> None:
        """Add the record of `score_part` for ``part``."""
        self.utterances += [part[row] for row in record["rows"]]
        self.bad += [BadRecord(*entry) for entry in record["bad"]]
        self.tokens += [np.array(codes, dtype=np.uint16) for codes in record["tokens"]]
        self.with_vq += record["with_vq"]
        self.without_vq += record["without_vq"]
        self.seconds += record["seconds"]
        self.cpu_seconds += record["cpu_seconds"]


def score_manifest(
    tokenizer: SpeechTokenizer,
    file: Path,
    run: Run,
    *,
    limit: int,
    max_bad_share: float,
    journal: Journal | None = None,
    tolerance: float = DURATION_TOLERANCE,
) -> SplitScores:
    """Encode and read back the first ``limit`` utterances of a manifest.

    Args:
        tokenizer: what is scored.
        file: the manifest.
        run: shows the progress.
        limit: most utterances.
        max_bad_share: largest share of bad records.
        journal: of what is done, so that a second call does not do it again.
        tolerance: seconds by which the length of a recording may differ from the manifest's duration.

    Raises:
        UserError: more bad records than ``max_bad_share``.
    """
    manifest = read_manifest(file, max_bad_share)
    scores = SplitScores(tokenizer.codebook_size, bad=list(manifest.bad))
    utterances = manifest.utterances[:limit]
    done = (
        {record["start"]: record for record in journal.records if record.get("split") == file.stem} if journal else {}
    )
    with run.progress(len(utterances), f"scoring {file.stem}", unit="utterance") as bar:
        for start in range(0, len(utterances), READ_TOGETHER):
            part = utterances[start : start + READ_TOGETHER]
            record = done.get(start)
            if record is None:
                record = {"split": file.stem, "start": start} | score_part(tokenizer, part, tolerance)
                if journal:
                    journal.append(record)
            scores.take(part, record)
            check_bad_share(scores.bad, len(utterances), max_bad_share)
            bar.update(len(part))
    return scores


def score_part(
    tokenizer: SpeechTokenizer, utterances: list[Utterance], tolerance: float = DURATION_TOLERANCE
) -> dict[str, Any]:
    """Tokens and transcripts of some utterances, as plain data for the journal."""
    record: dict[str, Any] = {"rows": [], "bad": [], "tokens": [], "with_vq": [], "seconds": 0.0, "cpu_seconds": 0.0}
    audios = []
    for row, utterance in enumerate(utterances):
        try:
            audios.append(read_segment(utterance.segment, tokenizer.sample_rate, tolerance=tolerance))
            record["rows"].append(row)
        except UserError as error:
            record["bad"].append([error.subject, error.found])
    record["without_vq"] = tokenizer.transcribe(audios, quantise=False)
    if tokenizer.has_codebook:
        started, started_cpu = time.perf_counter(), time.process_time()
        tokens = tokenizer.encode(audios)
        record["seconds"] = time.perf_counter() - started
        record["cpu_seconds"] = time.process_time() - started_cpu
        record["tokens"] = [codes.tolist() for codes in tokens]
        record["with_vq"] = tokenizer.read_tokens(tokens)
    return record


def summarise(scores: dict[str, SplitScores]) -> dict[str, float]:
    """The stage's flat metrics. Codebook and speed are of all splits together, error rates by split."""
    metrics: dict[str, float] = {}
    if "heldout_sentence" in scores:
        metrics["wer_without_vq"] = scores["heldout_sentence"].errors(scores["heldout_sentence"].without_vq).rate
    named = {
        "heldout_sentence": "wer_with_vq",
        "heldout_voice": "wer_heldout_voice",
        "heldout_words": "wer_random_words",
    }
    for split, score in scores.items():
        transcripts = score.with_vq if score.has_vq else score.without_vq
        if score.has_vq or split != "heldout_sentence":
            metrics[named.get(split, f"wer_{split}")] = score.errors(transcripts).rate
        if rates := score.character_error_rates():
            name = named.get(split, f"wer_{split}").replace("wer", "cer", 1)
            one = rates.get("cer_with_vq", rates["cer_without_vq"])
            metrics |= rates if split == "heldout_sentence" else {name: one}
    tokens = [codes for score in scores.values() for codes in score.tokens]
    if tokens:
        use = CodebookUse.of(tokens, next(iter(scores.values())).codebook_size)
        duration = math.fsum(score.duration for score in scores.values())
        metrics |= {"codebook_use": use.share, "perplexity": use.perplexity}
        metrics["rtf"] = math.fsum(score.seconds for score in scores.values()) / duration
        metrics["cpu_rtf"] = math.fsum(score.cpu_seconds for score in scores.values()) / duration
    return metrics


def describe(tokenizer: SpeechTokenizer) -> dict[str, float]:
    """Metrics of a tokenizer that need no data: frame rate, codebook size, bit rate, parameters."""
    return {
        "frame_rate_hz": tokenizer.frame_rate,
        "codebook_size": tokenizer.codebook_size,
        "bits_per_second": tokenizer.frame_rate * math.log2(tokenizer.codebook_size),
        "parameters": tokenizer.num_parameters,
    }
