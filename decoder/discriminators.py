"""NeMo's HiFi-GAN discriminators and losses (Kong et al., arXiv 2010.05646), as one more loss of the vocoder.

Multi-period and multi-scale discriminators tell true sound from made sound (least squares); the vocoder is to be taken
for true and to have the same features. Both losses are of one backward pass and one optimiser: the discriminators see
the made sound cut from its graph, and they are frozen while the vocoder is judged, so neither pulls at the other.

Shapes: B batch, S samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .config import AdversaryConfig


class Adversary(nn.Module):
    """The discriminators and their losses; always in float32."""

    def __init__(self, config: AdversaryConfig) -> None:
        super().__init__()
        from nemo.collections.tts.losses.hifigan_losses import DiscriminatorLoss, FeatureMatchingLoss, GeneratorLoss
        from nemo.collections.tts.modules.hifigan_modules import MultiPeriodDiscriminator, MultiScaleDiscriminator

        self.config = config
        kinds = (MultiPeriodDiscriminator, MultiScaleDiscriminator)
        self.discriminators = nn.ModuleList([kind(debug=config.is_small) for kind in kinds])
        self.told_apart, self.taken_for_true = DiscriminatorLoss(), GeneratorLoss()
        self.same_features = FeatureMatchingLoss()

    def forward(self, made_BS: Tensor, true_BS: Tensor) -> dict[str, Tensor]:
        """``discriminators``: the loss that only they learn by; ``adversary``: the one that only the vocoder does."""
        with torch.autocast(made_BS.device.type, enabled=False):
            made_B1S, true_B1S = made_BS.float()[:, None], true_BS.float()[:, None]
            judged = [judge(y=true_B1S, y_hat=made_B1S.detach()) for judge in self.discriminators]
            told_apart = sum_of(
                self.told_apart(disc_real_outputs=true, disc_generated_outputs=made)[0] for true, made, *_ in judged
            )
            self.discriminators.requires_grad_(False)
            judged = [judge(y=true_B1S, y_hat=made_B1S) for judge in self.discriminators]
            self.discriminators.requires_grad_(True)
            taken = sum_of(self.taken_for_true(disc_outputs=made)[0] for _, made, *_ in judged)
            features = sum_of(self.same_features(fmap_r=true, fmap_g=made) for *_, true, made in judged)
        adversary = self.config.weight * (taken + self.config.feature_weight * features)
        return {"adversary": adversary, "discriminators": told_apart}


def sum_of(terms: Any) -> Tensor:
    """The sum of scalar tensors."""
    return torch.stack(list(terms)).sum()
