"""A tiny language model of random weights that hears: what lm.export writes of a model that reads speech as vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import VECTORS, Vocabulary, build_vocabulary
from lm.training.connector import Connector
from lm.training.speech_config import ConnectorConfig, SpeechRecord
from runtime.artefact import write_json
from tokenizer.hearing.load import load_encoder

from .small_speech_model import HIDDEN, TEXTS, make_speech_tokenizer, save_small_llama

STACK = ConnectorConfig(kind="stack", stride=2)


def save_small_listening_model(
    folder: Path, layer: str = "back", shape: ConnectorConfig = STACK, vocabulary: Vocabulary | None = None
) -> Vocabulary:
    """Write ``model/`` and ``hearing/``; ``layer`` is of the encoder, ``shape`` of the connector."""
    torch.set_num_threads(1)
    hearing = folder / "hearing"
    make_speech_tokenizer().save_pretrained(hearing / "encoder")
    encoder = load_encoder(hearing / "encoder", layer=layer)
    vocabulary = vocabulary or build_vocabulary(
        train_bpe(TEXTS * 4, 300), num_speech_tokens=1, speech_tokenizer=VECTORS
    )
    save_small_llama(folder / "model", vocabulary, max_positions=512)
    save_file(Connector(shape, encoder.width, HIDDEN).state_dict(), hearing / "connector.safetensors")
    record = SpeechRecord(
        kind="audio",
        encoder=encoder.fingerprint,
        source="encoder",
        layer=layer,
        positions_per_second=encoder.positions_per_second,
        width=encoder.width,
        connector=shape,
    )
    write_json(hearing / "hearing.json", asdict(record))
    return vocabulary
