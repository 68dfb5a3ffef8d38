"""Options of chatbot.dialogues."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.chat_endpoint import RequestConfig
from runtime.config import option
from runtime.stage import StageConfig
from text2token.bulk_generation import BulkGenerationConfig

from .filter import FilterConfig
from .shortening import EndpointConfig


@dataclass(kw_only=True)
class DialoguesConfig(BulkGenerationConfig, StageConfig):
    """Options of chatbot.dialogues.

    Attributes:
        texts: text dialogues: JSON lines (.jsonl, .gz, .zst), Parquet, a folder of such files, or a URL; records with
            conversations (ShareGPT, Magpie), messages (OpenAI), or instruction and response.
        texts_heldout: the same, for the validation split ("" = none).
        reply_speaker: speaker of the replies, one of the model's.
        question_speakers: speaker -> share of the dialogues whose questions it asks (default: by speaker_draw).
        filter: selection of what can be spoken, see chatbot/data/filter.py.
        shorten: the endpoint that makes long replies short, see chatbot/data/shortening.py.
        requests: to that endpoint; answers so far are kept when this is changed.
        max_words: of what is read at once; longer sentences are cut.
        max_rejected_share: share of dialogues that may be left out because a piece of them fails the gate.
        max_bad_share: share of records that may be no dialogue.
        unit_dialogues: dialogues of a unit of work.
    """

    texts: str
    reply_speaker: str
    texts_heldout: str = ""
    question_speakers: dict[str, float] = field(default_factory=dict)
    filter: FilterConfig = field(default_factory=FilterConfig)
    shorten: EndpointConfig = field(default_factory=EndpointConfig)
    requests: RequestConfig = field(default_factory=RequestConfig)
    max_words: int = option(20, at_least=1)
    unit_dialogues: int = option(64, at_least=1)
