"""The work of evaluation.base: items encoded and scored in units that are kept one by one in a journal."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.sets.reading import choose_in_order
from lm.data.formats import Codes
from lm.inference.likelihood import TargetModality
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run

from .choice_item import ChoiceItem, ChoicePart, ChoiceSet, choice_digest, count_repeated
from .choice_scoring import score_likelihoods
from .choice_sets import BENCHMARKS, read_choice_set
from .config import UNIT, BaseConfig, BaseScoreConfig
from .likelihood_file import ChoiceLikelihood, LikelihoodHeader, write_likelihoods
from .models import BaseModel, open_base_model
from .sequence_encoding import CandidateEncoder, CandidateRow
from .speech_codes import SpeechCodes

JOURNAL = "units.jsonl"


class UnitOfItems(NamedTuple):
    """Neighbouring items in one direction, kept and resumed together."""

    number: int
    direction: str
    items: Sequence[ChoiceItem]


def score_base_model(config: BaseConfig, run: Run) -> dict[str, Any]:
    """Score all candidates, write the likelihoods, and the accuracies by every rule; returns both as metrics.

    Raises:
        UserError: more than ``max_failed_share`` of the items failed.
    """
    with open_base_model(config) as base:
        codes = SpeechCodes(base.vocabulary, config.tokenizer, config.tokens, config.device)
        found = chosen_items(config, codes)
        if base.vocabulary is None and config.directions != ["t2t"]:
            raise UserError(config.model, found="a text model without speech tokens", remedy="give directions=[t2t]")
        if any("s" in direction for direction in config.directions):
            codes.check_set(found.items, config.data)
        likelihoods = score_units(config, run, base, codes, found)
        if not run.is_main:
            return {}
        header = header_of(config, base, found)
    write_likelihoods(run.folder, header, likelihoods)
    check_failures(config, likelihoods)
    failures = sum(bool(one.failure) for one in likelihoods)
    tokens = sum(part.tokens + part.marks for one in likelihoods for each in one.candidates for part in each)
    counts = {
        "items": len(found.items),
        "failures": failures,
        "left_out": len(found.left_out),
        "scored_tokens": tokens,
    }
    # The same bytes as evaluation.base_score makes of this folder.
    return score_likelihoods(BaseScoreConfig(out=config.out, likelihoods=config.out, seed=config.seed), run) | counts


def chosen_items(config: BaseConfig, codes: SpeechCodes) -> ChoiceSet:
    """The items to score: all, or a seeded choice in the order of the set."""
    found = read_choice_set(
        BENCHMARKS[config.benchmark],
        config.data,
        tuple(config.directions),
        has_codes=codes.has,
        max_bad_share=config.max_bad_share,
    )
    items = choose_in_order(found.items, config.limit, f"evaluation.base {config.seed}")
    if items is found.items:
        return found
    return replace(found, items=items, digest=choice_digest(items), repeated=count_repeated(items))


def header_of(config: BaseConfig, base: BaseModel, found: ChoiceSet) -> LikelihoodHeader:
    """The circumstances of the run."""
    return LikelihoodHeader(
        benchmark=config.benchmark,
        data=Path(config.data).name,
        set_digest=found.digest,
        items=len(found.items),
        left_out=len(found.left_out),
        repeated=found.repeated,
        model=base.name,
        model_digest=base.digest,
        directions=tuple(config.directions),
        seed=config.seed,
        settings={
            "backend": base.backend,
            "dtype": config.dtype,
            "used_modality": config.used_modality,
            "joiner": config.joiner,
            "limit": config.limit,
            "speech_tokenizer": base.vocabulary.speech_fingerprint if base.vocabulary is not None else "",
        },
    )


def score_units(
    config: BaseConfig, run: Run, base: BaseModel, codes: SpeechCodes, found: ChoiceSet
) -> list[ChoiceLikelihood]:
    """The likelihoods of all items in all directions, in order; units in the journal are not scored again.

    Processes that score together all read the journal before the main one goes on writing it.
    """
    units = list(units_of(config, found))
    path = run.folder / JOURNAL
    encoder = CandidateEncoder(base.text, base.vocabulary, config.joiner)
    modality: TargetModality = config.used_modality  # type: ignore[assignment]  # an option's choices are str
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(Journal(path)) if run.is_main else None
        records = journal_records(path) if journal is None else journal.records
        likelihoods = [ChoiceLikelihood.parse(one) for record in records for one in record["items"]]
        done = len(records)
        base.wait()
        total = len(found.items) * len(config.directions)
        with run.progress(total, "likelihoods", start=len(likelihoods), unit="item") as bar:
            for unit in units[done:]:
                scored = score_unit(unit, base, codes, encoder, modality)
                likelihoods += scored
                if journal is not None:
                    journal.append({"unit": unit.number, "items": [asdict(one) for one in scored]})
                bar.update(len(scored))
    return likelihoods


def journal_records(path: Path) -> list[dict[str, Any]]:
    """The whole records of a journal that another process holds open."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def units_of(config: BaseConfig, found: ChoiceSet) -> Iterator[UnitOfItems]:
    """The units of a run, direction by direction."""
    number = 0
    for direction in config.directions:
        for start in range(0, len(found.items), UNIT):
            yield UnitOfItems(number, direction, found.items[start : start + UNIT])
            number += 1


def score_unit(
    unit: UnitOfItems, base: BaseModel, codes: SpeechCodes, encoder: CandidateEncoder, modality: TargetModality
) -> list[ChoiceLikelihood]:
    """The likelihoods of a unit's items; an item that cannot be encoded, or is too long, fails with its reason."""
    rows: list[CandidateRow] = []
    of_items: list[slice] = []
    failures: list[str] = []
    for item in unit.items:
        try:
            encoded = encode_item(item, unit.direction, codes, encoder)
            longest = max(len(row.ids) for row in encoded)
            failure = f"{longest} tokens for {base.model.max_length} positions" * (longest > base.model.max_length)
        except ValueError as error:  # a broken sound, a code beyond the codebook
            encoded, failure = [], str(error)
        failures.append(failure)
        of_items.append(slice(len(rows), len(rows) + (0 if failure else len(encoded))))
        rows += [] if failure else encoded
    values = base.model.log_probabilities([row.ids for row in rows], modality)
    sums = [row.likelihood(value) for row, value in zip(rows, values, strict=True)]
    return [
        ChoiceLikelihood(
            id=item.id,
            direction=unit.direction,
            subset=item.subset,
            correct=item.correct,
            cluster=item.cluster,
            candidates=tuple(sums[place]),
            failure=failure,
        )
        for item, place, failure in zip(unit.items, of_items, failures, strict=True)
    ]


def encode_item(item: ChoiceItem, direction: str, codes: SpeechCodes, encoder: CandidateEncoder) -> list[CandidateRow]:
    """The rows of an item's candidates.

    Raises:
        ValueError: a sound that cannot be read, or a code beyond the codebook.
    """
    first, _, last = direction.partition("2")
    context = item.context
    if context is not None and (first, last) == ("s", "s"):
        pairs = [codes.of_pair(context, candidate) for candidate in item.candidates]
        return [encoder.encode(pair.context, pair.candidate) for pair in pairs]
    before = None if context is None else in_medium(context, first, codes)
    return [encoder.encode(before, in_medium(candidate, last, codes)) for candidate in item.candidates]


def in_medium(part: ChoicePart, medium: str, codes: SpeechCodes) -> str | Codes:
    """A part's text or codes."""
    if medium == "s":
        return codes.of_part(part)
    assert part.text is not None
    return part.text


def check_failures(config: BaseConfig, likelihoods: Sequence[ChoiceLikelihood]) -> None:
    """Raise a `UserError` where too many items failed."""
    failures = Counter(one.failure for one in likelihoods if one.failure)
    if failures.total() > config.max_failed_share * len(likelihoods):
        reason, count = failures.most_common(1)[0]
        name = next(one.id for one in likelihoods if one.failure == reason)
        found = f"{failures.total()} of {len(likelihoods)} items failed ({count} times, first {name}: {reason})"
        remedy = f"correct the set, or raise max_failed_share={config.max_failed_share} (failures count as wrong)"
        raise UserError(config.data, found=found, remedy=remedy)
