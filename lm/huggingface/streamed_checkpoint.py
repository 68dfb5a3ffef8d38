"""Distributed checkpoints written and read one matrix at a time, by one process, without the model in memory.

The model is built on torch's ``meta`` device; its ``sharded_state_dict`` gives the key, offset and shape of each
parameter in a torch_dist checkpoint, and the bytes are streamed. A checkpoint written here loads under any layout like
one of `lm.training.checkpoint`, and a checkpoint that training wrote under any layout is read here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor, ShardedTensorFactory
from megatron.core.dist_checkpointing.strategies.base import SaveShardedStrategy
from torch import Tensor
from torch.distributed.checkpoint import DefaultSavePlanner, FileSystemReader, FileSystemWriter, save
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from lm.training.checkpoint import RECORD_FILE, CheckpointRecord, damaged_checkpoint
from lm.training.model import DTYPES, empty_chunk, transformer_config
from lm.training.parallel import ParallelConfig
from runtime.artefact import atomic_folder, write_json
from runtime.errors import UserError


@dataclass(frozen=True)
class TensorChunk:
    """One chunk of a checkpoint's tensor: ``key``, where it begins in it, and its shape there."""

    key: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]
    whole: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """A parameter of the model: its pieces (two of a joined gate and up), and its own shape."""

    pieces: list[TensorChunk]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CheckpointLayout:
    """The contents of a checkpoint of one model, in the model's order.

    Attributes:
        entries: name of a parameter -> its pieces.
        objects: key -> megatron-core's extra states, which are empty.
    """

    entries: dict[str, Entry]
    objects: dict[str, Any]

    @classmethod
    def of(cls, record: CheckpointRecord) -> CheckpointLayout:
        """The layout of a whole model (process groups must be open)."""
        core = transformer_config(record.model, ParallelConfig(), precision=record.precision, uses_engine=False)
        core.use_cpu_initialization, core.perform_initialization = True, False
        with torch.device("meta"):
            chunk = empty_chunk(
                record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=record.sequence_length
            )
        entries: dict[str, Entry] = {}
        objects: dict[str, Any] = {}
        for name, value in chunk.sharded_state_dict().items():
            if isinstance(value, ShardedObject):
                objects[value.unique_key] = value.data
            elif isinstance(value, ShardedTensorFactory):
                entries[name] = Entry([_piece(part) for part in value.build()], tuple(value.data.shape))
            else:
                assert isinstance(value, ShardedTensor), f"{name}: {type(value)}"
                entries[name] = Entry([_piece(value)], tuple(value.local_shape))
        return cls(entries, objects)


def write_checkpoint(folder: Path, record: CheckpointRecord, names: list[str], matrix: Callable[[str], Tensor]) -> None:
    """Write ``folder/step_N`` (weights only), one parameter after the other.

    Args:
        folder: of checkpoints.
        record: of this one.
        names: all parameters, in the order of writing.
        matrix: from the name to the parameter; called once for each, which is freed when it is written.
    """
    layout = CheckpointLayout.of(record)
    missing = set(layout.entries) ^ set(names)
    assert not missing - {"output_layer.weight"}, missing  # a tied model's is the embedding
    with atomic_folder(folder / f"step_{record.step:08d}") as temporary:
        strategy = _StreamingStrategy(layout, names, matrix, DTYPES[record.precision])
        dist_checkpointing.save({}, str(temporary), strategy)
        write_json(temporary / RECORD_FILE, asdict(record))


class CheckpointTensors:
    """The parameters of a torch_dist checkpoint, read one at a time.

    Args:
        path: of the checkpoint.
        record: its ``checkpoint.json``.

    Raises:
        UserError: a damaged checkpoint, or one of another shape than it says.
    """

    def __init__(self, path: Path, record: CheckpointRecord) -> None:
        self.path, self.layout, self.dtype = path, CheckpointLayout.of(record), DTYPES[record.precision]
        self.reader = FileSystemReader(path)
        with explained_damage(path):
            self.metadata = self.reader.read_metadata()
            self.reader.set_up_storage_reader(self.metadata, is_coordinator=True)

    def read(self, name: str) -> Tensor:
        """One parameter, whole, in the checkpoint's type."""
        entry = self.layout.entries[name]
        parts = [self._read(piece) for piece in entry.pieces]
        return (parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])).view(entry.shape)

    def below(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose keys begin with ``prefix``, whole, each in its own type."""
        found = {}
        for key, stored in self.metadata.state_dict_metadata.items():
            if key.startswith(prefix) and isinstance(stored, TensorStorageMetadata):
                shape = tuple(stored.size)
                found[key] = self._stored(TensorChunk(key, (0,) * len(shape), shape, shape))
        return found

    def _read(self, piece: TensorChunk) -> Tensor:
        return self._stored(piece).to(self.dtype)

    def _stored(self, piece: TensorChunk) -> Tensor:
        stored = self.metadata.state_dict_metadata.get(piece.key)
        if not isinstance(stored, TensorStorageMetadata) or tuple(stored.size) != piece.whole:
            found = f"{piece.key} of shape {getattr(stored, 'size', None)} where {piece.whole} is expected"
            raise UserError(str(self.path), found=found, remedy="use the version that wrote the checkpoint")
        target = torch.empty(piece.shape, dtype=stored.properties.dtype)
        wanted = ChunkStorageMetadata(torch.Size(piece.offset), torch.Size(piece.shape))
        with explained_damage(self.path):
            items = create_read_items_for_chunk_list(piece.key, stored, [wanted])
            self.reader.read_data(LoadPlan(items), _TensorTarget(target)).wait()
        return target


def _piece(tensor: ShardedTensor) -> TensorChunk:
    # megatron-core stacks the layers' tensors: the layer is an axis in front that the local tensor does not have.
    shape = (*(1,) * tensor.prepend_axis_num, *tensor.local_shape)
    return TensorChunk(tensor.key, tuple(tensor.global_offset), shape, tuple(tensor.global_shape))


class _StreamingStrategy(SaveShardedStrategy):
    """Save strategy of megatron-core that streams the matrices; the state it is given is empty and ignored."""

    def __init__(
        self, layout: CheckpointLayout, names: list[str], matrix: Callable[[str], Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__("torch_dist", 1)
        self.planner = _StreamingPlanner(layout, names, matrix, dtype)

    @property
    def can_handle_sharded_objects(self) -> bool:
        return True

    def save(self, sharded_state_dict: Any, checkpoint_dir: Any) -> None:
        save({}, storage_writer=FileSystemWriter(checkpoint_dir), planner=self.planner, no_dist=True)


class _StreamingPlanner(DefaultSavePlanner):
    """Save planner that announces every piece, and fetches its bytes when the writer asks for them."""

    def __init__(
        self, layout: CheckpointLayout, names: list[str], matrix: Callable[[str], Tensor], dtype: torch.dtype
    ) -> None:
        super().__init__(flatten_state_dict=False)
        self.layout, self.names, self.matrix, self.dtype = layout, names, matrix, dtype
        self.held: tuple[str, Tensor] | None = None
        self.owner: dict[MetadataIndex, tuple[str, int]] = {}

    def create_local_plan(self) -> SavePlan:
        """One item a piece, and one for each of megatron-core's (empty) extra states."""
        items = [WriteItem(MetadataIndex(key), WriteItemType.BYTE_IO) for key in self.layout.objects]
        for name in self.names:
            for number, piece in enumerate(self.layout.entries[name].pieces):
                index = MetadataIndex(piece.key, torch.Size(piece.offset))
                chunk = ChunkStorageMetadata(torch.Size(piece.offset), torch.Size(piece.shape))
                properties = TensorProperties(dtype=self.dtype)
                data = TensorWriteData(chunk, properties, torch.Size(piece.whole))
                items.append(WriteItem(index, WriteItemType.SHARD, tensor_data=data))
                self.owner[MetadataIndex(piece.key, torch.Size(piece.offset))] = (name, number)
        self.plan = SavePlan(items)
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> Tensor | io.BytesIO:
        """The bytes of one item; the pieces of a parameter follow each other, so it is fetched once."""
        if write_item.type == WriteItemType.BYTE_IO:
            buffer = io.BytesIO()
            torch.save([self.layout.objects[write_item.index.fqn]], buffer)  # megatron-core keeps lists
            return buffer
        name, number = self.owner[MetadataIndex(write_item.index.fqn, write_item.index.offset)]
        if self.held is None or self.held[0] != name:
            self.held = None  # free the one before, so that never two are in memory
            self.held = (name, self.matrix(name).to(self.dtype))
        entry, matrix = self.layout.entries[name], self.held[1]
        assert tuple(matrix.shape) == entry.shape, f"{name}: {tuple(matrix.shape)} is not {entry.shape}"
        begin = sum(_size(piece) for piece in entry.pieces[:number])
        piece = entry.pieces[number]
        part = matrix.contiguous().view(-1)[begin : begin + _size(piece)].view(piece.shape)
        if number + 1 == len(entry.pieces):
            self.held = None
        return part


def _size(piece: TensorChunk) -> int:
    return int(torch.Size(piece.shape).numel())


class _TensorTarget(LoadPlanner):
    """Load planner that fills one tensor."""

    def __init__(self, target: Tensor) -> None:
        self.target = target

    def set_up_planner(self, *_: Any, **__: Any) -> None:
        """Nothing to prepare."""

    def create_local_plan(self) -> LoadPlan:
        raise NotImplementedError

    def create_global_plan(self, global_plan: list[LoadPlan]) -> list[LoadPlan]:
        raise NotImplementedError

    def finish_plan(self, central_plan: LoadPlan) -> LoadPlan:
        raise NotImplementedError

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        raise NotImplementedError

    def resolve_tensor(self, read_item: ReadItem) -> Tensor:
        """The part of the target an item fills."""
        part = self.target
        for axis, (start, length) in enumerate(zip(read_item.dest_offsets, read_item.lengths, strict=True)):
            part = part.narrow(axis, start, length)
        return part

    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        """Nothing to do: the tensor is a view of the target."""


@contextmanager
def explained_damage(path: Path) -> Iterator[None]:
    """Turn errors of reading the checkpoint ``path`` into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds for truncated or missing files
        raise damaged_checkpoint(path, error, "use an older checkpoint, or train again") from error
