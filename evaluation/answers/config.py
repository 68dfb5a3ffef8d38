"""Options of evaluation.answer, evaluation.judge, evaluation.score and evaluation.export."""

from __future__ import annotations

from dataclasses import dataclass, field

from evaluation.benchmarks.table import BENCHMARKS
from runtime.chat_endpoint import RequestConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .base_config import BasePromptConfig

DIRECTIONS = ("t2t", "s2t", "t2s", "s2s")
MEDIA = ("text", "speech")
OWN_RECOGNISERS = ("lm", "tokenizer")  # of a base model's tokens


@dataclass(kw_only=True)
class SetConfig(StageConfig):
    """The evaluation set.

    Attributes:
        benchmark: its name.
        data: a file or folder of its rows (JSON lines, JSON, CSV, Parquet, Arrow); nothing is downloaded.
        max_bad_share: share of the rows that may be bad; they are left out and counted.
    """

    benchmark: str = option(one_of=tuple(BENCHMARKS))
    data: str
    max_bad_share: float = option(0.0, at_least=0, at_most=1)


@dataclass(kw_only=True)
class JudgeConfig(SetConfig):
    """Options of evaluation.judge.

    Attributes:
        answers: output folder of evaluation.answer.
        rules: rules of the benchmark to judge for; none named means all that have a judge.
        media: replies that are judged: the written one (text), the transcript of the spoken one (speech).
        url: base of an OpenAI-compatible endpoint, up to the /v1.
        model: that the endpoint knows.
        requests: options of the requests; they change no score.
    """

    answers: str
    url: str
    model: str
    rules: list[str] = field(default_factory=list)
    media: list[str] = option(list(MEDIA), one_of=MEDIA)
    requests: RequestConfig = field(default_factory=RequestConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_sound = self.url.startswith(("http://", "https://"))
        check_option(is_sound, "url", self.url, "give http://... or https://..., up to the /v1")
        check_option(bool(self.model), "model", self.model, "name the endpoint's model")


@dataclass(kw_only=True)
class ScoreConfig(SetConfig):
    """Options of evaluation.score.

    Attributes:
        answers: output folder of evaluation.answer.
        judgements: output folder of evaluation.judge; without it rules that need a judge are not scored.
        rules: rules of the benchmark to score by; none named means all.
    """

    answers: str
    judgements: str | None = None
    rules: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class OfficialFilesConfig(SetConfig):
    """Options of evaluation.export.

    Attributes:
        answers: output folder of evaluation.answer.
        medium: the written reply (text), or the transcript of the spoken one (speech).
    """

    answers: str
    medium: str = option("text", one_of=MEDIA)


@dataclass(kw_only=True)
class AnswerConfig(BasePromptConfig, SetConfig):
    """Options of evaluation.answer.

    Attributes:
        model: an OpenAI-compatible URL up to the /v1, a chatbot's bundle, which is served here, a text model's
            folder of transformers, or (with prompt=) a base speech language model.
        served_model: name of the model at a URL; "" takes its first.
        direction: medium of the prompt and of the reply: t2t, s2t, t2s, s2s. A spoken reply is scored in both.
        recogniser: of spoken replies: the folder of a built-in corpus, a .nemo file, a folder of transformers', a URL;
            of a base model also lm or tokenizer, which read the reply's tokens.
        cascade: a recogniser that transcribes spoken questions, so that a text model can be asked; "" asks in speech.
        shots: worked examples in front of each question, out of ``shots_data``; a seeded choice. Base models see them
            in the media of the direction, all others in text.
        shots_data: another split of the set; spoken answers are in its column ``answer_audio``.
        limit: number of items, a seeded choice; 0 takes all.
        temperature: of the replies; 0 is greedy.
        max_new_tokens: of a reply; 0 takes the benchmark's.
        system: instructions to the model; "" sends none.
        requests: options of the requests; they change no answer but by failing.
        threads: CPU threads of a model that runs here.
    """

    model: str
    served_model: str = ""
    direction: str = option("s2t", one_of=DIRECTIONS)
    recogniser: str = ""
    cascade: str = ""
    shots: int = option(0, at_least=0)
    shots_data: str = ""
    limit: int = option(0, at_least=0)
    temperature: float = option(0.0, at_least=0)
    max_new_tokens: int = option(0, at_least=0)
    system: str = ""
    requests: RequestConfig = field(default_factory=RequestConfig)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = "name a recogniser: spoken replies are scored by their transcripts"
        check_option(bool(self.recogniser) or not self.is_spoken, "recogniser", self.recogniser, remedy)
        is_given = bool(self.shots_data) or not self.shots
        check_option(is_given, "shots_data", self.shots_data, "name the split that worked examples are taken from")
        is_used = self.is_heard or not self.cascade
        check_option(is_used, "cascade", self.cascade, "leave it out: the questions of this direction are text")
        is_used = self.is_spoken or not self.recogniser
        check_option(is_used, "recogniser", self.recogniser, "leave it out: the replies of this direction are text")
        is_used = bool(self.shots) or not self.shots_data
        check_option(is_used, "shots_data", self.shots_data, "leave it out, or set shots to how many are shown")
        is_used = bool(self.shots) or self.shots_of == "set"
        check_option(is_used, "shots_of", self.shots_of, "leave it out, or set shots to how many are shown")
        is_used = "://" in self.model or not self.served_model
        check_option(is_used, "served_model", self.served_model, "leave it out: it names a model at a URL")
        self.check_base_options()
        remedy = "name a recogniser that hears sound: only a base model (prompt=) has tokens to read"
        check_option(bool(self.prompt) or not self.reads_own_tokens, "recogniser", self.recogniser, remedy)
        is_written = self.answer_by == "generation" or not self.is_spoken
        check_option(is_written, "answer_by", self.answer_by, "choose s2t or t2t: the options it compares are text")

    @property
    def is_heard(self) -> bool:
        """Whether the prompt is speech."""
        return self.direction.startswith("s")

    @property
    def is_spoken(self) -> bool:
        """Whether the reply is speech."""
        return self.direction.endswith("s")

    @property
    def reads_own_tokens(self) -> bool:
        """Whether spoken replies are read from their tokens instead of being heard."""
        return self.recogniser in OWN_RECOGNISERS

    @property
    def local_inputs(self) -> list[str]:
        """The files and folders that are read, URLs left out."""
        named = [self.data, self.model, self.recogniser, self.cascade, self.shots_data]
        named += [self.vocabulary, self.tokenizer, self.decoder]
        return [path for path in named if path and "://" not in path and path not in OWN_RECOGNISERS]
