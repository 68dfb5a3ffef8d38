"""Stage chatbot.dialogue_import: recorded dialogues -> dialogues with speech tokens, which `chatbot.prepare` takes.

    python -m chatbot.dialogue_import turns=recordings.jsonl tokenizer=runs/quickstart/tokenizer out=runs/recorded

``turns`` is a manifest of turns (`chatbot.data.recorded_turns`), or a file or folder of dialogues whose turns have
audio. Works in units like `chatbot.dialogues`: kill it at any moment and call it again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .data.import_config import DialogueImportConfig

STAGE = Stage(
    name="chatbot.dialogue_import",
    config=DialogueImportConfig,
    implementation="chatbot.data.recorded_dialogues:import_dialogues",
    summary="Recorded dialogues -> dialogues with speech tokens that chatbot.prepare takes.",
    inputs=lambda config: [*filter(None, (config.turns, config.turns_heldout)), config.tokenizer],
    example="turns=recordings.jsonl tokenizer=runs/quickstart/tokenizer out=runs/recorded",
    speed_options=("processes", "threads", "bulk", "max_bad_share"),
)

if __name__ == "__main__":
    STAGE.exit()
