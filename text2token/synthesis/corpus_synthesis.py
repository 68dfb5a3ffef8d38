"""Synthesis of a text corpus: the bulk job over its units, the checks of its results, their sums."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lm.data.vocabulary import Vocabulary
from runtime.stage import Run, input_fingerprint
from text2token.transcript_check import TranscriptCheck

from .bulk_spans import check_rejected, speak_texts
from .config import SynthesizeConfig
from .plan import open_job
from .unit_synthesis import SynthesisWork

REMEDY = "train the model longer, widen the bounds gate.* and readback_wer, or raise max_rejected_share"


def synthesise_corpus(config: SynthesizeConfig, run: Run) -> dict[str, Any]:
    """Finish the units that are not done; returns the metrics of all units together."""
    vocabulary = Vocabulary.from_pretrained(config.model)
    shares = config.shares_of(config.speakers, vocabulary)  # mistakes: before the job
    run.say(f"text2token.synthesize: {shares}")
    if config.readback:
        TranscriptCheck(config.readback, config.readback_wer, vocabulary)
    model = Path(config.model).absolute()  # workers may start elsewhere
    readback = config.readback and str(Path(config.readback).absolute())
    work = SynthesisWork(
        config=dataclasses.replace(config, model=str(model), readback=readback),
        model_fingerprint=input_fingerprint(model),
    )
    totals = speak_texts(open_job(run.folder, config), work, config, run)
    check_rejected(totals, config, config.model, REMEDY)
    total, made = totals.counts, totals.made
    return totals.metrics() | {
        "tokens": total.tokens,
        "tokens_per_word": round(total.tokens / max(total.spoken_words, 1), 3),
        "tokens_per_second": round(made.tokens / totals.seconds if made.tokens else 0.0, 1),
    }
