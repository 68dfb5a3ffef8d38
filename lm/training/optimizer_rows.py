"""State of the distributed optimizer in whole rows of each parameter: what a checkpoint holds that any layout loads.

Each data parallel process keeps one stretch of a bucket, in which parameters lie end to end, so that a stretch begins
and ends inside of rows::

    rows of a parameter     [  0  ][  1  ][  2  ][  3  ][  4  ]
    stretches of processes  --- 0 ------|----- 1 ------|-- 2 --
    rows that each writes      0, 1           2, 3         4

A row is written by the process that holds its beginning, which gets the rest from those behind it: less than a row of
each parameter. megatron-core 0.16.1 gathers everything on every process instead, and counts the places in a buffer of
several buckets without the padding between these, so that a parameter behind padding gets its neighbours' state.

Shapes: R rows of a parameter (on this process of the model), C elements of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.dist_checkpointing.utils import extract_sharded_tensors_and_factories
from torch import Tensor

STATES = ("param", "exp_avg", "exp_avg_sq")
PREFIX = "optimizer.state"


@dataclass(frozen=True)
class Stretches:
    """Stretches of one parameter, in elements of it.

    Attributes:
        bounds: where the stretch of each process begins and ends; begin = end of one that holds none of it.
        width: C.
    """

    bounds: list[tuple[int, int]]
    width: int

    def owned(self, rank: int) -> tuple[int, int]:
        """The elements of the rows that begin in the stretch of process ``rank``."""
        size = self.bounds[-1][1]
        begin, end = (min(size, -(-bound // self.width) * self.width) for bound in self.bounds[rank])
        return begin, end

    def sent(self, source: int, target: int) -> tuple[int, int]:
        """The elements that ``source`` holds of the rows that ``target`` writes."""
        (begin, end), (first, last) = self.bounds[source], self.owned(target)
        return max(begin, first), max(max(begin, first), min(end, last))


def sharded_rows(optimizer: Any, model_state: dict[str, Any], *_: Any, **__: Any) -> dict[str, ShardedTensor]:
    """Of megatron-core's distributed optimizer, its state in whole rows; called by all processes of the model copies.

    Args:
        optimizer: a `DistributedOptimizer` whose states are there.
        model_state: the model's sharded state, whose keys and shapes the state's are made from.
    """
    group = optimizer.data_parallel_group
    rank, size = group.rank(), group.size()
    parameters = list(_stretches(optimizer, size))
    own = [_own_states(optimizer, parameter, stretches, rank) for parameter, stretches in parameters]
    tails = _exchange_tails([stretches for _, stretches in parameters], own, rank, size, optimizer)
    known, _ = extract_sharded_tensors_and_factories(model_state)
    by_parameter = {entry.data: entry for entry in nested_values(known)}
    shards: dict[str, ShardedTensor] = {}
    for (parameter, stretches), states, tail in zip(parameters, own, tails, strict=True):
        begin, end = stretches.owned(rank)
        first, last = stretches.bounds[rank]
        for number, name in enumerate(STATES):
            whole = (end - begin if end <= last else last - begin) // stretches.width * stretches.width
            held = states[number][begin - first :]
            blocks = [(begin, held[:whole])]
            if end > begin + whole:  # one row, whose rest came from the others
                blocks.append((begin + whole, torch.cat([held[whole:].cpu(), tail[number]])))
            for place, values in blocks:
                for shard in _cut(by_parameter[parameter], name, parameter, place // stretches.width, values):
                    shards[str(len(shards))] = shard
    return shards


def _stretches(optimizer: Any, size: int) -> Iterator[tuple[Tensor, Stretches]]:
    """Parameters in the order of the buffers, the same on all processes."""
    for buffer in optimizer.buffers:
        for parameter, (start, end, bucket_number) in buffer.param_index_map.items():
            bucket = buffer.buckets[bucket_number]
            length, place = bucket.grad_data.numel() // size, start - bucket.offset
            edges = [min(max(0, edge * length - place), end - start) for edge in range(size + 1)]
            width = parameter.numel() // parameter.shape[0]
            yield parameter, Stretches(list(pairwise(edges)), width)


def _own_states(optimizer: Any, parameter: Tensor, stretches: Stretches, rank: int) -> list[Tensor]:
    """This process's stretch of the master weight and of both moments."""
    begin, end = stretches.bounds[rank]
    if begin == end:
        return [torch.empty(0)] * len(STATES)
    held = optimizer._get_main_param_and_optimizer_states(parameter)
    assert held["param"].numel() == end - begin, "a bucket is not laid out as it was read"
    return [held[name].detach() for name in STATES]


def _exchange_tails(
    all_stretches: list[Stretches], own: list[list[Tensor]], rank: int, size: int, optimizer: Any
) -> list[list[Tensor]]:
    """Of each parameter and state, what others hold of the last row that this process writes."""
    ranks = range(size)
    sent: list[list[Tensor]] = [[] for _ in ranks]
    for target in (one for one in ranks if one != rank):
        for stretches, states in zip(all_stretches, own, strict=True):
            begin, end = stretches.sent(rank, target)
            first, _ = stretches.bounds[rank]
            sent[target] += [state[begin - first : end - first].cpu() for state in states if end > begin]
    lengths = [
        [len(STATES) * (end - begin) for stretches in all_stretches for begin, end in [stretches.sent(source, rank)]]
        if source != rank
        else [0] * len(all_stretches)
        for source in ranks
    ]
    outgoing = [torch.cat([*parts, torch.empty(0)]) for parts in sent]
    received = torch.empty(sum(map(sum, lengths)))
    dist.all_to_all_single(
        received,
        torch.cat(outgoing),
        [sum(each) for each in lengths],
        [len(each) for each in outgoing],
        group=optimizer.data_parallel_group_gloo,
    )
    parts = received.split([sum(each) for each in lengths])
    by_source = [part.split(each) for part, each in zip(parts, lengths, strict=True)]
    return [
        [torch.cat([part[number].chunk(len(STATES))[state] for part in by_source]) for state in range(len(STATES))]
        for number in range(len(all_stretches))
    ]


def _cut(
    known: ShardedTensor | ShardedTensorFactory, state: str, parameter: Tensor, first: int, values: Tensor
) -> Iterator[ShardedTensor]:
    """Rows ``first``, ... of a parameter as parts of the tensors that a checkpoint holds it in (SwiGLU: of two)."""
    if not len(values):
        return
    rows = values.view(-1, *parameter.shape[1:])
    pieces = known.build() if isinstance(known, ShardedTensorFactory) else [known]
    ends = list(accumulate(piece.local_shape[0] for piece in pieces))
    assert ends[-1] == parameter.shape[0], f"{known.key} is not kept in whole rows"
    for piece, end in zip(pieces, ends, strict=True):
        start = end - piece.local_shape[0]
        part = rows[max(0, start - first) : max(0, end - first)]
        if not len(part):
            continue
        before = piece.prepend_axis_num
        offset = list(piece.global_offset)
        offset[before] += max(first, start) - start
        part = part.view(*[1] * before, *part.shape)
        yield replace(
            piece,
            key=f"{PREFIX}.{state}.{piece.key}",
            data=part,
            dtype=part.dtype,
            local_shape=tuple(part.shape),
            global_offset=tuple(offset),
            axis_fragmentations=None,
            replica_id=(*piece.replica_id[:-1], 0),  # no other model copy has these rows
            prepend_axis_num=0,
        )
