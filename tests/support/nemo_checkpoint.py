"""A tiny FastConformer, saved by NeMo itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save_nemo(file: Path, **options: Any) -> Any:
    """A tiny CTC model, written by NeMo itself."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import DictConfig

    modules = "nemo.collections.asr.modules"
    encoder = {"feat_in": 80, "n_layers": 5, "d_model": 32, "n_heads": 2, "subsampling": "dw_striding"}
    encoder |= {
        "subsampling_factor": 8,
        "subsampling_conv_channels": 8,
        "ff_expansion_factor": 2,
        "conv_kernel_size": 9,
    }
    torch.manual_seed(2)
    model = EncDecCTCModel(
        DictConfig(
            {
                "preprocessor": {"_target_": f"{modules}.AudioToMelSpectrogramPreprocessor", "features": 80},
                "encoder": {"_target_": f"{modules}.ConformerEncoder"} | encoder | options,
                "decoder": {
                    "_target_": f"{modules}.ConvASRDecoder",
                    "feat_in": 32,
                    "num_classes": 1,
                    "vocabulary": ["a"],
                },
            }
        )
    ).eval()
    model.save_to(str(file))
    return model
