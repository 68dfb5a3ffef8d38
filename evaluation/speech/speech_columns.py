"""Columns of the tables of measured speech: heading, unit, what measures it, and how an utterance's row gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from corpus.text.word_errors import WordErrors, character_errors, is_unspaced, word_errors
from evaluation.rules.spoken_agreement import whisper_words

from .config import SPOKEN, WHISPER

SPEECH_QUALITY = "speech_quality"  # the benchmark of the stamps


class SpeechColumn(NamedTuple):
    """One metric.

    Attributes:
        heading: of its column.
        factor: from the metric to what is printed.
        digits: printed after the point.
        measured_by: name in `evaluation.speech.measured_speech.MeasuredHeader.measured_by`; "" where code does it.
        transcript: the key of a row with the text that was heard; "" where the row has the measure itself.
    """

    heading: str
    factor: float = 1.0
    digits: int = 2
    measured_by: str = ""
    transcript: str = ""


COLUMNS = {
    "wer_with_vq": SpeechColumn("WER read from the tokens, %", 100.0, 2, "tokenizer", "with_vq"),
    "wer_without_vq": SpeechColumn("without the quantiser, %", 100.0, 2, "tokenizer", "without_vq"),
    "ued": SpeechColumn("UED, %", 100.0, 1, "tokenizer"),
    "judge_wer": SpeechColumn("judge's WER, %", 100.0, 2, "judge", "judge"),
    "asr_wer": SpeechColumn("recogniser's WER, %", 100.0, 2, "asr", "asr"),
    "mel_cepstral_distance": SpeechColumn("mel-cepstral distance, dB"),
    "nsim": SpeechColumn("NSIM", digits=3),
    "stoi": SpeechColumn("STOI", digits=3),
    "pesq": SpeechColumn("PESQ"),
    "pitch_correlation": SpeechColumn("pitch correlation", digits=3),
    "pitch_voicing": SpeechColumn("voicing agrees, %", 100.0, 1),
    "hop_modulation": SpeechColumn("hop modulation, %", 100.0, 1),
    "voice_likeness": SpeechColumn("voice likeness", 1.0, 3, "voice_likeness"),
    "utmos": SpeechColumn("UTMOS", 1.0, 2, "utmos"),
    "distillmos": SpeechColumn("DistillMOS", 1.0, 2, "distillmos"),
    "dnsmos_ovrl": SpeechColumn("DNSMOS overall", 1.0, 2, "dnsmos"),
    "dnsmos_sig": SpeechColumn("DNSMOS speech", 1.0, 2, "dnsmos"),
    "dnsmos_bak": SpeechColumn("DNSMOS background", 1.0, 2, "dnsmos"),
    "dnsmos_p808": SpeechColumn("DNSMOS P.808", 1.0, 2, "dnsmos"),
}


class Normaliser(NamedTuple):
    """Normal form in which a transcript is compared with its text: its words in a stamp, and the comparison."""

    words: str
    errors: Callable[[str, str], WordErrors]


def whisper_errors(reference: str, hypothesis: str) -> WordErrors:
    """Word errors in the normal form of the Whisper paper."""
    said, heard = whisper_words(reference), whisper_words(hypothesis)
    return WordErrors(Levenshtein.distance(said, heard), len(said))


def errors_by_character(reference: str, hypothesis: str) -> WordErrors:
    """Character errors, as if each character were a word."""
    found = character_errors(reference, hypothesis)
    return WordErrors(found.errors, found.characters)


FORMS: Mapping[str, Normaliser] = {
    SPOKEN: Normaliser("lower case, numbers and signs as they are spoken", word_errors),
    WHISPER: Normaliser("Whisper's English normaliser", whisper_errors),
}
BY_CHARACTER = Normaliser("by character, as they are spoken", errors_by_character)


def normaliser_of(name: str, texts: list[str]) -> Normaliser:
    """The normaliser by name; scripts without spaces between words are compared by character."""
    return BY_CHARACTER if is_unspaced(texts) else FORMS[name]


def check_normaliser(name: str) -> None:
    """Raise a `UserError` where the normaliser's package is missing, before anything is measured."""
    FORMS[name].errors("a", "a")
