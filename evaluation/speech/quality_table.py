"""Table of speech quality: one row for the recordings and one for each other source, a column for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evaluation.rules.measure import MeanScore

from .measured_speech import MeasuredHeader
from .speech_columns import COLUMNS

Summary = Mapping[str, Mapping[str, float]]  # source -> metric (and ``utterances``) -> value


class SourceScores(NamedTuple):
    """The scores of one source: its utterances, and its means by metric."""

    utterances: int
    means: Mapping[str, MeanScore]


SpeechScores = Mapping[str, SourceScores]


class QualityCells(NamedTuple):
    """Header and rows of a table, as text."""

    header: list[str]
    rows: list[list[str]]

    @property
    def lines(self) -> list[str]:
        """In Markdown."""
        return [f"| {' | '.join(row)} |" for row in (self.header, ["---"] * len(self.header), *self.rows)]


def table_cells(summary: Summary, means: Mapping[str, Mapping[str, MeanScore]]) -> QualityCells:
    """The table, with the columns that were measured, and with the interval of each number in ``means``."""
    columns = [key for key in COLUMNS if any(key in values for values in summary.values())]
    rows = []
    for name, values in summary.items():
        shown = []
        for key in columns:
            text = printed(key, values[key]) if key in values else "-"
            mean = means.get(name, {}).get(key)
            if mean is not None:
                text += f" ({printed(key, mean.interval[0])} to {printed(key, mean.interval[1])})"
            shown.append(text)
        rows.append([name, f"{values['utterances']:g}", *shown])
    return QualityCells(["", "utterances", *(COLUMNS[key].heading for key in columns)], rows)


def scored_cells(scores: SpeechScores) -> QualityCells:
    """The table of scores."""
    return table_cells(flat(scores), {name: one.means for name, one in scores.items()})


def printed(key: str, value: float) -> str:
    """A value in the unit of its column."""
    return f"{value * COLUMNS[key].factor:.{COLUMNS[key].digits}f}"


def flat(scores: SpeechScores) -> dict[str, dict[str, float]]:
    """The values without their intervals, with the number of utterances."""
    return {
        name: {"utterances": one.utterances, **{key: mean.micro for key, mean in one.means.items()}}
        for name, one in scores.items()
    }


def markdown(scores: SpeechScores, header: MeasuredHeader) -> str:
    """The scores in Markdown, with 95 % intervals and with notes on the metrics; tokens have a table of their own."""
    lines = []
    for has_sound in (False, True):
        names = [source.name for source in header.sources if bool(source.audio_digest) == has_sound]
        if names:
            lines += [*scored_cells({name: scores[name] for name in names}).lines, ""]
    facts = [f"{name.replace('_', ' ')} {value:g}" for name, value in header.facts.items()]
    lines += [f"Tokens: {', '.join(facts)} (of the whole set, without intervals).", ""] if facts else []
    left_out = ", ".join(f"{source.name} {source.left_out}" for source in header.sources if source.left_out) or "none"
    measured_by = [f"{name}: {what}" for name, what in header.measured_by.items()]
    lines += [f"{header.data}; bad records left out: {left_out}; {'; '.join(measured_by) or 'no model listened'}."]
    notes = """
In brackets: 95 % intervals, utterances drawn again with replacement. Word error rates are over all words; those of the
recordings are the recognisers' own errors, the floor. Everything else is a mean over utterances. The mel-cepstral
distance is of our own 80-band mel without time warping: compare it within this table only. STOI and PESQ were made for
noisy and coded speech; they punish what is spoken a little earlier or later though every word is clear. Hop modulation
is by how much the roughness of the sound varies with the position within a mel frame, over all utterances: a buzz at
the frame rate; that of the recordings is the floor for as much speech. NSIM is ViSQOL's similarity of spectrograms on
our log-mel, 1 where they are equal: no alignment in time, no mapping to ratings, so it is no ViSQOL score. Voice
likeness is the cosine of a speaker encoder's embeddings (its name is above); that of the recordings is between two
utterances of one voice. UTMOS, DNSMOS and DistillMOS are networks that predict people's ratings, 1 to 5. UED is the
unit edit distance: edits between the tokens of the clean and the noised recording by tokens of the clean one.
"""
    return "\n".join(lines) + "\n" + notes
