"""Log-probabilities of tokens by a model of any family that transformers runs, text models without speech included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.data.text_tokenizers import TOKENIZER_FILE
from lm.data.vocabulary import RECORD_FILE, Ids, Vocabulary
from runtime.errors import UserError

from .hf_generation import load_causal_lm
from .likelihood import (
    LogProbabilities,
    TargetIds,
    TargetModality,
    length_buckets,
    padded_rows,
    target_log_probabilities,
)

BATCH_TOKENS = 4096  # of one forward pass, padding included


class TransformersLikelihood:
    """A causal LM of transformers that scores tokens.

    Args:
        model: the causal LM.
        vocabulary: its own; None for a text model of another tokenizer.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary | None) -> None:
        self.model, self.vocabulary = model.eval(), vocabulary

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, dtype: str = "float32", device: str = "cpu"
    ) -> TransformersLikelihood:
        """Load a folder that lm.export wrote, or any text model of transformers.

        Raises:
            UserError: no model there, or one that does not load.
        """
        has_vocabulary = (Path(folder) / RECORD_FILE).is_file() and (Path(folder) / TOKENIZER_FILE).is_file()
        vocabulary = Vocabulary.from_pretrained(folder) if has_vocabulary else None
        return cls(load_causal_lm(folder, dtype=dtype, device=device), vocabulary)

    @property
    def max_length(self) -> int:
        """Positions that the model was made for; without a number in its config, no bound."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 30)

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Ids], modality: TargetModality = "any") -> list[LogProbabilities]:
        """See `lm.inference.likelihood.LikelihoodModel`."""
        found: list[LogProbabilities] = [np.zeros(0) for _ in rows]
        lengths = [len(row) for row in rows]
        if lengths and max(lengths) > self.max_length:
            excess = f"{max(lengths)} tokens for a model of {self.max_length} positions"
            raise UserError("the text to score", found=excess, remedy="shorten it")
        scored: TargetIds | None = None
        for batch in length_buckets(lengths, BATCH_TOKENS):
            ids_RT = padded_rows([rows[number] for number in batch], max(lengths[batch[0]], 1)).to(self.model.device)
            is_token = (
                torch.arange(ids_RT.shape[1])[None] < torch.tensor([lengths[number] for number in batch])[:, None]
            )
            output = self.model(input_ids=ids_RT, attention_mask=is_token.long().to(ids_RT.device), use_cache=False)
            scored = scored or TargetIds(self.vocabulary, output.logits.shape[-1], modality)
            for logits_TV, ids_T, number in zip(output.logits, ids_RT, batch, strict=True):
                end = lengths[number]
                if end > 1:
                    given_TV = logits_TV[: end - 1].float().clone()
                    chosen_T = target_log_probabilities(given_TV, ids_T[1:end], scored)
                    found[number] = chosen_T.double().cpu().numpy()
        return found
