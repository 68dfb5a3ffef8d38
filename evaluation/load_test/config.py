"""Options of evaluation.serving."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.served_chat.config import TURNS
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

INTERFACES = ("realtime", "chat_completions")


@dataclass(kw_only=True)
class ServingConfig(StageConfig):
    """Options of evaluation.serving. A server's API key is taken from the environment: SPEECHWEAVE_API_KEY.

    Attributes:
        model: a chatbot's bundle, which is served on this machine while it is measured, or the URL of a server.
        data: spoken questions: a manifest, or the output folder of corpus.build (its held-out questions).
        kind: only utterances of this kind; empty takes the questions of a corpus, and all of a manifest.
        talkers: numbers of concurrent talkers, one measurement each.
        requests: of each measurement; recordings are asked again where there are fewer.
        interface: "realtime" (``/v1/realtime``), "chat_completions" (``/v1/chat/completions``, streamed).
        turn: end of a turn over realtime: "commit" (by the talker), "server_vad" (by the server, after silence).
        chunk_ms: length of the pieces in which speech is sent over realtime.
        timeout: seconds without any event after which a request has failed.
        threads: CPU threads of a server that is started here.
    """

    model: str
    data: str
    kind: str = ""
    talkers: list[int] = option([1, 2, 4, 8, 16], at_least=1)
    requests: int = option(32, at_least=1)
    interface: str = option("realtime", one_of=INTERFACES)
    turn: str = option("commit", one_of=TURNS)
    chunk_ms: int = option(40, at_least=20, at_most=100)
    timeout: float = option(60.0, above=0)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_list = bool(self.talkers) and len(set(self.talkers)) == len(self.talkers)
        check_option(is_list, "talkers", self.talkers, "name each number of talkers once, e.g. [1,2,4,8,16]")
        is_enough = self.requests >= max(self.talkers)
        check_option(is_enough, "requests", self.requests, f"give {max(self.talkers)} or more: one for each talker")
        is_heard = self.interface == "realtime" or self.turn == "commit"
        check_option(is_heard, "turn", self.turn, "leave it out: over chat_completions the request ends the turn")

    @property
    def url(self) -> str | None:
        """The server to ask; None where ``model`` is a bundle."""
        return self.model if "://" in self.model else None
