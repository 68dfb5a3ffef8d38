"""Options of evaluation.rejection."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.chat_endpoint import RequestConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class RejectionConfig(StageConfig):
    """Options of evaluation.rejection.

    Attributes:
        out: run folder.
        seed: of the sounds and of the choice of questions; that of chatbot.calibrate keeps both apart.
        corpus: output folder of corpus.build.
        manifest: spoken questions of its world; null takes the corpus's heldout_sentence.jsonl.
        bundle: a chatbot to serve on this machine during the evaluation; give this or ``url``.
        url: a server that runs already, up to and with ``/v1``.
        kind: only utterances of this kind; empty takes all.
        questions: number of questions of the world: the last of those that chatbot.calibrate takes the first of.
        sounds: number of sounds in which nobody speaks.
        outside: a file of questions outside the world, one {kind, text} a line; null takes the 40 that come with this.
        requests: options of the requests; they change no result.
        threads: CPU threads of the server started here.
    """

    corpus: str
    manifest: str | None = None
    bundle: str | None = None
    url: str | None = None
    kind: str = "question"
    questions: int = option(60, at_least=1)
    sounds: int = option(100, at_least=1)
    outside: str | None = None
    requests: RequestConfig = field(default_factory=RequestConfig)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = (self.bundle is None) != (self.url is None)
        check_option(is_one, "bundle", self.bundle, "give either bundle=<folder> or url=<server>")
