"""The tokenizer's artefact: a folder of config.yaml, model.safetensors, labels.json, metrics.json and a model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from corpus.audio.mel_config import LogMelConfig
from runtime.artefact import atomic_folder, write_json, write_text
from runtime.errors import UserError

from .config import QuantiserConfig, TokenizerModelConfig
from .data.labels import Labels

if TYPE_CHECKING:
    from .model import SpeechTokenizer

FORMAT = 1
Part = TypeVar("Part", TokenizerModelConfig, QuantiserConfig, LogMelConfig)

CARD = """---
library_name: speechweave
tags: [speech, speech-tokenizer, automatic-speech-recognition]
---
# Speech tokenizer, {frame_rate} tokens a second, {codebook_size} codes

An ASR encoder ({backbone}, {parameters} parameters) cut in two by a quantiser ({kind}), trained with
{losses}, after *Scaling Speech-Text Pre-training with Synthetic Interleaved Data* (arXiv 2411.17607).
It streams in chunks of {chunk} tokens ({latency:.2f} s).

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


def save_tokenizer(tokenizer: SpeechTokenizer, folder: Path | str, metrics: dict[str, Any]) -> None:
    """Write the artefact folder, atomically."""
    from safetensors.torch import save_file

    settings = {
        "format": FORMAT,
        "fingerprint": tokenizer.fingerprint,
        "model": asdict(tokenizer.config),
        "vq": asdict(tokenizer.vq),
        "mel": asdict(tokenizer.log_mel.config),
    }
    state = {name: value.detach().cpu().contiguous() for name, value in tokenizer.state_dict().items()}
    with atomic_folder(folder) as temporary:
        write_text(temporary / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})
        tokenizer.labels.save(temporary / "labels.json")
        write_json(temporary / "metrics.json", metrics)
        write_text(temporary / "README.md", model_card(tokenizer, metrics))


def model_card(tokenizer: SpeechTokenizer, metrics: dict[str, Any]) -> str:
    """The text of the artefact's README.md."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    heads = {"the CTC loss": tokenizer.head, "the cross-entropy of an attention decoder": tokenizer.decoder}
    losses = [name for name, head in heads.items() if head is not None]
    losses += ["a commitment loss"] if tokenizer.vq.enabled and tokenizer.vq.kind != "fsq" else []
    return CARD.format(
        frame_rate=tokenizer.frame_rate,
        backbone={"fastconformer": "FastConformer", "whisper": "Whisper, causal by blocks"}[tokenizer.config.backbone],
        kind=tokenizer.vq.kind.upper(),
        losses=" and ".join(losses),
        codebook_size=tokenizer.codebook_size,
        parameters=f"{sum(parameter.numel() for parameter in tokenizer.parameters()):,}",
        chunk=tokenizer.config.chunk,
        latency=tokenizer.config.chunk / tokenizer.frame_rate,
        fingerprint=tokenizer.fingerprint,
        rows="\n".join(f"| {name} | {value:.4g} |" for name, value in numbers.items()),
    )


def load_tokenizer(folder: Path | str, device: str = "cpu") -> SpeechTokenizer:
    """Read the artefact folder.

    Raises:
        UserError: a file is missing, does not belong, or was changed.
    """
    from safetensors.torch import load_file

    from .model import SpeechTokenizer

    root = Path(folder)
    settings = read_settings(root)
    tokenizer = SpeechTokenizer(
        part(TokenizerModelConfig, settings, "model", root),
        part(QuantiserConfig, settings, "vq", root),
        Labels.load(root / "labels.json"),
        mel=part(LogMelConfig, settings, "mel", root),
    )
    weights = root / "model.safetensors"
    try:
        tokenizer.load_state_dict(load_file(weights))
    except FileNotFoundError as error:
        raise UserError(str(weights), found="no such file", remedy="give a folder of tokenizer.train") from error
    except Exception as error:  # safetensors has its own exception class, torch raises RuntimeError
        found = f"weights that do not fit config.yaml ({str(error).splitlines()[0]})"
        raise UserError(str(weights), found=found, remedy="restore the folder") from error
    if tokenizer.fingerprint != settings.get("fingerprint"):
        found = f"weights of fingerprint {tokenizer.fingerprint}, config.yaml says {settings.get('fingerprint')}"
        raise UserError(str(root), found=found, remedy="restore the folder: its files come from different tokenizers")
    return tokenizer.to(device).eval()


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
