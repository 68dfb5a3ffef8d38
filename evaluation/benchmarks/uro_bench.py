"""URO-Bench: 40 sets of spoken dialogue in English and Chinese, scored by the mode of each set.

Rows: ``source_wav``, ``source_text``, ``target_text`` (a text, or a list joined by " / "). A set is named by its file
or folder. Its mode decides the rule: a column ``mode``, else a folder named after the mode, else the sets known here,
else ``semi-open`` where there is a target and ``open`` where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evaluation.rules.measure import SetScore
from evaluation.rules.ratings import OPEN, SEMI_OPEN
from evaluation.rules.repetition import REPETITION
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.rules.verdicts import YES_NO_JUDGE
from evaluation.sets.item import EvaluationItem
from evaluation.sets.rows import Row

from .benchmark import Benchmark

RATED_OPEN, RATED, JUDGED, REPEATED = ("open", "multi", "sa", "ue", "sf", "gs"), ("semi-open", "ml"), ("qa",), ("wer",)
NEEDS_AUDIO = ("ge", "srt")  # judged by models that hear
MODES = (*RATED_OPEN, *RATED, *JUDGED, *REPEATED, *NEEDS_AUDIO)
KNOWN_SETS = {
    "alpacaeval": "open", "commoneval": "open", "wildchateval": "open", "storaleval": "semi-open",
    "summary": "semi-open", "truthfuleval": "semi-open", "gaokaoeval": "qa", "gsm8keval": "qa", "mlc": "qa",
    "repeat": "wer",
}  # fmt: skip
PLAIN_STEMS = ("test", "train", "data", "metadata", "output", "dataset")


def read_item(row: Row) -> EvaluationItem:
    """A row of any set."""
    folders = list(reversed(row.folder.parts))
    name = row.stem if row.stem.split("-")[0].lower() not in PLAIN_STEMS else folders[0]
    targets = row.texts("target_text") if row.values.get("target_text") else ()
    mode = mode_of(row, name, folders, bool(targets))
    if mode in (*JUDGED, *REPEATED) and not targets:
        raise ValueError(f"no target_text, which mode {mode} needs")
    return EvaluationItem(
        id=f"{name}/{row.values.get('id', f'{row.number:04d}')}",
        prompt=row.text("source_text"),
        audio=row.audio("source_wav", "audio"),
        subset=name,
        references=targets,
        details={"mode": mode, "number": row.number},
    )


def mode_of(row: Row, name: str, folders: list[str], has_target: bool) -> str:
    """The mode of a row's set.

    Raises:
        ValueError: a column ``mode`` with another value.
    """
    said = row.values.get("mode")
    if said is not None:
        if said not in MODES:
            raise ValueError(f"mode is {said!r}, none of {', '.join(MODES)}")
        return str(said)
    by_folder = next((folder for folder in folders[:3] if folder in MODES), None)
    known = KNOWN_SETS.get(name.lower().removesuffix("-zh").removesuffix("-en"))
    return by_folder or known or ("semi-open" if has_target else "open")


def overall(scores: Mapping[str, SetScore]) -> dict[str, float]:
    """The plain mean over all sets that were scored, 0 to 100."""
    sets: dict[str, float] = {}
    for rule, measure, scale in (("open", "rating", 20), ("semi_open", "rating", 20), ("qa", "accuracy", 100)):
        if rule in scores and measure in scores[rule].means:
            sets |= {name: value * scale for name, value in scores[rule].means[measure].subsets.items()}
    if "repeat" in scores and "ok_rate" in scores["repeat"].means:
        means = scores["repeat"].means
        rates = means["rate_of_ok"].subsets if "rate_of_ok" in means else {}
        sets |= {name: 100 * ok * (1 - rates.get(name, 0)) for name, ok in means["ok_rate"].subsets.items()}
    return {f"mean of {len(sets)} sets": sum(sets.values()) / len(sets)} if sets else {}


def of_modes(*modes: str) -> Callable[[EvaluationItem], bool]:
    """Items of sets of some modes."""
    return lambda item: item.details["mode"] in modes


def official_files(item: EvaluationItem, written: str | None, heard: str | None) -> Mapping[str, Mapping[str, str]]:
    """The lines of an item in the files of its set, each the item's number and a text.

    ``question_text``, ``gt_text`` (where it has references), ``pred_text`` (the written answer) and ``asr_text`` (the
    transcript of the spoken one, which the scripts judge).
    """
    texts = {"question_text": item.prompt, "gt_text": " / ".join(item.references) or None}
    texts |= {"pred_text": written, "asr_text": heard}
    return {
        f"{item.subset}/{name}.jsonl": {f"{item.details['number']:04d}": text}
        for name, text in texts.items()
        if text is not None
    }


URO_BENCH = Benchmark(
    name="uro_bench",
    summary="URO-Bench: spoken dialogue in English and Chinese, scored by the mode of each set",
    read_item=read_item,
    rules=(
        OPEN.only(of_modes(*RATED_OPEN), scale=20),
        SEMI_OPEN.only(of_modes(*RATED), scale=20),
        YES_NO_JUDGE.only(of_modes(*JUDGED)),
        REPETITION.only(of_modes(*REPEATED)),
        SPOKEN_AGREEMENT,
    ),
    overall=overall,
    max_new_tokens=1024,
    official_files=official_files,
    notes={
        "ge, srt": "not scored: they need models that judge the sound (emotion2vec, Gemini).",
        "modes": "the names of known sets are from memory; a column mode or a folder named after the mode decides.",
        "multi, sa, ue, sf, gs": "rated as open ones; the published prompts of these modes differ.",
    },
)
