"""Mixture of corpora: shares of the training budget by weight, by size, or by one of the paper's two statements.

The paper's rule (arXiv 2411.17607, section 2.3; ``paper``): 30 % text, one epoch each of speech-only and of supervised
speech-text data, and the rest of the budget interleaved. What cannot be met is an error that shows the arithmetic.

The published shares (arXiv 2412.02612, table 2: the tokens that were read; ``published_shares``), in 1e9 tokens::

    kind           speech   text   epochs   read    share
    interleaved       455    279     0.90    660.6  62.6 %
    speech only        31      -     2.10     65.1   6.2 %
    ASR and TTS        11    3.5     2.07     30.0   2.8 %
    text only           -  10000     0.03    300.0  28.4 %
                                            1055.7

The two contradict each other (one epoch against 2.1, 1 T tokens against 1.06). ``published_shares``
takes the table's shares; at a budget of the table's own sum, and with corpora of its sizes, it gives its epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runtime.errors import UserError

from .corpora import CorpusInfo

ONE_EPOCH_FORMATS = ("speech", "asr", "tts")
RULES = ("tokens", "paper", "published_shares")
RULES_REMEDY = f"choose one of {', '.join(RULES)} (the last was named table2)"


class TableRow(NamedTuple):
    """One row of the published table, in tokens.

    Attributes:
        formats: of `lm.data.formats` that are of this kind.
        speech: speech tokens of the data set.
        text: its text tokens.
        epochs: how often it was read.
    """

    formats: tuple[str, ...]
    speech: float
    text: float
    epochs: float

    @property
    def tokens(self) -> float:
        """Tokens read."""
        return (self.speech + self.text) * self.epochs


PUBLISHED = {
    "interleaved": TableRow(("interleaved",), 455e9, 279e9, 0.90),
    "speech only": TableRow(("speech",), 31e9, 0.0, 2.10),
    "ASR and TTS": TableRow(("asr", "tts"), 11e9, 3.5e9, 2.07),
    "text only": TableRow(("text",), 0.0, 10e12, 0.03),
}
PUBLISHED_TOKENS = sum(row.tokens for row in PUBLISHED.values())


@dataclass(frozen=True, kw_only=True)
class CorpusMixture:
    """Shares of the budget.

    Attributes:
        budget: tokens of the whole run.
        shares: name -> share of the budget; they sum to 1.
        epochs: name -> how often its training split is read.
    """

    budget: int
    shares: dict[str, float]
    epochs: dict[str, float]

    def table(self) -> str:
        """One line for each corpus: share, tokens, epochs."""
        width = max(map(len, self.shares))
        rows = [
            f"  {name:{width}}  {share:6.1%}  {share * self.budget:14,.0f} tokens  {self.epochs[name]:8.2f} epochs"
            for name, share in self.shares.items()
        ]
        return "\n".join([f"mixture of {self.budget:,} tokens:", *rows])


def mix(
    corpora: Mapping[str, CorpusInfo],
    *,
    weights: Mapping[str, float],
    rule: str,
    text_share: float,
    budget: int,
    max_epochs: float,
) -> CorpusMixture:
    """Decide the mixture.

    Args:
        corpora: name -> corpus.
        weights: name -> weight, any scale; empty: ``rule`` decides.
        rule: ``"tokens"`` (each corpus by its size), ``"paper"`` or ``"published_shares"``.
        text_share: share of text of the paper's rule.
        budget: tokens of the whole run.
        max_epochs: no corpus may be read more often; 0: no bound.

    Raises:
        UserError: unknown names, a rule that cannot be met, or more epochs than allowed.
    """
    if not corpora:
        raise UserError("option corpora", found="no corpus", remedy="give corpora.NAME=FOLDER at least once")
    sizes = {name: corpus.splits["train"].tokens for name, corpus in corpora.items()}
    if weights:
        shares = _by_weight(weights, list(corpora))
    elif rule == "paper":
        shares = _by_paper(corpora, sizes, text_share, budget)
    elif rule == "published_shares":
        shares = _by_published_shares(corpora, sizes)
    else:
        shares = {name: size / sum(sizes.values()) for name, size in sizes.items()}
    epochs = {name: share * budget / sizes[name] for name, share in shares.items()}
    for name, count in epochs.items():
        if max_epochs and count > max_epochs:
            found = (
                f"{shares[name]:.1%} of {budget:,} tokens = {shares[name] * budget:,.0f} tokens = {count:.1f} epochs "
                f"of its {sizes[name]:,} tokens, more than max_epochs = {max_epochs:g}"
            )
            remedy = f"lower weights.{name} or train.steps, make the corpus larger, or raise max_epochs"
            raise UserError(f"corpus {name}", found=found, remedy=remedy)
    return CorpusMixture(budget=budget, shares=shares, epochs=epochs)


def _by_weight(weights: Mapping[str, float], names: list[str]) -> dict[str, float]:
    unknown = [name for name in weights if name not in names]
    if unknown:
        found = f"a weight for {unknown[0]!r}, which is no corpus"
        raise UserError("option weights", found=found, remedy=f"corpora are {', '.join(names)}")
    missing = [name for name in names if name not in weights]
    if missing:
        remedy = f"add weights.{missing[0]}=... (0 leaves it out of training)"
        raise UserError("option weights", found=f"no weight for corpus {missing[0]!r}", remedy=remedy)
    negative = [name for name in names if weights[name] < 0]
    total = sum(weights.values())
    if negative or total <= 0:
        raise UserError("option weights", found=f"{dict(weights)}", remedy="give numbers of 0 or more, one above 0")
    return {name: weights[name] / total for name in names if weights[name] > 0}


def _by_published_shares(corpora: Mapping[str, CorpusInfo], sizes: Mapping[str, int]) -> dict[str, float]:
    """Each kind's share of the paper's table; corpora of one kind by size."""
    shares: dict[str, float] = {}
    for kind, row in PUBLISHED.items():
        names = [name for name, corpus in corpora.items() if corpus.format in row.formats]
        if not names:
            found = (
                f"no corpus of {kind} (format {' or '.join(row.formats)}), {row.tokens / PUBLISHED_TOKENS:.1%} of it"
            )
            raise UserError("option mixture=published_shares", found=found, remedy="add one, or give weights instead")
        whole = sum(sizes[name] for name in names)
        shares |= {name: row.tokens / PUBLISHED_TOKENS * sizes[name] / whole for name in names}
    strange = [name for name in corpora if name not in shares]
    if strange:
        found = f"corpus {strange[0]} of format {corpora[strange[0]].format}, which the paper's table does not have"
        raise UserError("option mixture=published_shares", found=found, remedy="leave it out, or give weights instead")
    return {name: shares[name] for name in corpora}


def _by_paper(
    corpora: Mapping[str, CorpusInfo], sizes: Mapping[str, int], text_share: float, budget: int
) -> dict[str, float]:
    by_format: dict[str, list[str]] = {}
    for name, corpus in corpora.items():
        by_format.setdefault(corpus.format, []).append(name)
    for needed in ("text", "interleaved"):
        if needed not in by_format:
            found = f"no corpus of format {needed}, only {', '.join(sorted(by_format))}"
            raise UserError("option mixture=paper", found=found, remedy="add one, or give weights instead")
    strange = sorted(set(by_format) - {"text", "interleaved", *ONE_EPOCH_FORMATS})
    if strange:
        found = f"a corpus of format {strange[0]}, for which the paper has no rule"
        raise UserError("option mixture=paper", found=found, remedy="give weights instead")
    once = [name for form in ONE_EPOCH_FORMATS for name in by_format.get(form, [])]
    tokens = {name: float(sizes[name]) for name in once}
    rest = budget * (1 - text_share) - sum(tokens.values())
    if rest <= 0:
        terms = " + ".join(f"{name} {sizes[name]:,}" for name in once)
        fixed = sum(tokens.values())
        found = (
            f"{budget:,} tokens - {text_share:.0%} text {budget * text_share:,.0f} - one epoch of {terms} "
            f"= {rest:,.0f} for interleaved data"
        )
        remedy = f"train on more than {fixed / (1 - text_share):,.0f} tokens (train.steps), or give weights instead"
        raise UserError("option mixture=paper", found=found, remedy=remedy)
    for form, amount in (("text", budget * text_share), ("interleaved", rest)):
        whole = sum(sizes[name] for name in by_format[form])
        tokens |= {name: amount * sizes[name] / whole for name in by_format[form]}
    return {name: tokens[name] / budget for name in corpora}
