"""Artefact of a tokenizer: a folder of config.yaml, model.safetensors, labels.json, metrics.json and a model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from corpus.audio.mel_config import LogMelConfig
from runtime.artefact import atomic_folder, write_json, write_text
from runtime.errors import UserError

from .backbones.config import TokenizerModelConfig
from .backbones.table import BACKBONES
from .labels import Labels
from .quantisers.config import QuantiserConfig
from .quantisers.table import QUANTISERS

FORMAT = 1
Part = TypeVar("Part", TokenizerModelConfig, QuantiserConfig, LogMelConfig)

CARD = """---
library_name: speechweave
tags: [speech, speech-tokenizer, automatic-speech-recognition]
---
# Speech tokenizer, {frame_rate} tokens a second, {codebook_size} codes

An ASR encoder ({backbone}, {parameters} parameters) cut in two by a quantiser ({kind}), trained with
{losses}, after *Scaling Speech-Text Pre-training with Synthetic Interleaved Data* (arXiv 2411.17607).
It streams in chunks of {chunk} tokens ({latency:.2f} s){exactness}.

```python
from corpus.audio import read_audio
from tokenizer.model import SpeechTokenizer

tokenizer = SpeechTokenizer.from_pretrained("this folder")
tokens = tokenizer.encode([read_audio("speech.flac")])  # uint16 below {codebook_size}
text = tokenizer.read_tokens(tokens)
```

Fingerprint (it decides the tokens): `{fingerprint}`

| measure | value |
|---|---|
{rows}
"""


@dataclass(frozen=True, kw_only=True)
class TokenizerArtefact:
    """The content of an artefact folder.

    Attributes:
        config: sizes of the encoder.
        vq: the quantiser's options.
        mel: the mel front end.
        labels: the ASR head's sub-word units.
        weights: parameters and buffers by name.
        fingerprint: digest of all that decides the tokens.
    """

    config: TokenizerModelConfig
    vq: QuantiserConfig
    mel: LogMelConfig
    labels: Labels
    weights: dict[str, Tensor]
    fingerprint: str


def save_artefact(
    artefact: TokenizerArtefact, folder: Path | str, metrics: dict[str, Any], *, num_parameters: int
) -> None:
    """Write the artefact folder, atomically; ``num_parameters`` is for the model card."""
    settings = {
        "format": FORMAT,
        "fingerprint": artefact.fingerprint,
        "model": asdict(artefact.config),
        "vq": asdict(artefact.vq),
        "mel": asdict(artefact.mel),
    }
    state = {name: value.detach().cpu().contiguous() for name, value in artefact.weights.items()}
    with atomic_folder(folder) as temporary:
        write_text(temporary / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        artefact.labels.save(temporary / "labels.json")
        write_json(temporary / "metrics.json", metrics)
        write_text(temporary / "README.md", model_card(artefact, metrics, num_parameters))


def model_card(artefact: TokenizerArtefact, metrics: dict[str, Any], num_parameters: int) -> str:
    """The text of the artefact's README.md."""
    config, vq = artefact.config, artefact.vq
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    losses = ["the CTC loss"] if config.ctc_weight else []
    losses += ["the cross-entropy of an attention decoder"] if config.attention_weight else []
    losses += ["a commitment loss"] if vq.enabled and QUANTISERS[vq.kind].has_commitment else []
    return CARD.format(
        frame_rate=config.frame_rate,
        backbone=BACKBONES[config.backbone].title,
        kind=vq.kind.upper(),
        losses=" and ".join(losses),
        codebook_size=vq.codebook_size,
        parameters=f"{num_parameters:,}",
        chunk=config.chunk,
        latency=config.chunk / config.frame_rate,
        exactness=", with some other tokens than offline: `model.released_rules`" if config.released_rules else "",
        fingerprint=artefact.fingerprint,
        rows="\n".join(f"| {name} | {value:.4g} |" for name, value in numbers.items()),
    )


def load_artefact(folder: Path | str) -> TokenizerArtefact:
    """Read the artefact folder.

    Raises:
        UserError: a file is missing or does not belong.
    """
    root = Path(folder)
    settings = read_settings(root)
    weights = root / "model.safetensors"
    config, vq = part(TokenizerModelConfig, settings, "model", root), part(QuantiserConfig, settings, "vq", root)
    labels, mel = Labels.load(root / "labels.json"), part(LogMelConfig, settings, "mel", root)
    try:
        state = load_file(weights)
    except FileNotFoundError as error:
        raise UserError(str(weights), found="no such file", remedy="give a folder of tokenizer.train") from error
    except Exception as error:  # safetensors has its own exception class
        raise unfitting_weights(root, error) from error
    fingerprint = str(settings.get("fingerprint"))
    return TokenizerArtefact(config=config, vq=vq, mel=mel, labels=labels, weights=state, fingerprint=fingerprint)


def state_digest(settings: list[Any], state: Mapping[str, Tensor]) -> str:
    """A 16-digit hexadecimal digest of settings (plain data) and of tensors by their names."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def unfitting_weights(folder: Path | str, error: Exception) -> UserError:
    """The error for weights that are torn, or of other shapes than config.yaml says."""
    found = f"weights that do not fit config.yaml ({str(error).splitlines()[0]})"
    return UserError(str(Path(folder) / "model.safetensors"), found=found, remedy="restore the folder")


def read_settings(root: Path) -> dict[str, Any]:
    """config.yaml of an artefact folder."""
    file = root / "config.yaml"
    if not file.is_file():
        remedy = "give the artefact folder that tokenizer.train wrote (<out>/artefact)"
        raise UserError(str(root), found="no tokenizer: it has no config.yaml", remedy=remedy)
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        found = f"not YAML ({str(error).splitlines()[0]})"
        raise UserError(str(file), found=found, remedy="restore the file") from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        found = "no speech tokenizer of this format"
        raise UserError(str(file), found=found, remedy="give the artefact folder that tokenizer.train wrote")
    return settings


def part(kind: type[Part], settings: dict[str, Any], name: str, root: Path) -> Part:
    """One section of config.yaml as its dataclass."""
    try:
        return kind(**settings[name])
    except (KeyError, TypeError) as error:
        raise UserError(f"{root / 'config.yaml'}, {name}", found=str(error), remedy="restore the file") from error
