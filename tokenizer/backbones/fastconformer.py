"""FastConformer backbone (NeMo's): a streaming encoder before the quantiser, a full-context one after it.

Before the quantiser: mel -> strided causal convolutions -> Conformer layers with causal convolutions whose attention
is limited to the own chunk and ``left_context`` tokens before it. With k frames a token (2, 4, 8 or 16), the causal
subsampling of F frames gives F // k + 1 outputs, output i seeing frames ki - 2k + 2 .. ki. Shifted by one zero frame
and without output 0 this is one output a token, which sees the token's own k frames and the k - 1 before; for k = 8::

    mel frame        -1(zero)  0 1 2 3 4 5 6 7   8 9 ... 15   16 ...
    output 0 (dropped) |
    output 1 = token 0 |-------------------|
    output 2 = token 1             |--------------------|

B batch, M mel bands, F mel frames, T tokens (F = k T), D width, L layers, C cached tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from runtime.streaming import split_rows, stack_rows

from .base import PostVQEncoder, PreVQEncoder
from .config import TokenizerModelConfig
from .nemo import quiet_nemo

PIECE = 32  # outputs of the subsampling that a CPU computes at a time


class FastConformerCache(NamedTuple):
    """The state of a stream between chunks.

    Attributes:
        frames: (1, M, 1 or k + 1) the last mel frames that the next token sees; before the first chunk a zero one.
        attention: (L, C, D) inputs of the attention layers.
        convolution: (L, D, K - 1) inputs of the convolutions.
        length: (1,) number of the C cached tokens that are filled.
    """

    frames: Tensor
    attention: Tensor
    convolution: Tensor
    length: Tensor


class FastConformerFront(PreVQEncoder):
    """Mel frames to one vector a token; ``stride`` is k."""

    def __init__(self, config: TokenizerModelConfig) -> None:
        quiet_nemo()
        from nemo.collections.asr.modules import ConformerEncoder

        super().__init__(config.time, config.num_mels)
        self.chunk = config.chunk
        self.encoder = ConformerEncoder(
            feat_in=config.num_mels,
            n_layers=config.front_layers,
            subsampling="dw_striding",
            subsampling_factor=self.stride,
            subsampling_conv_channels=config.subsampling_channels,
            causal_downsampling=True,
            att_context_size=[config.left_context, config.chunk - 1],
            att_context_style="chunked_limited",
            conv_context_size="causal",
            **shared_options(config),
        )

    def initialise(self) -> None:
        """He normal subsampling convolutions (biases 0), and a unit output matrix behind them.

        torch's own start of the five convolutions shrinks the signal a hundredfold, below their biases: the fit then
        idles for hundreds of steps (CTC loss after 200 steps on two hours of speech: 4.4 with it, 0.8 with He normal).
        """
        subsampling = self.encoder.pre_encode
        for module in subsampling.conv.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(subsampling.out.weight, std=subsampling.out.in_features**-0.5)
        nn.init.zeros_(subsampling.out.bias)

    def forward(self, mel_BMF: Tensor, lengths_B: Tensor, padding_B: Tensor | None = None) -> Tensor:
        """(B, M, F) frames, of which each row's first ``k * lengths_B`` count, to (B, T, D); padding is heard."""
        x_BFM = nn.functional.pad(mel_BMF, (1, 0)).transpose(1, 2)
        x_BTD = self.subsample(x_BFM, lengths_B * self.stride + 1)
        encoded_BDT, _ = self.encoder(audio_signal=x_BTD[:, 1:], length=lengths_B, bypass_pre_encode=True)
        return encoded_BDT.transpose(1, 2)

    def subsample(self, x_BFM: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, F, M) frames to (B, F // k + 1, D); on a CPU in float32, where bfloat16 depthwise convolutions crawl."""
        with torch.autocast("cpu", enabled=False):
            if x_BFM.device.type == "cpu" and not torch.is_grad_enabled():
                return self.subsample_by_pieces(x_BFM, lengths_B)
            x_BTD, _ = self.encoder.pre_encode(x=x_BFM, lengths=lengths_B)
        return x_BTD

    def subsample_by_pieces(self, x_BFM: Tensor, lengths_B: Tensor) -> Tensor:
        """`subsample` for inference on a CPU: a row and a piece at a time, which stays in the cache (3x as fast)."""
        num_outputs = x_BFM.shape[1] // self.stride + 1
        rows = []
        for x_1FM, length_1 in zip(x_BFM.split(1), lengths_B.split(1), strict=True):
            pieces = []
            for first in range(0, num_outputs, PIECE):
                end = min(first + PIECE, num_outputs)
                before = min(first, 2)  # outputs that stand for what the first one sees; they are dropped
                start = (first - before) * self.stride
                piece_1FM = x_1FM[:, start : (end - 1) * self.stride + 1]
                x_1TD, _ = self.encoder.pre_encode(x=piece_1FM, lengths=(length_1 - start).clamp_min(0))
                pieces.append(x_1TD[:, before:])
            rows.append(torch.cat(pieces, dim=1))
        return torch.cat(rows)

    def empty_cache(self) -> FastConformerCache:
        """The cache before the first chunk of a stream."""
        attention, convolution, length = self.encoder.get_initial_cache_state(batch_size=1)
        frames = attention.new_zeros(1, self.num_mels, 1)
        return FastConformerCache(frames, attention.squeeze(1), convolution.squeeze(1), length)

    def next_chunk(self, cache: FastConformerCache) -> int:
        """Always ``chunk`` tokens."""
        return self.chunk

    def shape(self, cache: FastConformerCache) -> Hashable:
        """Whether a chunk came before: the caches of layers are masked, not shortened."""
        return cache.frames.shape[2]

    def step(
        self, mel_NMF: Tensor, caches: Sequence[FastConformerCache], padding: Sequence[int]
    ) -> tuple[Tensor, list[FastConformerCache]]:
        """One chunk (N, M, k * tokens) of ``chunk`` tokens, fewer only at the end: its (N, T, D) and the caches."""
        assert mel_NMF.shape[2] % self.stride == 0 and mel_NMF.shape[2] <= self.chunk * self.stride
        count, num_tokens = len(caches), mel_NMF.shape[2] // self.stride
        window_NMF = torch.cat([torch.cat([cache.frames for cache in caches]), mel_NMF], dim=2)
        x_NFM = window_NMF.transpose(1, 2)
        x_NTD = self.subsample(x_NFM, torch.full((count,), x_NFM.shape[1], device=x_NFM.device))
        encoded_NDT, _, attention, convolution, length_N = self.encoder(
            audio_signal=x_NTD[:, -num_tokens:],
            length=torch.full((count,), num_tokens, device=x_NTD.device),
            cache_last_channel=stack_rows([cache.attention for cache in caches]).unflatten(0, (-1, count)),
            cache_last_time=stack_rows([cache.convolution for cache in caches]).unflatten(0, (-1, count)),
            cache_last_channel_len=torch.cat([cache.length for cache in caches]),
            bypass_pre_encode=True,
        )
        parts = zip(
            [kept_1MF.clone() for kept_1MF in window_NMF[:, :, -(self.stride + 1) :].split(1)],
            split_rows(attention.flatten(0, 1), count),
            split_rows(convolution.flatten(0, 1), count),
            [length_1.clone() for length_1 in length_N.split(1)],
            strict=True,
        )
        return encoded_NDT.transpose(1, 2), [FastConformerCache(*own) for own in parts]


class FastConformerBack(PostVQEncoder):
    """Conformer layers over the whole utterance."""

    def __init__(self, config: TokenizerModelConfig) -> None:
        quiet_nemo()
        from nemo.collections.asr.modules import ConformerEncoder

        super().__init__()
        self.encoder = ConformerEncoder(
            feat_in=config.width,
            n_layers=config.back_layers,
            subsampling=None,
            att_context_size=[-1, -1],
            **shared_options(config),
        )
        self.encoder.pre_encode = nn.Identity()  # never used: the input is a vector a token already

    def initialise(self) -> None:
        """The layers start as NeMo has them."""

    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); ``lengths_B`` tokens of each row count."""
        encoded_BDT, _ = self.encoder(audio_signal=x_BTD, length=lengths_B, bypass_pre_encode=True)
        return encoded_BDT.transpose(1, 2)


def shared_options(config: TokenizerModelConfig) -> dict[str, object]:
    """The options of both encoders. Layer norm in the convolutions: batch norm would see the padding."""
    return {
        "d_model": config.width,
        "n_heads": config.heads,
        "ff_expansion_factor": config.feed_forward,
        "conv_kernel_size": config.conv_kernel,
        "conv_norm_type": "layer_norm",
        "dropout": config.dropout,
        "dropout_pre_encoder": config.dropout,
        "dropout_emb": 0.0,
        "dropout_att": config.dropout,
        "xscaling": False,
        "sync_max_audio_length": False,  # it would all-reduce over all ranks in each forward
    }
