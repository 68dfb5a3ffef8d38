"""Speech encoder made of a Whisper: clips of any length, without padding to 30 s (arXiv 2212.04356).

| layer | vectors |
|---|---|
| ``last`` | Whisper's own, 50 a second |
| ``pooled`` | means of two neighbours before the last layer norm, 25 a second, as Qwen2-Audio has (arXiv 2407.10759) |

A vector equals that of transformers' ``Qwen2AudioEncoder`` on the clip padded to 30 s under its mask: padding is not
attended to, and its convolutions see the same frames, for the mel frame after a clip's end (of zeros, not a zero) is
one of its frames here, too. transformers' ``WhisperEncoder`` attends to padding: its vectors are others. Audio above
30 s is encoded window by window, each by itself.

C clips, S samples, F mel frames, M mel bands, P positions at 50 Hz, T positions, D = E width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corpus.audio.files import Samples
from corpus.audio.frame_rate import SAMPLES_PER_FRAME
from corpus.audio.mel import LogMel
from runtime.artefact import identity, read_json
from runtime.errors import UserError
from tokenizer.backbones.whisper import fold, is_real, whisper_mel_config
from tokenizer.backbones.whisper_layers import EncoderLayer, sinusoids
from tokenizer.backbones.whisper_weights import encoder_weights, load, read_weights
from tokenizer.pretrained import state_digest

from .base import SpeechEncoder, SpeechFrontEnd, SpeechVectors

SAMPLES_PER_POSITION = 2 * SAMPLES_PER_FRAME


class WhisperFrontEnd(SpeechFrontEnd):
    """Whisper's log-mel, by windows.

    P positions of a window are 2 P frames, and one more that the last convolution sees, where the window is not full.

    Args:
        num_mels: M.
        window: positions of a window.
        pooling: positions that are averaged to one vector.
    """

    def __init__(self, num_mels: int, window: int, pooling: int) -> None:
        self.window, self.pooling, self.frame_width = window, pooling, num_mels
        self.positions_per_second = 50.0 / pooling
        self.log_mel = LogMel(whisper_mel_config(num_mels, window * SAMPLES_PER_POSITION))

    def num_positions(self, num_samples: int) -> int:
        """Vectors: 20 ms each, the last one perhaps in part; pooled ones are of two whole positions."""
        full, rest = divmod(-(-num_samples // SAMPLES_PER_POSITION), self.window)
        return full * (self.window // self.pooling) + rest // self.pooling

    def mel(self, samples: Samples) -> Tensor:
        """(S,) samples to (F, M)."""
        positions = -(-len(samples) // SAMPLES_PER_POSITION)
        is_open = positions % self.window > 0
        if not positions:
            return torch.zeros(0, self.frame_width)
        with torch.no_grad():  # an open window has room for one more position
            frames_FM = self.log_mel.of_clip(samples, 2 * (positions + is_open)).T
        return frames_FM[: 2 * positions + is_open].contiguous()


class WhisperEncoder(SpeechEncoder):
    """Whisper's encoder over clips of any length.

    Args:
        config: ``config.json`` of the checkpoint.
        layer: ``last`` or ``pooled``.

    Buffers:
        embed_positions: (P, D) fixed positions of a window.
    """

    embed_positions: Tensor

    def __init__(self, config: dict[str, Any], layer: str) -> None:
        super().__init__()
        self.width, window, num_mels = config["d_model"], config["max_source_positions"], config["num_mel_bins"]
        self.layer, self.pooling, self.window = layer, 2 if layer == "pooled" else 1, window
        heads, feed_forward = config["encoder_attention_heads"], config["encoder_ffn_dim"] // self.width
        self.front_end: WhisperFrontEnd = WhisperFrontEnd(num_mels, window, self.pooling)
        self.conv1 = nn.Conv1d(num_mels, self.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(self.width, self.width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("embed_positions", sinusoids(window, self.width))
        self.layers = nn.ModuleList(
            EncoderLayer(self.width, heads, feed_forward, config.get("dropout", 0.0))
            for _ in range(config["encoder_layers"])
        )
        self.layer_norm = nn.LayerNorm(self.width)

    def forward(self, mel_CFM: Tensor, frames_C: Tensor) -> SpeechVectors:
        """(C, F, M) frames to vectors, one for each two (``last``) or four of them."""
        folds = fold(mel_CFM.to(self.conv1.weight.dtype), frames_C, 2 * self.window)
        counts = folds.lengths // 2  # (C W,)
        x_CDF = nn.functional.gelu(self.conv1(folds.rows.transpose(1, 2)))
        x_CPD = nn.functional.gelu(self.conv2(x_CDF)).transpose(1, 2)
        x_CPD = x_CPD + self.embed_positions[: x_CPD.shape[1]]
        mask = is_real(x_CPD.shape[1], counts)
        for layer in self.layers:
            x_CPD = layer(x_CPD, mask)
        if self.pooling > 1:
            x_CPD = nn.functional.pad(x_CPD, (0, 0, 0, max(0, self.pooling - x_CPD.shape[1])))
            whole = x_CPD.shape[1] // self.pooling
            x_CPD = x_CPD[:, : whole * self.pooling].unflatten(1, (whole, self.pooling)).mean(2)
            counts = counts // self.pooling
        x_CTD = self.layer_norm(x_CPD)
        vectors_CTD = folds.unfold(x_CTD, folds.windows * x_CTD.shape[1])
        return SpeechVectors.masked(vectors_CTD, counts.unflatten(0, (-1, folds.windows)).sum(1))


def load_whisper_encoder(source: Path, layer: str) -> WhisperEncoder:
    """The encoder of a folder of transformers' Whisper (or of Qwen2-Audio's encoder alone).

    Raises:
        UserError: weights are missing or of other shapes than config.json says, or an option that Whisper has not.
    """
    config = read_json(source / "config.json")
    for option, expected in (("activation_function", "gelu"), ("scale_embedding", False)):
        if (found := config.get(option, expected)) != expected:
            remedy = f"give a Whisper of {option}={expected}"
            raise UserError(str(source / "config.json"), found=f"{option} is {found}", remedy=remedy)
    try:
        encoder = WhisperEncoder(config, layer)
    except KeyError as error:
        found = f"no {error.args[0]}"
        raise UserError(str(source / "config.json"), found=found, remedy="restore the folder") from error
    weights = encoder_weights(read_weights(str(source)))
    names = ["conv1", "conv2", "layer_norm", *(f"layers.{number}" for number in range(len(encoder.layers)))]
    for name in names:
        load(encoder.get_submodule(name), weights, name)
    positions_PD = weights.get("embed_positions.weight")
    if positions_PD is not None:
        encoder.embed_positions.copy_(positions_PD)
    settings = [layer, identity(encoder.front_end.log_mel.config), config["encoder_attention_heads"]]
    encoder.fingerprint = state_digest(settings, encoder.state_dict())
    return encoder
