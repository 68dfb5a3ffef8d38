"""Options of the engine, and of one reply."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option

DTYPES = ("float32", "bfloat16")
DIALECTS = ("vllm", "sglang")


@dataclass(kw_only=True)
class EngineOptions(Options):
    """Options of an engine.

    Attributes:
        max_talkers: conversations at once.
        max_jobs: transcriptions and texts read aloud at once, in addition to the conversations; more of them wait.
        max_batch: conversations at most whose speech is encoded, or decoded, in one batch; what waits at the same time
            is taken together, and nothing waits for more. 1: one after the other.
        threads: CPU threads of each model.
        dtype: of the language model.
        device: a torch device.
        max_waiting_seconds: audio of one conversation that may wait to be encoded, or to be played.
        max_reply_seconds: a reply that takes longer (because its listener does not take it, say) is given up.
        max_idle_seconds: an unused conversation is closed after this time; 0 never closes it.
        backend_url: endpoint of vLLM or SGLang that runs the language model (`chatbot.engine.backends.endpoint`), up to
            and with ``/v1``; "": it runs here.
        backend_model: name of the model at that endpoint; "" takes its first.
        backend_dialect: the endpoint's software.
    """

    max_talkers: int = option(8, at_least=1)
    max_jobs: int = option(2, at_least=1)
    max_batch: int = option(8, at_least=1)
    threads: int = option(1, at_least=1)
    dtype: str = option("float32", one_of=DTYPES)
    device: str = "cpu"
    max_waiting_seconds: float = option(30.0, above=0)
    max_reply_seconds: float = option(300.0, above=0)
    max_idle_seconds: float = option(1800.0, at_least=0)
    backend_url: str = ""
    backend_model: str = ""
    backend_dialect: str = option("vllm", one_of=DIALECTS)


@dataclass(frozen=True, kw_only=True)
class ReplyOptions(Options):
    """Options of one reply; None stands for the conversation's or the bundle's own.

    Attributes:
        voice: of the decoder.
        has_audio: whether it is spoken.
        has_text: whether its text is sent.
        max_tokens: of text and speech together.
        temperature: of text and speech.
        top_p: nucleus mass of text and speech.
        seed: of text and speech; None derives it from the tokens before the reply.
        instructions: the system prompt.
        is_scored: tell the model's confidence (`ReplyDone.confidence`), also where the bundle has no threshold.
    """

    voice: str | None = None
    has_audio: bool = True
    has_text: bool = True
    max_tokens: int | None = option(None, at_least=1)
    temperature: float | None = option(None, at_least=0, at_most=2)
    top_p: float | None = option(None, above=0, at_most=1)
    seed: int | None = None
    instructions: str | None = None
    is_scored: bool = False
