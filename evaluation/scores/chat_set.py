"""A chatbot on a set in all directions: asked in text and in speech, judged, scored, and one table of it all.

Each medium of the prompt has a folder (``typed``, ``spoken``) with ``answers``, ``judgements`` and ``scores``, as
evaluation.answer, evaluation.judge and evaluation.score write them: what is there is not made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.answers.answer_file import HEADER as ANSWERED
from evaluation.answers.answering import answer_set
from evaluation.answers.config import DIRECTIONS, AnswerConfig, JudgeConfig, ScoreConfig, SetConfig
from evaluation.answers.judging import HEADER as JUDGED
from evaluation.answers.judging import judge
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from runtime.artefact import read_json, write_text
from runtime.stage import Run

from .chat_config import ChatSetConfig
from .score_table import arrow, judge_words
from .scoring import SCORES, TABLE, score_answers
from .stamp import JudgeCounts


class ScoredCell(NamedTuple):
    """One number of one direction, with its interval where it has one."""

    value: float
    interval: Sequence[float] | None


def evaluate_chat_set(config: ChatSetConfig, run: Run) -> dict[str, Any]:
    """Ask, judge and score the set in every direction; returns the scores."""
    scores: list[dict[str, Any]] = []
    overall: list[dict[str, Any]] = []
    for medium, answering in config.answer_configs(str(run.folder)).items():
        record = score_medium(config, answering, run.part(medium))
        scores += [one for one in record["scores"] if one["stamp"]["direction"] in config.directions]
        for one in record["overall"]:
            direction = f"{answering.direction[0]}2{one['medium'][0]}"
            overall += [one | {"direction": direction}] if direction in config.directions else []
    cells = cells_of(BENCHMARKS[config.benchmark], scores, overall)
    text = table(config, cells, scores)
    write_text(run.folder / TABLE, text)
    run.say(text)
    metrics: dict[str, Any] = {
        f"{direction}.{name}": cell.value for name, row in cells.items() for direction, cell in row.items()
    }
    for name in ("items", "failures", "left_out"):
        metrics[name] = max((one["stamp"][name] for one in scores), default=0)
    return metrics


def score_medium(config: ChatSetConfig, answering: AnswerConfig, run: Run) -> dict[str, Any]:
    """Ask the set in one medium, let the judge read, score; returns the record of the scores."""
    answers, judgements = run.part("answers"), None
    if not (answers.folder / ANSWERED).exists():  # it is written last
        answer_set(answering, answers)
    asked = SetConfig(
        out="", benchmark=config.benchmark, data=config.data, max_bad_share=config.max_bad_share, seed=config.seed
    )
    shared: dict[str, Any] = vars(asked) | {"answers": str(answers.folder)}
    if config.judge_url:
        judged = run.part("judgements")
        judgements = str(judged.folder)
        if not (judged.folder / JUDGED).exists():
            own = {"out": judgements, "url": config.judge_url, "model": config.judge_model, "requests": config.requests}
            judge(JudgeConfig(**shared | own), judged)
    scores = run.part("scores")
    score_answers(ScoreConfig(**shared | {"out": str(scores.folder), "judgements": judgements}), scores)
    return read_json(scores.folder / SCORES)


def cells_of(
    benchmark: Benchmark, scores: Sequence[Mapping[str, Any]], overall: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, ScoredCell]]:
    """Measure, as it is printed, -> direction -> number: overall ones, then by rule."""
    cells: dict[str, dict[str, ScoredCell]] = {}

    def put(words: str, compat: str, direction: str, value: float, interval: Sequence[float] | None = None) -> None:
        name = words if compat == "default" else f"{words}.{compat}"
        cells.setdefault(name, {})[direction] = ScoredCell(value, interval)

    for one in overall:
        for name, value in one["values"].items():
            put(name, one["compat"], one["direction"], value)
    for one in scores:
        stamp, score = one["stamp"], one["score"]
        scale = benchmark.rule(stamp["rule"]).scale
        for name, mean in score["means"].items():
            edges = [edge * scale for edge in mean["interval"]]
            put(f"{stamp['rule']}.{name}", stamp["compat"], stamp["direction"], mean["micro"] * scale, edges)
        for name, value in score["combined"].items():
            put(f"{stamp['rule']}.{name}", stamp["compat"], stamp["direction"], value * scale)
    return cells


def table(config: ChatSetConfig, cells: Mapping[str, Mapping[str, ScoredCell]], scores: Sequence[Any]) -> str:
    """All numbers in Markdown, a column for each direction, with 95 % intervals over items."""
    columns = [direction for direction in DIRECTIONS if direction in config.directions]
    lines = [f"# {BENCHMARKS[config.benchmark].summary}", "", f"| | {' | '.join(map(arrow, columns))} |"]
    lines += [f"|---|{'---|' * len(columns)}"]
    for name, row in cells.items():
        lines.append(f"| {name} | {' | '.join(printed(row[one]) if one in row else '-' for one in columns)} |")
    stamps = {one["stamp"]["direction"]: one["stamp"] for one in scores}
    counted = []
    for direction, stamp in stamps.items():
        words = f"{stamp['items']} items, {stamp['left_out']} bad rows left out, {stamp['failures']} without an answer"
        heard = f", heard by {stamp['recogniser']}" if stamp["recogniser"] else ""
        counted.append(f"{arrow(direction)}: {words}{heard}")
    for one in scores:
        if one["judged"] is not None and one["stamp"]["compat"] == "default":
            rule, direction, by = (one["stamp"][name] for name in ("rule", "direction", "judge"))
            counted.append(judge_words(rule, direction, by, JudgeCounts(**one["judged"])))
    return "\n".join(
        [*lines, "", *(f"* {line}" for line in counted), "", "In brackets: 95 % intervals over items.", ""]
    )


def printed(cell: ScoredCell) -> str:
    """A number with its interval."""
    if cell.interval is None:
        return f"{cell.value:.2f}"
    return f"{cell.value:.2f} ({cell.interval[0]:.2f} to {cell.interval[1]:.2f})"
