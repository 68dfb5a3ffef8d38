"""A decoder-only transformer with a key/value cache of our own, on the weights of a Hugging Face model.

Runs Llama, Mistral, Qwen2 and Qwen3 checkpoints (RMSNorm, gated MLP, rotary positions, grouped queries). Query, key and
value projections are one product, as are gate and up; the head is cut to the ids that may come next.

Two rules make a row's result independent of the rows it is computed with, bit for bit on the CPUs tried:
cache index == position (no left padding; keys beyond a row's position are masked), and no matrix product of fewer
than `MIN_ROWS` rows (BLAS libraries switch to another summation order there).

Shapes: R rows (sequences), P tokens of each in one call, T cache length, D width, H query heads, K key/value heads,
G = H/K, E width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from corpus.errors import UserError

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3")
MIN_ROWS = 8
CACHE_STEP = 32  # attention runs over the cache up to a multiple of this


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights of one layer, projections joined. Biases and query/key norms are None where the family has none."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Cache:
    """Keys (rows, K, E, T) and values (rows, K, T, E) of sequences, one pair a layer; index on T == position.

    Keys lie transposed: the product with queries is up to three times faster so on a CPU.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values

    @property
    def length(self) -> int:
        """T, the positions there is room for."""
        return int(self.values[0].shape[2])

    def move(self, kept: Tensor) -> None:
        """Let rows 0, 1, ... be what rows ``kept`` were."""
        for tensors in (self.keys, self.values):
            for tensor in tensors:
                tensor[: len(kept)] = tensor[kept]

    def grow(self, length: int) -> None:
        """Make room for ``length`` positions."""
        more = max(0, length - self.length)
        self.keys = [F.pad(keys, (0, more)) for keys in self.keys]
        self.values = [F.pad(values, (0, 0, 0, more)) for values in self.values]


class CachedLlama:
    """The model: `forward` runs tokens at given positions of given cache rows.

    Args:
        model: a `transformers` causal LM of one of the `SUPPORTED` types.

    Attributes:
        num_embeddings: rows of the embedding table (the vocabulary's size, padded).
        max_length: positions the model was made for.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        kind = rope.get("rope_type", "default")
        is_sliding = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
        if config.model_type not in SUPPORTED or kind in ("dynamic", "longrope") or is_sliding:
            found = f"a model of type {config.model_type} (rotary type {kind}, sliding window {is_sliding or 'none'})"
            remedy = f"the built-in generation runs {', '.join(SUPPORTED)} without sliding window"
            raise UserError("the model", found=found, remedy=remedy)
        self.num_heads, self.num_kv = config.num_attention_heads, config.num_key_value_heads
        self.head_width = getattr(config, "head_dim", None) or config.hidden_size // self.num_heads
        self.width, self.eps = config.hidden_size, config.rms_norm_eps
        self.max_length = int(config.max_position_embeddings)
        self.embedding: Tensor = model.get_input_embeddings().weight
        self.head: Tensor = model.get_output_embeddings().weight
        self.num_embeddings = self.embedding.shape[0]
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        self.final_norm: Tensor = model.model.norm.weight
        self.activation: Callable[[Tensor], Tensor] = model.model.layers[0].mlp.act_fn
        self.layers = [_join(layer) for layer in model.model.layers]
        positions = torch.arange(self.max_length + CACHE_STEP, device=self.device)[None]  # padding may run over
        cos, sin = model.model.rotary_emb(torch.zeros(1, dtype=torch.float32, device=self.device), positions)
        half = self.head_width // 2
        self.cos_TE: Tensor = cos[0].to(self.dtype)
        self.sin_TE: Tensor = torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1).to(self.dtype)

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, dtype: str = "float32", device: str = "cpu") -> CachedLlama:
        """Load a Hugging Face folder.

        Raises:
            UserError: no model there, a broken one, or a family this class does not run.
        """
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # a blink, and noise in a chat

        if not (Path(folder) / "config.json").is_file():
            remedy = "give the model folder that lm.export wrote (it holds config.json)"
            raise UserError(str(folder), found="no model", remedy=remedy)
        try:
            model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=getattr(torch, dtype))
        except Exception as error:  # the library raises OSError, ValueError, RuntimeError, SafetensorError, ...
            found = f"no loadable model ({' '.join(str(error).split())[:200]})"
            raise UserError(str(folder), found=found, remedy="export it again with lm.export") from error
        try:
            return cls(model.to(device).eval().requires_grad_(False))
        except UserError as error:
            raise UserError(str(folder), found=error.found, remedy=error.remedy) from error

    def new_cache(self, num_rows: int, length: int) -> Cache:
        """An empty cache for ``num_rows`` sequences of at most ``length`` tokens.

        Raises:
            UserError: longer than the model was made for.
        """
        self.check_length(length)
        shape = (num_rows, self.num_kv, _round_up(length, CACHE_STEP), self.head_width)
        values = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in self.layers]
        return Cache([torch.zeros_like(one.transpose(2, 3).contiguous()) for one in values], values)

    def check_length(self, length: int) -> None:
        """Raise a `UserError` if the model has fewer positions than ``length``."""
        if length > self.max_length:
            found = f"{length} tokens (prompt and answer) for a model of {self.max_length} positions"
            raise UserError("the prompt", found=found, remedy="shorten it, lower max_new_tokens, or split the text")

    def forward(self, ids_RP: Tensor, positions_RP: Tensor, cache: Cache, rows: Tensor | slice) -> Tensor:
        """Run tokens through the layers, adding their keys and values to the cache: (R, P) -> (R, P, D).

        Args:
            ids_RP: tokens.
            positions_RP: their positions; a token sees all cached positions of its row up to its own.
            cache: what came before.
            rows: the cache rows of the R sequences.
        """
        R, P = ids_RP.shape
        G, E = self.num_heads // self.num_kv, self.head_width
        T = min(_round_up(int(positions_RP.max()) + 1, CACHE_STEP), cache.length)
        where = torch.arange(R, device=self.device)[rows] if isinstance(rows, slice) else rows
        cos, sin = self.cos_TE[positions_RP].view(-1, 1, E), self.sin_TE[positions_RP].view(-1, 1, E)
        is_hidden = torch.arange(T, device=self.device) > positions_RP[:, :, None]
        bias = torch.zeros((R, P, T), dtype=self.dtype, device=self.device).masked_fill_(is_hidden, float("-inf"))
        bias_R1MT = bias.repeat_interleave(G, dim=1)[:, None]  # rows of (P, G)
        M = R * P
        h_MD = self.embedding[ids_RP].view(M, self.width)
        if M < MIN_ROWS:
            h_MD = F.pad(h_MD, (0, 0, 0, MIN_ROWS - M))
        for number, layer in enumerate(self.layers):
            y_MD = F.rms_norm(h_MD, (self.width,), layer.attention_norm, self.eps)
            qkv = F.linear(y_MD, layer.qkv, layer.qkv_bias)[:M].view(M, -1, E)
            q, k, v = qkv.split([self.num_heads, self.num_kv, self.num_kv], dim=1)
            if layer.query_norm is not None and layer.key_norm is not None:
                q = F.rms_norm(q, (E,), layer.query_norm, self.eps)
                k = F.rms_norm(k, (E,), layer.key_norm, self.eps)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            # advanced indices parted by slices come first: (R, P, K, E)
            cache.keys[number][where[:, None], :, :, positions_RP] = k.reshape(R, P, self.num_kv, E)
            cache.values[number][where[:, None], :, positions_RP] = v.reshape(R, P, self.num_kv, E)
            keys, values = cache.keys[number][rows][..., :T], cache.values[number][rows][:, :, :T]
            # (R, P, K, G, E) -> (R, K, P*G, E)
            q_RKME = q.reshape(R, P, self.num_kv, G, E).transpose(1, 2).reshape(R, self.num_kv, P * G, E)
            weights = torch.matmul(q_RKME, keys).mul_(E**-0.5).add_(bias_R1MT)
            mixed = torch.matmul(weights.softmax(-1), values)
            mixed_MD = mixed.view(R, self.num_kv, P, G, E).transpose(1, 2).reshape(M, -1)
            if M < MIN_ROWS:
                mixed_MD = F.pad(mixed_MD, (0, 0, 0, MIN_ROWS - M))
            h_MD = h_MD + F.linear(mixed_MD, layer.output, layer.output_bias)
            y_MD = F.rms_norm(h_MD, (self.width,), layer.mlp_norm, self.eps)
            gate, up = F.linear(y_MD, layer.gate_up).chunk(2, dim=-1)
            h_MD = h_MD + F.linear(self.activation(gate) * up, layer.down)
        return h_MD[:M].view(R, P, self.width)

    def logits(self, hidden_RD: Tensor, head_ND: Tensor) -> Tensor:
        """Scores (R, N) in fp32 of the N ids whose head rows are given."""
        R = len(hidden_RD)
        padded = F.pad(hidden_RD, (0, 0, 0, max(0, MIN_ROWS - R)))
        return F.linear(F.rms_norm(padded, (self.width,), self.final_norm, self.eps), head_ND)[:R].float()


def _rotate(x_MHE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x_MHE.shape[-1] // 2
    return x_MHE * cos + torch.cat([x_MHE[..., half:], x_MHE[..., :half]], -1) * sin


def _join(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections]
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    return Layer(
        attention_norm=layer.input_layernorm.weight,
        qkv=torch.cat([projection.weight for projection in projections]),
        qkv_bias=torch.cat(biases) if biases[0] is not None else None,
        query_norm=norms[0].weight if norms[0] is not None else None,
        key_norm=norms[1].weight if norms[1] is not None else None,
        output=attention.o_proj.weight,
        output_bias=attention.o_proj.bias,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
        down=mlp.down_proj.weight,
    )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
