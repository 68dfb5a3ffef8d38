"""Training losses: prior, spectral, adversarial and speaker classification.

Each is that of the global batch on every rank (`runtime.data_parallel`).

Shapes: B batch, F mel frames, M mel bins, S samples, E features of a clip's embedding, N voices.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus.audio.mel import LogMel
from runtime.data_parallel import gather

from .config import AdversaryConfig

RESOLUTIONS = (256, 512, 1024)  # window lengths in samples; the hop is a quarter
FLOOR = 1e-4  # of magnitudes before the logarithm: about the noise of 16-bit samples
COSINE_SCALE = 16.0  # of the speaker classification: cosines times this are the logits


def prior_loss(mean_BFM: Tensor, mel_BFM: Tensor, is_real_BF: Tensor) -> Tensor:
    """Mean squared distance between the regressed mean and the mel over the real frames.

    As in Grad-TTS (arXiv 2105.06337) and Matcha-TTS (arXiv 2309.03199).
    """
    return masked_mean((mean_BFM.float() - mel_BFM).square().mean(-1), is_real_BF)


def masked_mean(value_BF: Tensor, is_real_BF: Tensor) -> Tensor:
    """The mean of ``value_BF`` where ``is_real_BF``, over the rows of all ranks."""
    weight_BF = is_real_BF.to(value_BF.dtype)
    total, weight = gather((value_BF * weight_BF).sum()), gather(weight_BF.sum())
    return total.sum() / weight.sum().clamp(min=1.0)


def speaker_classification_loss(clips_BE: Tensor, centroids_NE: Tensor, rows_B: Tensor) -> Tensor:
    """Cross-entropy of the voices ``rows_B`` under scaled cosines between clip embeddings and voice centroids."""
    logits_BN = COSINE_SCALE * clips_BE @ F.normalize(centroids_NE.float(), dim=-1).T
    return gather(F.cross_entropy(logits_BN, rows_B)).mean()


class SpectralLoss(nn.Module):
    """Multi-resolution STFT loss (no phase) plus ``mel_weight`` times the log-mel's absolute distance.

    Spectral convergence and log-magnitude distance are those of Parallel WaveGAN, arXiv 1910.11480, section 2.2.
    """

    def __init__(self, log_mel: LogMel, *, mel_weight: float = 5.0) -> None:
        super().__init__()
        self.log_mel, self.mel_weight = log_mel, mel_weight
        for length in RESOLUTIONS:
            self.register_buffer(f"window_{length}", torch.hann_window(length), persistent=False)

    def forward(self, generated_BS: Tensor, target_BS: Tensor) -> dict[str, Tensor]:
        """The terms, all float32 scalars: ``loss``, ``mel``, ``spectrum``, ``convergence``."""
        with torch.autocast(generated_BS.device.type, enabled=False):
            generated_BS, target_BS = generated_BS.float(), target_BS.float()
            distances = [self.distance(generated_BS, target_BS, length) for length in RESOLUTIONS]
            convergence = torch.stack([pair[0] for pair in distances]).mean()
            spectrum = torch.stack([pair[1] for pair in distances]).mean()
            mel = gather((self.log_mel(generated_BS) - self.log_mel(target_BS)).abs().mean()).mean()
        loss = convergence + spectrum + self.mel_weight * mel
        return {"loss": loss, "mel": mel, "spectrum": spectrum, "convergence": convergence}

    def distance(self, generated_BS: Tensor, target_BS: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Spectral convergence and log-magnitude distance with windows of ``length`` samples."""
        window = getattr(self, f"window_{length}")
        generated, target = (magnitude(audio, window) for audio in (generated_BS, target_BS))
        convergence = global_norm(target - generated) / global_norm(target).clamp(min=FLOOR)
        return convergence, gather((generated.log() - target.log()).abs().mean()).mean()


def magnitude(audio_BS: Tensor, window: Tensor) -> Tensor:
    """Short-time magnitudes, floored (so that the gradient of silence is finite)."""
    hop = len(window) // 4
    spectrum = torch.stft(audio_BS, len(window), hop, window=window, center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FLOOR**2).sqrt()


def global_norm(value: Tensor) -> Tensor:
    """The Euclidean norm over the rows of all ranks."""
    norms = gather(torch.linalg.vector_norm(value))
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(norms)


class AdversarialLoss(nn.Module):
    """NeMo's HiFi-GAN discriminators and losses (Kong et al., arXiv 2010.05646), always in float32.

    Multi-period and multi-scale discriminators, least squares. All losses share one backward pass and optimiser: the
    discriminators see the generated audio detached, and they are frozen while the generator's loss is computed, so that
    neither side's loss reaches the other's weights.
    """

    def __init__(self, config: AdversaryConfig) -> None:
        super().__init__()
        from nemo.collections.tts.losses.hifigan_losses import DiscriminatorLoss, FeatureMatchingLoss, GeneratorLoss
        from nemo.collections.tts.modules.hifigan_modules import MultiPeriodDiscriminator, MultiScaleDiscriminator

        self.config = config
        kinds = (MultiPeriodDiscriminator, MultiScaleDiscriminator)
        self.discriminators = nn.ModuleList([kind(debug=config.is_small) for kind in kinds])
        self.discriminator_loss, self.generator_loss = DiscriminatorLoss(), GeneratorLoss()
        self.feature_matching_loss = FeatureMatchingLoss()

    def forward(self, generated_BS: Tensor, target_BS: Tensor) -> dict[str, Tensor]:
        """``discriminators``: the loss of the discriminators alone; ``adversary``: that of the generator alone."""
        with torch.autocast(generated_BS.device.type, enabled=False):
            generated_B1S, target_B1S = generated_BS.float()[:, None], target_BS.float()[:, None]
            outputs = [net(y=target_B1S, y_hat=generated_B1S.detach()) for net in self.discriminators]
            discriminators = sum_of(
                self.discriminator_loss(disc_real_outputs=real, disc_generated_outputs=generated)[0]
                for real, generated, *_ in outputs
            )
            self.discriminators.requires_grad_(False)
            outputs = [net(y=target_B1S, y_hat=generated_B1S) for net in self.discriminators]
            self.discriminators.requires_grad_(True)
            generator = sum_of(self.generator_loss(disc_outputs=generated)[0] for _, generated, *_ in outputs)
            features = sum_of(
                self.feature_matching_loss(fmap_r=real, fmap_g=generated) for *_, real, generated in outputs
            )
        adversary = self.config.weight * (generator + self.config.feature_weight * features)
        return {"adversary": gather(adversary).mean(), "discriminators": gather(discriminators).mean()}


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """The sum of scalar tensors."""
    return torch.stack(list(terms)).sum()
