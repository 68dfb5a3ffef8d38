"""Judge what the chain says: resynthesised speech and spoken answers, by a recogniser that has seen none of it.

    python -m evaluation.run corpus=runs/quickstart/corpus resynthesis=runs/quickstart/resynthesis \\
        answers=runs/quickstart/answers out=runs/quickstart/evaluation

Protocol (after 2411.17607, evaluation of the chatbot, with a closed-world recogniser in the place of Whisper and exact
answer keys in the place of GPT-4): an answer is right if it ends in the question's answer key; of a spoken answer the
judge's transcript is scored; the word error rate between that transcript and the written reply tells how well speech
and text agree. Every word error rate has the judge's own on untouched audio beside it.

Writes <out>/details.jsonl: one JSON object for each utterance and answer, failures included (``part``: floor,
resynthesis, griffin_lim, answer or dialogue).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import write_text
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from .judges.closed_world import Judge


@dataclass(kw_only=True)
class EvaluationConfig(StageConfig):
    """Options of evaluation.run.

    Attributes:
        out: run folder; details.jsonl is written there.
        seed: unused: the judge is deterministic.
        corpus: output folder of corpus.build (recordings, questions.jsonl, sentences.txt).
        resynthesis: output folder of decoder.resynthesise.
        resynthesis_fallback: another one of the same tokens, made with vocoder=griffin_lim; null leaves it out.
        answers: output folder of chatbot.respond; null leaves the chatbot out.
        dialogue_answers: another one, that asked the corpus's held-out dialogues; null leaves them out.
        processes: the judge's processes.
    """

    corpus: str
    resynthesis: str
    resynthesis_fallback: str | None = None
    answers: str | None = None
    dialogue_answers: str | None = None
    processes: int = 2

    def __post_init__(self) -> None:
        check_option(self.processes >= 1, "processes", self.processes, "give at least 1")


def run(config: EvaluationConfig, run: Run) -> dict[str, Any]:
    """Let the judge listen to everything, then score."""
    from corpus.world.questions import read_questions

    from .judges.listening import listen
    from .question_answering import answers
    from .question_answering import conversations as conversation
    from .speech import resynthesis

    judge = load_judge(config.corpus)
    originals = resynthesis.recordings(config.corpus)
    folders = {"resynthesis": config.resynthesis, "griffin_lim": config.resynthesis_fallback}
    spoken_again = {part: resynthesis.pair(folder, originals) for part, folder in folders.items() if folder}
    num_made = sum(map(len, spoken_again.values()))
    spoken_again = {
        part: resynthesis.judgeable(pairs, judge, str(folders[part])) for part, pairs in spoken_again.items()
    }
    answered = []
    if config.answers:
        questions = read_questions(config.corpus)
        answered = answers.read_answers(config.answers, lambda _, words: questions.get(words))
    asked = config.dialogue_answers
    told, relations = conversation.read_conversations(asked, config.corpus) if asked else ([], {})
    wanted = resynthesis.floor_listenings(spoken_again["resynthesis"]) + answers.listenings(answered + told)
    for part, pairs in spoken_again.items():
        wanted += resynthesis.listenings(part, pairs)
    heard = listen(judge, wanted, run, processes=config.processes)

    rows = {part: resynthesis.score(part, pairs, heard) for part, pairs in spoken_again.items()}
    rows["floor"] = resynthesis.score("floor", spoken_again["resynthesis"], heard)
    metrics: dict[str, Any] = {
        "judge.utterances": len(rows["floor"]),
        "judge.outside_world": num_made - sum(map(len, spoken_again.values())),
        "judge.floor_wer": resynthesis.rate(rows["floor"]),
        "decoder.judge_wer": resynthesis.rate(rows["resynthesis"]),
    }
    if "griffin_lim" in rows:
        metrics["decoder.judge_wer_griffin_lim"] = resynthesis.rate(rows["griffin_lim"])
    for speaker in sorted({row["speaker"] for row in rows["floor"]}):
        metrics[f"judge.floor_wer.{speaker}"] = resynthesis.rate(rows["floor"], speaker)
    for speaker in sorted({row["speaker"] for row in rows["resynthesis"]}):
        metrics[f"decoder.judge_wer.{speaker}"] = resynthesis.rate(rows["resynthesis"], speaker)
    if answered:
        rows["answer"] = answers.score(answered, heard)
        metrics |= answers.summarise(rows["answer"])
    if told:
        rows["dialogue"] = conversation.score_conversations(told, relations, heard)
        metrics |= conversation.summarise_conversations(rows["dialogue"])
    write_details(run.folder / "details.jsonl", rows)
    return metrics


def load_judge(corpus: str) -> Judge:
    """The judge of a corpus's closed world."""
    from .judges.closed_world import Judge

    file = Path(corpus) / "sentences.txt"
    if not file.is_file():
        remedy = "give the output folder of corpus.build: the judge must know what can be said"
        raise UserError(str(file), found="no such file", remedy=remedy)
    return Judge(file.read_text(encoding="utf-8").splitlines())


def write_details(file: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write all rows, the parts in the order of the alphabet."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for part in sorted(rows) for row in rows[part]]
    write_text(file, "".join(lines))


STAGE = Stage(
    name="evaluation.run",
    config=EvaluationConfig,
    run=run,
    summary="Judge resynthesised speech and spoken answers with an independent recogniser.",
    inputs=lambda config: [
        config.corpus,
        config.resynthesis,
        config.resynthesis_fallback,
        config.answers,
        config.dialogue_answers,
    ],
    example="corpus=runs/quickstart/corpus resynthesis=runs/quickstart/resynthesis "
    "answers=runs/quickstart/answers out=runs/quickstart/evaluation",
    speed_options=("processes",),
)

if __name__ == "__main__":
    STAGE.exit()
