"""A backend by its name, opened in the worker that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm.data.vocabulary import Vocabulary
    from text2token.engine import SpeechBackend

BACKENDS = ("builtin", "vllm", "sglang")


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """What every backend is opened with.

    Attributes:
        folder: the exported model.
        batch_size: prompts run at once.
        dtype: of the weights.
        device: a torch device.
        has_graphs: the built-in generation decodes by CUDA graphs.
    """

    folder: str
    batch_size: int
    dtype: str
    device: str
    has_graphs: bool = False


def open_backend(name: str, options: BackendOptions, vocabulary: Vocabulary) -> SpeechBackend:
    """The backend ``name``, one of `BACKENDS`.

    Raises:
        UserError: the engine's package is not installed, or the engine does not start.
    """
    if name == "vllm":
        from .vllm_engine import VllmBackend

        return VllmBackend(options, vocabulary)
    if name == "sglang":
        from .sglang_engine import SglangBackend

        return SglangBackend(options, vocabulary)
    from lm.inference.generation import Generator

    return Generator.from_pretrained(
        options.folder,
        batch_size=options.batch_size,
        dtype=options.dtype,
        device=options.device,
        has_graphs=options.has_graphs,
    )


def finished_row(ids: list[int], stop: list[int], stopped_by: Any) -> list[int]:
    """New ids of a row with the stop id last, also where the engine leaves that out.

    Args:
        ids: what the engine gives.
        stop: ids that end a row.
        stopped_by: the stop id that ended it, None if the limit did.
    """
    ended = stopped_by in stop and (not ids or ids[-1] != stopped_by)
    return [*ids, int(stopped_by)] if ended else list(ids)


def show_device(device: str) -> None:
    """Let an engine see the one GPU it is to use: engines take the first that is visible."""
    import os

    if device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        number = int(device.removeprefix("cuda:"))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
