"""A decoder-only transformer with a key/value cache of our own, on the weights of a Hugging Face model.

Runs the families of `lm.huggingface.families`: RMSNorm (before, and of GLM-4-0414 after attention and MLP), gated MLP,
rotary positions of a whole head or a part, grouped queries. Query, key and value projections are one product, as are
gate and up; the head is cut to the ids that may come next.

Two rules make a row's result independent of the rows it is computed with, bit for bit on the CPUs tried:
cache index == position (no left padding; keys beyond a row's position are masked), and products whose rows don't
depend on their number (`lm.inference.batch_invariant_linear`).

Shapes: R rows (sequences), P tokens of each in one call, T cache length, D width, H query heads, K key/value heads,
G = H/K, E width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lm.huggingface.families import FAMILIES
from runtime.errors import UserError

from .batch_invariant_linear import BatchInvariantLinear
from .lent_vectors import LentVectors

SUPPORTED = {family.name: family for family in FAMILIES}
PADDING = 8  # prompts are padded to a multiple of this
CACHE_STEP = 32  # attention runs over the cache up to a multiple of this


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Weights of one layer, projections joined; norms are None where the family has none."""

    attention_norm: Tensor
    qkv: BatchInvariantLinear
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: BatchInvariantLinear
    output_norm: Tensor | None
    mlp_norm: Tensor
    gate_up: BatchInvariantLinear
    down: BatchInvariantLinear
    down_norm: Tensor | None


class Cache:
    """Keys (rows, K, E, T) and values (rows, K, T, E) of sequences, one pair a layer; index on T == position.

    Keys lie transposed: the product with queries is up to three times faster so on a CPU.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values
        self._measure()

    def _measure(self) -> None:
        """Where position 0 of each (row, head, channel) of the keys and (row, head) of the values lies in memory."""
        R, K, T, E = self.values[0].shape
        first_RK = torch.arange(R * K, device=self.values[0].device).view(R, K) * T
        self._first_values_RK = first_RK
        self._first_keys_RKE = first_RK[..., None] * E + torch.arange(E, device=first_RK.device) * T

    @property
    def length(self) -> int:
        """T, the positions there is room for."""
        return int(self.values[0].shape[2])

    def places(self, rows: Tensor | slice, positions_RP: Tensor) -> tuple[Tensor, Tensor]:
        """Where keys (R, P, K, E) and values (R, P, K) at these positions go, as indices into flat memory."""
        keys = self._first_keys_RKE[rows][:, None] + positions_RP[..., None, None]
        values = self._first_values_RK[rows][:, None] + positions_RP[..., None]
        return keys.flatten(), values.flatten()

    def move(self, kept: Tensor) -> None:
        """Let rows 0, 1, ... be what rows ``kept`` were; the others are gone."""
        self.keys, self.values = ([one[kept] for one in tensors] for tensors in (self.keys, self.values))
        self._measure()

    def fit(self, length: int) -> None:
        """Let there be room for ``length`` positions and less than `CACHE_STEP` more.

        Attention runs over the whole of each tensor: a part of one would be read less fast, or copied.
        """
        more = round_up(length, CACHE_STEP) - self.length
        if more:
            self.keys = [F.pad(keys, (0, more)) for keys in self.keys]
            self.values = [F.pad(values, (0, 0, 0, more)) for values in self.values]
            self._measure()


class CachedLlama:
    """The model: `forward` runs tokens at given positions of given cache rows.

    Args:
        model: a `transformers` causal LM of one of the `SUPPORTED` types.

    Attributes:
        num_embeddings: rows of the embedding table (the vocabulary's size, padded).
        max_length: positions the model was made for.
        vectors: inputs in place of embedding rows, behind ids from ``num_embeddings`` on.
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
        self.vectors = LentVectors(self.num_embeddings, self.width, self.dtype, self.device)
        self.final_norm: Tensor = model.model.norm.weight
        mlp = model.model.layers[0].mlp
        self.activation: Callable[[Tensor], Tensor] = getattr(mlp, "act_fn", None) or mlp.activation_fn
        is_paired = SUPPORTED[config.model_type].rope_interleaved
        self.layers = [_join(layer, self.num_heads, self.num_kv, is_paired=is_paired) for layer in model.model.layers]
        self.steps_T = torch.arange(self.max_length + CACHE_STEP, device=self.device)  # padding may run over
        cos, sin = model.model.rotary_emb(torch.zeros(1, dtype=torch.float32, device=self.device), self.steps_T[None])
        half = cos.shape[-1] // 2
        turns = torch.complex(cos[0, :, :half].float(), sin[0, :, :half].float())
        self.turns_TE = F.pad(turns, (0, self.head_width // 2 - half), value=1.0)  # the rest of a head stays as it is

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, dtype: str = "float32", device: str = "cpu") -> CachedLlama:
        """Load a Hugging Face folder.

        Raises:
            UserError: no model there, a broken one, or a family this class does not run.
        """
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # it would only flicker

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
        """An empty cache for ``num_rows`` sequences of ``length`` tokens."""
        shape = (num_rows, self.num_kv, round_up(length, CACHE_STEP), self.head_width)
        values = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in self.layers]
        return Cache([torch.zeros_like(one.transpose(2, 3).contiguous()) for one in values], values)

    def check_length(self, length: int) -> None:
        """Raise a `UserError` if the model has fewer positions than ``length``."""
        if length > self.max_length:
            found = f"{length} tokens (prompt and answer) for a model of {self.max_length} positions"
            raise UserError("the prompt", found=found, remedy="shorten it, lower max_new_tokens, or split the text")

    def forward(
        self,
        ids_RP: Tensor,
        positions_RP: Tensor,
        cache: Cache,
        rows: Tensor | slice,
        length: int,
        replaced: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Run tokens through the layers, adding their keys and values to the cache: (R, P) -> (R, P, D).

        Nothing here waits for the device.

        Args:
            ids_RP: tokens.
            positions_RP: their positions; a token sees all cached positions of its row up to its own.
            cache: what came before.
            rows: the cache rows of the R sequences.
            length: one more than the greatest of the positions.
            replaced: places among the R x P tokens (N,) and the vectors (N, D) that stand there, not their embeddings.
        """
        R, P = ids_RP.shape
        K, E = self.num_kv, self.head_width
        G = self.num_heads // K
        T = min(round_up(length, CACHE_STEP), cache.length)
        M = R * P
        turns_M1E = self.turns_TE[positions_RP].view(M, 1, E // 2)
        is_hidden = self.steps_T[:T] > positions_RP[:, :, None]
        bias = torch.zeros((R, P, T), dtype=self.dtype, device=self.device).masked_fill_(is_hidden, float("-inf"))
        bias_R1MT = bias.repeat_interleave(G, dim=1)[:, None] if P > 1 else bias[:, None]  # rows of (P, G)
        at_keys, at_values = cache.places(rows, positions_RP)
        h_MD = self.embedding[ids_RP].view(M, self.width)
        if replaced is not None:
            h_MD[replaced[0]] = replaced[1]
        for number, layer in enumerate(self.layers):
            y_MD = F.rms_norm(h_MD, (self.width,), layer.attention_norm, self.eps)
            qkv = layer.qkv(y_MD).view(M, -1, E)
            qk, v = qkv[:, : self.num_heads + K], qkv[:, self.num_heads + K :]
            if layer.query_norm is not None and layer.key_norm is not None:
                q, k = qk.split([self.num_heads, K], dim=1)
                q = F.rms_norm(q, (E,), layer.query_norm, self.eps)
                qk = torch.cat([q, F.rms_norm(k, (E,), layer.key_norm, self.eps)], 1)
            q, k = _rotate(qk, turns_M1E).split([self.num_heads, K], dim=1)
            keys, values = cache.keys[number], cache.values[number]
            keys.view(-1).index_copy_(0, at_keys, k.reshape(-1))
            values.view(-1, E).index_copy_(0, at_values, v.reshape(-1, E))
            keys, values = keys[..., :T][rows], values[:, :, :T][rows]
            # (R, P, K, G, E) -> (R, K, P*G, E)
            q_RKME = q.reshape(R, P, K, G, E).transpose(1, 2).reshape(R, K, P * G, E)
            weights = torch.add(bias_R1MT, torch.matmul(q_RKME, keys), alpha=E**-0.5)
            mixed = torch.matmul(weights.softmax(-1), values)
            y_MD = layer.output(mixed.view(R, K, P, G, E).transpose(1, 2).reshape(M, -1))
            h_MD = self._normed(y_MD, layer.output_norm).add_(h_MD)
            y_MD = F.rms_norm(h_MD, (self.width,), layer.mlp_norm, self.eps)
            gate, up = layer.gate_up(y_MD).chunk(2, dim=-1)
            h_MD = self._normed(layer.down(self.activation(gate).mul_(up)), layer.down_norm).add_(h_MD)
        return h_MD.view(R, P, self.width)

    def _normed(self, added_MD: Tensor, weight: Tensor | None) -> Tensor:
        """Output of attention or MLP, normalised where the family does that."""
        return added_MD if weight is None else F.rms_norm(added_MD, (self.width,), weight, self.eps)

    def forward_padded(
        self,
        sequences: Sequence[npt.NDArray[np.integer]],
        cache: Cache,
        rows: npt.NDArray[np.int64],
        padded: int,
        start: int = 0,
    ) -> Tensor:
        """Run tokens of R sequences into cache rows from position ``start`` on; the hidden states (R, P, D).

        Sequences are padded on the right to P = ``padded``: what padding leaves in the cache is masked until it is
        overwritten. Ids of `vectors` stand for vectors.
        """
        ids_RP = np.zeros((len(sequences), padded), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids_RP[row, : len(sequence)] = sequence
        positions_RP = np.broadcast_to(np.arange(start, start + padded), ids_RP.shape).copy()
        replaced = None
        # Looked for here, where ids are still on the host: on a GPU the question would wait for the device.
        if (is_lent := self.vectors.is_lent(ids_RP)).any():
            places = torch.from_numpy(np.flatnonzero(is_lent)).to(self.device)
            replaced = places, self.vectors.rows(ids_RP[is_lent])
            ids_RP[is_lent] = 0
        return self.forward(
            torch.from_numpy(ids_RP).to(self.device),
            torch.from_numpy(positions_RP).to(self.device),
            cache,
            torch.from_numpy(rows).to(self.device),
            start + padded,
            replaced,
        )

    def logits(self, hidden_RD: Tensor, head: BatchInvariantLinear) -> Tensor:
        """Scores (R, N) in fp32 of the N ids whose head rows are given."""
        return head(F.rms_norm(hidden_RD, (self.width,), self.final_norm, self.eps)).float()


def _rotate(x_MHE: Tensor, turns_M1E: Tensor) -> Tensor:
    """Turn each pair of neighbours by its angle, as one complex product (in fp32)."""
    pairs = torch.view_as_complex(x_MHE.float().reshape(*x_MHE.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns_M1E).flatten(-2).to(x_MHE.dtype)


def _pair(rows: Tensor, num_heads: int) -> Tensor:
    """Reorder the rows of each head, whose halves turn together, so that what turns together are neighbours.

    Queries and keys are reordered alike, so their products stay what they are.
    """
    per_head = rows.view(num_heads, 2, -1, *rows.shape[1:])
    return per_head.transpose(1, 2).reshape(rows.shape)


def _join(layer: Any, num_heads: int, num_kv: int, *, is_paired: bool) -> LayerWeights:
    """``is_paired``: what turns together are neighbours already (GLM)."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    counts = (num_heads, num_kv)

    def joined(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.cat([*((q, k) if is_paired else map(_pair, (q, k), counts)), v])

    biases = [projection.bias for projection in projections]
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    after = [getattr(layer, name, None) for name in ("post_self_attn_layernorm", "post_mlp_layernorm")]
    gate_up = mlp.gate_up_proj.weight if hasattr(mlp, "gate_up_proj") else None
    return LayerWeights(
        attention_norm=layer.input_layernorm.weight,
        qkv=BatchInvariantLinear(
            joined(*(projection.weight for projection in projections)),
            joined(*biases) if biases[0] is not None else None,
        ),
        query_norm=_pair(norms[0].weight, 1) if norms[0] is not None else None,
        key_norm=_pair(norms[1].weight, 1) if norms[1] is not None else None,
        output=BatchInvariantLinear(attention.o_proj.weight, attention.o_proj.bias),
        output_norm=after[0].weight if after[0] is not None else None,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=BatchInvariantLinear(
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) if gate_up is None else gate_up
        ),
        down=BatchInvariantLinear(mlp.down_proj.weight),
        down_norm=after[1].weight if after[1] is not None else None,
    )


def round_up(number: int, multiple: int = PADDING) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple
