"""Weights of any NeMo FastConformer for the FastConformer backbone: its first layers before the VQ, its last behind.

``source`` is a ``.nemo`` file (read without NeMo's classes), or a name that NeMo's ``from_pretrained`` knows (it
downloads the model; that way needs the network, and no test here takes it).

| there (``encoder.``) | here |
|---|---|
| ``pre_encode.conv`` | front half's; the stages that both have (another frame rate has more or fewer) |
| ``pre_encode.out`` | front half's, times sqrt(width) if the checkpoint scales its input (``xscaling``) |
| ``layers.N`` | front half's, N below front_layers |
| ``layers.N`` (the last back_layers) | back half's |
| ``conv.batch_norm`` | taken from a layer norm only: batch norm is another function, its place starts as 1 and 0 |
| no biases (``use_bias: false``) | zero |

Streaming checkpoints (causal, layer norm) fit as they are. Others were trained with centred subsampling: its output
matrix has one place in frequency fewer, and goes to the upper places (a shift of one mel bin). Our front end is not
NeMo's (no pre-emphasis, no normalisation by utterance): either way the tokenizer must be trained further.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn

from runtime.errors import UserError

from .base import LoadedWeights, PostVQEncoder, PreVQEncoder
from .fastconformer import FastConformerBack, FastConformerFront
from .nemo import quiet_nemo

NORM = "conv.batch_norm."


class NemoEncoder(NamedTuple):
    """The encoder of a checkpoint.

    Attributes:
        weights: by name, without ``encoder.``.
        config: the section ``encoder`` of its config.
        source: where it came from, for errors.
        preprocessor: the section ``preprocessor``, the options of NeMo's mel front end.
        mel_weights: the buffers of that front end, by name.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    source: str
    preprocessor: dict[str, Any]
    mel_weights: dict[str, Tensor]

    @property
    def num_layers(self) -> int:
        """Number of Conformer layers."""
        return 1 + max((int(name.split(".")[1]) for name in self.weights if name.startswith("layers.")), default=-1)


def load_nemo(front: PreVQEncoder, back: PostVQEncoder, decoder: nn.Module | None, source: str) -> LoadedWeights:
    """Load a NeMo checkpoint (a `tokenizer.backbones.base.WarmStart`); the text decoder stays as it is."""
    assert isinstance(front, FastConformerFront) and isinstance(back, FastConformerBack)
    left = load_encoders(front, back, source)
    return LoadedWeights("both halves" + (f", but for {', '.join(left)}" if left else ""))


def load_encoders(front: FastConformerFront, back: FastConformerBack, source: str) -> list[str]:
    """Load the checkpoint's weights; returns the names of our weights that were left as they were initialised."""
    nemo = read_nemo(source)
    num_front, num_back = len(front.encoder.layers), len(back.encoder.layers)
    if nemo.num_layers < num_front + num_back:
        remedy = f"set model.front_layers + model.back_layers to at most that (they are {num_front + num_back})"
        raise UserError(source, found=f"{nemo.num_layers} encoder layers", remedy=remedy)
    left = [f"pre_encode.{name}" for name in load_subsampling(front.encoder.pre_encode, nemo)]
    first = nemo.num_layers - num_back
    for half, layers, start in (("front", front.encoder.layers, 0), ("back", back.encoder.layers, first)):
        for number, layer in enumerate(layers):
            left += [f"{half}.layers.{number}.{name}" for name in load_layer(layer, nemo, start + number)]
    return left


def load_layer(layer: nn.Module, nemo: NemoEncoder, number: int) -> list[str]:
    """One Conformer layer; returns the names that were left alone."""
    prefix = f"layers.{number}."
    has_batch_norm = f"{prefix}{NORM}running_mean" in nemo.weights
    left = []
    for name, own in layer.state_dict().items():
        value = nemo.weights.get(prefix + name)
        if has_batch_norm and name.startswith(NORM):
            left.append(name)
        elif value is not None:
            check_shape(prefix + name, value, own, nemo.source)
            own.copy_(value)
        elif name.endswith("bias"):
            own.zero_()
        else:
            raise UserError(nemo.source, found=f"no encoder.{prefix}{name}", remedy="give a FastConformer of NeMo")
    return left


def load_subsampling(subsampling: nn.Module, nemo: NemoEncoder) -> list[str]:
    """The strided convolutions and their output matrix; returns the names that were left alone."""
    scale = 1.0
    if nemo.config.get("xscaling", True):  # NeMo's default
        scale = float(nemo.config["d_model"]) ** 0.5
    left = []
    for name, own in subsampling.state_dict().items():
        value = nemo.weights.get(f"pre_encode.{name}")
        if value is None or (name != "out.weight" and value.shape != own.shape):
            left.append(name)
        elif name == "out.bias":
            own.copy_(value * scale)
        elif name != "out.weight":
            own.copy_(value)
        elif not load_output(own, value * scale, channels=int(nemo.config["subsampling_conv_channels"])):
            left.append(name)
    return left


def load_output(own: Tensor, value: Tensor, channels: int) -> bool:
    """The output matrix (D, channels x places), aligned at the upper end; False if another subsampling made it."""
    if own.shape[0] != value.shape[0] or own.shape[1] % channels or value.shape[1] % channels:
        return False
    places, there = own.shape[1] // channels, value.shape[1] // channels
    if there not in (places, places - 1):
        return False
    own.zero_()
    own.unflatten(1, (channels, places))[:, :, places - there :] = value.unflatten(1, (channels, there))
    return True


def check_shape(name: str, value: Tensor, own: Tensor, source: str) -> None:
    """Raise a `UserError` unless a weight has the shape of ours."""
    if value.shape != own.shape:
        found = f"encoder.{name} of shape {tuple(value.shape)}, but ours has {tuple(own.shape)}"
        remedy = "set model.width, heads, feed_forward and conv_kernel to the checkpoint's"
        raise UserError(source, found=found, remedy=remedy)


def read_nemo(source: str) -> NemoEncoder:
    """The encoder of a ``.nemo`` file or of a model that NeMo knows by name."""
    if source.endswith(".nemo"):
        weights, config = read_archive(Path(source))
    else:
        weights, config = download(source)
    own, mel = (
        {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        for prefix in ("encoder.", "preprocessor.")
    )
    encoder, preprocessor = (dict(config.get(section) or {}) for section in ("encoder", "preprocessor"))
    if not own or "d_model" not in encoder:
        raise UserError(source, found="no Conformer encoder", remedy="give a FastConformer of NeMo")
    return NemoEncoder(own, encoder, source, preprocessor, mel)


def read_archive(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and config of a ``.nemo`` file, a tar archive."""
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="give a .nemo file")
    try:
        with tarfile.open(file) as archive, tempfile.TemporaryDirectory() as folder:
            for name in ("model_config.yaml", "model_weights.ckpt"):
                member = next(entry for entry in archive if Path(entry.name).name == name)
                member.name = name
                archive.extract(member, folder, filter="data")
            config = yaml.safe_load((Path(folder) / "model_config.yaml").read_text(encoding="utf-8"))
            weights = torch.load(Path(folder) / "model_weights.ckpt", weights_only=True, map_location="cpu")
            return weights, config or {}
    except (tarfile.TarError, StopIteration, yaml.YAMLError) as error:
        raise UserError(str(file), found=f"no checkpoint of NeMo ({error})", remedy="give a .nemo file") from error


def download(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and config of a model that NeMo fetches from its catalogue or the Hugging Face hub."""
    quiet_nemo()
    from nemo.collections.asr.models import ASRModel
    from omegaconf import OmegaConf

    try:
        model = ASRModel.from_pretrained(model_name=name, map_location="cpu")
    except Exception as error:  # NeMo, the hub and the network each raise their own
        found = f"no model that NeMo could fetch ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise UserError(name, found=found, remedy="give the path of a .nemo file, or a name of NeMo's") from error
    config = OmegaConf.to_container(model.cfg, resolve=True)
    assert isinstance(config, dict)
    return model.state_dict(), {str(key): value for key, value in config.items()}
