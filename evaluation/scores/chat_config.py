"""Options of evaluation.chat_set."""

from __future__ import annotations

from dataclasses import dataclass, field

from evaluation.answers.config import DIRECTIONS, AnswerConfig, SetConfig
from runtime.chat_endpoint import RequestConfig
from runtime.config import option
from runtime.errors import check_option

PASSED_ON = (
    *("benchmark", "data", "max_bad_share", "seed", "model", "served_model", "limit"),
    *("temperature", "max_new_tokens", "system", "requests", "threads"),
)


@dataclass(kw_only=True)
class ChatSetConfig(SetConfig):
    """Options of evaluation.chat_set.

    Attributes:
        model: an OpenAI-compatible URL up to the /v1, a chatbot's bundle, which is served here, or a text model's
            folder of transformers.
        served_model: name of the model at a URL; "" takes its first.
        directions: media of prompt and reply that are scored. Each item is asked once in text and once in speech; a
            spoken reply gives both the score of its text (T->T, S->T) and that of its sound (T->S, S->S).
        recogniser: of spoken replies: the folder of a built-in corpus, a .nemo file, a folder of transformers', a URL.
        cascade: a recogniser that transcribes spoken questions, so that a text model can be asked; "" asks in speech.
        limit: number of items, a seeded choice; 0 takes all.
        temperature: of the replies; 0 is greedy.
        max_new_tokens: of a reply; 0 takes the benchmark's.
        system: instructions to the model; "" sends none.
        judge_url: base of an OpenAI-compatible endpoint for the rules that need an LLM's judgement, up to the /v1; ""
            leaves these rules out, by name.
        judge_model: that the endpoint knows.
        requests: options of the requests; they change no answer but by failing.
        threads: CPU threads of a model that runs here.
    """

    model: str
    served_model: str = ""
    directions: list[str] = option(list(DIRECTIONS), one_of=DIRECTIONS)
    recogniser: str = ""
    cascade: str = ""
    limit: int = option(0, at_least=0)
    temperature: float = option(0.0, at_least=0)
    max_new_tokens: int = option(0, at_least=0)
    system: str = ""
    judge_url: str = ""
    judge_model: str = ""
    requests: RequestConfig = field(default_factory=RequestConfig)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_once = bool(self.directions) and len(set(self.directions)) == len(self.directions)
        check_option(is_once, "directions", self.directions, "name at least one, and each once")
        is_whole = bool(self.judge_url) == bool(self.judge_model)
        check_option(is_whole, "judge_model", self.judge_model, "give judge_url and judge_model together")
        runs = self.answer_configs("").values()  # they check the options of their own directions
        remedy = "leave it out: the questions of these directions are text"
        check_option(not self.cascade or any(run.is_heard for run in runs), "cascade", self.cascade, remedy)
        remedy = "leave it out: the replies of these directions are text"
        check_option(not self.recogniser or any(run.is_spoken for run in runs), "recogniser", self.recogniser, remedy)

    def answer_configs(self, folder: str) -> dict[str, AnswerConfig]:
        """The runs that it takes, by the medium of the prompt: one each, spoken where a spoken reply is wanted."""
        shared = {name: getattr(self, name) for name in PASSED_ON}
        configs = {}
        for medium, first in (("typed", "t"), ("spoken", "s")):
            if any(direction[0] == first for direction in self.directions):
                last = "s" if f"{first}2s" in self.directions else "t"
                own = {"out": f"{folder}/{medium}/answers", "direction": f"{first}2{last}"}
                own |= {"cascade": self.cascade} if first == "s" else {}
                own |= {"recogniser": self.recogniser} if last == "s" else {}
                configs[medium] = AnswerConfig(**shared | own)
        return configs

    @property
    def local_inputs(self) -> list[str]:
        """The files and folders that are read, URLs left out."""
        named = (self.data, self.model, self.recogniser, self.cascade)
        return [path for path in named if path and "://" not in path]
