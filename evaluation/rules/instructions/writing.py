"""Checkers of endings, quotation marks, commas, letter case and language."""

from __future__ import annotations

import functools
import string
import unicodedata
from typing import Any

from runtime.errors import UserError

from .arguments import Arguments

ENDINGS = ("Any other questions?", "Is there anything else I can help with?")
CHINESE_PUNCTUATION = "。，、；：？！“”‘’（）《》【】…—"
UNPUNCTUATED = str.maketrans("", "", string.punctuation + CHINESE_PUNCTUATION)
LANGUAGES = ("en", "es", "pt", "ar", "hi", "fr", "ru", "de", "ja", "it", "bn", "uk", "th", "ur", "ta", "te", "bg", "ko",
             "pl", "he", "fa", "vi", "ne", "sw", "kn", "mr", "gu", "pa", "ml", "fi")  # fmt: skip
DETECTOR_SEED = 0  # langdetect samples n-grams of a text


def end_checker(text: str, arguments: Arguments) -> bool:
    """The answer ends with a phrase; ``bilingual`` takes all punctuation out of both first."""
    phrase = arguments.text("end_phrase", ENDINGS).strip().lower()
    if arguments.dialect == "bilingual":
        return text.translate(UNPUNCTUATED).strip().lower().endswith(phrase.translate(UNPUNCTUATED).strip())
    return text.strip().strip('"').lower().endswith(phrase)


def quotation(text: str, arguments: Arguments) -> bool:
    """The answer stands in quotation marks, for Chinese also in “ ”."""
    text = text.strip()
    pairs = {('"', '"')} if arguments.dialect == "google" else {('"', '"'), ("“", "”")}
    return len(text) > 1 and (text[0], text[-1]) in pairs


def no_comma(text: str, arguments: Arguments) -> bool:
    """No comma, for Chinese no ， either."""
    return "," not in text and (arguments.dialect == "google" or "，" not in text)


def english_capital(text: str, arguments: Arguments) -> bool:
    """All in capitals, in English."""
    return text.isupper() and _is_english(text, arguments)


def english_lowercase(text: str, arguments: Arguments) -> bool:
    """All in small letters, in English."""
    return text.islower() and _is_english(text, arguments)


def _is_english(text: str, arguments: Arguments) -> bool:
    """By default: letters of the Latin script; langdetect takes short texts in capitals for German and others."""
    if arguments.dialect == "default":
        letters = [letter for letter in text if letter.isalpha()]
        return bool(letters) and all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return detect_language(text) in ("en", None)


def response_language(text: str, arguments: Arguments) -> bool:
    """The language of the answer. Where none can be detected, published checkers pass it, the default does not.

    langdetect writes ``zh-cn`` and ``zh-tw``: by default the language ``zh`` is either.
    """
    wanted = arguments.text("language", LANGUAGES)
    found = detect_language(text)
    if arguments.dialect != "default":
        return found in (wanted, None)
    return found is not None and wanted.lower() in (found, found.partition("-")[0])


def detect_language(text: str) -> str | None:
    """The language of a text by langdetect, seeded; None where it finds no letters.

    Raises:
        UserError: langdetect is not installed.
    """
    factory = _detectors()
    from langdetect.lang_detect_exception import LangDetectException

    try:
        detector = factory.create()
        detector.append(text)
        return str(detector.detect())
    except LangDetectException:
        return None


@functools.cache
def _detectors() -> Any:
    try:
        from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    except ImportError as error:
        remedy = "pip install 'speechweave[evaluation]'"
        raise UserError("language detection", found="langdetect is not installed", remedy=remedy) from error
    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.seed = DETECTOR_SEED
    return factory
