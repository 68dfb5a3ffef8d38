"""Training objective of the tokenizer: ASR through the bottleneck, commitment, and tokens that are robust to noise.

loss = ctc_weight CTC + attention_weight cross-entropy + commitment ||h - sg[c]||^2 + consistency loss.

B batch, T tokens, D width, V labels, N frames, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from runtime.data_parallel import num_ranks, rank
from tokenizer.data.augment import augment
from tokenizer.data.batches import Batches, Prefetcher, SourceMixture
from tokenizer.data.config import AugmentConfig, DataConfig, TrainingNoiseConfig
from tokenizer.data.examples import AsrBatch, Examples
from tokenizer.model import SpeechTokenizer, valid
from tokenizer.quantisers.base import Quantiser


class EncodedBatch(NamedTuple):
    """The front half's output for a batch.

    Attributes:
        hidden: (B, T, D) for the ASR loss; some rows with noise, as ``noise.share`` says.
        clean: (B, T, D) without noise; None where no consistency is asked for.
        noised: (B, T, D) with noise, of all rows; None likewise.
        lengths: (B,) tokens.
    """

    hidden: Tensor
    clean: Tensor | None
    noised: Tensor | None
    lengths: Tensor


class TokenizerObjective:
    """The loss of a step; its batch and noise depend on (seed, step, rank), its other draws on torch's generator.

    Args:
        tokenizer: the one that is trained.
        sources: the examples; one, or several that are mixed by ``weights``.
        data: batch size, loader threads.
        augmentation: random changes of the mel frames.
        seed: of the order.
        noise: added to the waveform; the examples must have been opened with the same.
        weights: of the sources, in seconds of audio; default all alike.
    """

    def __init__(
        self,
        tokenizer: SpeechTokenizer,
        sources: Sequence[Examples] | Examples,
        data: DataConfig,
        augmentation: AugmentConfig,
        seed: int,
        *,
        noise: TrainingNoiseConfig | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.tokenizer, self.augmentation, self.seed = tokenizer, augmentation, seed
        self.noise = noise or TrainingNoiseConfig()
        self.sources = [sources] if isinstance(sources, Examples) else list(sources)
        self.rank, self.num_ranks = rank(), num_ranks()
        budget = int(data.batch_seconds * tokenizer.frame_rate)
        lengths = [[example.num_tokens for example in examples.items] for examples in self.sources]
        self.orders = [Batches(own, budget, seed) for own in lengths]
        self.mixture = SourceMixture(weights or [1.0] * len(self.sources))
        self.batches = Prefetcher(self._load, data.workers)

    def _load(self, step: int) -> AsrBatch:
        place = step * self.num_ranks + self.rank
        source, own_place = self.mixture.at(place)
        return self.sources[source].collate(self.orders[source].at(own_place), noise_seed=(self.seed, place))

    def loss(self, step: int) -> dict[str, Tensor]:
        """All terms of ``step``; ``loss`` is their weighted sum."""
        config, vq = self.tokenizer.config, self.tokenizer.vq
        quantise = vq.enabled and step >= vq.start_step
        if quantise and not self.tokenizer.quantiser.is_ready:
            self.start_codebook(step)
        batch = self.batches(step).to(self.tokenizer.device)
        encoded = self.encode(batch, is_consistent=self.noise.consistency > 0 and step >= vq.start_step)
        output = self.tokenizer(encoded.hidden, encoded.lengths, quantise=quantise)
        terms = self.asr_terms(output.encoded, encoded.lengths, batch)
        total = config.ctc_weight * terms.get("ctc", 0.0) + config.attention_weight * terms.get("attention", 0.0)
        if output.quantised is not None:
            terms["commitment"] = output.quantised.commitment
            total = total + vq.commitment * terms["commitment"]
        if encoded.clean is not None and encoded.noised is not None:
            quantiser = self.tokenizer.quantiser if quantise else None
            mask_BT = valid(encoded.clean, encoded.lengths)
            terms["consistency"] = consistency_loss(encoded.clean[mask_BT], encoded.noised[mask_BT], quantiser)
            total = total + self.noise.consistency * terms["consistency"]
        assert isinstance(total, Tensor)
        return terms | {"loss": total} | (self.codebook_state() if quantise else {})

    def encode(self, batch: AsrBatch, *, is_consistent: bool) -> EncodedBatch:
        """The front half over the batch, augmented; with ``is_consistent`` over both views, with the same changes."""
        front, padding_B = self.tokenizer.front, batch.padding  # stretched or not: by a frame or two
        if batch.noised is None:
            mel_BMF, lengths_B = self.augment(batch.mel, batch.lengths)
            return EncodedBatch(front(mel_BMF, lengths_B, padding_B), None, None, lengths_B)
        with_noise_B = (torch.rand(len(batch.mel)) < self.noise.share).to(batch.mel.device)[:, None, None]
        if not is_consistent:
            mel_BMF, lengths_B = self.augment(torch.where(with_noise_B, batch.noised, batch.mel), batch.lengths)
            return EncodedBatch(front(mel_BMF, lengths_B, padding_B), None, None, lengths_B)
        before = torch.get_rng_state()
        mel_BMF, lengths_B = self.augment(batch.mel, batch.lengths)
        torch.set_rng_state(before)
        noised_BMF, _ = self.augment(batch.noised, batch.lengths)
        hidden = front(torch.cat([mel_BMF, noised_BMF]), lengths_B.repeat(2), padding_B.repeat(2))
        clean, noised = hidden.chunk(2)
        return EncodedBatch(torch.where(with_noise_B, noised, clean), clean, noised, lengths_B)

    def augment(self, mel_BMF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Random changes of the mel frames, in float32."""
        with torch.autocast(mel_BMF.device.type, enabled=False):
            stride = self.tokenizer.time.frames_per_token
            return augment(mel_BMF, lengths_B, self.augmentation, self.tokenizer.log_mel.config, stride)

    def asr_terms(self, encoded_BTD: Tensor, lengths_B: Tensor, batch: AsrBatch) -> dict[str, Tensor]:
        """The loss of each head that there is."""
        terms = {}
        if self.tokenizer.head is not None:
            terms["ctc"] = ctc_loss(*self.tokenizer.ctc_log_probs(encoded_BTD, lengths_B), batch)
        if self.tokenizer.decoder is not None:
            terms["attention"] = self.tokenizer.decoder.loss(encoded_BTD, lengths_B, batch.labels, batch.label_counts)
        return terms

    def start_codebook(self, step: int) -> None:
        """K-means over the front half's output for the next batches."""
        self.tokenizer.eval()
        frames = []
        with torch.no_grad():
            for later in range(step, step + self.tokenizer.vq.kmeans_batches):
                batch = self._load(later).to(self.tokenizer.device)
                hidden_BTD = self.tokenizer.front(batch.mel, batch.lengths, batch.padding)
                frames.append(hidden_BTD[valid(hidden_BTD, batch.lengths)].float())
        self.tokenizer.train()
        self.tokenizer.quantiser.start(torch.cat(frames))

    def codebook_state(self) -> dict[str, Tensor]:
        """Perplexity of the running use of the codes, and the share of codes above the dead-code threshold."""
        share_K = self.tokenizer.quantiser.use / self.tokenizer.quantiser.use.sum()
        alive = (share_K > max(self.tokenizer.vq.restart_share, 1e-3) / len(share_K)).float().mean()
        return {"perplexity": torch.exp(-(share_K * share_K.clamp_min(1e-10).log()).sum()), "codes_alive": alive}


def consistency_loss(clean_ND: Tensor, noised_ND: Tensor, quantiser: Quantiser | None) -> Tensor:
    """Distance by which noise moves the front half's output (the clean side takes no gradient).

    The squared distance, in units of the clean frames' variance; and, with a codebook of vectors, the cross-entropy of
    the clean frame's code under a soft assignment of the noised one: the posterior of Gaussians at the codes, whose
    variance is the clean frames' own quantisation error.
    """
    if not len(clean_ND):
        return noised_ND.sum()
    with torch.autocast(clean_ND.device.type, enabled=False):
        clean_ND, noised_ND = clean_ND.detach().float(), noised_ND.float()
        variance = (clean_ND - clean_ND.mean(0)).square().mean().clamp_min(1e-8)
        distance = (noised_ND - clean_ND).square().mean() / variance
        if quantiser is None or not quantiser.has_free_codes:
            return distance
        codebook_KD = quantiser.codebook.detach()
        codes_N = quantiser.codes(clean_ND)
        error = (codebook_KD[codes_N] - clean_ND).square().sum(-1).mean().clamp_min(1e-8)
        logits_NK = (2 * noised_ND @ codebook_KD.T - codebook_KD.square().sum(-1)) / error
        return distance + torch.nn.functional.cross_entropy(logits_NK, codes_N)


def ctc_loss(log_probs_BTV: Tensor, frames_B: Tensor, batch: AsrBatch) -> Tensor:
    """Connectionist temporal classification, summed over the batch, per label."""
    losses_B = torch.nn.functional.ctc_loss(
        log_probs_BTV.transpose(0, 1),  # (T, B, V)
        batch.labels,
        frames_B,
        batch.label_counts,
        blank=0,
        reduction="none",
        zero_infinity=True,  # a shortened utterance may hold more labels than frames
    )
    return losses_B.sum() / batch.label_counts.sum()
