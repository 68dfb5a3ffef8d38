"""What the tokenizer is trained for: CTC of the transcript through the bottleneck, and the commitment loss."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from .augment import augment
from .batches import Ahead, Batches
from .config import AugmentConfig, DataConfig
from .examples import Batch, Examples
from .model import SpeechTokenizer


class TokenizerObjective:
    """The loss of a step; its batch depends on (seed, step, rank), its noise on torch's generator."""

    def __init__(
        self, tokenizer: SpeechTokenizer, examples: Examples, data: DataConfig, noise: AugmentConfig, seed: int
    ) -> None:
        self.tokenizer, self.examples, self.noise = tokenizer, examples, noise
        is_many = torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if is_many else 0
        self.ranks = torch.distributed.get_world_size() if is_many else 1
        lengths = [example.num_tokens for example in examples.items]
        self.order = Batches(lengths, int(data.batch_seconds * tokenizer.frame_rate), seed)
        self.batches = Ahead(self._load, data.workers)

    def _load(self, step: int) -> Batch:
        return self.examples.collate(self.order.at(step * self.ranks + self.rank))

    def loss(self, step: int) -> dict[str, Tensor]:
        """All terms of ``step``; ``loss`` is their weighted sum."""
        vq = self.tokenizer.vq
        quantise = vq.enabled and step >= vq.start_step
        if quantise and not self.tokenizer.quantiser.is_ready:
            self.start_codebook(step)
        batch = self.batches(step).to(self.tokenizer.device)
        with torch.autocast(batch.mel.device.type, enabled=False):
            stride = self.tokenizer.time.frames_per_token
            mel_BMF, lengths_B = augment(batch.mel, batch.lengths, self.noise, self.tokenizer.log_mel.config, stride)
        output = self.tokenizer(mel_BMF, lengths_B, quantise=quantise)
        terms = {"ctc": ctc_loss(output.log_probs, lengths_B * self.tokenizer.config.upsampling, batch)}
        terms["loss"] = terms["ctc"]
        if output.quantised is not None:
            terms["commitment"] = output.quantised.commitment
            terms["loss"] = terms["ctc"] + vq.commitment * terms["commitment"]
            terms |= self.codebook_state()
        return terms

    def start_codebook(self, step: int) -> None:
        """K-means over the front half's output for the next batches."""
        self.tokenizer.eval()
        frames = []
        with torch.no_grad():
            for later in range(step, step + self.tokenizer.vq.kmeans_batches):
                batch = self._load(later).to(self.tokenizer.device)
                hidden_BTD = self.tokenizer.front(batch.mel, batch.lengths)
                mask_BT = torch.arange(hidden_BTD.shape[1], device=batch.lengths.device) < batch.lengths[:, None]
                frames.append(hidden_BTD[mask_BT].float())
        self.tokenizer.train()
        self.tokenizer.quantiser.start(torch.cat(frames))

    def codebook_state(self) -> dict[str, Tensor]:
        """Perplexity of the running use of the codes, and the share of codes above the dead-code threshold."""
        share_K = self.tokenizer.quantiser.use / self.tokenizer.quantiser.use.sum()
        alive = (share_K > max(self.tokenizer.vq.restart_share, 1e-3) / len(share_K)).float().mean()
        return {"perplexity": torch.exp(-(share_K * share_K.clamp_min(1e-10).log()).sum()), "codes_alive": alive}


def ctc_loss(log_probs_BTV: Tensor, frames_B: Tensor, batch: Batch) -> Tensor:
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
