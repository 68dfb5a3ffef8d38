"""Counts of the clips that a training reads, of those that cannot be read, and the share of these that is tolerated.

An unreadable clip leaves its document out of the sample: its targets do not count, and its positions keep the tokens'
own embeddings. Samples, order and data position stay as they are, so a run that goes on leaves out what an unbroken one
does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from megatron.core import parallel_state

from runtime.errors import UserError

from .processes import Processes

MOST_NAMED = 20  # clips in the log


class ClipTally:
    """Clips of all processes.

    Args:
        share: of the clips read so far that may be unreadable; one always may.
        processes: the open process groups.
        say: writes a line of the log.
        read: clips of the run before.
        unreadable: those among them that could not be read.
    """

    def __init__(
        self, share: float, processes: Processes, say: Callable[[str], None], *, read: int = 0, unreadable: int = 0
    ) -> None:
        self.share, self.processes, self.say = share, processes, say
        self.read, self.unreadable = read, unreadable
        self._count, self._failures = 0, list[UserError]()
        ranks = parallel_state.get_tensor_model_parallel_rank(), parallel_state.get_context_parallel_rank()
        self._is_counting = ranks == (0, 0)  # the others of a model copy read the same clips

    def add(self, count: int, failures: Sequence[UserError]) -> None:
        """Note the clips of a micro batch of this process."""
        self._count += count if self._is_counting else 0
        self._failures += failures

    def settle(self) -> None:
        """Add up all processes' clips since the last call, and name the unreadable ones; called by all at once.

        Raises:
            UserError: they are more than the tolerated share; it names the last one's file and document.
        """
        group = self.processes.host_group
        counts = torch.tensor([self._count, len(self._failures)], dtype=torch.float64)
        dist.all_reduce(counts, group=group)
        self.read += int(counts[0])
        failures: list[list[UserError]] = [self._failures]
        if counts[1]:
            failures = [[] for _ in range(dist.get_world_size(group))]
            dist.all_gather_object(failures, self._failures, group=group)
        self._count, self._failures = 0, []
        for error in {str(one): one for some in failures for one in some}.values():
            self.unreadable += 1
            if self.unreadable <= MOST_NAMED:
                self.say(f"left out of its sample, clip {self.unreadable} of {self.read} read: {error}")
            if self.unreadable > max(1, self.share * self.read):
                found = f"{error.found}; with it {self.unreadable} of {self.read} clips read so far are unreadable"
                remedy = f"restore the files, or raise speech.max_unreadable_share={self.share:g}"
                raise UserError(error.subject, found=found, remedy=remedy)
