"""The sections of the report, each made from what one or two steps left behind, and left out without them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import figures
from .browser_section import browser_section
from .dialogue_section import dialogue_section
from .page import Section, audio_uri, percent
from .quality_section import quality_section
from .run_results import Results
from .served_section import served_section

SPEECH_RUN = re.compile(r"‹(\d+) speech: [^›]*›")
NOISE_KEY = re.compile(r"wer_(?P<kind>[a-z]+)_(?P<snr>-?[\d.]+)db")
PARAMETER_KEYS = ("parameters", "num_parameters")
RESULT_KEYS = {
    "corpus": ("num_sentences", "hours", "num_voices"),
    "tokenizer_evaluation": ("wer_with_vq", "wer_without_vq", "codebook_use"),
    "readback": ("readback_wer",),
    "interleaved": ("realised_ratio",),
    "evaluation": ("decoder.judge_wer", "judge.floor_wer", "chat.speech_to_text_accuracy"),
}
DATA_KEYS = ("num_utterances", "hours", "tokens", "documents", "utterances", "train_documents", "chat.questions")


def all_sections(results: Results, metrics: dict[str, Any], *, num_examples: int) -> list[Section]:
    """Every section that the finished steps allow, in reading order."""
    made = [
        answers_section(results, num_examples),
        dialogue_section(results),
        served_section(results),
        browser_section(results.root),
        steps_section(results, metrics),
        curves_section(results),
        tokenizer_section(results),
        interleaving_section(results),
        language_model_section(results, metrics),
        decoder_section(results, metrics),
        quality_section(results),
        provenance_section(results),
    ]
    return [section for section in made if section is not None]


def answer_rows(results: Results, step: str = "evaluation") -> list[dict[str, Any]]:
    """The judged spoken answers."""
    return [row for row in results.lines(step, "details.jsonl") if row["part"] == "answer"]


def chat_example(results: Results) -> dict[str, Any] | None:
    """One spoken answer to show at the end of a run: the first that is right by ear, else the first."""
    rows = [row for row in answer_rows(results) if row["reply_audio"]]
    chosen = next((row for row in rows if row["is_speech_right"]), rows[0] if rows else None)
    return chosen and {"heard": chosen["heard"], "said": chosen["said"], "audio": chosen["reply_audio"]}


def marked(text: str | None, is_right: bool) -> dict[str, str]:
    """A table cell that shows whether its words are right."""
    return {"text": text or "(nothing)", "mark": "right" if is_right else "wrong"}


def sound(path: str | None) -> Any:
    """A table cell with a player, or a dash."""
    return {"audio": audio_uri(Path(path))} if path else "–"


def answers_section(results: Results, num_examples: int) -> Section | None:
    """Spoken questions and answers with sound: right ones, and failures."""
    rows = answer_rows(results)
    if not rows:
        return None
    section = Section("Spoken questions and answers")
    section.text(
        "Held-out questions, asked in voices the model has heard. Heard, said and spoken are the model's own; the last "
        "column is what an independent recogniser (pocketsphinx) makes of the spoken answer. Green is right by the "
        "answer key, red is wrong. Right and wrong answers stand in the proportion in which they came."
    )
    right = [row for row in rows if row["is_speech_right"]]
    wrong = [row for row in rows if not row["is_speech_right"]]
    num_right = round(num_examples * len(right) / len(rows))
    num_right = min(max(num_right, 1 if right else 0), num_examples - (1 if wrong else 0))
    shown = spread(right, num_right) + spread(wrong, num_examples - num_right)
    header = ["asked", "", "heard", "said", "key", "spoken answer", "by the judge"]
    cells = [
        [
            row["question"],
            sound(row["audio"]),
            marked(row["heard"], row["heard"] == row["question"]),
            marked(row["said"], row["is_text_right"]),
            row["answer"],
            sound(row["reply_audio"]),
            marked(row["judge"], row["is_speech_right"]),
        ]
        for row in shown
    ]
    section.table(header, cells)
    topics = sorted({row["topic"] for row in rows})
    by_topic = []
    for topic in topics:
        mine = [row for row in rows if row["topic"] == topic]
        rates = [sum(row[key] for row in mine) / len(mine) for key in ("is_text_right", "is_speech_right")]
        by_topic.append([topic, len(mine), *map(percent, rates)])
    section.heading("By topic")
    section.table(["topic", "questions", "right in text", "right by ear"], by_topic)
    return section


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` rows evenly spread over all."""
    if count >= len(rows):
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]


def steps_section(results: Results, metrics: dict[str, Any]) -> Section:
    """A table of every step."""
    section = Section("Steps")
    rows = []
    for step in results.steps:
        own = results.metrics_of(step)
        data = ", ".join(
            f"{short(own[key])} {key.split('.')[-1].removeprefix('num_')}" for key in DATA_KEYS if key in own
        )
        size = next((own[key] for key in PARAMETER_KEYS if key in own), None)
        kept = RESULT_KEYS.get(step, ())
        result = ", ".join(f"{key.split('.')[-1]} {short(own[key])}" for key in kept if key in own)
        seconds = results.seconds(step)
        rows.append([step, results.steps[step]["module"], seconds, data, "" if size is None else size, result])
    section.table(["step", "stage", "seconds", "data", "parameters", "result"], rows)
    if "seconds.total" in metrics:
        section.text(
            f"Wall clock of the whole run: {metrics['seconds.total'] / 60:.1f} minutes (steps run side by side)."
        )
    return section


def short(value: Any) -> str:
    """A count, or a rate with three digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def curves_section(results: Results) -> Section | None:
    """Loss curves of every training step."""
    curves = {step: rows for step, rows in results.curves().items() if any("loss" in row for row in rows)}
    if not curves:
        return None
    section = Section("Loss curves")
    section.image(figures.loss_curves(curves), "training and validation losses by step")
    return section


def tokenizer_section(results: Results) -> Section | None:
    """WER through the tokens, use of the codebook, transcripts."""
    found = results.read("tokenizer_evaluation", "report.json")
    if found is None:
        return None
    section = Section("Speech tokenizer")
    section.text(
        "Word error rates of the tokenizer's own recogniser, through the quantised tokens and with the same weights "
        "but the quantiser left out. heldout_sentence: unseen sentences in seen voices; heldout_voice: in "
        "unseen voices; heldout_words: random words in seen voices, where no grammar helps."
    )
    header = ["split", "utterances", "WER with VQ", "WER without VQ"]
    splits = found["splits"]
    section.table(
        header,
        [
            [name, row["utterances"], percent(row["wer_with_vq"]), percent(row["wer_without_vq"])]
            for name, row in splits.items()
        ],
    )
    own = results.metrics_of("tokenizer_evaluation")
    section.text(
        f"{own['frame_rate_hz']:g} tokens a second, {own['bits_per_second']:.0f} bit/s; "
        f"{percent(own['codebook_use'])} of the codes are used, perplexity {own['perplexity']:.0f}."
    )
    seen = next(iter(splits.values()))
    section.image(figures.codebook_histogram(seen["code_counts"]), "share of tokens by code")
    spoken = [split for name, split in splits.items() if name != "heldout_words"]
    rates = {row["voice"]: 100 * row["wer_with_vq"] for split in spoken for row in split["voices"]}
    section.heading("By voice, sentences")
    section.image(figures.bars(rates, "WER through the tokens, %"), "WER by voice")
    if noise := noise_rows(own):
        section.heading("Under noise")
        section.text(
            "The same recogniser on noised audio; and how many tokens are others than those of the clean audio."
        )
        section.table(["noise", "SNR, dB", "WER with VQ", "tokens changed"], noise)
    section.heading("Read back from tokens")
    examples = [(row["text"], row["with_vq"]) for row in seen["examples"]]
    section.table(["said", "read from the tokens"], [[text, marked(read, read == text)] for text, read in examples])
    return section


def noise_rows(metrics: dict[str, Any]) -> list[list[Any]]:
    """A row for each kind and strength of noise that the tokenizer was evaluated under."""
    found = [(match, value) for key, value in metrics.items() if (match := NOISE_KEY.fullmatch(key))]
    return [
        [
            match["kind"],
            match["snr"],
            percent(wer),
            percent(metrics[f"token_edit_distance_{match['kind']}_{match['snr']}db"]),
        ]
        for match, wer in found
    ]


def interleaving_section(results: Results) -> Section | None:
    """One interleaved document, its speech tokens folded."""
    folder = results.folder("interleaved")
    vocabulary_folder = results.folder("vocabulary")
    if folder is None or vocabulary_folder is None:
        return None
    from lm.data.corpora import open_corpus
    from lm.data.formats import render
    from lm.data.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_pretrained(vocabulary_folder / "vocabulary")
    documents = open_corpus(folder / "interleaved", vocabulary).documents("train")
    section = Section("Interleaved documents")
    own = results.metrics_of("interleaved")
    section.text(
        "Text in which spans (lengths from a Poisson distribution with mean 10, 30 % of the words asked for) are "
        f"replaced by speech tokens made from the text alone. Realised ratio {100 * own['realised_ratio']:.1f} %."
    )
    for document in itertools.islice(documents, 3):
        section.document(pieces_of(render(document, vocabulary, num_shown=24)))
    return section


def pieces_of(rendered: str) -> list[dict[str, Any]]:
    """Split a rendered document into text and folded speech."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for match in SPEECH_RUN.finditer(rendered):
        pieces.append({"is_speech": False, "text": rendered[at : match.start()].strip()})
        pieces.append({"is_speech": True, "text": match.group()[1:-1], "count": int(match.group(1))})
        at = match.end()
    pieces.append({"is_speech": False, "text": rendered[at:].strip()})
    return [piece for piece in pieces if piece["text"]]


def language_model_section(results: Results, metrics: dict[str, Any]) -> Section | None:
    """Held-out loss by format and modality; with and without interleaved documents when both were trained."""
    own = results.metrics_of("lm")
    if not own:
        return None
    section = Section("Language model")
    losses = {key.removeprefix("val_loss."): value for key, value in own.items() if key.startswith("val_loss.")}
    section.text(
        f"Trained by megatron-core, tensor parallel {own.get('tensor_parallel', '?')}, on processes of this machine. "
        "Held-out loss in nats a token, by document format and by modality."
    )
    section.image(figures.bars(dict(sorted(losses.items())), "held-out loss, nats a token"), "held-out losses")
    plain = results.metrics_of("plain_evaluation")
    if plain:
        section.heading("With and without interleaved documents, same budget")
        names = ("chat.speech_to_text_accuracy", "chat.speech_to_speech_accuracy", "chat.heard_wer")
        rows: list[list[Any]] = [[name, percent(metrics.get(name)), percent(plain.get(name))] for name in names]
        without = results.metrics_of("plain_lm")
        both = sorted(key for key in own if key.startswith("val_loss.") and key in without)
        rows += [[key, f"{own[key]:.3f}", f"{without[key]:.3f}"] for key in both]
        section.table(["", "with", "without"], rows)
        section.text("Losses and rates of one seed each; small differences mean nothing.")
    return section


def log_mel(path: str) -> npt.NDArray[np.float32]:
    """The log-mel picture of a sound file, (num_mels, F)."""
    import torch

    from corpus.audio.files import read_audio
    from corpus.audio.frame_rate import pad_to_token
    from corpus.audio.mel import LogMel

    audio = torch.from_numpy(pad_to_token(read_audio(path)))[None]
    with torch.inference_mode():
        mel: npt.NDArray[np.float32] = LogMel()(audio)[0].numpy()
    return mel


def decoder_section(results: Results, metrics: dict[str, Any]) -> Section | None:
    """Original beside resynthesised: spectrograms, players, the judge's WER with its floor."""
    rows = results.lines("evaluation", "details.jsonl")
    parts = {
        part: {row["id"]: row for row in rows if row["part"] == part}
        for part in ("floor", "resynthesis", "griffin_lim")
    }
    if not parts["resynthesis"]:
        return None
    section = Section("Speech decoder")
    section.text(
        "Held-out recordings, turned into tokens and back into speech: flow matching makes the mel, then the project's "
        "own vocoder or Griffin-Lim makes the waveform. The judge also heard the untouched recordings: its floor."
    )
    table = [
        ["untouched recordings (floor)", percent(metrics.get("judge.floor_wer"))],
        ["flow matching + vocoder", percent(metrics.get("decoder.judge_wer"))],
        ["flow matching + Griffin-Lim", percent(metrics.get("decoder.judge_wer_griffin_lim"))],
    ]
    section.table(["speech", "judge's WER"], table)
    names = {
        "floor": "original",
        "resynthesis": "flow matching + vocoder",
        "griffin_lim": "flow matching + Griffin-Lim",
    }
    chosen = list(parts["resynthesis"])[:6]
    first = {name: log_mel(parts[part][chosen[0]]["audio"]) for part, name in names.items() if chosen[0] in parts[part]}
    section.image(figures.spectrograms(first), f"spectrograms of “{parts['resynthesis'][chosen[0]]['text']}”")
    header = ["text", *names.values(), "judge on the vocoder's"]
    cells: list[list[Any]] = []
    for identity in chosen:
        row = parts["resynthesis"][identity]
        players = [sound(parts[part][identity]["audio"] if identity in parts[part] else None) for part in names]
        cells.append([row["text"], *players, marked(row["judge"], row["edits"] == 0)])
    section.table(header, cells)
    return section


def provenance_section(results: Results) -> Section:
    """Versions, commit and seed."""
    section = Section("How it was made")
    first = next(iter(results.steps))
    record = results.read(first, "run.json") or {}
    versions = [[name, version] for name, version in record.get("versions", {}).items()]
    section.table(["package", "version"], [*versions, ["git commit", record.get("git_commit") or "unknown"]])
    section.text(
        f"Recipe {results.recipe}, seed {record.get('config', {}).get('seed')}; "
        "every step's folder holds its resolved config."
    )
    return section
