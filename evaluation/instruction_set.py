"""Stage ``evaluation.instruction_set``: spoken instructions of our own in the layout of SpeechInstructBench.

    python -m evaluation.instruction_set out=runs/instructions
    python -m evaluation.answer benchmark=speech_instruct_bench data=runs/instructions/set ...

Writes <out>/set: closed_{standard,background,accent,paralinguistics,disfluency}_en.jsonl (the same requests with 25
kinds of verifiable instructions, spoken by voices of espeak-ng), open_ended_en.jsonl, adjustment_en.jsonl, and audio/.
Each row has the published columns and spoken_text, speaker and manner. It is no sample of the published set: scores on
it compare models and conditions, not papers.
"""

from __future__ import annotations

from runtime.stage import Stage

from .spoken_instructions.config import InstructionSetConfig

STAGE = Stage(
    name="evaluation.instruction_set",
    config=InstructionSetConfig,
    implementation="evaluation.spoken_instructions.writing:make_instruction_set",
    summary="Make a set of spoken instructions in SpeechInstructBench's layout with the built-in voices.",
    inputs=lambda config: [],
    example="closed=25 out=runs/instructions",
)

if __name__ == "__main__":
    STAGE.exit()
