"""Table of speech quality: one row for the recordings and one for each resynthesis, a column for each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]  # one utterance of one source, a line of details.jsonl
# metric -> heading, factor, digits
COLUMNS = {
    "judge_wer": ("judge's WER, %", 100.0, 2),
    "asr_wer": ("recogniser's WER, %", 100.0, 2),
    "mel_cepstral_distance": ("mel-cepstral distance, dB", 1.0, 2),
    "stoi": ("STOI", 1.0, 3),
    "pesq": ("PESQ", 1.0, 2),
    "pitch_correlation": ("pitch correlation", 1.0, 3),
    "pitch_voicing": ("voicing agrees, %", 100.0, 1),
    "hop_modulation": ("hop modulation, %", 100.0, 1),
    "voice_likeness": ("voice likeness", 1.0, 3),
    "utmos": ("UTMOS", 1.0, 2),
    "dnsmos_ovrl": ("DNSMOS overall", 1.0, 2),
    "dnsmos_sig": ("DNSMOS speech", 1.0, 2),
    "dnsmos_bak": ("DNSMOS background", 1.0, 2),
    "dnsmos_p808": ("DNSMOS P.808", 1.0, 2),
}


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """Word error rates over all words, means over utterances of everything else that was measured."""
    found: dict[str, float] = {"utterances": len(rows)}
    for key in ("judge", "asr"):
        scored = [row for row in rows if f"{key}_words" in row]
        if scored:
            edits, words = (sum(row[f"{key}_{what}"] for row in scored) for what in ("edits", "words"))
            found[f"{key}_wer"] = round(edits / max(words, 1), 5)
    for key in COLUMNS:
        values = [row[key] for row in rows if row.get(key) is not None and math.isfinite(row[key])]
        if values:
            found[key] = round(sum(values) / len(values), 5)
    return found


def table_cells(summary: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, with the columns that were measured."""
    columns = [key for key in COLUMNS if any(key in values for values in summary.values())]
    rows = []
    for name, values in summary.items():
        shown = [f"{values[key] * COLUMNS[key][1]:.{COLUMNS[key][2]}f}" if key in values else "-" for key in columns]
        rows.append([name, str(values["utterances"]), *shown])
    return ["", "utterances", *(COLUMNS[key][0] for key in columns)], rows


def markdown(summary: Mapping[str, Mapping[str, float]]) -> str:
    """The summary in Markdown, with notes on its metrics."""
    header, rows = table_cells(summary)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    notes = """
Word error rates are over all words; those of the recordings are the recognisers' own errors, the floor. Everything
else is a mean over utterances. The mel-cepstral distance is of our own 80-band mel without time warping: compare it
within this table only. STOI and PESQ were made for noisy and coded speech; they punish what is spoken a little earlier
or later though every word is clear. Hop modulation is by how much the roughness of the sound varies with the position
within a mel frame, over all utterances: a buzz at the frame rate; that of the recordings is the floor for as much
speech. Voice likeness is the cosine of our own speaker encoder's embeddings; that of the recordings is between two
utterances of one voice. UTMOS and DNSMOS are networks that predict people's ratings, 1 to 5.
"""
    return "\n".join(lines) + "\n" + notes
