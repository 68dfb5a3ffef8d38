"""Options of chatbot.bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatbot.settings import ReplyConfig
from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class BundleConfig(StageConfig):
    """Options of chatbot.bundle.

    Attributes:
        out: run folder; the bundle is <out>/bundle.
        seed: unused: nothing is drawn.
        tokenizer: run folder of tokenizer.train, or its artefact; none of a model that hears vectors.
        lm: run folder of lm.export, or its model; of a model that hears vectors the run folder, with its hearing/.
        decoder: run folder of decoder.train, or its artefact.
        data: run folder of chatbot.prepare that the model was fine-tuned on.
        reader: run folder of lm.export (or its model) of a text-to-token model, to read given texts aloud; empty
            leaves that to the language model, which must have learnt it (format tts). A model that hears vectors writes
            its replies: it needs a reader, of the decoder's tokens and of any text vocabulary.
        transcribes: of a model that hears vectors: it still knows the transcription task (format asr) after its
            tuning, so that transcripts of the users' speech can be asked for.
        voice: the decoder's voice; empty takes the one that the replies in ``data`` were spoken in, or, of replies in
            text, the one that the reader has read most of.
        reply: options of its replies, kept in chat.yaml, where they can be changed later.
    """

    lm: str
    decoder: str
    data: str
    tokenizer: str = ""
    reader: str = ""
    transcribes: bool = option(False, is_later=True)
    voice: str = ""
    reply: ReplyConfig = field(default_factory=ReplyConfig)
