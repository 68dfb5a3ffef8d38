"""Does the text-to-token model say what it is given? Its tokens for held-out sentences, read back as text.

    python -m text2token.evaluate model=runs/text2token_export/model tokens=runs/tokens \
        tokenizer=runs/tokenizer/artefact out=runs/text2token_readback

The speech tokenizer's own back half (codes -> CTC) reads both the generated tokens and the real ones of the same
sentences; its errors on the real ones are the floor. No waveform is made. The paper measures WER on VCTK: 3.20.

Beside it: length and repetition against real tokens, and whether the speakers can still be told apart (`variety`); a
table by speaker. The tokens are kept in ``generated/<split>.parquet``, so that an outside judge can hear them:

    python -m decoder.resynthesise tokens=runs/text2token_readback/generated/heldout_sentence.parquet \
        decoder=runs/decoder out=runs/readback_speech
    python -m evaluation.run corpus=runs/corpus resynthesis=runs/readback_speech out=runs/readback_judged
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import UserError, check_option
from runtime.hashing import seed_of
from runtime.stage import Headline, Run, Stage, StageConfig

from .gate import GateConfig

if TYPE_CHECKING:
    from corpus.tokens import TokenisedUtterance
    from lm.data.vocabulary import Vocabulary
    from lm.inference.generation import Generator
    from tokenizer.model import SpeechTokenizer

    from .unit_file import Codes


class Sentence(NamedTuple):
    """A sentence to be read (normalised), its generated codes, and the gate's verdict on them."""

    text: str
    codes: Codes
    verdict: str


@dataclass(kw_only=True)
class ReadbackConfig(StageConfig):
    """Options of text2token.evaluate.

    Attributes:
        model: the text-to-token model, a folder that lm.export wrote.
        tokens: output folder of tokenizer.encode, for the sentences and their real tokens.
        tokenizer: artefact folder of the speech tokenizer.
        split: which split to read.
        num_utterances: how many of its utterances, drawn by the seed (0 = all).
        kinds: kinds of utterances to read, e.g. [statement, question] (default: all).
        temperature: of sampling; 0 is greedy.
        top_p: nucleus mass in (0, 1].
        normalises: give the model lower-case words without punctuation.
        gate: as in text2token.synthesize.
        speakers_from: split whose real tokens tell how each speaker sounds ("" = leave that measure out).
        batch_size: prompts generated at once; changes speed only.
        threads: of torch.
        dtype: float32 or bfloat16.
        device: a torch device.
    """

    model: str
    tokens: str
    tokenizer: str
    split: str = "heldout_sentence"
    num_utterances: int = 200
    kinds: list[str] = field(default_factory=list)
    temperature: float = 0.5
    top_p: float = 0.95
    normalises: bool = True
    gate: GateConfig = field(default_factory=GateConfig)
    speakers_from: str = "train"
    batch_size: int = 64
    threads: int = 1
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_option(self.num_utterances >= 0, "num_utterances", self.num_utterances, "give 0 (all) or more")
        check_option(self.temperature >= 0, "temperature", self.temperature, "give 0 (greedy) or more")
        check_option(0 < self.top_p <= 1, "top_p", self.top_p, "give a mass in (0, 1]")
        for name in ("batch_size", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")


def run(config: ReadbackConfig, run: Run) -> dict[str, Any]:
    """Generate, read back, compare; writes ``<out>/readback.jsonl`` with every sentence."""
    import torch

    from lm.inference.generation import Generator
    from runtime.artefact import write_text
    from tokenizer.model import SpeechTokenizer

    torch.set_num_threads(config.threads)
    generator = Generator.from_pretrained(
        config.model, batch_size=config.batch_size, dtype=config.dtype, device=config.device
    )
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)
    generator.vocabulary.check_speech_tokenizer(tokenizer.fingerprint, config.tokenizer)
    chosen = _choose(config, generator.vocabulary)
    started = time.monotonic()
    sentences = _generate(config, generator, chosen)
    seconds = time.monotonic() - started
    heard = tokenizer.read_tokens([sentence.codes for sentence in sentences])
    heard_in_real = tokenizer.read_tokens([item.tokens for item in chosen])
    rows = [
        {
            "id": item.id,
            "speaker": item.speaker,
            "text": sentence.text,
            "heard": said,
            "heard_in_real_tokens": said_in_real,
            "tokens": len(sentence.codes),
            "real_tokens": len(item.tokens),
            "verdict": sentence.verdict,
        }
        for item, sentence, said, said_in_real in zip(chosen, sentences, heard, heard_in_real, strict=True)
    ]
    write_text(run.folder / "readback.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_text(run.folder / "speakers.jsonl", "".join(json.dumps(row) + "\n" for row in _by_speaker(rows)))
    _keep_generated(config, run.folder / "generated", tokenizer, chosen, sentences)
    metrics = _metrics(rows) | _variety(config, tokenizer, chosen, sentences)
    return metrics | {"tokens_per_second": round(metrics["tokens"] / max(seconds, 1e-9), 1)}


def _choose(config: ReadbackConfig, vocabulary: Vocabulary) -> list[TokenisedUtterance]:
    """Utterances with text, tokens and a speaker that has a tag; as many as asked for, drawn by the seed."""
    import numpy as np

    from corpus.text.normalisation import normalise
    from lm.data.readers import read_split

    speech = read_split(config.tokens, config.split)
    vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    items = [
        item
        for item in speech.items
        if normalise(item.text)
        and len(item.tokens)
        and item.speaker in vocabulary.speakers
        and item.kind in (config.kinds or [item.kind])
    ]
    if not items:
        found = f"no utterance of split {config.split} with a text and a speaker of the vocabulary"
        raise UserError(config.tokens, found=found, remedy="give another split= or kinds=")
    order = np.random.default_rng(config.seed).permutation(len(items))[: config.num_utterances or None]
    return [items[number] for number in sorted(order.tolist())]


def _generate(config: ReadbackConfig, generator: Generator, items: list[TokenisedUtterance]) -> list[Sentence]:
    from corpus.text.normalisation import normalise

    from .engine import Reading, SpanVoice, read_aloud
    from .gate import judge

    readings = [
        Reading(
            normalise(item.text) if config.normalises else item.text,
            item.speaker,
            seed_of(config.seed, item.id, "readback"),
        )
        for item in items
    ]
    voice = SpanVoice(temperature=config.temperature, top_p=config.top_p, normalises=config.normalises)
    read = read_aloud(readings, generator, generator.vocabulary, voice, config.gate)
    return [
        Sentence(normalise(item.text), row.codes, judge(one.spoken, row.codes, row.is_finished, config.gate))
        for item, one, row in zip(items, readings, read, strict=True)
    ]


def _keep_generated(
    config: ReadbackConfig,
    folder: Path,
    tokenizer: SpeechTokenizer,
    items: list[TokenisedUtterance],
    sentences: list[Sentence],
) -> None:
    """Write what was generated like tokenised speech, for a decoder and a judge."""
    from corpus.tokens import write_tokens

    folder.mkdir(exist_ok=True)
    made = [
        replace(item, tokens=one.codes, duration=len(one.codes) / tokenizer.frame_rate)
        for item, one in zip(items, sentences, strict=True)
        if len(one.codes)
    ]
    write_tokens(
        folder / f"{config.split}.parquet",
        made,
        tokenizer=tokenizer.fingerprint,
        codebook_size=tokenizer.codebook_size,
        frame_rate=tokenizer.frame_rate,
    )


def _variety(
    config: ReadbackConfig, tokenizer: SpeechTokenizer, items: list[TokenisedUtterance], sentences: list[Sentence]
) -> dict[str, Any]:
    from lm.data.readers import read_split

    from .diversity import SpeakerClassifier, repeated_share, used_codes

    real, made = [item.tokens for item in items], [one.codes for one in sentences if len(one.codes)]
    measures: dict[str, Any] = {
        "repeated_share": round(repeated_share(made), 4),
        "repeated_share_of_real_tokens": round(repeated_share(real), 4),
        "used_codes": used_codes(made),
        "used_codes_of_real_tokens": used_codes(real),
    }
    if config.speakers_from:
        known = read_split(config.tokens, config.speakers_from)
        guess = SpeakerClassifier(((item.speaker, item.tokens) for item in known.items), tokenizer.codebook_size)
        pairs = zip(items, sentences, strict=True)
        measures["speaker_guessed"] = round(guess.right_share([(item.speaker, one.codes) for item, one in pairs]), 4)
        share = guess.right_share([(item.speaker, item.tokens) for item in items])
        measures["speaker_guessed_of_real_tokens"] = round(share, 4)
        measures["speakers"] = len(guess.speakers)
    return measures


def _by_speaker(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each speaker."""
    table = []
    for speaker in sorted({row["speaker"] for row in rows}):
        own = [row for row in rows if row["speaker"] == speaker]
        made, real = (sum(row[key] for row in own) for key in ("tokens", "real_tokens"))
        table.append(
            {
                "speaker": speaker,
                "utterances": len(own),
                "readback_wer": _error_rate("heard", own),
                "readback_wer_of_real_tokens": _error_rate("heard_in_real_tokens", own),
                "length_ratio": round(made / real, 4),
            }
        )
    return table


def _error_rate(key: str, rows: list[dict[str, Any]]) -> float:
    from corpus.text.word_errors import corpus_word_errors

    return round(corpus_word_errors([row["text"] for row in rows], [row[key] for row in rows]).rate, 4)


def _metrics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    from corpus.text.normalisation import normalise

    from .gate import GOOD

    good = [row for row in rows if row["verdict"] == GOOD]
    tokens, real_tokens = (sum(row[key] for row in rows) for key in ("tokens", "real_tokens"))
    reasons = Counter(row["verdict"] for row in rows if row["verdict"] != GOOD)
    return {
        "utterances": len(rows),
        "readback_wer": _error_rate("heard", rows),
        "readback_wer_of_good": _error_rate("heard", good) if good else None,
        "readback_wer_of_real_tokens": _error_rate("heard_in_real_tokens", rows),
        "exact_share": round(sum(normalise(row["heard"]) == row["text"] for row in rows) / len(rows), 4),
        "length_ratio": round(tokens / real_tokens, 4),
        "rejected_share": round(1 - len(good) / len(rows), 4),
        **{f"rejected_{reason}": count for reason, count in sorted(reasons.items())},
        "tokens": tokens,
    }


STAGE = Stage(
    name="text2token.evaluate",
    config=ReadbackConfig,
    run=run,
    summary="Read the text-to-token model's speech tokens back as text: its word error rate without a waveform.",
    inputs=lambda config: [config.model, config.tokens, config.tokenizer],
    example="model=runs/text2token_export/model tokens=runs/tokens tokenizer=runs/tokenizer/artefact out=runs/readback",
    speed_options=("batch_size", "threads"),
    headlines=(Headline("readback_wer", "text-to-token: WER read back"),),
)

if __name__ == "__main__":
    STAGE.exit()
