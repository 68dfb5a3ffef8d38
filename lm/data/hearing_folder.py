"""Names in the folder of an exported model that reads speech as vectors; free of torch.

::

    model/                            the language model, as transformers, vLLM and SGLang load it
    hearing/hearing.json              kind, width, connector's shape, encoder's fingerprint and layer
            connector.safetensors     encoder's vectors -> vectors as wide as the model's embeddings
            encoder/                  the encoder as it was loaded in training; absent where its path is unknown
            encoder.safetensors       weights of an encoder that was trained, to be loaded over those
"""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDER, HEARING_FOLDER = "model", "hearing"
RECORD_FILE, CONNECTOR_FILE, ENCODER_FILE = "hearing.json", "connector.safetensors", "encoder.safetensors"
ENCODER_NAME = "encoder"


def is_listening_model(folder: Path) -> bool:
    """Whether a folder is what lm.export wrote of a model that reads speech as vectors (a chatbot's bundle is not)."""
    return (folder / HEARING_FOLDER / RECORD_FILE).is_file() and (folder / MODEL_FOLDER).is_dir()
