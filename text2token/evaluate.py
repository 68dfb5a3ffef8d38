"""Does the text-to-token model say what it is given? Its tokens for held-out sentences, read back as text.

    python -m text2token.evaluate model=runs/text2token_export/model tokens=runs/tokens \
        tokenizer=runs/tokenizer/artefact out=runs/text2token_readback

The speech tokenizer's own back half (codes -> CTC) reads both the generated tokens and the real ones of the same
sentences; its errors on the real ones are the floor. No waveform is made. The paper measures WER on VCTK: 3.20.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

from .gate import GateConfig


@dataclass(kw_only=True)
class EvaluateConfig(StageConfig):
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
    temperature: float = 0.8
    top_p: float = 0.95
    normalises: bool = True
    gate: GateConfig = field(default_factory=GateConfig)
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


def run(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Generate, read back, compare; writes ``<out>/readback.jsonl`` with every sentence."""
    import numpy as np
    import torch

    from corpus.artefact import write_text
    from corpus.text import normalise
    from lm.generation import Generator
    from lm.sampling import seed_of
    from lm.sources import read_split
    from tokenizer.model import SpeechTokenizer
    from tokenizer.scoring import word_errors

    from .engine import Reading, Voice, read_aloud
    from .gate import GOOD, judge

    torch.set_num_threads(config.threads)
    generator = Generator.from_pretrained(
        config.model, batch_size=config.batch_size, dtype=config.dtype, device=config.device
    )
    vocabulary = generator.vocabulary
    speech = read_split(config.tokens, config.split)
    vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)
    vocabulary.check_speech_tokenizer(tokenizer.fingerprint, config.tokenizer)
    items = [
        item
        for item in speech.items
        if normalise(item.text)
        and len(item.tokens)
        and item.speaker in vocabulary.speakers
        and item.kind in (config.kinds or [item.kind])
    ]
    if not items:
        found = f"no utterance of split {config.split} with text and a speaker of the vocabulary"
        raise UserError(config.tokens, found=found, remedy="give another split= or kinds=")
    order = np.random.default_rng(config.seed).permutation(len(items))[: config.num_utterances or None]
    chosen = [items[number] for number in sorted(order.tolist())]
    texts = [normalise(item.text) for item in chosen]
    readings = [
        Reading(text if config.normalises else item.text, item.speaker, seed_of(config.seed, item.id, "readback"))
        for text, item in zip(texts, chosen, strict=True)
    ]
    voice = Voice(names=(), weights=(), temperature=config.temperature, top_p=config.top_p, normalises=True)
    started = time.monotonic()
    read = read_aloud(readings, generator, vocabulary, voice, config.gate)
    seconds = time.monotonic() - started
    verdicts = [
        judge(one.spoken, row.codes, row.is_finished, config.gate) for one, row in zip(readings, read, strict=True)
    ]
    heard = tokenizer.read_tokens([row.codes for row in read])
    heard_real = tokenizer.read_tokens([item.tokens for item in chosen])
    rows = [
        {
            "id": item.id,
            "speaker": item.speaker,
            "text": text,
            "heard": said,
            "heard_in_real_tokens": real,
            "tokens": len(row.codes),
            "real_tokens": len(item.tokens),
            "verdict": verdict,
        }
        for item, text, said, real, row, verdict in zip(chosen, texts, heard, heard_real, read, verdicts, strict=True)
    ]
    write_text(run.folder / "readback.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    good = [number for number, verdict in enumerate(verdicts) if verdict == GOOD]
    num_made, num_real = sum(len(row.codes) for row in read), sum(len(item.tokens) for item in chosen)
    return {
        "utterances": len(rows),
        "readback_wer": round(word_errors(texts, heard).rate, 4),
        "readback_wer_of_good": round(word_errors([texts[n] for n in good], [heard[n] for n in good]).rate, 4),
        "readback_wer_of_real_tokens": round(word_errors(texts, heard_real).rate, 4),
        "exact_share": round(
            sum(normalise(said) == text for said, text in zip(heard, texts, strict=True)) / len(rows), 4
        ),
        "length_ratio": round(num_made / num_real, 4),
        "rejected_share": round(1 - len(good) / len(rows), 4),
        **{f"rejected_{reason}": count for reason, count in sorted(Counter(verdicts).items()) if reason != GOOD},
        "tokens": num_made,
        "tokens_per_second": round(num_made / max(seconds, 1e-9), 1),
    }


STAGE = Stage(
    name="text2token.evaluate",
    config=EvaluateConfig,
    run=run,
    summary="Read the text-to-token model's speech tokens back as text: its word error rate without a waveform.",
    inputs=lambda config: [config.model, config.tokens, config.tokenizer],
    example="model=runs/text2token_export/model tokens=runs/tokens tokenizer=runs/tokenizer/artefact out=runs/readback",
    speed_options=("batch_size", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
