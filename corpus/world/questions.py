"""Questions of a spoken corpus: ``questions.jsonl`` of corpus.build by their words, and the choice of recordings."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import Manifest, Utterance
from corpus.text.spoken_words import spoken_words
from runtime.errors import UserError


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its one right answer.

    Attributes:
        id: unique.
        question: its words.
        answer: the key that a right reply ends in, e.g. ``"paris"``.
        reply: a sentence that ends in the key.
        topic: questions of a topic are asked in the same way.
        split: ``train`` or ``heldout`` (its words occur in no training data).
    """

    id: str
    question: str
    answer: str
    reply: str
    topic: str
    split: str


def read_questions(corpus: Path | str) -> dict[str, QuestionAnswer]:
    """Read the questions of a corpus folder, by their normalised words.

    Raises:
        UserError: no questions.jsonl, a line that is no question, or one question with two answers.
    """
    file = Path(corpus) / "questions.jsonl"
    if not file.is_file():
        remedy = "give the output folder of corpus.build, or write {id, question, answer, reply, topic, split} lines"
        raise UserError(str(file), found="no such file", remedy=remedy)
    found: dict[str, QuestionAnswer] = {}
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        try:
            record = parse_json_line(line)
            question = QuestionAnswer(**{name: str(record[name]) for name in QuestionAnswer.__dataclass_fields__})
        except (ValueError, KeyError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            remedy = "a question is a JSON object with id, question, answer, reply, topic and split"
            raise UserError(f"{file}, line {number}", found=reason, remedy=remedy) from error
        words = spoken_words(question.question)
        other = found.setdefault(words, question)
        if (other.answer, other.reply) != (question.answer, question.reply):
            found_two = f"{words!r} is answered {question.answer!r} here and {other.answer!r} before"
            raise UserError(f"{file}, line {number}", found=found_two, remedy="leave one of the two out")
    if not found:
        raise UserError(str(file), found="no question in it", remedy="build the corpus again")
    return found


def choose_questions(
    manifest: Manifest, *, kind: str, voices: Sequence[str] = (), limit: int = 0, draw: str
) -> list[Utterance]:
    """Distinct questions in a random order, each in the voice with the fewest questions so far.

    Args:
        manifest: of spoken questions.
        kind: only utterances of this kind; empty takes all.
        voices: only questions of these voices; none named means all.
        limit: number of questions at most; 0 takes all.
        draw: seed of the order and of the voices.

    Raises:
        UserError: the manifest has no such utterance.
    """
    by_text: dict[str, list[Utterance]] = {}
    for utterance in manifest.utterances:
        if kind in ("", utterance.kind) and (not voices or utterance.speaker in voices):
            by_text.setdefault(spoken_words(utterance.text), []).append(utterance)
    if not by_text:
        kinds = ", ".join(sorted({utterance.kind or "(none)" for utterance in manifest.utterances}))
        speakers = ", ".join(sorted({utterance.speaker for utterance in manifest.utterances}))
        found = f"no utterance of kind {kind!r} in the voices {list(voices) or 'of all speakers'}"
        raise UserError(str(manifest.path), found=found, remedy=f"its kinds are {kinds}; its voices are {speakers}")
    rng = random.Random(draw)
    texts = sorted(by_text)
    rng.shuffle(texts)
    asked: Counter[str] = Counter()
    chosen = []
    for text in texts[: limit or None]:
        versions = sorted(by_text[text], key=lambda utterance: utterance.id)
        rng.shuffle(versions)
        question = min(versions, key=lambda utterance: asked[utterance.speaker])
        asked[question.speaker] += 1
        chosen.append(question)
    return chosen
