"""Stage ``tokenizer.evaluate``: what the tokens of a tokenizer still say, and how it uses its codebook.

    python -m tokenizer.evaluate tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation

Word error rates are of the tokenizer's own back half, with the quantiser and with it bypassed (same weights).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig


@dataclass(kw_only=True)
class EvaluateConfig(StageConfig):
    """Options of ``tokenizer.evaluate``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
        corpus: a folder of ``corpus.build``, or any with NeMo manifests.
        splits: its manifests to score, without ``.jsonl``; those that do not exist are left out.
        max_utterances: the first so many of each manifest.
        num_examples: transcripts of each split kept in the report.
        max_bad_share: share of bad records that is put up with.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
    """

    tokenizer: str
    corpus: str
    splits: list[str] = field(default_factory=lambda: ["heldout_sentence", "heldout_voice", "heldout_words"])
    max_utterances: int = 1000
    num_examples: int = 8
    max_bad_share: float = 0.01
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")
        check_option(self.max_utterances >= 1, "max_utterances", self.max_utterances, "give at least 1")
        check_option(self.num_examples >= 0, "num_examples", self.num_examples, "give 0 or more")
        check_option(self.threads >= 1, "threads", self.threads, "give at least 1")


def run(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Score each split; write ``report.json`` (per voice, histogram of the codes, example transcripts)."""
    import torch

    from corpus.artefact import write_json

    from .model import SpeechTokenizer
    from .splits import describe, score_manifest, summarise

    torch.set_num_threads(config.threads)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    files = {name: Path(config.corpus) / f"{name}.jsonl" for name in config.splits}
    files = {name: file for name, file in files.items() if file.is_file()}
    if not files:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    scores = {
        name: score_manifest(tokenizer, file, run, limit=config.max_utterances, max_bad_share=config.max_bad_share)
        for name, file in files.items()
    }
    metrics = describe(tokenizer) | summarise(scores)
    report = {
        "metrics": metrics,
        "fingerprint": tokenizer.fingerprint,
        "splits": {name: score.report(config.num_examples) for name, score in scores.items()},
    }
    write_json(run.folder / "report.json", report)
    return metrics


STAGE = Stage(
    name="tokenizer.evaluate",
    config=EvaluateConfig,
    run=run,
    summary="Score a speech tokenizer: word error rate with and without VQ, codebook use, speed.",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation",
)

if __name__ == "__main__":
    STAGE.exit()
