"""Stage chatbot.dialogues: text dialogues -> spoken ones: filtered, shortened, and read by a text-to-token model.

    python -m chatbot.dialogues texts=magpie.jsonl model=runs/quickstart/text2token_model/model \\
        reply_speaker=espeak-f2 out=runs/dialogues processes=2

The data of 2411.17607's chatbot (SpeechDialog-90K) are made so from Magpie: what cannot be read aloud is left out, long
answers are shortened by a language model behind any OpenAI-compatible endpoint (``shorten.url=...``; without one their
dialogues end before them), questions are spoken in many voices and answers in one.

Writes <out>/dialogues/unit-*.jsonl (and <out>/heldout/), which `chatbot.prepare` takes. Kill it, or any of its workers,
at any moment and call it again: what is finished is kept, and the output is byte for byte that of an unbroken run.
"""

from __future__ import annotations

from lm.data.text_files import is_url
from runtime.stage import Stage

from .data.dialogues_config import DialoguesConfig

STAGE = Stage(
    name="chatbot.dialogues",
    config=DialoguesConfig,
    implementation="chatbot.data.dialogue_synthesis:synthesise_dialogues",
    summary="Text dialogues -> filtered, shortened, spoken dialogues that chatbot.prepare takes.",
    inputs=lambda config: [
        *(one for one in (config.texts, config.texts_heldout) if one and not is_url(one)),
        *(config.model, config.voice_corpus, config.voice_tokenizer),
    ],
    example="texts=magpie.jsonl model=runs/quickstart/text2token_model/model reply_speaker=espeak-f2 "
    "out=runs/dialogues",
    speed_options=(
        "batch_size",
        "processes",
        "threads",
        "cuda_graphs",
        "bulk",
        "requests",
        "max_rejected_share",
        "max_bad_share",
    ),
)

if __name__ == "__main__":
    STAGE.exit()
