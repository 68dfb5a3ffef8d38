"""Options of chatbot.bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatbot.settings import ReplyConfig
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class BundleConfig(StageConfig):
    """Options of chatbot.bundle.

    Attributes:
        out: run folder; the bundle is <out>/bundle.
        seed: unused: nothing is drawn.
        tokenizer: run folder of tokenizer.train, or its artefact.
        lm: run folder of lm.export, or its model.
        decoder: run folder of decoder.train, or its artefact.
        data: run folder of chatbot.prepare that the model was fine-tuned on.
        reader: run folder of lm.export (or its model) of a text-to-token model, to read given texts aloud; empty
            leaves that to the language model, which must have learnt it (format tts).
        voice: the decoder's voice; empty takes the one that the replies in ``data`` were spoken in.
        reply: options of its replies, kept in chat.yaml, where they can be changed later.
    """

    tokenizer: str
    lm: str
    decoder: str
    data: str
    reader: str = ""
    voice: str = ""
    reply: ReplyConfig = field(default_factory=ReplyConfig)
