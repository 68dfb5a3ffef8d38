"""Files of a run of evaluation.base: ``likelihoods.jsonl`` (a line an item and direction) and ``likelihoods.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from evaluation.sets.run_header import RunHeader
from runtime.artefact import read_json, write_json, write_text
from runtime.errors import UserError

from .likelihood_rules import CandidateLikelihood, PartLikelihood

LINES, HEADER = "likelihoods.jsonl", "likelihoods.json"


@dataclass(frozen=True, kw_only=True)
class ChoiceLikelihood:
    """The log-likelihoods of an item's candidates in one direction.

    Attributes:
        id: of the item.
        direction: ``s2t`` and the like.
        subset: of the item.
        correct: index of the right candidate.
        cluster: of the item.
        candidates: one each; none where the item failed.
        failure: reason why there are none; "" where there are.
    """

    id: str
    direction: str
    subset: str
    correct: int
    cluster: str = ""
    candidates: tuple[CandidateLikelihood, ...] = ()
    failure: str = ""

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> ChoiceLikelihood:
        """From JSON; raises `TypeError`, `KeyError` or `ValueError` for another record."""
        candidates = tuple(
            CandidateLikelihood(PartLikelihood(*context), PartLikelihood(*continuation))
            for context, continuation in record["candidates"]
        )
        found = cls(**{**record, "candidates": candidates})
        if not found.failure and not 0 <= found.correct < len(candidates):
            raise ValueError(f"candidate {found.correct} of {len(candidates)}")
        return found


@dataclass(frozen=True, kw_only=True)
class LikelihoodHeader(RunHeader):
    """Circumstances of a run: what a score's stamp takes over.

    Attributes (after those of the set and the model, `RunHeader`):
        directions: of the run.
        seed: of the choice of items.
        settings: further options that change likelihoods.
    """

    directions: tuple[str, ...]
    seed: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class LikelihoodFile:
    """The likelihoods of a run in order, and their circumstances."""

    header: LikelihoodHeader
    likelihoods: tuple[ChoiceLikelihood, ...]


def write_likelihoods(folder: Path, header: LikelihoodHeader, likelihoods: Iterable[ChoiceLikelihood]) -> None:
    """Write both files, the header last."""
    lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in likelihoods]
    write_text(folder / LINES, "".join(lines))
    write_json(folder / HEADER, asdict(header))


def read_likelihoods(folder: Path | str) -> LikelihoodFile:
    """Read both files.

    Raises:
        UserError: no likelihoods, a bad line, or fewer or more than the header says.
    """
    root = Path(folder)
    content = read_json(root / HEADER)
    header = LikelihoodHeader(**{**content, "directions": tuple(content["directions"])})
    found: list[ChoiceLikelihood] = []
    for number, line in numbered_lines((root / LINES).read_bytes().split(b"\n")):
        try:
            found.append(ChoiceLikelihood.parse(parse_json_line(line)))
        except (ValueError, TypeError, KeyError) as error:
            place = f"{root / LINES}, line {number}"
            raise UserError(place, found=f"no likelihoods ({error})", remedy="run evaluate base anew") from error
    wanted = header.items * len(header.directions)
    if len(found) != wanted or len({(one.id, one.direction) for one in found}) != wanted:
        wrong = f"{len(found)} lines, not one for each of {header.items} items in {len(header.directions)} directions"
        raise UserError(str(root / LINES), found=wrong, remedy="run evaluate base anew")
    return LikelihoodFile(header, tuple(found))
