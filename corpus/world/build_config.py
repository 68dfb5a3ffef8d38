"""Options of corpus.build."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from corpus.audio.room_simulation import RoomConfig
from corpus.audio.segments import DURATION_TOLERANCE
from runtime.config import Options, option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .plan import KINDS, PlanSizes
from .voices import ENGINES


@dataclass(kw_only=True)
class Shares(Options):
    """The share of each kind of utterance; they sum to 1.

    Attributes:
        question: questions of the world.
        statement: sentences that state something.
        random: random words of the vocabulary.
        story: little stories of up to four sentences.
        followup: questions about the story of an earlier turn ("what color is it").
    """

    question: float = option(0.4, at_least=0, at_most=1)
    statement: float = option(0.225, at_least=0, at_most=1)
    random: float = option(0.225, at_least=0, at_most=1)
    story: float = option(0.1, at_least=0, at_most=1)
    followup: float = option(0.05, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        total = sum(asdict(self).values())
        check_option(math.isclose(total, 1, abs_tol=1e-6), "shares", total, "question, ... and followup must sum to 1")

    def counts(self, total: int, *, without: Sequence[str] = ()) -> dict[str, int]:
        """``total`` utterances divided by the shares of all kinds but ``without``."""
        shares = {kind: 0.0 if kind in without else float(getattr(self, kind)) for kind in KINDS}
        whole = sum(shares.values()) or 1.0
        return {kind: round(total * share / whole) for kind, share in shares.items()}


@dataclass(kw_only=True)
class BuildConfig(StageConfig):
    """Options of corpus.build.

    Attributes:
        out: run folder.
        seed: of every choice; the same seed gives the same bytes, whatever the number of workers.
        num_utterances: training utterances in the seen voices.
        shares: of question, statement, random and story among them.
        answer_voice_utterances: training utterances in the answer voice, besides all replies (which are always spoken).
        fragments: training utterances besides that begin and end at any word of a training text, as the spans of
            interleaved texts do; voices in proportion to their other training utterances.
        fragment_words: mean of the Poisson distribution of their lengths; half of them are cut to any shorter length.
        fragment_random_share: share of strings of random words (1 to 8) among them.
        num_texts: training texts.
        num_heldout_texts: held-out texts.
        heldout_share: share of all sentences that no training data contains, spoken or written.
        heldout_utterances: size of heldout_sentence, and of heldout_voice; heldout_words (random word strings in seen
            voices: sounds without grammar) has a quarter of it, heldout_dialogue an eighth in dialogues of four turns.
        dialogue_turns: most turns of the dialogues that training questions are put together to.
        situations: number of "who put what where" situations that are asked about.
        engines: auto (espeak-ng, and flite where libflite1 is installed) or espeak.
        seen_voices: number of voices in training, the answer voice among them; 0 for all there are.
        answer_voice: name of the voice that speaks the replies; empty takes flite's slt, else espeak-f2.
        room: room simulation for the built-in utterances, except those in the answer voice.
        manifest: a NeMo manifest of your own recordings, added to the built-in ones with kind "user".
        max_bad_share: share of bad records in it that are left out without an error.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
        workers: processes; 0 for all CPUs.
    """

    num_utterances: int = option(6000, at_least=0)
    shares: Shares = field(default_factory=Shares)
    answer_voice_utterances: int = option(1250, at_least=0)
    fragments: int = option(0, at_least=0, is_later=True)
    fragment_words: float = option(10.0, above=0, is_later=True)
    fragment_random_share: float = option(0.2, at_least=0, at_most=1, is_later=True)
    num_texts: int = option(6000, at_least=0)
    num_heldout_texts: int = option(300, at_least=0)
    heldout_share: float = option(0.1, at_least=0.01, at_most=0.5)
    heldout_utterances: int = option(300, at_least=10)
    dialogue_turns: int = option(3, at_least=1)
    situations: int = option(60, at_least=4, at_most=1000)
    engines: str = option("auto", one_of=ENGINES)
    seen_voices: int = option(0, at_least=0)
    answer_voice: str = ""
    room: RoomConfig = field(default_factory=RoomConfig)
    manifest: str | None = None
    max_bad_share: float = option(0.01, at_least=0, below=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
    workers: int = option(0, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("fragment_words", "fragment_random_share"):
            value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
            check_option(self.fragments > 0 or value == default, name, value, "it has no effect without fragments=")

    def plan_sizes(self) -> PlanSizes:
        """Utterances of each kind; none of the answer voice is a story."""
        return PlanSizes(
            train=self.shares.counts(self.num_utterances),
            answer=self.shares.counts(self.answer_voice_utterances, without=["story"]),
            held_out=self.shares.counts(self.heldout_utterances, without=["random", "followup"]),
            held_out_words=self.heldout_utterances // 4,
        )
