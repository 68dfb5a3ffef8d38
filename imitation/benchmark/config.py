"""Options of imitation.benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.chat_endpoint import RequestConfig
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig

TRANSCRIPT, SPEECH, INTERLEAVED, CASCADE = CONDITIONS = ("transcript", "speech", "interleaved", "cascade")


@dataclass(kw_only=True)
class BenchmarkConfig(StageConfig):
    """Options of imitation.benchmark.

    Attributes:
        model: a language model that hears: the output folder of lm.export.
        pairs: output folder of imitation.ask with prompts=all about utterances that were not trained on, by the same
            text model: its answers are the references of tasks without a rule. Ask with most_utterances=2 for
            interleaved inputs.
        manifest: of those utterances, with their audio.
        tasks: the task file that the pairs were asked with.
        conditions: forms of the input: transcript (what the text model can do), speech, interleaved (of pairs about
            several utterances: speech and text in turn), cascade (a recogniser's transcripts).
        recogniser: of the cascade: a .nemo file, a folder of transformers' (Whisper), a language model that hears, the
            folder of a built-in corpus, or a URL.
        judge: of tasks with metric judge and of those in ``judged``: an OpenAI-compatible URL up to the /v1.
        judge_model: that the endpoint knows.
        judged: names of tasks that the judge rates, whatever their metric.
        requests: options of the requests to the judge.
        limit: number of pairs, a seeded choice; 0 takes all.
        batch_size: pairs answered together; changes speed, not answers.
        max_bad_share: share of the manifest's records that may be bad.
        threads: CPU threads.
    """

    model: str
    pairs: str
    manifest: str
    tasks: str = "content"
    conditions: list[str] = field(default_factory=lambda: [TRANSCRIPT, SPEECH])
    recogniser: str = ""
    judge: str = option("", is_later=True)
    judge_model: str = option("", is_later=True)
    judged: list[str] = option([], is_later=True)
    requests: RequestConfig = field(default_factory=RequestConfig, metadata={LATER: True})
    limit: int = option(0, at_least=0)
    batch_size: int = option(32, at_least=1)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.conditions:
            check_option(name in CONDITIONS, "conditions", name, f"give some of {', '.join(CONDITIONS)}")
        check_option(bool(self.conditions), "conditions", self.conditions, f"give some of {', '.join(CONDITIONS)}")
        has_cascade = CASCADE in self.conditions
        remedy = "name the recogniser of the cascade, which is one of the conditions"
        check_option(bool(self.recogniser) == has_cascade, "recogniser", self.recogniser, remedy)
        is_url = not self.judge or self.judge.startswith(("http://", "https://"))
        check_option(is_url, "judge", self.judge, "give http://... or https://..., up to the /v1")
        both = "name the model of the judge, and the judge's URL"
        check_option(bool(self.judge) == bool(self.judge_model), "judge_model", self.judge_model, both)
        check_option(not self.judged or bool(self.judge), "judged", self.judged, "give judge=URL and judge_model, too")
