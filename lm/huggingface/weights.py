"""The safetensors files of a Hugging Face model: read one tensor (or block of rows) at a time, written shard by shard.

::

    model.safetensors                                    a small model
    model-00001-of-00003.safetensors ...                 a larger one, with
    model.safetensors.index.json                         {"weight_map": {name: file}, "metadata": {"total_size": ...}}

Files are mapped into memory only while one tensor is copied out of them, so a model of any size passes through in the
memory of its largest tensor (reading) or of one shard (writing).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from runtime.artefact import write_json
from runtime.errors import UserError

INDEX_FILE = "model.safetensors.index.json"


class HuggingFaceWeights:
    """The tensors of a model's folder, by name.

    Args:
        folder: holds ``*.safetensors`` and, for more than one, their index.

    Attributes:
        files: name of a tensor -> its file.

    Raises:
        UserError: no safetensors, or a file of the index that is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX_FILE
        if index.is_file():
            listed = _read_index(index)
            files = sorted({folder / name for name in listed.values()})
        else:
            listed, files = {}, sorted(folder.glob("*.safetensors"))
        if not files:
            remedy = "give a model saved as safetensors (save_pretrained makes them)"
            raise UserError(str(folder), found="no *.safetensors", remedy=remedy)
        self.files: dict[str, Path] = {}
        for file in files:
            with self._open(file) as tensors:
                self.files |= dict.fromkeys(tensors.keys(), file)
        for name, place in listed.items():
            if self.files.get(name) != folder / place:
                found = f"no tensor {name}, which {INDEX_FILE} says is there"
                raise UserError(str(folder / place), found=found, remedy="copy or download the model again")

    def check_names(self, wanted: set[str]) -> None:
        """Refuse a model that has not just the tensors ``wanted``: it is another architecture.

        Raises:
            UserError: names the first tensor that is missing or has no place.
        """
        harmless = {"lm_head.weight"}  # a tied model's may be there twice
        missing = sorted(wanted - set(self.files))
        strange = sorted(name for name in set(self.files) - wanted - harmless if not name.endswith("inv_freq"))
        if missing or strange:
            found = f"no tensor {missing[0]}" if missing else f"a tensor {strange[0]} that has no place"
            remedy = "the files hold another architecture than config.json says, or not the whole model"
            raise UserError(str(self.folder), found=f"{found} in its safetensors files", remedy=remedy)

    def read(self, name: str) -> Tensor:
        """A copy of one tensor."""
        with self._open(self.files[name]) as tensors:
            return cast(Tensor, tensors.get_tensor(name).clone())

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """A copy of rows ``start`` to ``stop`` of a matrix."""
        with self._open(self.files[name]) as tensors:
            return cast(Tensor, tensors.get_slice(name)[start:stop].clone())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        with self._open(self.files[name]) as tensors:
            return tuple(tensors.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor."""
        return self.read_rows(name, 0, 1).dtype

    def _open(self, file: Path) -> Any:
        from safetensors import SafetensorError, safe_open

        if not file.is_file():
            remedy = f"copy or download the model again: {INDEX_FILE} names this shard"
            raise UserError(str(file), found="no such file", remedy=remedy)
        try:
            return safe_open(file, framework="pt")
        except (SafetensorError, OSError) as error:
            remedy = "copy or download it again: it is broken or cut off"
            raise UserError(str(file), found=f"no safetensors file ({error})", remedy=remedy) from error


class SafetensorsWriter:
    """Writes tensors as they come, a new file whenever the next one would make the present file too large.

    Args:
        folder: where; `close` names the files and writes the index.
        shard_size: most bytes of a file (a larger tensor is a file of its own).
    """

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder, self.shard_size = folder, shard_size
        self.pending: dict[str, Tensor] = {}
        self.pending_size = self.total_size = 0
        self.shards: list[list[str]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Take one tensor; it is held until its shard is full."""
        size = tensor.numel() * tensor.element_size()
        if self.pending and self.pending_size + size > self.shard_size:
            self._flush()
        self.pending[name] = tensor
        self.pending_size += size
        self.total_size += size

    def close(self) -> None:
        """Write what is pending, give the files their final names and write the index."""
        self._flush()
        count = len(self.shards)
        if count == 1:
            self._path(0).rename(self.folder / "model.safetensors")
            return
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self.shards):
            file = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            self._path(number).rename(self.folder / file)
            weight_map |= dict.fromkeys(names, file)
        index = {"metadata": {"total_size": self.total_size}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(self.folder / INDEX_FILE, index)

    def _flush(self) -> None:
        from safetensors.torch import save_file

        if self.pending:
            path = self._path(len(self.shards))
            save_file(self.pending, path, metadata={"format": "pt"})
            path.chmod(0o644)
            self.shards.append(list(self.pending))
            self.pending, self.pending_size = {}, 0

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.safetensors"


def _read_index(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(str(file), found=f"no index ({error})", remedy="copy or download the model again") from error
