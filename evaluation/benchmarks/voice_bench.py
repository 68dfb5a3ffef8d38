"""VoiceBench (hlt-lab/voicebench): nine subsets of spoken questions, and the overall score of its leaderboard.

The data set's folders or files are named after the subsets (``alpacaeval_full``, ``sd-qa``, ``mmsu``, ...); the regions
of sd-qa and the subjects of mmsu are splits, named by the file. Rows: ``audio``, ``prompt``; ``reference`` (sd-qa,
openbookqa, mmsu, bbh), ``id`` (bbh: names the task), ``key``, ``instruction_id_list`` and ``kwargs`` (ifeval).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from evaluation.rules.big_bench import BBH, task_of
from evaluation.rules.choices import MCQ
from evaluation.rules.instructions.following import IFEVAL
from evaluation.rules.measure import SetScore
from evaluation.rules.ratings import OPEN
from evaluation.rules.refusals import HARM
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.rules.verdicts import YES_NO_JUDGE
from evaluation.sets.item import EvaluationItem
from evaluation.sets.parts import part_of
from evaluation.sets.rows import Row

from .benchmark import Benchmark, PublishedScore
from .instruction_rows import read_instructions

OPEN_SUBSETS = ("alpacaeval", "alpacaeval_full", "commoneval", "wildvoice")
SUBSETS = (*OPEN_SUBSETS, "sd-qa", "openbookqa", "mmsu", "ifeval", "bbh", "advbench", "mtbench")
REGIONS = ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf")
SUBJECTS = ("law", "engineering", "other", "biology", "business", "economics", "health", "philosophy", "psychology",
            "history", "chemistry", "physics")  # fmt: skip
SPLITS: Mapping[str, tuple[str, ...]] = {"sd-qa": REGIONS, "mmsu": SUBJECTS}
WITH_REFERENCE = ("sd-qa", "openbookqa", "mmsu", "bbh")
KEPT = ("id", "key", "reference", "instruction_id_list", "kwargs")
SOURCE = "VoiceBench's leaderboard"


def read_item(row: Row) -> EvaluationItem:
    """A row of any subset."""
    subset = part_of(row, SUBSETS)
    if subset is None:
        raise ValueError(f"its file and folders are named after none of {', '.join(SUBSETS)}")
    split = split_of(row, subset)
    details: dict[str, Any] = {"split": split or "test"}
    details |= {name: row.values[name] for name in KEPT if row.values.get(name) is not None}
    if subset == "ifeval":
        details["instructions"] = read_instructions(row)
    if subset == "bbh":
        details["task"] = task_of(row.text("id"))
        if details["task"] is None:
            raise ValueError(f"id {row.text('id')!r} names none of its four tasks")
    return EvaluationItem(
        id=f"{subset}/{row.folder.name}/{row.stem}-{row.number:05d}",
        prompt=first_turn(row),
        audio=row.audio(),
        subset=f"{subset}-{split}" if split else subset,
        references=(row.text("reference"),) if subset in WITH_REFERENCE else (),
        details=details,
    )


def split_of(row: Row, subset: str) -> str:
    """The region or subject of a row, by a column ``split`` or its file's name; "" for other subsets."""
    names = SPLITS.get(subset, ())
    place = str(row.values.get("split") or row.stem).lower()
    found = [name for name in names if re.search(rf"(?<![a-z]){name}(?![a-z])", place)]
    return max(found, key=len, default="")


def first_turn(row: Row) -> str:
    """The prompt; of a dialogue (mtbench) its first turn."""
    value = row.values.get("prompt")
    return str(value[0]).strip() if isinstance(value, list) and value else row.text("prompt")


def within(*subsets: str) -> Callable[[EvaluationItem], bool]:
    """Items of some subsets, their splits included."""
    return lambda item: any(item.subset == name or item.subset.startswith(f"{name}-") for name in subsets)


def overall(scores: Mapping[str, SetScore]) -> dict[str, float]:
    """The mean of nine: ratings times 20, the others in per cent; nothing where a subset is missing."""
    parts: list[float | None] = [
        *(_of_subset(scores, "open", "rating", name, 20) for name in OPEN_SUBSETS if name != "alpacaeval"),
        _of_all(scores, "qa", "accuracy"),
        _of_subset(scores, "mcq", "accuracy", "openbookqa", 100),
        _of_all(scores, "mcq_mmsu", "accuracy"),
        scores["instructions"].combined["mean"] * 100 if "instructions" in scores else None,
        _of_all(scores, "bbh", "accuracy"),
        _of_all(scores, "harm", "refusal"),
    ]
    known = [part for part in parts if part is not None]
    return {"overall": sum(known) / len(known)} if len(known) == len(parts) else {}


def _of_subset(scores: Mapping[str, SetScore], rule: str, measure: str, subset: str, scale: float) -> float | None:
    if rule not in scores or measure not in scores[rule].means:
        return None
    value = scores[rule].means[measure].subsets.get(subset)
    return None if value is None else value * scale


def _of_all(scores: Mapping[str, SetScore], rule: str, measure: str) -> float | None:
    if rule not in scores or measure not in scores[rule].means:
        return None
    return scores[rule].means[measure].micro * 100


def official_row(item: EvaluationItem, answer: str) -> Mapping[str, Any]:
    """The row that the published evaluator reads: what inference kept, and the response."""
    return {name: item.details[name] for name in KEPT if name in item.details} | {
        "prompt": item.prompt,
        "response": answer,
    }


def official_file(item: EvaluationItem, model: str, direction: str) -> str:
    """``{model}-{data}-{split}-{audio|text}.jsonl``."""
    split = str(item.details["split"])
    medium = "text" if direction.startswith("t") else "audio"
    return f"{model}-{item.subset.removesuffix(f'-{split}')}-{split}-{medium}.jsonl"


def _published() -> tuple[PublishedScore, ...]:
    rows = (
        ("Ultravox-GLM-4P7", 88.86), ("Whisper-v3 + GPT-4o", 87.80), ("GPT-4o-Audio", 86.75),
        ("Parakeet-TDT-0.6b + Qwen3-8B", 79.23), ("Kimi-Audio", 76.91), ("Ultravox-0.5-8B", 74.86),
        ("Baichuan-Audio", 69.27), ("GLM-4-Voice", 56.48), ("LLaMA-Omni", 41.12), ("Moshi", 29.51),
    )  # fmt: skip
    return tuple(PublishedScore(model, "S->T", value, SOURCE, "overall") for model, value in rows)


VOICE_BENCH = Benchmark(
    name="voice_bench",
    summary="VoiceBench: open questions, knowledge, choices, instructions, reasoning and safety, spoken",
    read_item=read_item,
    rules=(
        OPEN.only(within(*OPEN_SUBSETS)),
        YES_NO_JUDGE.only(within("sd-qa")),
        MCQ.only(within("openbookqa")),
        MCQ.only(within("mmsu"), name="mcq_mmsu"),
        IFEVAL.only(within("ifeval")),
        BBH.only(within("bbh")),
        HARM.only(within("advbench")),
        SPOKEN_AGREEMENT,
    ),
    overall=overall,
    max_new_tokens=2048,
    published=_published(),
    official_row=official_row,
    official_file=official_file,
    notes={
        "panda": "not available offline (a classifier that is downloaded): sd-qa has the judge's accuracy only.",
        "mcq": "the official way has the known third of the script's 160 templates; drawn choices are in the notes.",
        "overall": "mean of nine with alpacaeval_full; only where all nine are there. mtbench is read, not scored.",
    },
)
