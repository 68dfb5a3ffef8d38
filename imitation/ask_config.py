"""Options of imitation.ask."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.chat_endpoint import RequestConfig
from runtime.config import option
from runtime.stage import StageConfig

RULES_MODEL = "rules"


@dataclass(kw_only=True)
class AskConfig(StageConfig):
    """Options of imitation.ask.

    Attributes:
        manifest: the utterances: a NeMo manifest with transcripts; the audio is not read.
        kinds: of the utterances; none named means all.
        limit: number of utterances, a seeded choice; 0 takes all.
        tasks: a task file (YAML), or a built-in one: content (English, for a text model that follows instructions),
            closed_world (exact answers about the sentences of the built-in world).
        only: names of the tasks to ask; none named means all.
        prompts: seen: only what may be trained on; all: held-out wordings and tasks, too (to teach a text model of
            one's own the tasks, or to look at its answers).
        requests_per_utterance: prompts about each utterance; tasks come as often as their weights say.
        most_utterances: a request is about 1 to this many utterances, their transcripts in a row; of several,
            imitation.prepare can make some speech and leave the others text.
        model: the text model that will be frozen: an OpenAI-compatible URL up to the /v1 (vLLM, SGLang, ...), a folder
            that lm.export wrote, one of transformers' with a chat template (its answers' very tokens are kept), or
            rules: the reference answers of those tasks that have a rule.
        served_model: name of the model at a URL; "" takes its first.
        system: instructions to the model; "" sends none. Give the same to imitation.prepare.
        temperature: of the answers; 0 is greedy.
        batch_size: requests answered at once by a folder's model; changes speed, not answers.
        threads: CPU threads of a model that runs here.
        requests: options of the requests to a URL; they change no answer but by failing.
        max_bad_share: share of the manifest's records that may be bad; they are left out and counted.
        max_cut_share: share of the answers that may be cut at their task's max_new_tokens; cut ones are left out and
            counted, because their imitation would teach not to end.
    """

    manifest: str
    kinds: list[str] = field(default_factory=list)
    limit: int = option(0, at_least=0)
    tasks: str = "content"
    only: list[str] = field(default_factory=list)
    prompts: str = option("seen", one_of=("seen", "all"))
    requests_per_utterance: int = option(1, at_least=1)
    most_utterances: int = option(1, at_least=1)
    model: str
    served_model: str = ""
    system: str = ""
    temperature: float = option(0.0, at_least=0)
    batch_size: int = option(64, at_least=1)
    threads: int = option(1, at_least=1)
    requests: RequestConfig = field(default_factory=RequestConfig)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    max_cut_share: float = option(0.2, at_least=0, at_most=1)
