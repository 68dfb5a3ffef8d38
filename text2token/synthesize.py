"""Texts -> spans -> speech tokens: the bulk synthesis of interleaved data (2411.17607, section 2.2).

    python -m text2token.synthesize texts=runs/corpus/texts.jsonl texts_heldout=runs/corpus/texts_heldout.jsonl \
        model=runs/text2token_export/model out=runs/synthesis processes=2

Works in units of some documents (`text2token.synthesis.plan`), each a Parquet file that `text2token.pack` reads and
anyone can open. Kill it, or any of its workers, at any moment and call it again: finished units are kept, and the
output is byte for byte that of an unbroken run. On a cluster add
``bulk.executor=slurm bulk.slurm.partition=gpu processes=64``.
"""

from __future__ import annotations

from lm.data.text_files import is_url
from runtime.stage import Stage

from .synthesis.config import SynthesizeConfig

STAGE = Stage(
    name="text2token.synthesize",
    config=SynthesizeConfig,
    implementation="text2token.synthesis.corpus_synthesis:synthesise_corpus",
    summary="Make speech tokens for spans of texts, with a text-to-token model, in bulk.",
    inputs=lambda config: [
        *(one for one in (config.texts, config.texts_heldout) if not is_url(one)),
        *(config.model, config.readback, config.voice_corpus, config.voice_tokenizer),
    ],
    example="texts=runs/corpus/texts.jsonl model=runs/text2token_export/model out=runs/synthesis processes=2",
    speed_options=("batch_size", "processes", "threads", "cuda_graphs", "bulk"),
    tolerances=("max_bad_share", "max_rejected_share"),
)

if __name__ == "__main__":
    STAGE.exit()
