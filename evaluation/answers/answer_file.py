"""Files of a run of evaluation.answer: ``answers.jsonl`` (raw replies, transcripts, failures) and ``answers.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.sets.item import EvaluationSet
from evaluation.sets.reading import choose_items, read_set
from evaluation.sets.run_header import RunHeader
from runtime.artefact import file_digest, read_json, write_json, write_text
from runtime.errors import UserError

LINES, HEADER = "answers.jsonl", "answers.json"


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """The answer to one item.

    Attributes:
        id: of the item.
        text: the written reply as it came, nothing stripped; None where the model writes none.
        audio: file of the spoken reply, relative to the answers' folder; None where there is none.
        transcript: of the spoken reply by the recogniser; None where there is no audio.
        heard: the model's own transcript of the prompt, where it tells one.
        end: reason why the reply ended (`evaluation.answers.base_prompt.AnswerEnd`); "" where the model tells none.
        failure: reason why there is no answer; "" where there is one.
    """

    id: str
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None
    heard: str | None = None
    end: str = ""
    failure: str = ""

    def said(self, medium: str) -> str | None:
        """The text that is scored: of the ``text`` or of the ``speech``."""
        return self.text if medium == "text" else self.transcript


@dataclass(frozen=True, kw_only=True)
class AnswerHeader(RunHeader):
    """Circumstances of a run of answers: what a score's stamp takes over.

    Attributes (after those of the set and the model, `RunHeader`):
        direction: ``s2t`` and the like: the medium of the prompt, and those of the reply.
        limit: number of items chosen out of the set, with the seed; 0 means all.
        shots: worked examples in front of each prompt.
        recogniser: of spoken replies; "" where there are none.
        seed: of sampled replies.
        batch_size: answers made at once.
        settings: further options that change answers.
    """

    direction: str
    limit: int = 0
    shots: int = 0
    recogniser: str = ""
    seed: int = 1
    batch_size: int = 1
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class AnswerFile:
    """The answers of a run by item, their circumstances, and the items that were asked."""

    folder: Path
    header: AnswerHeader
    found: EvaluationSet
    answers: Mapping[str, ModelAnswer]

    @property
    def digest(self) -> str:
        """Identity of the answers, for their judgements."""
        return file_digest(self.folder / LINES)


def write_answers(folder: Path, header: AnswerHeader, answers: Iterable[ModelAnswer]) -> None:
    """Write both files, the header last."""
    lines = [json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in answers]
    write_text(folder / LINES, "".join(lines))
    write_json(folder / HEADER, asdict(header))


def read_answers(folder: Path | str, benchmark: Benchmark, data: str, max_bad_share: float) -> AnswerFile:
    """Read the answers to a set, or to those of its items that were chosen.

    Args:
        folder: of a run of evaluation.answer.
        benchmark: that was answered.
        data: its set; where the questions were heard, rows without readable audio are left out as they were then.
        max_bad_share: share of its rows that may be bad.

    Raises:
        UserError: no answers, of another set, a bad line, or an item without a line.
    """
    root = Path(folder)
    try:
        header = AnswerHeader(**read_json(root / HEADER))
    except TypeError as error:
        found = f"no circumstances of a run of answers ({error})"
        raise UserError(str(root / HEADER), found=found, remedy="give an output folder of evaluate answer") from error

    def chosen(*, needs_audio: bool) -> EvaluationSet:
        options: dict[str, Any] = {"max_bad_share": max_bad_share, "needs_audio": needs_audio}
        whole = read_set(benchmark.name, data, benchmark.read_item, **options)
        return choose_items(whole, header.limit, header.seed)

    expected = chosen(needs_audio=False)
    if header.set_digest != expected.digest and header.direction.startswith("s"):
        expected = chosen(needs_audio=True)
    if header.set_digest != expected.digest:
        found = f"answers to another set ({header.benchmark}, digest {header.set_digest}, not {expected.digest})"
        raise UserError(str(root), found=found, remedy="give the data that were answered, or answer anew")
    answers: dict[str, ModelAnswer] = {}
    for number, line in numbered_lines((root / LINES).read_bytes().split(b"\n")):
        place = f"{root / LINES}, line {number}"
        try:
            answer = ModelAnswer(**parse_json_line(line))
        except (ValueError, TypeError) as error:
            raise UserError(place, found=f"no answer ({error})", remedy="answer the set anew") from error
        if answer.id in answers:
            raise UserError(place, found=f"a second answer to {answer.id!r}", remedy="answer the set anew")
        answers[answer.id] = answer
    missing = [item.id for item in expected.items if item.id not in answers]
    if missing:
        found = f"no answer to {missing[0]!r} and {len(missing) - 1} more"
        raise UserError(str(root / LINES), found=found, remedy="let evaluate answer finish")
    return AnswerFile(root, header, expected, answers)
