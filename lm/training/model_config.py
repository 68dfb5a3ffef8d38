"""The shape of the language model: a Llama-like decoder (RMSNorm, SwiGLU, rotary positions, grouped queries)."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option


@dataclass(kw_only=True)
class LmModelConfig(Options):
    """The decoder's shape.

    Attributes:
        layers: decoder layers.
        hidden: width of the residual stream.
        heads: query heads; ``hidden`` is a multiple of it.
        kv_heads: key and value heads (grouped-query attention); ``heads`` is a multiple of it.
        ffn: inner width of the SwiGLU feed-forward.
        tied: one matrix for the input embedding and the output layer.
        head_size: width of a head; 0: ``hidden / heads``.
        rope_base: base period of the rotary positions.
        rope_share: share of each head that is rotated (GLM: 0.5).
        rope_interleaved: rotate neighbouring columns (GLM) instead of the two halves of a head.
        qkv_bias: biases on query, key and value (Qwen2, GLM).
        qk_norm: RMSNorm on each head's query and key (Qwen3).
        sandwich_norm: RMSNorm also on what attention and feed-forward add to the residual stream (GLM-4-0414).
        rope_scaling: factor by which Llama-3.1 slows rotary positions down to reach past 8,192; 1: not at all.
        norm_epsilon: added to the mean square in RMSNorm.
        dropout: on embeddings, attention output and feed-forward output.
        init_std: standard deviation of the initial weights (output projections: divided by sqrt(2 layers)).
        family: Hugging Face's ``model_type`` that it is exported as, where several have this shape; "": the first of
            `lm.huggingface.families`.
        vocabulary_multiple: the vocabulary is padded to a multiple of this, so that tensor parallel sizes divide it.
    """

    layers: int = option(6, at_least=1)
    hidden: int = option(256, at_least=1)
    heads: int = option(4, at_least=1)
    kv_heads: int = option(2, at_least=1)
    ffn: int = option(704, at_least=1)
    tied: bool = False
    head_size: int = option(0, at_least=0)
    rope_base: float = option(10000.0, above=0)
    rope_share: float = option(1.0, above=0, at_most=1)
    rope_interleaved: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    sandwich_norm: bool = False
    rope_scaling: float = option(1.0, at_least=1)
    norm_epsilon: float = option(1e-5, at_least=0)
    dropout: float = option(0.0, at_least=0, below=1)
    init_std: float = option(0.02, above=0)
    vocabulary_multiple: int = option(64, at_least=1)
    family: str = option("", is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        divides = f"give a multiple of model.heads = {self.heads}, or set model.head_size"
        check_option(bool(self.head_size) or self.hidden % self.heads == 0, "model.hidden", self.hidden, divides)
        turned = self.head_width * self.rope_share
        even = f"of heads {self.head_width} wide it must leave an even number of columns, since pairs are turned"
        check_option(turned > 0 and turned % 2 == 0, "model.rope_share", self.rope_share, even)
        groups = f"give a divisor of model.heads = {self.heads}"
        check_option(self.heads % self.kv_heads == 0, "model.kv_heads", self.kv_heads, groups)

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.head_size or self.hidden // self.heads

    def num_parameters(self, vocabulary_size: int) -> int:
        """All parameters, both embeddings included."""
        return self.num_inner_parameters() + vocabulary_size * self.hidden * (1 if self.tied else 2)

    def num_inner_parameters(self) -> int:
        """Parameters of the layers and the last norm, without embedding and output layer."""
        width = self.head_width
        attention = self.hidden * width * (2 * self.heads + 2 * self.kv_heads)
        biases = width * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        norms = (4 if self.sandwich_norm else 2) * self.hidden + (2 * width if self.qk_norm else 0)
        return self.layers * (attention + biases + 3 * self.hidden * self.ffn + norms) + self.hidden

    def flops_per_token(self, vocabulary_size: int, sequence_length: int) -> int:
        """Training operations for one token, counted strictly.

        Causal attention (half the square), the output layer, no input embedding: 6 N + 6 layers x length x width.
        """
        weights = self.num_inner_parameters() + vocabulary_size * self.hidden
        return 6 * weights + 6 * self.layers * sequence_length * self.heads * self.head_width
