"""Gathering of text dialogues for `chatbot.dialogues`: a source of text dialogues -> those that can be spoken.

``<out>/texts/<split>.jsonl`` holds one dialogue a line, ``<split>.counts.json``, written last, what was left out and
why. Shortened replies are in ``<out>/shortened.jsonl``, a journal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corpus.manifest import BadRecord, check_bad_share
from runtime.artefact import atomic_path, read_json, write_json
from runtime.chat_endpoint import FailureTally, RequestConfig
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.progress import Progress

from .dialogue_files import Dialogue, record_of
from .filter import FilterConfig, Sifted, plain, sift
from .shortening import EndpointConfig, LongReply, Shortener
from .text_dialogues import read_text_dialogues


@dataclass(frozen=True)
class Gatherer:
    """Reads, filters, shortens and writes.

    Attributes:
        folder: the run folder.
        filter: selection.
        endpoint: that shortens long replies.
        requests: to the endpoint.
        max_bad_share: share of records that may be no dialogue.
    """

    folder: Path
    filter: FilterConfig
    endpoint: EndpointConfig
    requests: RequestConfig
    max_bad_share: float

    def gather(self, source: str, split: str, bar: Progress) -> dict[str, Any]:
        """Write a split's dialogues, unless an earlier call has; returns counts of its content and of the rest.

        Raises:
            UserError: too many bad records, too many unanswered requests, or no dialogue left.
        """
        record = self.folder / "texts" / f"{split}.counts.json"
        if not record.exists():
            shortened = self._shorten(source, split, bar) if self.endpoint.url else {}
            write_json(record, self._write(source, split, shortened))
        return read_json(record)

    def _sifted(self, source: str) -> Iterator[BadRecord | tuple[Dialogue, Sifted]]:
        seen: set[str] = set()
        for item in read_text_dialogues(source):
            if isinstance(item, BadRecord):
                yield item
            elif item.id in seen:
                yield BadRecord(source, f"id {item.id!r} was used before")
            else:
                seen.add(item.id)
                yield item, sift(item, self.filter, may_shorten=bool(self.endpoint.url))

    def _shorten(self, source: str, split: str, bar: Progress) -> dict[str, str]:
        """Shorten long replies; returns all that the journal holds then, by name."""
        shortener = Shortener(self.endpoint, self.requests, self.filter.max_reply_words)
        with Journal(self.folder / "shortened.jsonl") as journal:
            done = {str(one["name"]) for one in journal.records}
            share, lacking = self.requests.max_failed_share, "replies were not shortened"
            tally = FailureTally(self.endpoint.url, lacking, share, len(done))
            for failure in shortener.shorten(self._long_replies(source, split, done), journal):
                bar.update()
                tally.add(failure)
            tally.check()
            return {str(one["name"]): kept_text(one) for one in journal.records}

    def _long_replies(self, source: str, split: str, done: set[str]) -> Iterator[LongReply]:
        for item in self._sifted(source):
            if isinstance(item, BadRecord) or item[1].dialogue is None:
                continue
            turns = item[1].dialogue.turns
            for number in item[1].long:
                name = name_of(split, item[1].dialogue, number)
                if name not in done:
                    yield LongReply(name, turns[number - 1].text, turns[number].text)

    def _write(self, source: str, split: str, shortened: dict[str, str]) -> dict[str, Any]:
        left_out, bad = Counter[str](), list[BadRecord]()
        num_kept = num_exchanges = num_shortened = 0
        with atomic_path(self.folder / "texts" / f"{split}.jsonl") as temporary:
            with temporary.open("w", encoding="utf-8") as lines:
                for item in self._sifted(source):
                    if isinstance(item, BadRecord):
                        bad.append(item)
                        continue
                    dialogue, fault = self._with_short_replies(item[1], split, shortened)
                    left_out.update([fault] if fault else [])
                    if dialogue is None:
                        continue
                    num_kept, num_exchanges = num_kept + 1, num_exchanges + len(dialogue.turns) // 2
                    num_shortened += sum(number < len(dialogue.turns) for number in item[1].long)
                    lines.write(json.dumps(record_of(dialogue, self.folder), ensure_ascii=False) + "\n")
            check_bad_share(bad, len(bad) + num_kept + left_out.total(), self.max_bad_share)
            if not num_kept:
                common = ", ".join(f"{count} for: {reason}" for reason, count in left_out.most_common(3))
                remedy = "see the options filter.*, or give shorten.url where replies are too long"
                raise UserError(
                    source, found=f"no dialogue that can be spoken ({common or 'it is empty'})", remedy=remedy
                )
        return {
            "dialogues": num_kept,
            "exchanges": num_exchanges,
            "shortened": num_shortened,
            "ended": dict(sorted(left_out.items())),
            "bad": [[one.place, one.reason] for one in bad],
        }

    def _with_short_replies(self, sifted: Sifted, split: str, shortened: dict[str, str]) -> tuple[Dialogue | None, str]:
        """The dialogue with its long replies made short, cut before one that could not be; and the reason."""
        if sifted.dialogue is None:
            return None, sifted.fault
        turns = list(sifted.dialogue.turns)
        for number in sifted.long:
            text = plain(shortened.get(name_of(split, sifted.dialogue, number), ""))
            fault = "no answer" if not text else self.filter.fault(text, self.filter.max_reply_words)
            if fault:
                kept = turns[: number - 1]
                dialogue = replace(sifted.dialogue, turns=kept) if kept else None
                return dialogue, f"reply to be shortened: {fault}"
            turns[number] = replace(turns[number], text=text)
        return replace(sifted.dialogue, turns=turns), sifted.fault


def name_of(split: str, dialogue: Dialogue, number: int) -> str:
    """A reply's name in the journal."""
    return f"{split}/{dialogue.id}/{number}"


def kept_text(record: dict[str, Any]) -> str:
    """The short reply of a journal's record; earlier versions wrote one ``text``."""
    return str(record["texts"][0] if "texts" in record else record["text"])
