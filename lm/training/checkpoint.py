"""Megatron distributed checkpoints (torch_dist), each a folder that appears whole or not at all.

::

    <out>/checkpoint/step_00000200/   .metadata *.distcp common.pt    weights and optimizer, in shards
                                      checkpoint.json                 step, shape, vocabulary, layout, skipped steps

A kept checkpoint (the last step, ``keep_every``, a termination) loads under any layout. With the distributed optimizer
a frequent one holds each data parallel process's part of the optimizer as it lies in memory: nothing is gathered, and
it loads under any number of model copies, but of the same tensor and pipeline layout. In both, data parallel processes
share the writing, and the reading. Data position and random states are functions of (seed, step), so the step is all
that is kept of them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.dict_utils import extract_matching_values, nested_values
from megatron.core.dist_checkpointing.mapping import CheckpointingException, ShardedBase, ShardedTensorFactory
from megatron.core.dist_checkpointing.serialization import (
    get_default_load_sharded_strategy,
    get_default_save_sharded_strategy,
    load_sharded_metadata,
)
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelLoadStrategyWrapper,
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.optimizer import MegatronOptimizer
from torch.distributed.checkpoint.api import CheckpointException

from runtime.artefact import read_json, write_json
from runtime.errors import UserError

from .checkpoint_writer import own_writer, schedule
from .model_config import LmModelConfig
from .optimizer import BY_COPY, RESHARDABLE, allocate_states, load_optimizer, optimizer_state
from .parallel import ParallelConfig
from .processes import Processes
from .speech_config import SpeechRecord
from .speech_input import PREFIX

RECORD_FILE = "checkpoint.json"
EXTRA_STATE = "_extra_state"  # end of the keys of what modules keep besides parameters
SAME_BUCKETS = 40  # up to this many copies megatron-core lays parameters into buckets of one size, then in larger ones
BUCKET_LAYOUT = ("tensor", "pipeline", "virtual", "overlap_grad_reduce", "bucket_size")  # what buckets depend on
MOST_NAMED = 8  # keys in an error


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """Contents of ``checkpoint.json``: the run and the model that a checkpoint was saved from.

    Attributes:
        step: optimizer steps done.
        model: the shape.
        vocabulary: fingerprint.
        vocabulary_size: padded number of ids.
        sequence_length: tokens of a packed sequence.
        parallel: the layout it was saved under (for information).
        precision: of the weights.
        skipped_steps: steps skipped so far.
        speech: connector and encoder of a model that reads speech as vectors.
        sharding: of the distributed optimizer's state.
        copies: of the model that ran (context parallel parts counted); 0: unknown.
        clips: read so far, where unreadable ones are tolerated.
        unreadable_clips: those among them that were left out.
    """

    step: int
    model: LmModelConfig
    vocabulary: str
    vocabulary_size: int
    sequence_length: int
    parallel: ParallelConfig
    precision: str
    skipped_steps: int = 0
    speech: SpeechRecord | None = None
    sharding: str = RESHARDABLE
    copies: int = 0
    clips: int = 0
    unreadable_clips: int = 0

    @classmethod
    def read(cls, folder: Path) -> CheckpointRecord:
        """Read ``checkpoint.json`` of a checkpoint."""
        content = read_json(folder / RECORD_FILE)
        try:
            model, parallel = LmModelConfig(**content.pop("model")), ParallelConfig(**content.pop("parallel"))
            speech = SpeechRecord.from_plain(content.pop("speech", None))
            return cls(model=model, parallel=parallel, speech=speech, **content)
        except (KeyError, TypeError) as error:
            found = f"not a checkpoint of this version ({error})"
            raise UserError(str(folder), found=found, remedy="train again, or use the version that wrote it") from error


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in ``folder``, or None."""
    found = {int(match[1]): entry for entry in _entries(folder) if (match := re.fullmatch(r"step_(\d+)", entry.name))}
    return found[max(found)] if found else None


def find_checkpoint(path: Path | str) -> Path:
    """The newest checkpoint of an lm.train output folder (or the checkpoint folder itself).

    Raises:
        UserError: there is none.
    """
    root = Path(path)
    if (root / RECORD_FILE).is_file():
        return root
    found = latest_checkpoint(root / "checkpoint") or latest_checkpoint(root)
    if found is None:
        remedy = "give the output folder of an lm.train run that has saved at least once"
        raise UserError(str(root), found="no language model checkpoint", remedy=remedy)
    return found


def check_shape(
    record: CheckpointRecord,
    model: LmModelConfig,
    vocabulary: str,
    vocabulary_size: int,
    path: Path,
    speech: SpeechRecord | None = None,
) -> None:
    """Refuse a checkpoint of another shape, vocabulary or speech input, naming what differs.

    A text model goes with any speech input, and a model that reads speech goes on as a text model.

    Raises:
        UserError: they differ.
    """
    ignored = ("dropout", "init_std")  # no part of the weights' shape
    saved, wanted = asdict(record.model), asdict(model)
    differing = [name for name in wanted if wanted[name] != saved[name] and name not in ignored]
    if differing:
        words = ", ".join(f"model.{name}={saved[name]} (this run: {wanted[name]})" for name in differing)
        raise UserError(str(path), found=f"a model of another shape: {words}", remedy="give this run that shape")
    if (record.vocabulary, record.vocabulary_size) != (vocabulary, vocabulary_size):
        found = (
            f"a model of vocabulary {record.vocabulary} ({record.vocabulary_size} rows), "
            f"but this run's is {vocabulary} ({vocabulary_size} rows)"
        )
        remedy = "give the vocabulary of its training, or import the text model with this one (lm.import_hf)"
        raise UserError(str(path), found=found, remedy=remedy)
    if record.speech is not None and speech is not None:
        record.speech.check_shape(speech, path)


def check_optimizer(
    record: CheckpointRecord, parallel: ParallelConfig, precision: str, path: Path, copies: int
) -> None:
    """Refuse to go on with an optimizer state of another kind: its names and shapes differ.

    Raises:
        UserError: the distributed optimizer or the precision is not that of the checkpoint.
    """
    saved, wanted = record.parallel.distributed_optimizer, parallel.distributed_optimizer
    if saved != wanted:
        found = f"saved with parallel.distributed_optimizer={saved}, but this run has {wanted}".lower()
        remedy = f"set parallel.distributed_optimizer={saved}, or begin from its weights: another out= and init={path}"
        raise UserError(str(path), found=found, remedy=remedy)
    if record.precision != precision:
        found = f"saved with train.precision={record.precision}, but this run has {precision}"
        remedy = f"set train.precision={record.precision}, or begin from its weights: another out= and init={path}"
        raise UserError(str(path), found=found, remedy=remedy)
    differing = {name: getattr(record.parallel, name) for name in BUCKET_LAYOUT}
    differing = {name: value for name, value in differing.items() if value != getattr(parallel, name)}
    if max(record.copies, SAME_BUCKETS) != max(copies, SAME_BUCKETS):
        differing["data"] = record.copies
    if record.sharding == BY_COPY and differing:
        words = ", ".join(f"parallel.{name}={value}" for name, value in differing.items())
        found = f"an optimizer state in the parts of its processes, saved with {words}"
        remedy = "go on under that layout and terminate it there (SIGTERM, or its last step): what it then saves loads "
        raise UserError(str(path), found=found, remedy=f"{remedy}under any; or use one that keep_every has kept")


def save_checkpoint(
    folder: Path,
    record: CheckpointRecord,
    chunks: Sequence[torch.nn.Module],
    optimizer: MegatronOptimizer | None,
    processes: Processes,
    *,
    keep: int,
    keep_every: int = 0,
    background: AsyncCallsQueue | None = None,
) -> None:
    """Write ``folder/step_N`` from all processes and drop older ones.

    Args:
        folder: where.
        record: what it is of.
        chunks: the model's chunks on this process.
        optimizer: None saves weights only.
        processes: the open process groups.
        keep: the newest checkpoints that stay.
        keep_every: those at multiples of this many steps stay too; 0: none.
        background: writes while this process goes on, from a copy that the operating system makes as memory changes;
            the folder appears when `lm.training.checkpoint_writer` finishes the save.
    """
    target, temporary = folder / f"step_{record.step:08d}", folder / f".step_{record.step:08d}"
    if processes.rank == 0:
        for unfinished in folder.glob(".step_*"):
            shutil.rmtree(unfinished)
        temporary.mkdir(parents=True)
    processes.barrier()
    state = _model_state(chunks)
    if optimizer is not None:
        state["optimizer"] = optimizer_state(optimizer, state, record.sharding)

    def publish() -> None:
        if processes.rank == 0:
            write_json(temporary / RECORD_FILE, asdict(record))
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
            _drop_old(folder, keep, keep_every)
        processes.barrier()

    with own_writer():
        strategy = FullyParallelSaveStrategyWrapper(get_default_save_sharded_strategy(), _copies())
        request = dist_checkpointing.save(state, str(temporary), strategy, async_sharded_save=True)
    assert request is not None
    request.add_finalize_fn(publish)
    if background is None:
        request.execute_sync()
    else:
        schedule(background, request)


def _drop_old(folder: Path, keep: int, keep_every: int) -> None:
    for old in sorted(folder.glob("step_*"))[:-keep]:
        if not keep_every or int(old.name.removeprefix("step_")) % keep_every:
            shutil.rmtree(old)


def load_checkpoint(path: Path, chunks: Sequence[torch.nn.Module], optimizer: MegatronOptimizer) -> None:
    """Load weights and optimizer, saved under any layout and by local or Transformer Engine's layers.

    Raises:
        UserError: a damaged checkpoint, or one that lacks a weight or an optimizer state.
    """
    allocate_states(optimizer)
    state = _model_state(chunks)
    sharding = CheckpointRecord.read(path).sharding
    state["optimizer"] = optimizer_state(optimizer, state, sharding, is_loading=True)
    loaded = _load(state, path)
    _set_model_state(chunks, loaded)
    load_optimizer(optimizer, loaded["optimizer"])


def load_weights(path: Path, chunks: Sequence[torch.nn.Module]) -> None:
    """Load weights only, saved under any layout and by local or Transformer Engine's layers.

    Of a speech input, what the checkpoint lacks keeps its initial value: connector and encoder where it is a text
    model, the encoder where that was frozen.

    Raises:
        UserError: a damaged checkpoint, or one that lacks a weight.
    """
    _set_model_state(chunks, _load(_model_state(chunks), path, optional=(PREFIX,)))


def _load(state: dict[str, Any], path: Path, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The checkpoint's content for ``state``, without what it may lack: extra states, and keys that begin so."""
    try:
        stored = {entry.key for entry in load_sharded_metadata(str(path)).values()}
        absent, state = extract_matching_values(state, lambda value: not _keys(value) <= stored)
        _check_absent({key for value in nested_values(absent) for key in _keys(value)} - stored, optional, path)
        strategy = FullyParallelLoadStrategyWrapper(get_default_load_sharded_strategy(str(path)), _copies())
        return dist_checkpointing.load(state, str(path), strategy)
    except (CheckpointException, CheckpointingException, OSError, EOFError) as error:
        remedy = "see whether its files can be read; without this folder (move it away) the run begins at an older one"
        raise damaged_checkpoint(path, error, remedy) from error


def _copies() -> dist.ProcessGroup:
    """The processes that hold the same part of the model."""
    return parallel_state.get_data_parallel_group(with_context_parallel=True)


def _keys(value: object) -> set[str]:
    """The keys of a checkpoint that a leaf of a sharded state is read from."""
    if isinstance(value, ShardedTensorFactory):
        return {part.key for part in nested_values(value.build())}
    return {value.key} if isinstance(value, ShardedBase) else set()


def _check_absent(absent: set[str], optional: tuple[str, ...], path: Path) -> None:
    """Refuse a checkpoint that lacks more than it may; on all processes, of which each asks for its own keys.

    Transformer Engine's modules ask for extra states (scales of FP8) that checkpoints of other layers or of another
    precision do not hold; they then begin as those of a new model.
    """
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, {key for key in absent if not key.endswith(EXTRA_STATE)})
    lacking = sorted(key for key in set().union(*everywhere) if not key.startswith(optional))
    if lacking:
        more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
        found = f"no {', '.join(lacking[:MOST_NAMED])}{more}, which this run's model or optimizer has"
        remedy = "the checkpoint is of another model or version: begin with one of this shape, or change model.* to its"
        raise UserError(str(path), found=found, remedy=remedy)


def damaged_checkpoint(path: Path, error: BaseException, remedy: str) -> UserError:
    """The error to raise for a checkpoint that does not load; of ``error`` the first line (it may hold tracebacks)."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return UserError(str(path), found=f"a damaged checkpoint ({line})", remedy=remedy)


def _model_state(chunks: Sequence[torch.nn.Module]) -> dict[str, Any]:
    return {name: inner_model(chunk).sharded_state_dict() for name, chunk in zip(_names(chunks), chunks, strict=True)}


def _set_model_state(chunks: Sequence[torch.nn.Module], state: dict[str, Any]) -> None:
    """``state`` lacks nothing but what `_load` lets a checkpoint lack."""
    for name, chunk in zip(_names(chunks), chunks, strict=True):
        _, unexpected = inner_model(chunk).load_state_dict(state[name], strict=False)
        assert not unexpected, unexpected


def inner_model(chunk: torch.nn.Module) -> Any:
    """The model itself, without the wrappers for data parallel and bf16: names are the same with and without them."""
    while isinstance(inner := getattr(chunk, "module", None), torch.nn.Module):
        chunk = inner
    return chunk


def _names(chunks: Sequence[torch.nn.Module]) -> list[str]:
    """megatron-core's names: virtual stages are numbered."""
    return ["model"] if len(chunks) == 1 else [f"model{number}" for number in range(len(chunks))]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
