"""Collectives of a backend (NCCL or gloo), each against its result by arithmetic."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist

from lm.training.parallel import ParallelConfig
from lm.training.processes import backend_name, open_processes

from .finding import Finding

TIMED_BYTES = 64 * 2**20
NUMBERS = 1000


def collectives() -> Finding:
    """All-reduce, all-gather, reduce-scatter, broadcast and messages in pairs: small integers, exact in fp32."""
    with open_processes(ParallelConfig()) as processes:
        rank, size, device = processes.rank, dist.get_world_size(), processes.device
        own = torch.arange(NUMBERS, dtype=torch.float32, device=device) + rank
        every = [own - rank + other for other in range(size)]
        total = torch.stack(every).sum(0)
        wrong = []

        summed = own.clone()
        dist.all_reduce(summed)
        wrong += [] if torch.equal(summed, total) else ["all-reduce"]

        gathered = torch.empty(size * NUMBERS, device=device)
        dist.all_gather_into_tensor(gathered, own)
        wrong += [] if torch.equal(gathered, torch.cat(every)) else ["all-gather"]

        part = torch.empty(NUMBERS, device=device)
        dist.reduce_scatter_tensor(part, own.repeat(size))
        wrong += [] if torch.equal(part, total) else ["reduce-scatter"]

        last = own.clone()
        dist.broadcast(last, size - 1)
        wrong += [] if torch.equal(last, every[-1]) else ["broadcast"]

        partner = rank ^ 1
        if partner < size:  # the even one sends first
            answer = torch.empty(NUMBERS, device=device)
            for sender in (min(rank, partner), max(rank, partner)):
                if rank == sender:
                    dist.send(own, partner)
                else:
                    dist.recv(answer, partner)
            wrong += [] if torch.equal(answer, every[partner]) else ["messages"]

        large = torch.zeros(TIMED_BYTES // 4, device=device)
        dist.all_reduce(large)
        torch.cuda.synchronize()
        started = time.monotonic()
        dist.all_reduce(large)
        torch.cuda.synchronize()
        speed = TIMED_BYTES / (time.monotonic() - started) / 1e9
        is_wrong = processes.any_of_all(bool(wrong))
    detail = f"{backend_name()}, {size} process{'es' if size > 1 else ''}: "
    if is_wrong:
        return Finding.of(False, f"{detail}wrong results of {', '.join(wrong) or 'another process'}")
    if size == 1:
        return Finding.of(True, f"{detail}collectives exact")
    return Finding.of(True, f"{detail}collectives and messages exact, all-reduce of 64 MiB at {speed:.2f} GB/s")
