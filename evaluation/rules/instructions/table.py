"""Table of the verifiable instructions: the id in a set, and its checker."""

from __future__ import annotations

from collections.abc import Mapping

from . import counting, formats, keywords, writing
from .arguments import Checker

CHECKERS: Mapping[str, Checker] = {
    "keywords:existence": keywords.existence,
    "keywords:frequency": keywords.frequency,
    "keywords:forbidden_words": keywords.forbidden_words,
    "keywords:letter_frequency": keywords.letter_frequency,
    "language:response_language": writing.response_language,
    "length_constraints:number_sentences": counting.number_sentences,
    "length_constraints:number_paragraphs": formats.number_paragraphs,
    "length_constraints:number_words": counting.number_words,
    "length_constraints:nth_paragraph_first_word": formats.nth_paragraph_first_word,
    "detectable_content:number_placeholders": formats.number_placeholders,
    "detectable_content:postscript": formats.postscript,
    "detectable_format:number_bullet_lists": formats.number_bullet_lists,
    "detectable_format:constrained_response": formats.constrained_response,
    "detectable_format:number_highlighted_sections": formats.number_highlighted_sections,
    "detectable_format:multiple_sections": formats.multiple_sections,
    "detectable_format:json_format": formats.json_format,
    "detectable_format:title": formats.title,
    "combination:two_responses": formats.two_responses,
    "combination:repeat_prompt": formats.repeat_prompt,
    "startend:end_checker": writing.end_checker,
    "startend:quotation": writing.quotation,
    "change_case:capital_word_frequency": counting.capital_words,
    "change_case:english_capital": writing.english_capital,
    "change_case:english_lowercase": writing.english_lowercase,
    "punctuation:no_comma": writing.no_comma,
}
