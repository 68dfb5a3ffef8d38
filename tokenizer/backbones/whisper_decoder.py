"""Attention decoder, an ASR head of any backbone: Whisper's text decoder over the encoder's output.

Names are Hugging Face's. Label 0 (the CTC blank) begins and ends a transcript: inputs 0 l1 .. lL, targets l1 .. lL 0.

B batch, L labels, T encoder vectors, V label set, D width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .config import TokenizerModelConfig
from .whisper import is_real
from .whisper_layers import Attention, EncoderLayer, KeyValue

MAX_LABELS = 448  # positions, as Whisper's decoder has them
IGNORED = -100  # target at padding


class DecoderLayer(EncoderLayer):
    """Causal self-attention, attention to the encoder's output, feed-forward net."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__(width, heads, feed_forward, dropout)
        self.encoder_attn = Attention(width, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)

    def attend(self, x_BLD: Tensor, encoded: KeyValue, mask: Tensor, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """(B, L, D) to the same shape; ``past`` given, x is the one label after it. Returns the keys of both too."""
        normed_BLD = self.self_attn_layer_norm(x_BLD)
        keys = self.self_attn.keys(normed_BLD)
        if past is not None:
            keys = KeyValue(torch.cat([past.keys, keys.keys], dim=2), torch.cat([past.values, keys.values], dim=2))
        x_BLD = x_BLD + self.dropout(self.self_attn(normed_BLD, keys, None, is_causal=past is None))
        x_BLD = x_BLD + self.dropout(self.encoder_attn(self.encoder_attn_layer_norm(x_BLD), encoded, mask))
        return self.feed(x_BLD), keys


class AttentionDecoder(nn.Module):
    """Encoder vectors and the labels so far to the next label."""

    def __init__(self, config: TokenizerModelConfig, num_labels: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(num_labels, config.width)
        self.embed_positions = nn.Embedding(MAX_LABELS, config.width)
        self.layers = nn.ModuleList(
            DecoderLayer(config.width, config.heads, config.feed_forward, config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.embed_tokens.weight, std=config.width**-0.5)  # it is the output matrix too
        nn.init.normal_(self.embed_positions.weight, std=0.02)

    def own_layers(self) -> list[DecoderLayer]:
        """The layers, with their type."""
        return cast(list[DecoderLayer], list(self.layers))

    def forward(self, inputs_BL: Tensor, encoded_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """Teacher forcing: logits (B, L, V) of the label after each input."""
        encoded = [layer.encoder_attn.keys(encoded_BTD) for layer in self.own_layers()]
        logits_BLV, _ = self.step(inputs_BL, 0, encoded, is_real(encoded_BTD.shape[1], lengths_B), None)
        return logits_BLV

    def step(
        self, inputs_BL: Tensor, start: int, encoded: list[KeyValue], mask: Tensor, past: list[KeyValue] | None
    ) -> tuple[Tensor, list[KeyValue]]:
        """Labels at positions from ``start`` on: logits (B, L, V), and each layer's keys."""
        x_BLD = self.embed_tokens(inputs_BL) + self.embed_positions.weight[start : start + inputs_BL.shape[1]]
        keys: list[KeyValue] = []
        for at, layer in enumerate(self.own_layers()):
            x_BLD, own = layer.attend(x_BLD, encoded[at], mask, None if past is None else past[at])
            keys.append(own)
        return nn.functional.linear(self.layer_norm(x_BLD), self.embed_tokens.weight), keys

    def loss(self, encoded_BTD: Tensor, lengths_B: Tensor, labels: Tensor, counts_B: Tensor) -> Tensor:
        """Cross-entropy of transcripts (one after the other in ``labels``, ``counts_B`` of each), a label."""
        inputs_BL, targets_BL = teacher_forcing(labels, counts_B)
        logits_BLV: Tensor = self(inputs_BL, encoded_BTD, lengths_B).float()
        return nn.functional.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten(), ignore_index=IGNORED)

    def read(self, encoded_BTD: Tensor, lengths_B: Tensor, max_labels: int) -> list[list[int]]:
        """Greedy transcripts of at most ``max_labels`` labels."""
        encoded = [layer.encoder_attn.keys(encoded_BTD) for layer in self.own_layers()]
        mask = is_real(encoded_BTD.shape[1], lengths_B)
        label_B1 = torch.zeros(len(encoded_BTD), 1, dtype=torch.long, device=encoded_BTD.device)
        is_over_B = torch.zeros_like(label_B1[:, 0], dtype=torch.bool)
        past: list[KeyValue] | None = None
        found = []
        for place in range(min(max_labels, MAX_LABELS - 1)):
            logits_B1V, past = self.step(label_B1, place, encoded, mask, past)
            label_B1 = logits_B1V[:, -1:].argmax(-1).masked_fill(is_over_B[:, None], 0)
            is_over_B = is_over_B | (label_B1[:, 0] == 0)
            if bool(is_over_B.all()):
                break
            found.append(label_B1)
        rows = torch.cat([*found, torch.zeros_like(label_B1)], dim=1).tolist()
        return [row[: row.index(0)] for row in rows]


def teacher_forcing(labels: Tensor, counts_B: Tensor) -> tuple[Tensor, Tensor]:
    """Transcripts one after the other to inputs (B, L) and targets (B, L), L = the longest + 1."""
    size = int(counts_B.max()) + 1
    inputs_BL = torch.zeros(len(counts_B), size, dtype=torch.long, device=labels.device)
    targets_BL = torch.full_like(inputs_BL, IGNORED)
    for row, transcript in enumerate(labels.split(counts_B.tolist())):
        inputs_BL[row, 1 : len(transcript) + 1] = transcript
        targets_BL[row, : len(transcript)] = transcript
        targets_BL[row, len(transcript)] = 0
    return inputs_BL, targets_BL
