"""The vocoder: a ConvNeXt stack at the mel's frame rate and an inverse Fourier transform, as in Vocos.

Siuzdak, arXiv 2306.00814. All layers run at 100 Hz; only the last, fixed step makes samples, which is why it is two
orders of magnitude faster than real time on one CPU core. The window of frame f lies symmetrically around the frame's
own samples, as the mel's does (`corpus.audio.mel`), so F frames make exactly F * hop samples::

    samples    160f - 240 ........ 160f ........ 160f + 160 ........ 160f + 400        n_fft = 640
               |---- 240 before ----|-- own 160 --|----- 240 after -----|

The overlapping windows are divided by the constant that their squares sum to, also at the two ends (which fade over
15 ms), so that the beginning of an utterance can be made before its end is known. `Vocoder.streaming` makes the very
same samples from a mel that comes in pieces.

Shapes: B batch, F mel frames, M mel bins, D width, N = n_fft / 2 + 1 frequency bins, S = F * hop samples.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus.audio.mel_config import LogMelConfig
from runtime.errors import check_option
from runtime.streaming import MIN_POSITIONS, Stream, per_stream, split_rows, stack_rows

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
        self.input = nn.Conv1d(self.mel.num_mels, width, config.kernel)
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
        reach = self.config.kernel // 2
        x_BFD = self.input_norm(self.input(F.pad(mel_BMF * real_B1F, (reach, reach))).transpose(1, 2))
        for block in self.blocks:
            x_BFD = block(x_BFD, real_B1F)
        return self.head(self.output_norm(x_BFD), real_B1F)

    @property
    def lag(self) -> int:
        """Samples that a stream keeps back until it knows what comes after them."""
        frames = self.config.kernel // 2 + self.config.layers * self.config.lookahead
        return frames * self.mel.hop + self.head.overhang

    def streaming(self) -> VocoderStream:
        """A stream: its samples, put together, are those of the whole mel."""
        return VocoderStream(self)

    def save_pretrained(self, folder: Path | str, metrics: Mapping[str, Any] | None = None) -> None:
        """Write the artefact folder (config.yaml, model.safetensors, metrics.json, README.md)."""
        size = sum(parameter.numel() for parameter in self.parameters())
        facts = {
            "parameters": f"{size:,}",
            "input": f"{self.mel.num_mels}-bin log-mel, hop {self.mel.hop}",
            "output": f"{self.mel.sample_rate} Hz; a stream lags {1e3 * self.lag / self.mel.sample_rate:.0f} ms behind",
        }
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
    """Depth-wise convolution over time, layer norm, a two-layer network for each frame, with a residual path."""

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
        return self.inner(F.pad(x_BFD.transpose(1, 2) * real_B1F, self.padding))

    def inner(self, x_BDW: Tensor) -> Tensor:
        """(B, D, F + kernel - 1), what the frames see around them included, -> (B, F, D)."""
        y_BFD = self.norm(self.convolution(x_BDW).transpose(1, 2))
        before = self.padding[0]
        x_BFD = x_BDW[:, :, before : before + y_BFD.shape[1]].transpose(1, 2)
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
        self.n_fft, self.hop, self.overhang = n_fft, hop, (n_fft - hop) // 2
        self.project = nn.Linear(width, n_fft + 2)
        window = torch.hann_window(n_fft, dtype=torch.float32)
        overlap = window.square().view(-1, hop).sum(0)  # the same for every sample: hop divides n_fft
        self.register_buffer("window", window / overlap.mean(), persistent=False)

    def forward(self, x_BFD: Tensor, real_B1F: Tensor) -> Tensor:
        """(B, F, D) -> (B, F * hop), always in float32."""
        windows_BFW = self.windows(x_BFD, real_B1F)
        summed_BS = overlap_add(windows_BFW, self.hop)
        return summed_BS[:, self.overhang : self.overhang + windows_BFW.shape[1] * self.hop]

    def windows(self, x_BFD: Tensor, real_B1F: Tensor) -> Tensor:
        """(B, F, D) -> the frames' windows (B, F, n_fft), to be added up."""
        log_magnitude_BFN, phase_BFN = self.project(x_BFD).float().chunk(2, dim=-1)
        with torch.autocast(x_BFD.device.type, enabled=False):
            magnitude_BFN = log_magnitude_BFN.exp().clamp(max=MAX_MAGNITUDE) * real_B1F.transpose(1, 2)
            return torch.fft.irfft(torch.polar(magnitude_BFN, phase_BFN), n=self.n_fft) * self.window


class MelPiece(NamedTuple):
    """Mel frames (1, M, F) that follow, F may be 0, and whether they are the last."""

    mel: Tensor
    is_last: bool


class VocoderStream(Stream[MelPiece, Tensor]):
    """Mel frames in pieces to samples (S,) that are known; every layer keeps the frames that it still needs.

    A layer that looks ahead gives its frames that much later, so nothing is computed twice and the cost of a piece
    depends on its length alone.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self.vocoder = vocoder
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        vocoder = self.vocoder
        weight, reach = vocoder.input.weight, vocoder.config.kernel // 2
        self.frames = [weight.new_zeros(1, weight.shape[1], reach)]  # before the first frame is silence
        before = vocoder.config.kernel - 1 - vocoder.config.lookahead
        self.frames += [weight.new_zeros(1, weight.shape[0], before) for _ in vocoder.blocks]
        self.sums = weight.new_zeros(1, vocoder.head.n_fft - vocoder.head.hop)  # of windows that overlap the next
        self.skipped = vocoder.head.overhang  # samples before the first frame's own that are still to come

    def fork(self) -> Self:
        """A stream at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.frames = list(self.frames)
        return twin

    def feed(self, mel_1MF: Tensor) -> Tensor:
        """Take (1, M, F) frames, F may be 0; returns the samples (S,) that are now known."""
        return self.step([self], [MelPiece(mel_1MF, is_last=False)])[0]

    def finish(self) -> Tensor:
        """No frame follows: the remaining samples (S,)."""
        return self.step([self], [MelPiece(self.frames[0][:, :, :0], is_last=True)])[0]

    def shape(self, piece: MelPiece) -> Hashable | None:
        """The frames that each layer makes of the piece; None where they are too few to be batched."""
        config = self.vocoder.config
        silence, made = (config.kernel // 2, config.lookahead), piece.mel.shape[2]
        counts = []
        for layer, kept in enumerate(self.frames):
            padded = kept.shape[2] + made + (silence[min(layer, 1)] if piece.is_last else 0)
            counts.append(padded)
            made = max(0, padded - (config.kernel - 1))
            if 0 < made < MIN_POSITIONS:
                return None
        return (piece.mel.shape[2], piece.is_last, *counts)

    @classmethod
    @torch.inference_mode()
    def step(cls, streams: Sequence[VocoderStream], pieces: Sequence[MelPiece]) -> list[Tensor]:
        """The samples (S,) of each stream that its piece makes known."""
        windows_BFW = cls._windows(streams, torch.cat([piece.mel for piece in pieces]), is_last=pieces[0].is_last)
        outputs = []
        for row, (stream, piece) in enumerate(zip(streams, pieces, strict=True)):
            known = stream.sums.new_zeros(0) if windows_BFW is None else stream._add(windows_BFW[row : row + 1])
            if piece.is_last:
                known = torch.cat([known, stream.sums[0, : stream.vocoder.head.overhang]])
            outputs.append(known)
        return outputs

    @classmethod
    def _windows(cls, streams: Sequence[VocoderStream], mel_BMF: Tensor, *, is_last: bool) -> Tensor | None:
        """The frames' windows (B, F, n_fft); None of no frame."""
        vocoder = streams[0].vocoder
        x_BDW = cls._inputs(streams, 0, mel_BMF, vocoder.config.kernel // 2 if is_last else 0)
        if x_BDW is None:
            return None
        # oneDNN's dense convolution rounds by the batch's size; the depth-wise ones of the blocks do not.
        x_BFD = vocoder.input_norm(per_stream(vocoder.input, x_BDW, len(streams)).transpose(1, 2))
        for layer, block in enumerate(vocoder.blocks, start=1):
            x_BDW = cls._inputs(streams, layer, x_BFD.transpose(1, 2), vocoder.config.lookahead if is_last else 0)
            if x_BDW is None:
                return None
            assert isinstance(block, ConvNeXtBlock)
            x_BFD = block.inner(x_BDW)
        return vocoder.head.windows(vocoder.output_norm(x_BFD), x_BFD.new_ones(1, 1, x_BFD.shape[1]))

    @staticmethod
    def _inputs(streams: Sequence[VocoderStream], layer: int, new_BDF: Tensor, silence: int) -> Tensor | None:
        """The input of ``layer``: its kept frames, the new ones, silence after the end; None if they make no frame."""
        kept_BDF = stack_rows([stream.frames[layer] for stream in streams])
        window_BDW = F.pad(torch.cat([kept_BDF, new_BDF], dim=2), (0, silence))
        made = window_BDW.shape[2] - (streams[0].vocoder.config.kernel - 1)
        for stream, kept_1DF in zip(streams, split_rows(window_BDW[:, :, max(0, made) :], len(streams)), strict=True):
            stream.frames[layer] = kept_1DF
        return window_BDW if made > 0 else None

    def _add(self, windows_1FW: Tensor) -> Tensor:
        """Add the windows to the sums of those before; the samples (S,) that no later window reaches."""
        head = self.vocoder.head
        summed_1S = overlap_add(windows_1FW, head.hop)
        summed_1S = summed_1S + F.pad(self.sums, (0, summed_1S.shape[1] - self.sums.shape[1]))
        known = windows_1FW.shape[1] * head.hop
        self.sums = summed_1S[:, known:]
        skipped = min(self.skipped, known)
        self.skipped -= skipped
        return summed_1S[0, skipped:known]
