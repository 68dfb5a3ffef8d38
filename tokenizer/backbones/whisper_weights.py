"""Published weights for the Whisper backbone: any Hugging Face Whisper, and the released GLM-4-Voice tokenizer.

| there | here |
|---|---|
| ``[model.]encoder.conv1, conv2`` | ``front.conv1, conv2`` |
| ``[model.]encoder.layers.N`` (N below front_layers) | ``front.layers.N`` |
| ``[model.]encoder.layers.N`` (the last back_layers of a whole encoder) | ``back.layers.0 ...`` |
| ``[model.]encoder.layer_norm`` (whole encoder) | ``back.layer_norm`` |
| ``[model.]decoder.*`` | ``decoder.*``, layers from the first on; label embeddings only of a label set as large |
| ``codebook.weight`` (GLM-4-Voice) | the EMA codebook; its running counts start at the mean use |
| ``embed_positions, embed_positions2`` | checked: they are the sinusoids that are computed here |
| ``ema_count, ema_weight`` (GLM-4-Voice) | left out: they only matter to training, which starts them afresh |

The released tokenizer keeps the 16 layers below its quantiser, so back half and heads stay as they were initialised:
it encodes at once, and needs training to read its tokens. Its names may begin with ``encoder.``, ``model.`` or nothing.
It was trained under rules of its own for the mel and for padding: its weights are taken with
``model.released_rules=true`` only. At 6.25 Hz its second table has 188 positions, ours 187 (`WhisperFront`'s module).
This mapping was tested on random weights of these names and shapes at reduced width, not on the released file itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime.errors import UserError

from .base import LoadedWeights, PostVQEncoder, PreVQEncoder
from .whisper import WhisperBack, WhisperFront
from .whisper_decoder import AttentionDecoder
from .whisper_layers import sinusoids

SOURCE = "the Whisper checkpoint"
Weights = Mapping[str, Tensor]


def load_whisper(front: PreVQEncoder, back: PostVQEncoder, decoder: nn.Module | None, source: str) -> LoadedWeights:
    """Load Whisper or the GLM-4-Voice tokenizer (a `tokenizer.backbones.base.WarmStart`)."""
    assert isinstance(front, WhisperFront) and isinstance(back, WhisperBack)
    weights = read_weights(source)
    codebook = next((value for name, value in weights.items() if name.endswith("codebook.weight")), None)
    if codebook is not None and not front.masks_padding:
        found = "the released GLM-4-Voice tokenizer, whose codes depend on its rules for the mel and for padding"
        raise UserError(source, found=found, remedy="set model.released_rules=true")
    taken = load_halves(front, back, weights)
    if isinstance(decoder, AttentionDecoder) and any("decoder.layers." in name for name in weights):
        taken += load_decoder(decoder, weights)
    return LoadedWeights(", ".join(taken), codebook)


def load_halves(front: WhisperFront, back: WhisperBack, weights: Weights) -> list[str]:
    """The encoder's weights into front and back half; back half only from a whole encoder."""
    encoder = encoder_weights(weights)
    check_positions(encoder, "embed_positions.weight", front.positions)
    check_positions(encoder, "embed_positions2.weight", back.positions)
    numbers = {int(match[1]) for name in encoder if (match := re.match(r"layers\.(\d+)\.", name))}
    num_layers = max(numbers, default=-1) + 1
    num_front, num_back = len(front.layers), len(back.layers)
    if num_layers < num_front:
        found = f"{num_layers} encoder layers"
        raise UserError(SOURCE, found=found, remedy=f"set model.front_layers to at most that (it is {num_front})")
    taken = [load(front.conv1, encoder, "conv1"), load(front.conv2, encoder, "conv2")]
    taken += [load(layer, encoder, f"layers.{number}") for number, layer in enumerate(front.layers)]
    if num_layers >= num_front + num_back:
        first = num_layers - num_back
        taken += [load(layer, encoder, f"layers.{first + number}") for number, layer in enumerate(back.layers)]
        taken.append(load(back.layer_norm, encoder, "layer_norm"))
    elif "codebook.weight" not in encoder:
        found = f"{num_layers} encoder layers"
        remedy = f"set model.front_layers + model.back_layers to at most that (they are {num_front + num_back})"
        raise UserError(SOURCE, found=found, remedy=remedy)
    return taken


def encoder_weights(weights: Weights) -> dict[str, Tensor]:
    """The encoder's weights by their names within it."""
    encoder = {re.sub(r"^(model\.)?(encoder\.)?", "", name): value for name, value in weights.items()}
    return {name: value for name, value in encoder.items() if not name.startswith(("decoder.", "proj_out"))}


def load_decoder(decoder: AttentionDecoder, weights: Weights) -> list[str]:
    """The text decoder's weights; the label embeddings only if there are as many labels."""
    own = {re.sub(r"^(model\.)?decoder\.", "", name): value for name, value in weights.items() if "decoder." in name}
    taken = [load(layer, own, f"layers.{number}") for number, layer in enumerate(decoder.layers)]
    taken += [load(decoder.layer_norm, own, "layer_norm"), load(decoder.embed_positions, own, "embed_positions")]
    embeddings = own.get("embed_tokens.weight")
    if embeddings is not None and embeddings.shape == decoder.embed_tokens.weight.shape:
        taken.append(load(decoder.embed_tokens, own, "embed_tokens"))
    return taken


def load(module: nn.Module, weights: Weights, name: str) -> str:
    """All weights of a module, whose names there begin with ``name``."""
    state = {}
    for own_name, own in module.state_dict().items():
        value = weights.get(f"{name}.{own_name}")
        if value is None:
            raise UserError(SOURCE, found=f"no {name}.{own_name}", remedy="give a Whisper or a GLM-4-Voice tokenizer")
        check_shape(f"{name}.{own_name}", value, own, "model.width, heads, feed_forward and num_mels")
        state[own_name] = value.to(own.dtype)
    module.load_state_dict(state)
    return name


def check_shape(name: str, value: Tensor, own: Tensor, options: str) -> None:
    """Raise a `UserError` unless a weight has the shape of ours."""
    if value.shape != own.shape:
        found = f"{name} of shape {tuple(value.shape)}, but ours has {tuple(own.shape)}"
        raise UserError(SOURCE, found=found, remedy=f"set {options} to the checkpoint's")


def check_positions(weights: Weights, name: str, own: Tensor) -> None:
    """Raise a `UserError` unless a table of positions, if there is one, is the sinusoids'.

    It may have one position more than ours: that of half a token, which ours counts to the next window.
    """
    table = weights.get(name)
    if table is None:
        return
    if len(table) == len(own) + 1:
        table = table[:-1]
    check_shape(name, table, own, "model.positions, frame_rate and width")
    if not torch.allclose(table.float(), sinusoids(*table.shape), atol=1e-2):  # stored in bfloat16, perhaps
        raise UserError(SOURCE, found=f"{name} that is no table of sinusoids", remedy="give a checkpoint of Whisper")


def read_weights(source: str) -> dict[str, Tensor]:
    """The weights of a folder, or of a name on the Hugging Face hub: safetensors, else pytorch_model.bin."""
    from safetensors.torch import load_file

    folder = Path(source)
    if not folder.is_dir():
        if folder.is_absolute() or source.startswith("."):
            raise UserError(source, found="no such folder", remedy="give a folder of weights, or a hub name")
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(source, allow_patterns=["*.safetensors", "pytorch_model*.bin", "*.json"]))
    weights: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    if not weights:
        for file in sorted(folder.glob("pytorch_model*.bin")):
            weights |= torch.load(file, weights_only=True, map_location="cpu")
    if not weights:
        raise UserError(source, found="no *.safetensors and no pytorch_model.bin", remedy="give a folder of weights")
    return weights
