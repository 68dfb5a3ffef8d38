"""Options of evaluation.instruction_set."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.benchmarks.speech_instruct_bench import CONDITIONS
from runtime.config import option
from runtime.errors import UserError, check_option
from runtime.stage import StageConfig

CHINESE = "cn"


@dataclass(kw_only=True)
class InstructionSetConfig(StageConfig):
    """Options of evaluation.instruction_set.

    Attributes:
        language: en; cn is refused, as no built-in voice speaks Mandarin that a recogniser understands.
        closed: closed requests; the same ones are spoken under every condition. 25 hold every checker once.
        open: open requests.
        adjustment: requests that the talker corrects.
        conditions: of the closed requests.
        snr: of the condition background: speech to noise, dB.
        disfluency: fillers, repetitions and restarts for each word of the condition disfluency (one or more a
            request).
    """

    language: str = option("en", one_of=("en", CHINESE))
    closed: int = option(25, at_least=1, at_most=1000)
    open: int = option(10, at_least=0, at_most=1000)
    adjustment: int = option(10, at_least=0, at_most=100)
    conditions: list[str] = option(list(CONDITIONS), one_of=CONDITIONS)
    snr: float = option(10.0, at_least=-20, at_most=60)
    disfluency: float = option(0.15, above=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.language == CHINESE:
            found = "no built-in voice for it: espeak-ng's Mandarin is not understood"
            raise UserError(
                f"option language={CHINESE}", found=found, remedy="choose en, or bring recordings in Chinese"
            )
        is_some = bool(self.conditions) and len(set(self.conditions)) == len(self.conditions)
        check_option(is_some, "conditions", self.conditions, "name at least one, and each once")
