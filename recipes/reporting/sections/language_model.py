"""The language model: held-out losses, with and without interleaved documents."""

from __future__ import annotations

from typing import Any

from recipes.reporting import figures
from recipes.reporting.blocks import Section, percent
from recipes.reporting.run_results import Results


def language_model_section(results: Results) -> Section | None:
    """Held-out loss by format and modality; with and without interleaved documents when both were trained."""
    own = results.metrics_of("lm")
    if not own:
        return None
    section = Section("Language model")
    losses = {key.removeprefix("val_loss."): value for key, value in own.items() if key.startswith("val_loss.")}
    section.text(
        f"Trained by megatron-core, tensor parallel {own.get('tensor_parallel', '?')}, on processes of this machine. "
        "Held-out loss in nats a token, by document format and by modality."
    )
    section.image(figures.bars(dict(sorted(losses.items())), "held-out loss, nats a token"), "held-out losses")
    plain = results.metrics_of("plain_evaluation")
    if plain:
        section.heading("With and without interleaved documents, same budget")
        names = ("chat.speech_to_text_accuracy", "chat.speech_to_speech_accuracy", "chat.heard_wer")
        rows: list[list[Any]] = [[name, percent(results.metrics.get(name)), percent(plain.get(name))] for name in names]
        without = results.metrics_of("plain_lm")
        both = sorted(key for key in own if key.startswith("val_loss.") and key in without)
        rows += [[key, f"{own[key]:.3f}", f"{without[key]:.3f}"] for key in both]
        section.table(["", "with", "without"], rows)
        section.text("Losses and rates of one seed each; small differences mean nothing.")
    return section
