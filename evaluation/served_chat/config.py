"""Options of the stage ``evaluation.chat`` and of the command ``evaluate page``."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option
from runtime.stage import StageConfig

TURNS = ("commit", "server_vad")
KEY_VARIABLE = "SPEECHWEAVE_API_KEY"


@dataclass(kw_only=True)
class ChatEvaluationConfig(StageConfig):
    """Options of evaluation.chat. A server's API key is taken from the environment: SPEECHWEAVE_API_KEY.

    Attributes:
        out: run folder.
        seed: chooses the questions, their speakers, and the clients' pauses.
        corpus: output folder of corpus.build (questions.jsonl with the answer keys, sentences.txt for the judge).
        manifest: spoken questions; null takes the corpus's heldout_sentence.jsonl.
        bundle: a chatbot to serve on this machine during the evaluation; give this or ``url``.
        url: a server that runs already.
        kind: only utterances of this kind; empty takes all.
        questions: number of questions, the same under each condition; 0 takes all.
        turns: end of a turn: "commit" (by the client), "server_vad" (by the server, after silence).
        talkers: numbers of concurrent clients in closed loops: each asks again after the playback of its reply.
        rates: open loops: questions a second on average, independent of the server's speed.
        dialogue_turns: questions of one dialogue, over one connection.
        interruptions: replies that are interrupted, for each of ``turns``.
        chunk_ms: length of the pieces in which speech is sent.
        threads: CPU threads of the server started here.
        processes: the judge's processes.
    """

    corpus: str
    manifest: str | None = None
    bundle: str | None = None
    url: str | None = None
    kind: str = "question"
    questions: int = option(48, at_least=0)
    turns: list[str] = option(["commit", "server_vad"], one_of=TURNS)
    talkers: list[int] = option([1, 4, 8], at_least=1)
    rates: list[float] = option([], above=0)
    dialogue_turns: int = option(1, at_least=1)
    interruptions: int = option(8, at_least=0)
    chunk_ms: int = option(40, at_least=20, at_most=100)
    threads: int = option(1, at_least=1)
    processes: int = option(2, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = (self.bundle is None) != (self.url is None)
        check_option(is_one, "bundle", self.bundle, "give either bundle=<folder> or url=<server>")
        check_option(bool(self.turns), "turns", self.turns, "name commit, server_vad or both")
        is_some = bool(self.talkers or self.rates)
        check_option(is_some, "talkers", self.talkers, "name at least one number of talkers, or a rate")


@dataclass(kw_only=True)
class PageEvaluationConfig(Options):
    """Options of evaluate page.

    Attributes:
        bundle: the chatbot.
        corpus: output folder of corpus.build, with the spoken questions.
        out: folder of the results.
        questions: number of held-out questions.
        seed: chooses the questions and their speakers.
    """

    bundle: str = "runs/quickstart/bundle"
    corpus: str = "runs/quickstart/corpus"
    out: str = "runs/quickstart/page"
    questions: int = option(6, at_least=1)
    seed: int = 1
