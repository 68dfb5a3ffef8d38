"""Stage ``tokenizer.train``: train the speech tokenizer on a corpus of speech with transcripts.

python -m tokenizer.train corpus=runs/corpus out=runs/tokenizer
python -m tokenizer.train ... 'manifests=[supervised.jsonl,pseudo.jsonl]' 'weights=[1,3]'
torchrun --nproc-per-node 8 -m tokenizer.train corpus=... out=...     (data parallel)
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.config import option
from runtime.errors import check_option
from runtime.fit_config import FitConfig
from runtime.stage import Run, Stage, StageConfig

from .config import AugmentConfig, DataConfig, QuantiserConfig, TokenizerModelConfig, TrainingNoiseConfig

if TYPE_CHECKING:
    from .data.examples import Examples


@dataclass(kw_only=True)
class TokenizerFitConfig(FitConfig):
    """`FitConfig` with the defaults of a laptop run."""

    steps: int = option(1400, at_least=1)
    learning_rate: float = option(1.2e-3, above=0)
    warmup_steps: int = option(100, at_least=0)
    checkpoint_every: int = option(100, at_least=1)


@dataclass(kw_only=True)
class TokenizerTrainConfig(StageConfig):
    """Options of ``tokenizer.train``.

    Attributes:
        corpus: a folder of ``corpus.build``, or any with NeMo manifests ``train.jsonl`` and ``heldout_sentence.jsonl``.
        manifests: what is trained on instead of ``<corpus>/train.jsonl``: NeMo manifests, e.g. one transcribed by
            people and one by a recogniser (pseudo-labelled).
        weights: of the manifests, in seconds of audio (the paper: supervised 1, pseudo-labelled 3); empty: all alike.
        init: initial weights: an artefact folder of ours; a ``.nemo`` file or a name of NeMo's (fastconformer); a
            folder or hub name of a Whisper or of the GLM-4-Voice tokenizer (whisper). Sizes must be set to fit.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.
        max_scored: utterances of each held-out manifest that are scored at the end.
        model: sizes (see tokenizer/config.py for all nested options).
        vq: the quantiser.
        augment: random changes of the input.
        noise: noise added to the input.
        data: batches.
        fit: the optimisation.
    """

    corpus: str
    manifests: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    init: str = ""
    device: str = "auto"
    max_scored: int = 300
    model: TokenizerModelConfig = field(default_factory=TokenizerModelConfig)
    vq: QuantiserConfig = field(default_factory=QuantiserConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    noise: TrainingNoiseConfig = field(default_factory=TrainingNoiseConfig)
    data: DataConfig = field(default_factory=DataConfig)
    fit: TokenizerFitConfig = field(default_factory=TokenizerFitConfig)

    def __post_init__(self) -> None:
        check_option(self.device in ("auto", "cpu", "cuda"), "device", self.device, "choose auto, cpu or cuda")
        remedy = f"give one positive number for each of the {len(self.manifests)} manifests"
        is_fitting = len(self.weights) in (0, len(self.manifests)) and all(weight > 0 for weight in self.weights)
        check_option(is_fitting, "weights", self.weights, remedy)
        check_option(self.max_scored >= 1, "max_scored", self.max_scored, "give at least 1")
        check_option(
            not self.vq.enabled or self.vq.start_step < self.fit.steps,
            "vq.start_step",
            self.vq.start_step,
            f"it must be below fit.steps ({self.fit.steps}), or there is no codebook",
        )


def run(config: TokenizerTrainConfig, run: Run) -> dict[str, Any]:
    """Train, save ``<out>/artefact`` and score it on the held-out manifests."""
    import torch

    from corpus.audio.mel import LogMel
    from corpus.manifest import read_manifest
    from runtime.data_parallel import open_device
    from runtime.fit import fit

    from .data.examples import Examples
    from .data.labels import Labels
    from .model import SpeechTokenizer
    from .scoring.transcripts import describe, score_manifest, summarise
    from .training.initialise import initialise
    from .training.objective import TokenizerObjective
    from .training.warm_start import warm_start

    device = open_device(config.device)
    torch.set_num_threads(config.fit.threads)
    torch.manual_seed(config.seed)
    files = config.manifests or [str(Path(config.corpus) / "train.jsonl")]
    manifests = [read_manifest(file, config.data.max_bad_share) for file in files]
    texts = [utterance.text for manifest in manifests for utterance in manifest.utterances]
    labels = Labels.from_texts(texts, config.model.num_labels)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    frames = config.data.batch_seconds * config.model.frame_rate * ranks
    tokenizer = SpeechTokenizer(config.model, config.vq, labels, frames_per_batch=frames)
    initialise(tokenizer.front)
    initialise(tokenizer.back)
    if config.init:
        run.say(f"tokenizer.train: weights {warm_start(tokenizer, config.init)}")
    mel = LogMel(tokenizer.log_mel.config)  # stays on the CPU, where the audio is
    sources = [
        Examples(manifest, labels, config.data, model=config.model, mel=mel, noise=config.noise)
        for manifest in manifests
    ]
    report_examples(sources, run)
    objective = TokenizerObjective(
        tokenizer.to(device),
        sources,
        config.data,
        config.augment,
        config.seed,
        noise=config.noise,
        weights=config.weights,
    )
    started, started_cpu = time.monotonic(), time.process_time()
    fit(tokenizer, objective.loss, config.fit, run, description="tokenizer")
    metrics: dict[str, Any] = describe(tokenizer) | {"fit_seconds": round(time.monotonic() - started, 1)}
    metrics["fit_cpu_seconds"] = round(time.process_time() - started_cpu, 2)  # like fit_seconds: of this call alone
    if not run.is_main:
        return metrics
    metrics |= {"utterances": sum(len(source.items) for source in sources)}
    metrics |= {"bad_records": sum(len(source.bad) for source in sources)}
    held_out = {name: Path(config.corpus) / f"{name}.jsonl" for name in ("heldout_sentence", "heldout_voice")}
    metrics |= summarise(
        {
            name: score_manifest(tokenizer, file, run, limit=config.max_scored, max_bad_share=config.data.max_bad_share)
            for name, file in held_out.items()
            if file.is_file()
        }
    )
    tokenizer.save_pretrained(run.folder / "artefact", metrics)
    return metrics


def report_examples(sources: list[Examples], run: Run) -> None:
    """Say what is trained on, and what was left out."""
    for examples in sources:
        hours = sum(example.utterance.duration for example in examples.items) / 3600
        run.say(f"tokenizer.train: {len(examples.items)} utterances, {hours:.2f} h")
        if examples.num_outside:
            run.say(f"  {examples.num_outside} left out: outside data.min_seconds .. data.max_seconds")
        if examples.bad:
            first = examples.bad[0]
            run.say(f"  {len(examples.bad)} bad records left out, the first: {first.place}: {first.reason}")


STAGE = Stage(
    name="tokenizer.train",
    config=TokenizerTrainConfig,
    run=run,
    summary="Train the speech tokenizer (ASR encoder with a VQ bottleneck) on speech with transcripts.",
    inputs=lambda config: [config.corpus, *config.manifests, config.init if Path(config.init).exists() else None],
    example="corpus=runs/corpus out=runs/tokenizer fit.steps=1000 fit.threads=2",
)

if __name__ == "__main__":
    STAGE.exit()
