"""Speaker conditioning: the row of a tag seen in training, or a reference clip through a small speaker encoder.

The speaker encoder (a convolution stack over the mel, mean and standard deviation over time, one vector of unit
length) is trained jointly with the decoder, and to classify the voice of its clip among those of the training data.

Shapes: B batch, F mel frames, M mel bins, D width, E features of a clip's embedding, N voices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus.audio.files import read_audio
from corpus.audio.mel import LogMel
from runtime.errors import UserError
from runtime.streaming import per_stream

from .config import SpeakerConfig
from .losses import speaker_classification_loss

FROM_CLIP = -1  # in `Speakers.rows`: the voice is that of the clip
CLIP_SECONDS = 10.0  # of a reference clip are used


class Speakers(NamedTuple):
    """The voice of each example: a tag's row (B,), or `FROM_CLIP` and then the embedding (B, E) of a clip."""

    rows: Tensor
    clips: Tensor | None = None

    def twice(self) -> Speakers:
        """The batch, then the batch again (for guidance)."""
        clips_BE = None if self.clips is None else torch.cat([self.clips, self.clips])
        return Speakers(torch.cat([self.rows, self.rows]), clips_BE)


def stack_speakers(parts: Sequence[Speakers]) -> Speakers:
    """The voices of streams as those of one batch; all of them have clips, or none."""
    clips = [part.clips for part in parts if part.clips is not None]
    return Speakers(torch.cat([part.rows for part in parts]), torch.cat(clips) if clips else None)


class Clips(NamedTuple):
    """Reference clips: mel (B, F, M), mask of real frames (B, F), which examples (B,) take their voice from them."""

    mel: Tensor
    is_real: Tensor
    is_used: Tensor

    def to(self, device: torch.device) -> Clips:
        """The same on ``device``."""
        return Clips(*(part.to(device) for part in self))

    def rows(self, chosen: slice) -> Clips:
        """Those of the examples ``chosen``."""
        return Clips(*(part[chosen] for part in self))


class SpeakerEmbedding(nn.Embedding):
    """The features (B, D) of a voice, by tag or clip.

    Args:
        rows: tags.
        width: D.
        clip_width: E; 0 knows tags only.
    """

    def __init__(self, rows: int, width: int, *, clip_width: int) -> None:
        super().__init__(rows, width)
        self.from_clip = nn.Linear(clip_width, width) if clip_width else None

    def voices(self, speakers: Speakers, streams: int = 1) -> Tensor:
        """(B, D); ``streams`` of them make a batch of streams (`runtime.streaming`)."""
        known_BD = self(speakers.rows.clamp(min=0))
        if self.from_clip is None or speakers.clips is None:
            return known_BD
        from_clip_BD = per_stream(self.from_clip, speakers.clips, streams)
        return torch.where((speakers.rows == FROM_CLIP)[:, None], from_clip_BD, known_BD)


class SpeakerEncoder(nn.Module):
    """A clip's mel (B, F, M) -> an embedding (B, E) of unit length."""

    def __init__(self, config: SpeakerConfig, *, num_mels: int, num_speakers: int) -> None:
        super().__init__()
        width = config.width
        self.input = nn.Conv1d(num_mels, width, 5, padding=2)
        self.layers = nn.ModuleList(
            [nn.Conv1d(width, width, 3, padding=2**depth, dilation=2**depth) for depth in range(config.layers)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(config.layers)])
        self.output = nn.Linear(2 * width, config.embedding)
        self.names = nn.Linear(config.embedding, num_speakers, bias=False)

    def forward(self, mel_BFM: Tensor, is_real_BF: Tensor) -> Tensor:
        """Embeddings (B, E); padding is False in ``is_real_BF``."""
        real_BF1 = is_real_BF[..., None].to(mel_BFM.dtype)
        x_BFD = self.input((mel_BFM * real_BF1).transpose(1, 2)).transpose(1, 2)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y_BDF = layer((norm(x_BFD) * real_BF1).transpose(1, 2))
            x_BFD = x_BFD + F.gelu(y_BDF.transpose(1, 2))
        count_B1 = real_BF1.sum(1).clamp(min=1.0)
        mean_BD = (x_BFD * real_BF1).sum(1) / count_B1
        variance_BD = ((x_BFD - mean_BD[:, None]).square() * real_BF1).sum(1) / count_B1
        features_BE = self.output(torch.cat([mean_BD, (variance_BD + 1e-6).sqrt()], dim=-1))
        return F.normalize(features_BE.float(), dim=-1)

    def classification_loss(self, clips_BE: Tensor, rows_B: Tensor) -> Tensor:
        """Cross-entropy of the voices ``rows_B`` (B,) given the clips' embeddings (B, E)."""
        return speaker_classification_loss(clips_BE, self.names.weight, rows_B)


@torch.inference_mode()
def embed_speaker(clip: Path, encoder: SpeakerEncoder, log_mel: LogMel) -> Tensor:
    """The embedding (E,) of the voice in an audio file (its first 10 s).

    Raises:
        UserError: the file is missing, no audio, holds NaN, or is silent.
    """
    rate, hop = log_mel.config.sample_rate, log_mel.config.hop
    samples = read_audio(clip, rate)[: int(CLIP_SECONDS * rate)]
    if not np.abs(samples).max(initial=0.0) > 0.0:
        raise UserError(str(clip), found="only silence", remedy="give a recording of a few seconds of one voice")
    audio_1S = torch.from_numpy(np.pad(samples, (0, -len(samples) % hop)))[None].to(log_mel.hann.device)
    mel_1FM = log_mel(audio_1S).transpose(1, 2)
    embedding_E: Tensor = encoder(mel_1FM, torch.ones_like(mel_1FM[:, :, 0], dtype=torch.bool))[0]
    return embedding_E
