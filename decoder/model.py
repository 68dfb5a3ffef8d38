"""The speech decoder: tokens -> mel mean -> mel (flow matching) -> waveform (vocoder).

Laws (tests/decoder): T tokens make exactly 1280 T samples; the same tokens make the same samples, alone or in a
batch; noise belongs to the token's position, not to the utterance's length.

Shapes: B batch, T tokens, F = 8 T mel frames, M mel bins, S = 1280 T samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from corpus.errors import UserError
from corpus.mel import LogMel, LogMelConfig
from corpus.token_time import FRAMES_PER_TOKEN

from .config import DecoderConfig, VocoderConfig
from .encoder import TokenEncoder, frames_of_tokens, prior_loss
from .flow import FlowMatching
from .folder import load_artefact, save_artefact
from .griffin_lim import griffin_lim
from .vocoder import Vocoder

Tokens = npt.NDArray[np.integer[Any]]
Audio = npt.NDArray[np.float32]
VOCODERS = ("model", "griffin_lim")
NOISE_SEED = 42


class SpeechDecoder(nn.Module):
    """Encoder, flow and vocoder in one.

    Attributes:
        sample_rate: Hz.
        tokenizer: fingerprint of the tokenizer it was trained with.
        codebook_size: number of different tokens.
        speakers: names of its voices; the first is the default.
    """

    def __init__(self, config: DecoderConfig, vocoder: Vocoder) -> None:
        super().__init__()
        self.config, self.vocoder = config, vocoder
        self.sample_rate = vocoder.mel.sample_rate
        self.tokenizer, self.codebook_size = config.tokenizer, config.codebook_size
        self.speakers = list(config.speakers)
        num_mels, num_speakers = vocoder.mel.num_mels, len(self.speakers)
        self.encoder = TokenEncoder(
            config.encoder,
            codebook_size=config.codebook_size,
            num_speakers=num_speakers,
            num_mels=num_mels,
            block=config.block_tokens,
            past=config.past_blocks,
        )
        self.flow = FlowMatching(
            config.flow,
            num_mels=num_mels,
            num_speakers=num_speakers,
            block=config.block_tokens * FRAMES_PER_TOKEN,
            past=config.past_blocks,
        )
        self.log_mel = LogMel(vocoder.mel)

    def loss(self, tokens_BT: Tensor, mel_BFM: Tensor, speakers_B: Tensor, is_real_BT: Tensor) -> dict[str, Tensor]:
        """Prior loss of the mean plus flow-matching loss; the flow does not pull at the mean."""
        is_real_BF = frames_of_tokens(is_real_BT)
        mean_BFM = self.encoder(tokens_BT, speakers_B, is_real_BT).float()
        prior = prior_loss(mean_BFM, mel_BFM, is_real_BF)
        flow = self.flow.loss(mel_BFM, mean_BFM.detach(), speakers_B, is_real_BF)
        return {"loss": prior + flow, "prior": prior, "flow": flow}

    @torch.inference_mode()
    def mel(
        self,
        tokens_BT: Tensor,
        speakers_B: Tensor,
        is_real_BT: Tensor,
        *,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """The normalised log-mel (B, F, M); 0 steps give the regressed mean."""
        steps = self.config.flow.steps if steps is None else steps
        mean_BFM = self.encoder(tokens_BT, speakers_B, is_real_BT).float()
        if steps == 0:
            return mean_BFM
        noise_BFM = position_noise(mean_BFM)
        is_real_BF = frames_of_tokens(is_real_BT)
        return self.flow.sample(noise_BFM, mean_BFM, speakers_B, is_real_BF, steps=steps, guidance=guidance)

    def decode(
        self,
        tokens: Tokens,
        speaker: str | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        vocoder: str = "model",
    ) -> Audio:
        """One utterance: (T,) tokens -> (1280 T,) samples; see `decode_batch`."""
        return self.decode_batch([tokens], [speaker], steps=steps, guidance=guidance, vocoder=vocoder)[0]

    @torch.inference_mode()
    def decode_batch(
        self,
        tokens: Sequence[Tokens],
        speakers: Sequence[str | None] | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        vocoder: str = "model",
    ) -> list[Audio]:
        """Many utterances at once, each as it would be alone.

        Args:
            tokens: (T,) integers below ``codebook_size`` each, lengths may differ.
            speakers: a voice for each; None is the first of ``self.speakers``.
            steps: Euler steps; None is the trained default, 0 the regressed mean.
            guidance: classifier-free guidance; None is the trained default.
            vocoder: ``model``, or ``griffin_lim`` (no training, rougher).

        Returns:
            float32 waveforms at ``sample_rate``, full scale 1.

        Raises:
            UserError: no tokens, a token out of range, an unknown voice or vocoder.
        """
        if vocoder not in VOCODERS:
            raise UserError("vocoder", found=repr(vocoder), remedy=f"choose one of {', '.join(VOCODERS)}")
        batch = self.batch(tokens, speakers or [None] * len(tokens))
        mel_BMF = self.mel(*batch, steps=steps, guidance=guidance).transpose(1, 2)
        lengths = [len(item) * FRAMES_PER_TOKEN for item in tokens]
        if vocoder == "griffin_lim":
            made = [griffin_lim(mel_BMF[i : i + 1, :, :length], self.log_mel)[0] for i, length in enumerate(lengths)]
        else:
            made = list(self.vocoder(mel_BMF, frames_of_tokens(batch[2])))
        hop = self.log_mel.config.hop
        return [audio[: length * hop].cpu().numpy() for audio, length in zip(made, lengths, strict=True)]

    def batch(self, tokens: Sequence[Tokens], speakers: Sequence[str | None]) -> tuple[Tensor, Tensor, Tensor]:
        """Padded tokens (B, T), speaker rows (B,) and the mask of real tokens (B, T), checked."""
        for index, item in enumerate(tokens):
            self.check_tokens(np.asarray(item), f"utterance {index + 1} of {len(tokens)}")
        longest = max(map(len, tokens), default=0)
        device = self.encoder.token_embedding.weight.device
        tokens_BT = torch.zeros(len(tokens), longest, dtype=torch.long)
        is_real_BT = torch.zeros(len(tokens), longest, dtype=torch.bool)
        for row, item in enumerate(tokens):
            tokens_BT[row, : len(item)] = torch.from_numpy(np.asarray(item).astype(np.int64))
            is_real_BT[row, : len(item)] = True
        speakers_B = torch.tensor([self.speaker_row(name) for name in speakers])
        return tokens_BT.to(device), speakers_B.to(device), is_real_BT.to(device)

    def check_tokens(self, tokens: Tokens, subject: str) -> None:
        """Raise a `UserError` unless (T,) ``tokens`` can be decoded."""
        remedy = f"give a one-dimensional array of tokens from 0 to {self.codebook_size - 1}"
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise UserError(subject, found=f"an array of shape {tokens.shape}, type {tokens.dtype}", remedy=remedy)
        if not len(tokens):
            raise UserError(subject, found="no tokens", remedy=remedy)
        if tokens.min() < 0 or tokens.max() >= self.codebook_size:
            found = f"tokens from {tokens.min()} to {tokens.max()} for a codebook of {self.codebook_size}"
            raise UserError(subject, found=found, remedy="use the tokenizer that the decoder was trained with")

    def speaker_row(self, name: str | None) -> int:
        """The embedding row of a voice."""
        if name is None:
            return 0
        if name not in self.speakers:
            known = ", ".join(self.speakers[:10]) + (", ..." if len(self.speakers) > 10 else "")
            raise UserError("speaker", found=f"{name!r} is no voice of this decoder", remedy=f"choose one of: {known}")
        return self.speakers.index(name)

    def save_pretrained(self, folder: Path | str, metrics: Mapping[str, Any] | None = None) -> None:
        """Write the artefact folder, the vocoder inside."""
        size = sum(parameter.numel() for parameter in self.parameters())
        facts = {
            "parameters": f"{size:,} (of which the vocoder {sum(p.numel() for p in self.vocoder.parameters()):,})",
            "input": f"12.5 Hz tokens of tokenizer {self.tokenizer}, codebook of {self.codebook_size}",
            "voices": ", ".join(self.speakers),
            "sampling": f"{self.config.flow.steps} Euler steps, guidance {self.config.flow.guidance:g}",
        }
        config = {"decoder": self.config, "vocoder": self.vocoder.config, "mel": self.vocoder.mel}
        save_artefact(folder, kind="decoder", config=config, module=self, metrics=metrics or {}, facts=facts)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> SpeechDecoder:
        """Load an artefact folder, in evaluation mode."""
        artefact = load_artefact(folder, kind="decoder")
        vocoder = Vocoder(artefact.part("vocoder", VocoderConfig), artefact.part("mel", LogMelConfig))
        decoder = cls(artefact.part("decoder", DecoderConfig), vocoder)
        artefact.load_weights(decoder)
        return decoder.eval()


def position_noise(like_BFM: Tensor) -> Tensor:
    """Standard normal noise of the shape of ``like_BFM``, drawn in order of time, the same for each utterance."""
    generator = np.random.default_rng(NOISE_SEED)
    noise_FM = torch.from_numpy(generator.standard_normal(like_BFM.shape[1:], dtype=np.float32))
    return noise_FM.to(like_BFM).expand_as(like_BFM)
