"""Train the vocoder: random crops of waveforms, spectral losses, and if wanted NeMo's HiFi-GAN discriminators.

python -m decoder.train_vocoder corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import check_option
from runtime.fit_config import FitConfig
from runtime.stage import Run, Stage, StageConfig

from .config import AdversaryConfig, MelConfig, VocoderConfig

if TYPE_CHECKING:
    import torch

    from .recordings import WaveformCache
    from .spectral_loss import SpectralLoss
    from .vocoder import Vocoder


@dataclass(kw_only=True)
class TrainVocoderConfig(StageConfig):
    """Options of decoder.train_vocoder.

    Attributes:
        out: run folder; the vocoder is then in <out>/artefact.
        seed: of weights and batches.
        corpus: folder with train.jsonl and heldout_sentence.jsonl, as corpus.build writes it.
        voices: names of the voices to train on; all; or answer (the voice that replies are spoken in).
        model: the vocoder's shape; ``model.lookahead=0`` is the variant that streams with the least delay.
        mel: its input; ``mel.sample_rate`` is that of its sound (recipes/vocoder_24k.yaml, vocoder_22k.yaml).
        adversary: discriminators; off unless ``adversary.weight`` is set.
        batch: waveforms per step.
        crop_frames: length of each, in mel frames.
        mel_weight: weight of the log-mel distance beside the short-time spectra.
        fit: the optimisation.
        evaluate: held-out utterances that the metrics are measured on.
        max_bad_share: share of unreadable recordings that is put up with.
    """

    corpus: str
    voices: list[str] = field(default_factory=lambda: ["all"])
    model: VocoderConfig = field(default_factory=VocoderConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    batch: int = 8
    crop_frames: int = 96
    mel_weight: float = 5.0
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(learning_rate=1.5e-3, final_learning_rate=5e-5, checkpoint_every=100)
    )
    evaluate: int = 32
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        check_option(self.batch >= 1, "batch", self.batch, "give at least 1")
        check_option(self.crop_frames >= 8, "crop_frames", self.crop_frames, "give at least 8")
        check_option(self.mel_weight >= 0, "mel_weight", self.mel_weight, "give 0 or more")
        check_option(self.evaluate >= 0, "evaluate", self.evaluate, "give 0 (no metrics) or more")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give 0 to 1")


def run(config: TrainVocoderConfig, run: Run) -> dict[str, Any]:
    """Train and save the vocoder; returns its distances on held-out speech."""
    import torch

    from corpus.audio.mel import LogMel
    from corpus.audio.mel_config import LogMelConfig
    from runtime.fit import fit

    from .discriminators import Adversary
    from .recordings import WaveformCache, read_split
    from .spectral_loss import SpectralLoss
    from .vocoder import Vocoder
    from .voices import choose_voices

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.fit.threads)
    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    spoken = read_split(config.corpus, "train", voices, config.max_bad_share)
    mel = LogMelConfig(**asdict(config.mel))
    recordings = WaveformCache(spoken, config.max_bad_share, mel)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vocoder = Vocoder(config.model, mel).to(device)
    criterion = SpectralLoss(LogMel(vocoder.mel), mel_weight=config.mel_weight).to(device)
    adversary = Adversary(config.adversary).to(device) if config.adversary.weight else None

    def loss(step: int) -> dict[str, torch.Tensor]:
        audio_BS = crops(recordings, config, step).to(device)
        made_BS = vocoder(criterion.log_mel(audio_BS))
        terms = criterion(made_BS, audio_BS)
        if adversary is not None and step >= config.adversary.start_step:
            judged = adversary(made_BS, audio_BS)
            terms |= judged | {"loss": terms["loss"] + judged["adversary"] + judged["discriminators"]}
        return terms

    fitted = vocoder if adversary is None else torch.nn.ModuleList([vocoder, adversary])
    fit(fitted, loss, config.fit, run, description="vocoder")
    vocoder.eval()
    held_out = WaveformCache(read_split(config.corpus, "heldout_sentence", voices, config.max_bad_share), mel=mel)
    metrics = evaluate(vocoder, criterion, held_out, config.evaluate)
    metrics |= {"parameters": sum(parameter.numel() for parameter in vocoder.parameters()), "voices": len(voices)}
    metrics["bad_recordings"] = len(recordings.bad.reasons)
    vocoder.save_pretrained(Path(config.out) / "artefact", metrics)
    return metrics


def crops(recordings: WaveformCache, config: TrainVocoderConfig, step: int) -> torch.Tensor:
    """The waveforms (B, S) of one step: S is ``crop_frames`` frames; shorter utterances are followed by silence."""
    import numpy as np
    import torch

    from .recordings import draw

    generator = np.random.default_rng((config.seed, step))
    length = config.crop_frames * config.mel.hop
    batch = np.zeros((config.batch, length), dtype=np.float32)
    for row, index in enumerate(draw(len(recordings), config.batch, seed=config.seed, step=step)):
        audio = recordings.audio(index)
        start = int(generator.integers(0, max(0, len(audio) - length) + 1))
        piece = audio[start : start + length]
        batch[row, : len(piece)] = piece
    return torch.from_numpy(batch)


def evaluate(vocoder: Vocoder, criterion: SpectralLoss, recordings: WaveformCache, count: int) -> dict[str, float]:
    """Mean distances between held-out speech and its copy through the vocoder, and through Griffin-Lim."""
    import torch

    from .griffin_lim import griffin_lim

    chosen = range(0, len(recordings), max(1, len(recordings) // max(1, count)))[:count]
    sums: dict[str, float] = {}
    device = next(vocoder.parameters()).device
    with torch.inference_mode():
        for index in chosen:
            true_BS = torch.from_numpy(recordings.audio(index))[None].to(device)
            mel_BMF = criterion.log_mel(true_BS)
            copies = {"": vocoder(mel_BMF), "griffin_lim.": griffin_lim(mel_BMF, criterion.log_mel)}
            for name, copy_BS in copies.items():
                terms = criterion(copy_BS, true_BS)
                for term in ("mel", "spectrum", "convergence"):
                    key = f"{name}{term}_distance"
                    sums[key] = sums.get(key, 0.0) + float(terms[term]) / len(chosen)
    return sums


STAGE = Stage(
    name="decoder.train_vocoder",
    config=TrainVocoderConfig,
    run=run,
    summary="Train the iSTFT vocoder (log-mel to waveform) on the speech of a corpus.",
    inputs=lambda config: [config.corpus],
    example="corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000",
)

if __name__ == "__main__":
    STAGE.exit()
