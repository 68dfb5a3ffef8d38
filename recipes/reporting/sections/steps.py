"""The steps of a run: stage, seconds, size of data and model, main results."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section
from recipes.reporting.run_results import Results

PARAMETER_KEYS = ("parameters", "num_parameters")
RESULT_KEYS = {
    "corpus": ("num_sentences", "hours", "num_voices"),
    "tokenizer_evaluation": ("wer_with_vq", "wer_without_vq", "codebook_use"),
    "readback": ("readback_wer",),
    "span_readback": ("span_wer", "span_wer_of_real_tokens"),
    "interleaved": ("realised_ratio",),
    "evaluation": ("decoder.judge_wer", "judge.floor_wer", "chat.speech_to_text_accuracy"),
}
DATA_KEYS = ("num_utterances", "hours", "tokens", "documents", "utterances", "train_documents", "chat.questions")


def steps_section(results: Results) -> Section:
    """A table of every step."""
    section = Section("Steps")
    rows: list[list[Any]] = []
    for step in results.steps:
        own = results.metrics_of(step)
        data = ", ".join(
            f"{short(own[key])} {key.split('.')[-1].removeprefix('num_')}" for key in DATA_KEYS if key in own
        )
        size = next((own[key] for key in PARAMETER_KEYS if key in own), None)
        kept = RESULT_KEYS.get(step, ())
        result = ", ".join(f"{key.split('.')[-1]} {short(own[key])}" for key in kept if key in own)
        seconds = results.seconds(step)
        rows.append([step, results.steps[step]["module"], seconds, data, "" if size is None else size, result])
    section.table(["step", "stage", "seconds", "data", "parameters", "result"], rows)
    if (total := results.total_seconds) is not None:
        section.text(f"Wall clock of the whole run: {total / 60:.1f} minutes (steps run side by side).")
    return section


def short(value: Any) -> str:
    """A count, or a rate with three digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
