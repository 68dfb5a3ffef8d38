"""Pairs of a prompt about utterances and the text model's answer to their transcripts: ``pairs.jsonl``, ``pairs.json``.

They are what behaviour imitation trains on: the same prompt with the speech in place of the transcript, and the answer
to be predicted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from runtime.artefact import file_digest, read_json, write_json, write_text
from runtime.errors import UserError

from .tasks.task_file import PLACE

LINES, HEADER = "pairs.jsonl", "pairs.json"


@dataclass(frozen=True, kw_only=True)
class ImitationPair:
    """One request about one utterance or several in a row, and its answer.

    Attributes:
        utterances: their ids in the manifest.
        task: of the prompt.
        prompt: number of the wording within the task.
        text: of the prompt, with the place of the speech (`imitation.tasks.task_file.PLACE`).
        transcripts: of the utterances; the text model read them there, with a space between them.
        response: its answer.
        is_seen: prompt and task may be trained on.
        response_ids: the answer as the model wrote it, in its own chat template; empty where only the text is known.
    """

    utterances: tuple[str, ...]
    task: str
    prompt: int
    text: str
    transcripts: tuple[str, ...]
    response: str
    is_seen: bool
    response_ids: tuple[int, ...] = ()

    @classmethod
    def from_plain(cls, row: dict[str, Any]) -> ImitationPair:
        """From a line of ``pairs.jsonl``."""
        utterances, transcripts = tuple(row["utterances"]), tuple(row["transcripts"])
        if not utterances or len(utterances) != len(transcripts):
            raise ValueError(f"{len(utterances)} utterances and {len(transcripts)} transcripts")
        ids = tuple(map(int, row.get("response_ids", ())))
        return cls(**{**row, "utterances": utterances, "transcripts": transcripts, "response_ids": ids})

    def with_transcript(self, transcript: str) -> str:
        """The prompt as a text model reads it."""
        return self.text.replace(PLACE, transcript, 1)

    @property
    def content(self) -> str:
        """The transcripts as one text."""
        return " ".join(self.transcripts)


@dataclass(frozen=True, kw_only=True)
class PairsHeader:
    """Circumstances of pairs.

    Attributes:
        manifest: of the utterances.
        tasks: digest of the task file.
        model: name of the text model.
        model_digest: of its files, or what an endpoint says of itself.
        system: system message of the requests; "" for none.
        pairs: their number.
        first_prompt: ids of the first pair's request as the model read it in its own chat template; else empty.
    """

    manifest: str
    tasks: str
    model: str
    model_digest: str
    system: str
    pairs: int
    first_prompt: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PairsFile:
    """The pairs of a run of imitation.ask, and a digest of them."""

    header: PairsHeader
    pairs: list[ImitationPair]
    digest: str


def write_pairs(folder: Path, header: PairsHeader, pairs: Sequence[ImitationPair]) -> None:
    """Write both files, the header last."""
    lines = (json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in pairs)
    write_text(folder / LINES, "".join(lines))
    write_json(folder / HEADER, asdict(header))


def read_pairs(folder: Path | str) -> PairsFile:
    """Read the output folder of imitation.ask.

    Raises:
        UserError: no pairs there, or a damaged file.
    """
    root = Path(folder)
    remedy = "give the finished output folder of imitation.ask"
    if not (root / HEADER).is_file() or not (root / LINES).is_file():
        raise UserError(str(root), found=f"no pairs (no {HEADER})", remedy=remedy)
    pairs = []
    with (root / LINES).open("rb") as lines:
        for number, line in numbered_lines(lines):
            try:
                pairs.append(ImitationPair.from_plain(parse_json_line(line)))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{root / LINES}, line {number}", found=str(error), remedy=remedy) from error
    try:
        header = PairsHeader(**read_json(root / HEADER))
    except TypeError as error:
        raise UserError(str(root / HEADER), found=str(error), remedy=remedy) from error
    if header.pairs != len(pairs):
        found = f"{len(pairs)} pairs where {header.pairs} were written"
        raise UserError(str(root / LINES), found=found, remedy=remedy)
    return PairsFile(header, pairs, file_digest(root / LINES))
