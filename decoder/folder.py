"""Artefact folders of the decoder's models: config.yaml, model.safetensors, metrics.json, README.md (its card)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from runtime.artefact import atomic_folder, write_json, write_text
from runtime.errors import UserError

Part = TypeVar("Part")

USES = {
    "decoder": """from decoder.model import SpeechDecoder

decoder = SpeechDecoder.from_pretrained("{folder}")
audio = decoder.decode(tokens, speaker=decoder.speakers[0])  # (T,) tokens -> (S,) float32 at decoder.sample_rate
with decoder.streaming(speaker=decoder.speakers[0]) as stream:
    first, rest = stream.feed(tokens), stream.finish()  # the same samples, as the tokens come""",
    "vocoder": """from decoder.vocoder import Vocoder

vocoder = Vocoder.from_pretrained("{folder}")
audio = vocoder(mel)  # (B, M, F) log-mel of corpus.audio.mel.LogMel -> (B, hop * F) at vocoder.mel.sample_rate""",
}
SUMMARIES = {
    "decoder": "Speech tokens to a waveform: token encoder, conditional flow matching over the log-mel, iSTFT vocoder.",
    "vocoder": "Log-mel to a waveform: a ConvNeXt stack and an inverse short-time Fourier transform.",
}


def save_artefact(
    folder: Path | str,
    *,
    kind: str,
    config: Mapping[str, Any],
    module: nn.Module,
    metrics: Mapping[str, Any],
    facts: Mapping[str, str],
) -> None:
    """Write the folder atomically.

    Args:
        folder: takes the place of one that is there.
        kind: ``decoder`` or ``vocoder``; checked when it is loaded.
        config: named config dataclasses, enough to build the module again.
        module: its persistent weights and buffers are saved.
        metrics: flat numbers.
        facts: further lines of the model card.
    """
    from omegaconf import OmegaConf
    from safetensors.torch import save_file

    with atomic_folder(folder) as temporary:
        plain = {"kind": kind} | {name: asdict(part) for name, part in config.items()}
        write_text(temporary / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain)))
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        save_file(weights, temporary / "model.safetensors")
        write_json(temporary / "metrics.json", dict(metrics))
        write_text(temporary / "README.md", model_card(kind, Path(folder).name, facts, metrics))


def model_card(kind: str, folder: str, facts: Mapping[str, str], metrics: Mapping[str, Any]) -> str:
    """The README.md of an artefact."""
    lines = ["---", "library_name: speechweave", "tags: [speech, audio-generation]", "---", f"# speechweave {kind}", ""]
    lines += [SUMMARIES[kind], "", "```python", USES[kind].format(folder=folder), "```", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    if metrics:
        lines += ["", "| metric | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in metrics.items() if isinstance(value, int | float)]
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Artefact:
    """A valid artefact folder, with its config as plain data."""

    folder: Path
    config: dict[str, Any]

    def part(self, name: str, kind: type[Part]) -> Part:
        """The config dataclass saved under ``name``."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            value = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), self.config[name]))
        except (KeyError, OmegaConfBaseException) as error:
            found = f"no sound config of {name} ({' '.join(str(error).split())})"
            remedy = "it was written by another version: train it again"
            raise UserError(str(self.folder / "config.yaml"), found=found, remedy=remedy) from error
        assert isinstance(value, kind)
        return value

    def load_weights(self, module: nn.Module) -> None:
        """Fill ``module`` from model.safetensors."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.folder / "model.safetensors"
        try:
            weights = load_file(file)
            module.load_state_dict(weights)
        except (SafetensorError, OSError, RuntimeError) as error:
            found = f"weights that do not fit config.yaml ({str(error).splitlines()[0]})"
            raise UserError(str(file), found=found, remedy="copy the whole folder again, or train it again") from error
        broken = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
        if broken:
            found = f"{len(broken)} weights that are not finite, {broken[0]} the first"
            raise UserError(str(file), found=found, remedy="train it again with a lower fit.learning_rate")


def load_artefact(folder: Path | str, *, kind: str) -> Artefact:
    """Open an artefact folder of this kind.

    Raises:
        UserError: no folder, no config.yaml, another kind, or an unreadable config.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    root = Path(folder)
    stage = {"decoder": "decoder.train", "vocoder": "decoder.train_vocoder"}[kind]
    remedy = f"give the artefact folder that {stage} writes (<out>/artefact)"
    for file in ("config.yaml", "model.safetensors"):
        if not (root / file).is_file():
            raise UserError(str(root), found=f"no {file}, so no {kind}", remedy=remedy)
    try:
        config = OmegaConf.to_container(OmegaConf.load(root / "config.yaml"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(str(root / "config.yaml"), found="not YAML", remedy="restore or remake the folder") from error
    if not isinstance(config, dict) or config.get("kind") != kind:
        found = f"an artefact of kind {config.get('kind') if isinstance(config, dict) else None!r}, not {kind!r}"
        raise UserError(str(root), found=found, remedy=remedy)
    return Artefact(root, {str(name): value for name, value in config.items()})
