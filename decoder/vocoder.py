"""The vocoder: a ConvNeXt stack at the mel's frame rate and an inverse Fourier transform, as in Vocos.

Siuzdak, arXiv 2306.00814. All layers run at 100 Hz; only the last, fixed step makes samples, which is why it is two
orders of magnitude faster than real time on one CPU core. The window of frame f lies symmetrically around the frame's
own samples, as the mel's does (`corpus.mel`), so F frames make exactly F * hop samples::

    samples    160f - 240 ........ 160f ........ 160f + 160 ........ 160f + 400        n_fft = 640
               |---- 240 before ----|-- own 160 --|----- 240 after -----|

The overlapping windows are divided by the constant that their squares sum to, also at the two ends (which fade over
15 ms), so that the beginning of an utterance can be made before its end is known.

Shapes: B batch, F mel frames, M mel bins, D width, N = n_fft / 2 + 1 frequency bins, S = F * hop samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus.errors import check_option
from corpus.mel import LogMelConfig

from .config import VocoderConfig
from .folder import load_artefact, save_artefact
from .overlap import overlap_add

MAX_MAGNITUDE = 100.0


class Vocoder(nn.Module):
    """Normalised log-mel (B, M, F) -> waveform (B, F * hop)."""

    def __init__(self, config: VocoderConfig, mel: LogMelConfig | None = None) -> None:
        super().__init__()
        self.config, self.mel = config, mel or LogMelConfig()
        width = config.width
        self.input = nn.Conv1d(self.mel.num_mels, width, config.kernel, padding=config.kernel // 2)
        self.input_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList([ConvNeXtBlock(config) for _ in range(config.layers)])
        self.output_norm = nn.LayerNorm(width)
        self.head = InverseFourierHead(width, n_fft=config.n_fft, hop=self.mel.hop)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02 if module is not self.input else 0.05)
                nn.init.zeros_(module.bias)

    def forward(self, mel_BMF: Tensor, is_real_BF: Tensor | None = None) -> Tensor:
        """The waveform (B, F * hop); padded frames (False in ``is_real_BF``) count as the silence past the end."""
        real_B1F = torch.ones_like(mel_BMF[:, :1]) if is_real_BF is None else is_real_BF[:, None].to(mel_BMF.dtype)
        x_BFD = self.input_norm(self.input(mel_BMF * real_B1F).transpose(1, 2))
        for block in self.blocks:
            x_BFD = block(x_BFD, real_B1F)
        return self.head(self.output_norm(x_BFD), real_B1F)

    def save_pretrained(self, folder: Path | str, metrics: Mapping[str, Any] | None = None) -> None:
        """Write the artefact folder (config.yaml, model.safetensors, metrics.json, README.md)."""
        size = sum(parameter.numel() for parameter in self.parameters())
        facts = {"parameters": f"{size:,}", "input": f"{self.mel.num_mels}-bin log-mel, hop {self.mel.hop}"}
        config = {"vocoder": self.config, "mel": self.mel}
        save_artefact(folder, kind="vocoder", config=config, module=self, metrics=metrics or {}, facts=facts)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Vocoder:
        """Load an artefact folder, in evaluation mode."""
        artefact = load_artefact(folder, kind="vocoder")
        vocoder = cls(artefact.part("vocoder", VocoderConfig), artefact.part("mel", LogMelConfig))
        artefact.load_weights(vocoder)
        return vocoder.eval()


class ConvNeXtBlock(nn.Module):
    """Depth-wise convolution over time, layer norm, a two-layer network for each frame, all beside a residual path."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.padding = (config.kernel - 1 - config.lookahead, config.lookahead)
        self.convolution = nn.Conv1d(config.width, config.width, config.kernel, groups=config.width)
        self.norm = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, config.expansion * config.width)
        self.narrow = nn.Linear(config.expansion * config.width, config.width)
        self.scale = nn.Parameter(torch.full((config.width,), 1.0 / config.layers))

    def forward(self, x_BFD: Tensor, real_B1F: Tensor) -> Tensor:
        """(B, F, D) -> (B, F, D)."""
        x_BDF = F.pad(x_BFD.transpose(1, 2) * real_B1F, self.padding)
        y_BFD = self.norm(self.convolution(x_BDF).transpose(1, 2))
        return x_BFD + self.scale * self.narrow(F.gelu(self.widen(y_BFD)))


class InverseFourierHead(nn.Module):
    """Log-magnitude and phase of each frame, then inverse Fourier transform and overlap-add.

    Buffers:
        window: (n_fft,) Hann window, already divided by the sum of the overlapping squared windows.
    """

    window: Tensor

    def __init__(self, width: int, *, n_fft: int, hop: int) -> None:
        super().__init__()
        is_whole = n_fft % (2 * hop) == 0 and n_fft >= 4 * hop
        check_option(is_whole, "n_fft", n_fft, f"it must be an even multiple of the hop ({hop}), at least {4 * hop}")
        self.n_fft, self.hop = n_fft, hop
        self.project = nn.Linear(width, n_fft + 2)
        window = torch.hann_window(n_fft, dtype=torch.float32)
        overlap = window.square().view(-1, hop).sum(0)  # the same for every sample: hop divides n_fft
        self.register_buffer("window", window / overlap.mean(), persistent=False)

    def forward(self, x_BFD: Tensor, real_B1F: Tensor) -> Tensor:
        """(B, F, D) -> (B, F * hop), always in float32."""
        log_magnitude_BFN, phase_BFN = self.project(x_BFD).float().chunk(2, dim=-1)
        with torch.autocast(x_BFD.device.type, enabled=False):
            magnitude_BFN = log_magnitude_BFN.exp().clamp(max=MAX_MAGNITUDE) * real_B1F.transpose(1, 2)
            windows_BFW = torch.fft.irfft(torch.polar(magnitude_BFN, phase_BFN), n=self.n_fft) * self.window
            overhang = (self.n_fft - self.hop) // 2
            return overlap_add(windows_BFW, self.hop)[:, overhang : overhang + windows_BFW.shape[1] * self.hop]
