"""How good resynthesised speech is: one command, one table, and a page to hear.

    python -m evaluation.quality corpus=runs/quickstart/corpus out=runs/quickstart/quality \\
        resynthesis.flow=runs/quickstart/resynthesis resynthesis.griffin_lim=runs/quickstart/resynthesis_griffin_lim

One row for the recordings themselves and one for each resynthesis: the word error rate of the outside judge (and of a
recogniser given by path), the measures of `evaluation.speech.objective_metrics` with what each is worth, the likeness
of the voice by the speaker encoder of a decoder, and naturalness by a predictor given by path. What is not given is not
in the table.

Writes <out>/quality.md, details.jsonl (each utterance) and listening.html: a page to hear and see some of them, with
sounds/ and sheets/*.png (spectrograms and pitch) beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import artefact_folder, write_text
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from .speech.listening_page import Sheet
    from .speech.resynthesis import SpokenAgain

Row = dict[str, Any]
Spoken = Mapping[str, Sequence["SpokenAgain"]]
RECORDINGS = "recordings"
COLUMNS = {
    "judge_wer": ("judge's WER, %", 100.0, 2),
    "asr_wer": ("recogniser's WER, %", 100.0, 2),
    "mel_cepstral_distance": ("mel-cepstral distance, dB", 1.0, 2),
    "stoi": ("STOI", 1.0, 3),
    "pesq": ("PESQ", 1.0, 2),
    "pitch_correlation": ("pitch correlation", 1.0, 3),
    "pitch_voicing": ("voicing agrees, %", 100.0, 1),
    "voice_likeness": ("voice likeness", 1.0, 3),
    "utmos": ("UTMOS", 1.0, 2),
}


@dataclass(kw_only=True)
class QualityConfig(StageConfig):
    """Options of evaluation.quality.

    Attributes:
        out: run folder; quality.md, details.jsonl and listening.html are written there.
        seed: unused: nothing is drawn.
        corpus: output folder of corpus.build.
        resynthesis: name of a row -> output folder of decoder.resynthesise, as ``resynthesis.<name>=<folder>``.
        decoder: a decoder with a speaker encoder, for the likeness of the voice; null leaves it out.
        asr: a recogniser: a .nemo file or a folder of transformers' (Whisper); null leaves it out.
        utmos: a naturalness predictor as TorchScript; null leaves it out.
        sheets: utterances on the page.
        limit: at most so many utterances of each resynthesis (the first); 0 takes all.
        processes: worker processes of the judge and the measures.
    """

    corpus: str
    resynthesis: dict[str, str] = field(default_factory=dict)
    decoder: str | None = None
    asr: str | None = None
    utmos: str | None = None
    sheets: int = 6
    limit: int = 0
    processes: int = 2

    def __post_init__(self) -> None:
        check_option(
            bool(self.resynthesis), "resynthesis", self.resynthesis, "name at least one: resynthesis.flow=<folder>"
        )
        is_free = RECORDINGS not in self.resynthesis
        check_option(is_free, "resynthesis", RECORDINGS, "that is the name of the recordings' own row; choose another")
        check_option(self.sheets >= 0, "sheets", self.sheets, "give 0 (none) or more")
        check_option(self.limit >= 0, "limit", self.limit, "give 0 (all) or more")
        check_option(self.processes >= 1, "processes", self.processes, "give at least 1")


def run(config: QualityConfig, run: Run) -> dict[str, Any]:
    """Measure everything, write table and sheets."""
    from .speech import resynthesis
    from .speech.listening_page import write_page
    from .speech.objective_metrics import missing_packages

    originals = resynthesis.recordings(config.corpus)
    parts = {
        name: resynthesis.pair(folder, originals)[: config.limit or None] for name, folder in config.resynthesis.items()
    }
    for name in missing_packages():
        run.say(f"{name} is not installed, its column stays empty: pip install speechweave[quality]")
    spoken = {RECORDINGS: unique(pairs for pairs in parts.values())} | parts
    rows = {
        name: [{"part": name, "id": pair.made.id, "text": pair.original.text} for pair in spoken[name]]
        for name in spoken
    }
    add_judge(config, run, spoken, rows)
    add_likeness(config, run, parts, rows)
    add_voices(config, spoken, rows)
    add_outside(config, spoken, rows)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for name in rows for row in rows[name]]
    write_text(run.folder / "details.jsonl", "".join(lines))
    summary = {name: summarise(some) for name, some in rows.items()}
    write_text(run.folder / "quality.md", table(summary))
    sheets = [sheet_of(pair, spoken, rows) for pair in spoken[RECORDINGS][: config.sheets]]
    write_page(run.folder, *cells(summary), sheets)
    run.say(table(summary))
    return {f"{name}.{key}": value for name, values in summary.items() for key, value in values.items()}


def unique(parts: Iterable[Sequence[SpokenAgain]]) -> list[SpokenAgain]:
    """Each utterance once, in the order in which they come."""
    return list({pair.made.id: pair for pairs in parts for pair in pairs}.values())


def audio_of(name: str, pair: SpokenAgain) -> Path:
    """The recording itself, or what was made of it."""
    return pair.original.audio if name == RECORDINGS else pair.made.audio


def sheet_of(pair: SpokenAgain, spoken: Spoken, rows: Mapping[str, list[Row]]) -> Sheet:
    """One utterance, from the recording and from each resynthesis that has it."""
    from .speech.listening_page import Sheet

    audios = {
        name: audio_of(name, other)
        for name, pairs in spoken.items()
        for other in pairs
        if other.made.id == pair.made.id
    }
    heard = {
        name: str(row["judge"])
        for name, some in rows.items()
        for row in some
        if row["id"] == pair.made.id and "judge" in row
    }
    return Sheet(text=pair.original.text, audios=audios, heard=heard)


def add_judge(config: QualityConfig, run: Run, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """What the outside judge hears, where what was said belongs to the closed world."""
    from .judges.listening import Listening, listen
    from .question_answering.scoring import word_errors
    from .run import load_judge

    if not (Path(config.corpus) / "sentences.txt").is_file():
        run.say(f"{config.corpus} has no sentences.txt: it is no closed world, and the judge does not listen")
        return
    judge = load_judge(config.corpus)
    wanted = [
        Listening(f"{name}/{pair.made.id}", audio_of(name, pair))
        for name, pairs in spoken.items()
        for pair in pairs
        if judge.knows(pair.original.text)
    ]
    heard = listen(judge, wanted, run, processes=config.processes)
    for name, some in rows.items():
        for row in some:
            if (text := heard.get(f"{name}/{row['id']}")) is not None:
                errors = word_errors(row["text"], text)
                row |= {"judge": text, "judge_edits": errors.edits, "judge_words": errors.words}


def add_likeness(config: QualityConfig, run: Run, parts: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """The measures that compare a resynthesis with its recording."""
    from runtime.bulk.parallel_map import in_parallel

    from .speech.objective_metrics import compare

    with run.progress(sum(map(len, parts.values())), "likeness", unit="utterance") as bar:
        for name, pairs in parts.items():
            folder = run.folder / "likeness" / name
            found = in_parallel(compare, pairs, folder, processes=config.processes, bar=bar)
            for row in rows[name]:
                row |= found[row["id"]]


def add_voices(config: QualityConfig, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """Cosine of the embeddings of voice and recording; of the recordings, that with another one of the same voice."""
    if config.decoder is None:
        return
    from decoder.model import SpeechDecoder

    decoder = SpeechDecoder.from_pretrained(artefact_folder(config.decoder))
    if decoder.speaker_encoder is None:
        remedy = "train one with speaker.embedding=64, or leave decoder out"
        raise UserError(f"option decoder={config.decoder}", found="a decoder without a speaker encoder", remedy=remedy)
    originals = {pair.made.id: decoder.hear(str(pair.original.audio)) for pair in spoken[RECORDINGS]}
    others: dict[str, list[str]] = {}
    for pair in spoken[RECORDINGS]:
        others.setdefault(pair.original.speaker, []).append(pair.made.id)
    for name, pairs in spoken.items():
        for row, pair in zip(rows[name], pairs, strict=True):
            same = others.get(pair.original.speaker, [])
            if name != RECORDINGS:
                row["voice_likeness"] = float(originals[row["id"]] @ decoder.hear(str(pair.made.audio)))
            elif len(same) > 1:
                following = same[(same.index(row["id"]) + 1) % len(same)]
                row["voice_likeness"] = float(originals[row["id"]] @ originals[following])


def add_outside(config: QualityConfig, spoken: Spoken, rows: Mapping[str, list[Row]]) -> None:
    """What the models given by path say."""
    from .judges.external_models import naturalness, transcripts
    from .question_answering.scoring import word_errors

    for name, pairs in spoken.items():
        files = [audio_of(name, pair) for pair in pairs]
        if config.asr is not None:
            for row, text in zip(rows[name], transcripts(config.asr, files), strict=True):
                errors = word_errors(row["text"], text)
                row |= {"asr": text, "asr_edits": errors.edits, "asr_words": errors.words}
        if config.utmos is not None:
            for row, score in zip(rows[name], naturalness(config.utmos, files), strict=True):
                row["utmos"] = score


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


def cells(summary: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, with the columns that were measured."""
    columns = [key for key in COLUMNS if any(key in values for values in summary.values())]
    rows = []
    for name, values in summary.items():
        shown = [f"{values[key] * COLUMNS[key][1]:.{COLUMNS[key][2]}f}" if key in values else "-" for key in columns]
        rows.append([name, str(values["utterances"]), *shown])
    return ["", "utterances", *(COLUMNS[key][0] for key in columns)], rows


def table(summary: Mapping[str, Mapping[str, float]]) -> str:
    """The summary in Markdown, and what its columns are worth."""
    header, rows = cells(summary)
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    notes = """
Word error rates are over all words; those of the recordings are the recognisers' own errors, the floor. Everything
else is a mean over utterances. The mel-cepstral distance is of our own 80-band mel without time warping: compare it
within this table only. STOI and PESQ were made for noisy and coded speech; they punish what is spoken a little earlier
or later though every word is clear. Voice likeness is the cosine of our own speaker encoder's embeddings; that of the
recordings is between two utterances of one voice.
"""
    return "\n".join(lines) + "\n" + notes


STAGE = Stage(
    name="evaluation.quality",
    config=QualityConfig,
    run=run,
    summary="How good resynthesised speech is: recognisers, spectra, pitch, voice; one table and spectrograms.",
    inputs=lambda config: [config.corpus, *config.resynthesis.values(), config.decoder, config.asr, config.utmos],
    example="corpus=runs/quickstart/corpus resynthesis.flow=runs/quickstart/resynthesis out=runs/quickstart/quality",
    speed_options=("processes",),
)

if __name__ == "__main__":
    STAGE.exit()
