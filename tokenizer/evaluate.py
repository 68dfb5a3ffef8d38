"""Stage ``tokenizer.evaluate``: what the tokens still say, how steady they are under noise, how fast they are made.

    python -m tokenizer.evaluate tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation

Word error rates are of the tokenizer's own back half, with the quantiser and with it bypassed (same weights). Under
noise the tokens are compared with those of the clean audio (`tokenizer.scoring.robustness`). What is scored is kept in
``<out>/scores.jsonl``, so that a killed run goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from corpus.audio.noise import NOISE_KINDS
from runtime.errors import UserError, check_option
from runtime.stage import Headline, Run, Stage, StageConfig


@dataclass(kw_only=True)
class EvaluationNoiseConfig:
    """Under which noise the tokens are looked at.

    Attributes:
        snrs: signal-to-noise ratios in dB; none skips the noise.
        kinds: white, pink (3 dB less an octave), babble (other utterances of the split over one another).
        max_utterances: of the first split, the first so many.
    """

    snrs: list[float] = field(default_factory=lambda: [20.0, 10.0, 5.0])
    kinds: list[str] = field(default_factory=lambda: list(NOISE_KINDS))
    max_utterances: int = 64

    def __post_init__(self) -> None:
        is_known = len(self.kinds) > 0 and set(self.kinds) <= set(NOISE_KINDS)
        check_option(is_known, "noise.kinds", self.kinds, f"choose from {', '.join(NOISE_KINDS)}")
        remedy = "give at least 2 (babble is made of the other utterances)"
        check_option(self.max_utterances >= 2, "noise.max_utterances", self.max_utterances, remedy)


@dataclass(kw_only=True)
class TokenizerEvaluateConfig(StageConfig):
    """Options of ``tokenizer.evaluate``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
        corpus: a folder of ``corpus.build``, or any with NeMo manifests.
        splits: its manifests to score, without ``.jsonl``; those that do not exist are left out.
        max_utterances: the first so many of each manifest.
        num_examples: transcripts of each split kept in the report.
        max_bad_share: share of bad records that is put up with.
        noise: steadiness under noise.
        stream_utterances: how many of the first split are streamed for the latency; 0 skips it.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
    """

    tokenizer: str
    corpus: str
    splits: list[str] = field(default_factory=lambda: ["heldout_sentence", "heldout_voice", "heldout_words"])
    max_utterances: int = 1000
    num_examples: int = 8
    max_bad_share: float = 0.01
    noise: EvaluationNoiseConfig = field(default_factory=EvaluationNoiseConfig)
    stream_utterances: int = 8
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")
        check_option(self.max_utterances >= 1, "max_utterances", self.max_utterances, "give at least 1")
        check_option(self.num_examples >= 0, "num_examples", self.num_examples, "give 0 or more")
        check_option(self.stream_utterances >= 0, "stream_utterances", self.stream_utterances, "give 0 or more")
        check_option(self.threads >= 1, "threads", self.threads, "give at least 1")


def run(config: TokenizerEvaluateConfig, run: Run) -> dict[str, Any]:
    """Score each split; write ``report.json`` (per voice, histogram of the codes, example transcripts)."""
    import torch

    from corpus.audio.files import read_audio
    from runtime.artefact import write_json
    from runtime.journal import Journal

    from .model import SpeechTokenizer
    from .scoring.latency import stream_latency
    from .scoring.robustness import NoiseScore, noise_metrics, score_under_noise
    from .scoring.table import score_table
    from .scoring.transcripts import describe, score_manifest, summarise

    torch.set_num_threads(config.threads)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    files = {name: Path(config.corpus) / f"{name}.jsonl" for name in config.splits}
    files = {name: file for name, file in files.items() if file.is_file()}
    if not files:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    noise: list[NoiseScore] = []
    options = config.noise
    with Journal(run.folder / "scores.jsonl") as journal:
        score = partial(
            score_manifest, limit=config.max_utterances, max_bad_share=config.max_bad_share, journal=journal
        )
        scores = {name: score(tokenizer, file, run) for name, file in files.items()}
        metrics = describe(tokenizer) | summarise(scores)
        first = next(iter(scores.values()))
        if tokenizer.has_codebook and options.snrs:
            limits = {"limit": options.max_utterances, "seed": config.seed}
            noise = score_under_noise(tokenizer, first, run, journal, options.kinds, options.snrs, **limits)
            metrics |= noise_metrics(noise)
    if tokenizer.has_codebook and config.stream_utterances:
        few = first.utterances[: config.stream_utterances]
        metrics |= stream_latency(tokenizer, [read_audio(said.audio, tokenizer.sample_rate) for said in few])
    report = {
        "metrics": metrics,
        "fingerprint": tokenizer.fingerprint,
        "splits": {name: split.report(config.num_examples) for name, split in scores.items()},
    }
    write_json(run.folder / "report.json", report)
    for line in score_table(metrics, scores, noise):
        run.say(line)
    return metrics


STAGE = Stage(
    name="tokenizer.evaluate",
    config=TokenizerEvaluateConfig,
    run=run,
    summary="Score a speech tokenizer: WER with and without VQ, steadiness under noise, codebook use, speed, latency.",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation",
    headlines=(Headline("wer_with_vq", "tokenizer WER through 12.5 Hz tokens, unseen sentences"),),
)

if __name__ == "__main__":
    STAGE.exit()
