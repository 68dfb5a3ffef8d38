"""Streaming thoughts: long replies in blocks of text and speech, and the same replies with their text first."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section, interval, percent
from recipes.reporting.run_results import Results

SETTINGS = {
    "text_first": "text first",
    "streaming": "13 text : 26 speech",
    "two_part": "13 text : 26 speech, tuned in two parts",
}
RATES = {
    "text_slots": "right in text",
    "speech_slots": "right by ear",
    "text_whole": "whole in text",
    "speech_whole": "whole by ear",
    "spoken_agreement_wer": "speech against text, WER",
}
SHOWN = 4  # replies of each setting


def streaming_section(results: Results) -> Section | None:
    """Right slots, whole replies and the time to the first sound of each setting; None where none was scored."""
    scored = {step: found for step in SETTINGS if (found := results.read(f"{step}_scores", "scores.json")) is not None}
    if not scored:
        return None
    section = Section("Streaming thoughts")
    section.text(
        "Spoken requests tell a situation; replies of about thirty words tell it again. Right is the share of the "
        "persons, colours, things and places that are told in order; a whole reply tells all of them and no other. By "
        "ear: what an independent recogniser makes of the speech. In brackets the 95 % interval over replies, of one "
        "training each. No training data tells the situations. The first sound counts from the end of listening."
    )
    rows: list[list[Any]] = []
    for step, means in scored.items():
        timed = results.metrics_of(f"{step}_answers").get("seconds_to_first_sound")
        rows.append(
            [
                SETTINGS[step],
                *(f"{percent(means[name]['micro'])} ({interval(means[name]['interval'])})" for name in RATES),
                f"{means['tokens_before_speech']['micro']:.1f}",
                f"{means['speech_blocks']['micro']:.1f}",
                "–" if timed is None else f"{1000 * timed:.0f} ms",
            ]
        )
    heads = ["setting", *RATES.values(), "tokens before speech", "blocks of speech", "to the first sound"]
    section.table(heads, rows)
    floor = next(iter(scored.values()))["floor_wer"]
    section.text(f"The recogniser's word errors on recordings of the right replies: {percent(floor['micro'])}.")
    for step in scored:
        lines = results.lines(f"{step}_scores", "details.jsonl")[:SHOWN]
        section.heading(f"Replies: {SETTINGS[step]}")
        cells = [[line["question"], line["said"], line["judge"]] for line in lines]
        section.table(["asked", "said", "by the judge"], cells)
    return section
