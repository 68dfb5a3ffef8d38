"""Speech encoder made of a tokenizer's artefact: its vectors before the quantiser, or those of the back half.

| layer | vectors of audio | vectors of codes | streams |
|---|---|---|---|
| ``front`` | front half | codebook | exactly (but for ``model.released_rules``) |
| ``back`` | back half over the front half, without quantising | back half over the codebook | no: sees the whole clip |

So a corpus of codes serves an encoder of vectors without any waveform.

C clips, F frames, M values of a frame, T positions (tokens), D = E width, K codes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from corpus.audio.files import Samples
from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from runtime.artefact import artefact_folder, identity
from tokenizer.model import SpeechTokenizer
from tokenizer.pretrained import state_digest
from tokenizer.streaming import VectorStream

from .base import SpeechEncoder, SpeechFrontEnd, SpeechVectors


class TokenizerFrontEnd(SpeechFrontEnd):
    """The tokenizer's log-mel of audio that is padded to whole tokens.

    By `model.released_rules` the encoder has to know the frames after the audio: a last value of each frame is then 1
    where it begins within the audio, and 0 in padding.

    Args:
        mel: options of the log-mel.
        time: frame-rate arithmetic.
        marks_padding: whether frames have that last value.
    """

    def __init__(self, mel: LogMelConfig, time: FrameRate, *, marks_padding: bool = False) -> None:
        self.log_mel, self.time, self.marks_padding = LogMel(mel), time, marks_padding
        self.positions_per_second = self.time.frame_rate
        self.frame_width = self.log_mel.config.num_mels + self.marks_padding

    def num_positions(self, num_samples: int) -> int:
        """The tokens that the samples fill, the last one perhaps in part."""
        return self.time.num_tokens(num_samples)

    def mel(self, samples: Samples) -> Tensor:
        """(S,) samples to (F, M), the frames of whole tokens."""
        if not len(samples):
            return torch.zeros(0, self.frame_width)
        num_frames = self.time.num_tokens(len(samples)) * self.time.frames_per_token
        with torch.no_grad():
            frames_FM = self.log_mel.of_clip(samples, num_frames).T
        if self.marks_padding:
            marks_F1 = torch.ones(len(frames_FM), 1)
            marks_F1[len(frames_FM) - self.time.num_padding_frames(len(samples)) :] = 0
            frames_FM = torch.cat([frames_FM, marks_F1], dim=1)
        return frames_FM.contiguous()


class TokenizerEncoder(SpeechEncoder):
    """Front half, and back half for the layer ``back``.

    Args:
        tokenizer: its parts are taken, not copied.
        layer: ``front`` or ``back``.

    Buffers:
        codebook: (K, D) float32; None of a tokenizer that was trained without VQ.
    """

    codebook: Tensor | None

    def __init__(self, tokenizer: SpeechTokenizer, layer: str) -> None:
        super().__init__()
        self.layer, self.width = layer, tokenizer.config.width
        self.front_end: TokenizerFrontEnd = TokenizerFrontEnd(
            tokenizer.log_mel.config, tokenizer.time, marks_padding=tokenizer.config.released_rules
        )
        self.front = tokenizer.front
        self.back = tokenizer.back if layer == "back" else None
        self.is_exact = not tokenizer.log_mel.config.dynamic_range
        codebook = tokenizer.quantiser.codebook.detach().clone() if tokenizer.has_codebook else None
        self.register_buffer("codebook", codebook)
        if codebook is not None:
            self.codebook_size, self.codes_fingerprint = len(codebook), tokenizer.fingerprint
        settings = [layer, identity(tokenizer.log_mel.config), identity(tokenizer.config)]
        self.fingerprint = state_digest(settings, self.state_dict())

    def forward(self, mel_CFM: Tensor, frames_C: Tensor) -> SpeechVectors:
        """(C, F, M) frames to vectors, one for each (begun) ``stride`` of frames."""
        stride, padding_C = self.front.stride, None
        mel_CFM = nn.functional.pad(mel_CFM, (0, 0, 0, -mel_CFM.shape[1] % stride))
        if self.front_end.marks_padding:
            is_real_CF = torch.arange(mel_CFM.shape[1], device=frames_C.device) < frames_C[:, None]
            padding_C = (is_real_CF & (mel_CFM[..., -1] == 0)).sum(1)
            mel_CFM = mel_CFM[..., :-1]
        positions_C = (frames_C + stride - 1) // stride
        mel_CMF = mel_CFM.to(next(self.front.parameters()).dtype).transpose(1, 2)
        return self._vectors(self.front(mel_CMF, positions_C, padding_C), positions_C)

    def from_codes(self, codes_CT: Tensor, positions_C: Tensor) -> SpeechVectors:
        """Codebook vectors of codes (C, T), through the back half for that layer."""
        if self.codebook is None:
            return super().from_codes(codes_CT, positions_C)
        return self._vectors(self.codebook[codes_CT], positions_C)

    def _vectors(self, hidden_CTD: Tensor, positions_C: Tensor) -> SpeechVectors:
        if self.back is not None:
            hidden_CTD = self.back(hidden_CTD, positions_C)
        return SpeechVectors.masked(hidden_CTD, positions_C)

    @property
    def is_streaming(self) -> bool:
        """Whether the front half's vectors are given, and its mel streams exactly."""
        return self.back is None and self.is_exact

    def open_stream(self) -> VectorStream:
        """A stream of audio to the front half's vectors."""
        if not self.is_streaming:
            return super().open_stream()
        log_mel = LogMel(self.front_end.log_mel.config).to(next(self.front.parameters()).device)
        return VectorStream(log_mel, self.front, self.front_end.time, self.width)


def load_tokenizer_encoder(source: Path, layer: str) -> TokenizerEncoder:
    """The encoder of an artefact folder, or of the run folder of ``tokenizer.train``.

    Raises:
        UserError: a file is missing or does not belong.
    """
    return TokenizerEncoder(SpeechTokenizer.from_pretrained(artefact_folder(source)), layer)
