"""Table of speech quality: one row for the recordings and one for each other source, a column for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evaluation.rules.measure import MeanScore

from .measured_speech import MeasuredHeader
from .speech_columns import COLUMNS

Summary = Mapping[str, Mapping[str, float]]  # source -> metric (and ``utterances``) -> value


class QualityCells(NamedTuple):
    """Header and rows of a table, as text."""

    header: list[str]
    rows: list[list[str]]


def table_cells(summary: Summary, scores: Mapping[str, Mapping[str, MeanScore]] | None = None) -> QualityCells:
    """The table, with the columns that were measured; with ``scores`` also the interval of each number."""
    columns = [key for key in COLUMNS if any(key in values for values in summary.values())]
    rows = []
    for name, values in summary.items():
        shown = []
        for key in columns:
            mean = scores[name].get(key) if scores and name in scores else None
            text = printed(key, values[key]) if key in values else "-"
            if mean is not None:
                text += f" ({printed(key, mean.interval[0])} to {printed(key, mean.interval[1])})"
            shown.append(text)
        rows.append([name, f"{values['utterances']:g}", *shown])
    return QualityCells(["", "utterances", *(COLUMNS[key].heading for key in columns)], rows)


def printed(key: str, value: float) -> str:
    """A value in the unit of its column."""
    return f"{value * COLUMNS[key].factor:.{COLUMNS[key].digits}f}"


def flat(scores: Mapping[str, Mapping[str, MeanScore]], utterances: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """The values without their intervals, with the number of utterances."""
    return {
        name: {"utterances": utterances[name], **{key: mean.micro for key, mean in means.items()}}
        for name, means in scores.items()
    }


def markdown(
    scores: Mapping[str, Mapping[str, MeanScore]], utterances: Mapping[str, int], header: MeasuredHeader
) -> str:
    """The scores in Markdown, with 95 % intervals and with notes on the metrics."""
    summary = flat(scores, utterances)
    cells = table_cells(summary, scores)
    lines = [f"| {' | '.join(row)} |" for row in (cells.header, ["---"] * len(cells.header), *cells.rows)]
    left_out = ", ".join(f"{source.name} {source.left_out}" for source in header.sources if source.left_out) or "none"
    measured_by = [f"{name}: {what}" for name, what in header.measured_by.items()]
    lines += ["", f"{header.data}; bad records left out: {left_out}; {'; '.join(measured_by) or 'no model listened'}."]
    notes = """
In brackets: 95 % intervals, utterances drawn again with replacement. Word error rates are over all words; those of the
recordings are the recognisers' own errors, the floor. Everything else is a mean over utterances. The mel-cepstral
distance is of our own 80-band mel without time warping: compare it within this table only. STOI and PESQ were made for
noisy and coded speech; they punish what is spoken a little earlier or later though every word is clear. Hop modulation
is by how much the roughness of the sound varies with the position within a mel frame, over all utterances: a buzz at
the frame rate; that of the recordings is the floor for as much speech. Voice likeness is the cosine of our own speaker
encoder's embeddings; that of the recordings is between two utterances of one voice. UTMOS and DNSMOS are networks that
predict people's ratings, 1 to 5. UED is the unit edit distance: edits between the tokens of the clean and the noised
recording by tokens of the clean one.
"""
    return "\n".join(lines) + "\n" + notes
