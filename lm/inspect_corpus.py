"""Inspection of LM corpora: counts, and documents as text with their speech folded and the targets of the loss marked.

One pass over the documents, in bounded memory: beyond half a million different documents the duplicates are estimated
from a sample. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.command import Command
from runtime.config import Options, option

from .data.loss_mask import LOSSES


@dataclass(kw_only=True)
class InspectCorpusConfig(Options):
    """Options of lm.inspect_corpus.

    Attributes:
        folders: LM corpora (each holds corpus.json).
        vocabulary: theirs ("" = the one they were made with, looked for near by).
        split: train or valid.
        documents: number of documents shown.
        show: which ones.
        random: show documents drawn with this seed instead.
        codes: speech tokens shown of each run.
        loss: the loss whose targets are marked; text and speech are the parts of dialogues and interleaved documents.
        json: print the counts as JSON, and no documents.
    """

    folders: list[str]
    vocabulary: str = ""
    split: str = option("train", one_of=("train", "valid"))
    documents: int = option(3, at_least=0)
    show: str = option("first", one_of=("first", "longest", "shortest", "duplicates"))
    random: int | None = None
    codes: int = option(6, at_least=0)
    loss: str = option("all", one_of=LOSSES)
    json: bool = False


def run(config: InspectCorpusConfig) -> None:
    """Count and show every corpus."""
    from .data.corpus_inspection import inspect_corpora

    inspect_corpora(
        config.folders,
        vocabulary=config.vocabulary,
        split=config.split,
        documents=config.documents,
        show=config.show,
        seed=config.random,
        codes=config.codes,
        loss=config.loss,
        is_json=config.json,
    )


COMMAND = Command(
    name="lm.inspect_corpus",
    words="lm inspect corpus",
    config=InspectCorpusConfig,
    run=run,
    positional="folders",
    summary="Count what LM corpora hold, and read their documents.",
    example="""
speechweave lm inspect corpus runs/quickstart/lm_data/tts
speechweave lm inspect corpus runs/interleaved/interleaved --documents 10 --random 7
speechweave lm inspect corpus runs/lm_data/text runs/lm_data/asr --split valid --documents 0
speechweave lm inspect corpus runs/lm_data/text --show longest
speechweave lm inspect corpus runs/chat_data/chat --loss speech
speechweave lm inspect corpus runs/lm_data/text --json > counts.json
""",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
